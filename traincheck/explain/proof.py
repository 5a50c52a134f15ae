"""Proofs: which facts match each condition, derived conditions opened up to a depth."""

from collections.abc import Mapping, Sequence

from traincheck.datalog.program import Atom, Constant, ConstantValue, Count, Literal, Variable
from traincheck.dsl import syntax
from traincheck.dsl.lower import names_in
from traincheck.dsl.walk import terms_of
from traincheck.explain.case import Case
from traincheck.explain.model import Fact, Kind, Node
from traincheck.explain.words import in_words
from traincheck.schema import RELATIONS

__all__ = ["prove", "weigh"]

_DEEPEST = 3
_MOST_COUNTED = 4
Values = Mapping[str, ConstantValue]


def prove(case: Case, formulas: Sequence[syntax.Formula], values: Values, depth: int = 0) -> tuple[Node, ...]:
    """One node for each condition, all of which hold under these values."""
    return tuple(_node(case, formula, values, depth, True) for formula in formulas)


def weigh(case: Case, formulas: Sequence[syntax.Formula], values: Values, depth: int = 0) -> tuple[Node, ...]:
    """One node for each condition, marked: does it hold together with those before it that hold?

    Atoms with a known value go first, comparisons, counts and negations last. What speaks of a variable that
    was looked for in vain, or that nothing binds, is not asked.
    """
    known = set(values)
    order = sorted(range(len(formulas)), key=lambda position: _lateness(formulas[position], known))
    marks: dict[int, bool | None] = {}
    kept: list[Literal] = []
    found: Values = values
    lost: set[str] = set()
    for position in order:
        formula = formulas[position]
        names = set(_needed(formula))
        if names & lost or (not isinstance(formula, syntax.Atom) and not names <= set(found)):
            marks[position] = None
            continue
        literals = case.literals(formula)
        more = case.holds([*kept, *literals], values)
        marks[position] = more is not None
        if more is not None:
            kept += literals
            found = more
        else:
            lost |= names - set(found)
    return tuple(_node(case, formula, found, depth, marks[position]) for position, formula in enumerate(formulas))


def _lateness(formula: syntax.Formula, known: set[str]) -> int:
    """Anchored atoms first, other atoms next, then what only tests."""
    if not isinstance(formula, syntax.Atom):
        return 2
    anchored = any(isinstance(term, syntax.Value) for term in terms_of(formula))
    return 0 if anchored or set(names_in([formula])) & known else 1


def _needed(formula: syntax.Formula) -> list[str]:
    """The variables that must have values before a test is asked, or that an atom speaks of."""
    if isinstance(formula, syntax.CountOf):
        return names_in([syntax.Compare("==", formula.bound, formula.bound)])
    return names_in([formula])


def _node(case: Case, formula: syntax.Formula, values: Values, depth: int, holds: bool | None) -> Node:
    text = case.written(formula, None if depth == 0 else {k: v for k, v in values.items() if isinstance(v, str)})
    words = in_words(case, formula, values)
    match formula:
        case syntax.Atom(relation=relation):
            atom = _atom(case, formula)
            kind: Kind = "fact" if relation in RELATIONS else "derived"
            facts = case.facts(atom, values) if holds else ()
            because = () if holds is None else _because(case, relation, atom, values, depth, holds)
            return Node(text, kind, holds, facts, because, words=words)
        case syntax.Not(atom=inner):
            note = {True: "there is none", False: "there is one", None: None}[holds]
            return Node(
                text, "absence", holds, case.facts(_atom(case, inner), values) if holds is False else (), note=note
            )
        case syntax.Compare():
            return Node(text, "comparison", holds, note=_read(case, formula, values))
        case syntax.CountOf():
            facts, note = ((), None) if holds is None else _counted(case, formula, values)
            return Node(text, "count", holds, facts, note=note)


def _atom(case: Case, formula: syntax.Atom) -> Atom:
    atom = case.literals(formula)[0]
    assert isinstance(atom, Atom)
    return atom


def _because(case: Case, predicate: str, atom: Atom, values: Values, depth: int, holds: bool) -> tuple[Node, ...]:
    """The body of the definition that makes a derived atom hold, or of the one that should."""
    if depth >= _DEEPEST or (not holds and depth >= _DEEPEST - 1):
        return ()
    for define in case.defines(predicate):
        inside = _unified(define, atom, values)
        if inside is None or not define.body:
            continue
        if not holds:
            return weigh(case, define.body, inside, depth + 1)
        found = case.holds(case.lowering.body(define.body), inside)
        if found is not None:
            return prove(case, define.body, found, depth + 1)
    return ()


def _unified(define: syntax.Define, atom: Atom, values: Values) -> dict[str, ConstantValue] | None:
    """Values of the definition's variables when its head is this atom; None when it cannot be."""
    inside: dict[str, ConstantValue] = {}
    for slot, term in zip(define.head.positional, atom.terms, strict=True):
        given = (
            term.value if isinstance(term, Constant) else values.get(term.name) if isinstance(term, Variable) else None
        )
        if given is None:
            continue
        if isinstance(slot, syntax.Name) and inside.setdefault(slot.text, given) != given:
            return None
        if isinstance(slot, syntax.Value) and slot.value != given:
            return None
    return inside


def _read(case: Case, formula: syntax.Compare, values: Values) -> str | None:
    """The values of a comparison's variables; the law's arguments are written in the formula itself."""
    names = [name for name in names_in([formula]) if name not in case.law.arguments]
    return ", ".join(f"{name} is {case.named(name, values[name])}" for name in names if name in values) or None


def _counted(case: Case, formula: syntax.CountOf, values: Values) -> tuple[tuple[Fact, ...], str]:
    """Facts about what was counted, and how many there are."""
    count = case.literals(formula)[0]
    assert isinstance(count, Count)
    found = case.holds([count], values)
    number = found[count.result.name] if found is not None else 0
    facts: dict[str, Fact] = {}
    for witness in case.prover.witnesses(count.body, values):
        for literal in count.body:
            if isinstance(literal, Atom):
                facts.update(
                    {fact.text + repr(fact.values): fact for fact in case.facts(literal, {**values, **witness})}
                )
    return tuple(facts.values())[:_MOST_COUNTED], f"there {'is' if number == 1 else 'are'} {number}"
