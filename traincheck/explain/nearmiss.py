"""Near misses: the facts that satisfy what was expected once as little as possible of it is dropped.

`expect` is a set of constraints: each column that a constant or the example fixes, each comparison, each
nesting. One is dropped at a time, then two; of what then holds, the facts nearest to the example win.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from traincheck.datalog.bodies import literal_variables, term_variables
from traincheck.datalog.program import Atom, Comparison, Constant, ConstantValue, Literal, Negation, Variable, Wildcard
from traincheck.datalog.scalars import compute
from traincheck.datalog.witness import Binding
from traincheck.dsl import syntax
from traincheck.errors import RuleError
from traincheck.explain.case import Case
from traincheck.explain.model import Difference, Fact, NearMiss
from traincheck.schema import IDENTITY_SORTS, RELATIONS

__all__ = ["near_misses"]

_MOST_QUERIES = 80
_MOST_SHOWN = 2
_MOST_VALUES = 3
_MOST_LOOSE = 100  # facts of a relation that may be shown although nothing ties them to the example
_COSTS: Mapping[str, float] = {"api": 3, "rank": 2, "process": 2, "kind": 1.5, "name": 1.5, "key": 1.5}
_IDENTITY_COST, _LINK_COST, _PLAIN_COST = 2.0, 1.5, 1.0
_FAR = 10**15
_TELLING_SORTS = IDENTITY_SORTS | {"step", "rank", "api", "concept"}


@dataclass(frozen=True)
class _Part:
    """One literal of `expect` and the condition that it comes from."""

    literal: Literal
    formula: syntax.Formula


@dataclass(frozen=True)
class _Constraint:
    """What may be dropped: one column of an atom (`position`), or a whole literal (None). Cheap ones go first."""

    part: int
    position: int | None
    cost: float


def near_misses(case: Case) -> tuple[NearMiss, ...]:
    """What came nearest to satisfying `expect`, best first; empty when it takes more than two differences."""
    parts = [_Part(literal, formula) for formula in case.template.expect for literal in case.literals(formula)]
    constraints = sorted(_constraints(case, parts), key=lambda constraint: constraint.cost)
    queries = 0
    for number in (1, 2):
        found: list[tuple[float, int, NearMiss]] = []
        for dropped in combinations(constraints, number):
            if queries == _MOST_QUERIES:
                break
            queries += 1
            cost = sum(constraint.cost for constraint in dropped)
            found += ((cost, distance, miss) for distance, miss in _nearest(case, parts, dropped))
        if found:
            return tuple(miss for _, _, miss in sorted(found, key=lambda entry: entry[:2])[:_MOST_SHOWN])
    return ()


def _constraints(case: Case, parts: Sequence[_Part]) -> Iterator[_Constraint]:
    for number, part in enumerate(parts):
        literal = part.literal
        if isinstance(literal, Comparison) and literal.op != "glob":
            yield _Constraint(number, None, 0.0)
        elif isinstance(literal, Negation):
            yield _Constraint(number, None, _PLAIN_COST)
        elif isinstance(literal, Atom) and _is_link(case, literal, parts):
            yield _Constraint(number, None, _LINK_COST)
        elif isinstance(literal, Atom):
            for position, term in enumerate(literal.terms):
                if isinstance(term, Constant) or (isinstance(term, Variable) and term.name in case.binding):
                    cost = _column_cost(case, literal.predicate, position)
                    if cost is not None:
                        yield _Constraint(number, position, cost)


def _is_link(case: Case, atom: Atom, parts: Sequence[_Part]) -> bool:
    """Whether an atom only ties two things together, one of which others speak of too: contains(C, U)."""
    if atom.predicate not in RELATIONS:
        return False
    columns = RELATIONS[atom.predicate].columns
    named = [(column, term) for column, term in zip(columns, atom.terms, strict=True) if not isinstance(term, Wildcard)]
    sought = set(term_variables(atom.terms)) - set(case.binding)
    elsewhere = {name for part in parts if part.literal is not atom for name in literal_variables(part.literal)}
    return (
        len(named) == 2
        and len(sought) == 1
        and sought <= elsewhere
        and all(column.sort in IDENTITY_SORTS for column, _ in named)
    )


def _column_cost(case: Case, predicate: str, position: int) -> float | None:
    """What dropping a column costs; None for the word that says what is sought at all: does(C, "clip")."""
    sort = case.column(predicate, position)[1]
    if predicate not in RELATIONS and sort not in IDENTITY_SORTS | {"step", "rank"}:
        return None
    return _COSTS.get(sort, _IDENTITY_COST if sort in IDENTITY_SORTS else _PLAIN_COST)


def _nearest(case: Case, parts: Sequence[_Part], dropped: Sequence[_Constraint]) -> Iterator[tuple[int, NearMiss]]:
    """The nearest facts that satisfy everything but these constraints, if there are any."""
    relaxed = _relaxed(parts, dropped)
    body = [literal for literal in relaxed if literal is not None]
    if not _is_near(case, body) or not _is_telling(case, body):
        return
    try:
        found = case.prover.witnesses(body, case.example)
    except RuleError:  # without the dropped atom nothing binds a variable of what is left
        return
    if not found:
        return
    witness = min(found, key=lambda values: _distance(case, values))
    values = {**case.example, **witness}
    differences = tuple(_differences(case, parts, relaxed, dropped, values))
    if len(differences) == len(dropped):
        yield _distance(case, witness), NearMiss(tuple(_facts(case, body, parts, dropped, values)), differences)


def _relaxed(parts: Sequence[_Part], dropped: Sequence[_Constraint]) -> list[Literal | None]:
    """The literals without the dropped constraints; None for one that is dropped whole."""
    relaxed: list[Literal | None] = [part.literal for part in parts]
    for constraint in dropped:
        literal = relaxed[constraint.part]
        if constraint.position is None:
            relaxed[constraint.part] = None
        elif isinstance(literal, Atom):
            terms = list(literal.terms)
            terms[constraint.position] = Wildcard()
            relaxed[constraint.part] = replace(literal, terms=tuple(terms))
    return relaxed


def _is_near(case: Case, body: Sequence[Literal]) -> bool:
    """Whether every atom is still tied down, and all that is sought hangs together."""
    groups: list[set[str]] = []
    for literal in body:
        if not isinstance(literal, Atom):
            continue
        names = set(term_variables(literal.terms))
        fixed = names & set(case.binding) or any(isinstance(term, Constant) for term in literal.terms)
        sought = names - set(case.binding)
        touching = [group for group in groups if group & sought]
        if not fixed and not touching:
            others = [set(literal_variables(other)) for other in body if other is not literal]
            loose = not any(sought & other for other in others)
            if loose and (literal.predicate not in RELATIONS or case.window[literal.predicate].num_rows > _MOST_LOOSE):
                return False
        for group in touching:
            groups.remove(group)
            sought |= group
        if sought:
            groups.append(sought)
    return len(groups) <= 1


def _is_telling(case: Case, body: Sequence[Literal]) -> bool:
    """Whether what is found still has to do with the example: its thing, its step, or the function that is sought."""
    atoms = [literal for literal in body if isinstance(literal, Atom)]
    for atom in atoms:
        for position, term in enumerate(atom.terms):
            sort = case.column(atom.predicate, position)[1]
            known = isinstance(term, Constant) or (isinstance(term, Variable) and term.name in case.example)
            if known and sort in _TELLING_SORTS:
                return True
    return not atoms


def _distance(case: Case, values: Mapping[str, ConstantValue]) -> int:
    """How far from the example, in seq, the nearest event among these values is."""
    distances = [_FAR]
    for name, value in values.items():
        if name in case.binding:
            continue
        sort = case.sorts.get(name, "")
        row = case.describer.row(sort, value) if sort in ("call", "update") else None
        if row is not None:
            anchor = case.window.anchor(row["process"])
            at = row["enter" if sort == "call" else "at"]
            if anchor is not None and at is not None:
                distances.append(abs(at - anchor))
    return min(distances)


def _facts(
    case: Case, body: Iterable[Literal], parts: Sequence[_Part], dropped: Sequence[_Constraint], values: Binding
) -> Iterator[Fact]:
    """The facts of the near miss; where only comparisons are left, those that gave them their values."""
    atoms = [literal for literal in body if isinstance(literal, Atom)]
    if not atoms:
        names = {name for constraint in dropped for name in literal_variables(parts[constraint.part].literal)}
        when = case.lowering.body(case.template.when)
        atoms = [
            literal
            for literal in when
            if isinstance(literal, Atom) and names & (set(term_variables(literal.terms)) - set(case.law.arguments))
        ]
    events = [atom for atom in atoms if atom.predicate != "contains"]  # a fact's path tells what encloses it
    for atom in events or atoms:
        yield from case.facts(atom, values, most=1)


def _differences(
    case: Case,
    parts: Sequence[_Part],
    relaxed: Sequence[Literal | None],
    dropped: Sequence[_Constraint],
    values: Binding,
) -> Iterator[Difference]:
    for constraint in dropped:
        part, literal = parts[constraint.part], parts[constraint.part].literal
        written = case.written(part.formula)
        if isinstance(literal, Comparison):
            yield Difference(written, *_compared(case, part, literal, values))
        elif isinstance(literal, Negation):
            present = case.facts(literal.atom, values, most=1)
            found = present[0].text if present else "one"
            yield Difference(written, literal.atom.predicate, "none", found)
        elif isinstance(literal, Atom) and constraint.position is None:
            yield Difference(written, literal.predicate, *_unlinked(case, literal, values))
        elif isinstance(literal, Atom) and constraint.position is not None:
            atom = relaxed[constraint.part]
            assert isinstance(atom, Atom)
            yield from _column(case, written, literal, atom, constraint.position, values)


def _column(
    case: Case, written: str, literal: Atom, relaxed: Atom, position: int, values: Binding
) -> Iterator[Difference]:
    term = literal.terms[position]
    expected = values[term.name] if isinstance(term, Variable) else getattr(term, "value", None)
    name, sort = case.column(literal.predicate, position)
    found = list(dict.fromkeys(row[position] for row in case.prover.facts(relaxed, values)))
    if found and expected not in found:
        shown = ", ".join(case.describer.name(sort, value) for value in found[:_MOST_VALUES])
        more = ", ..." if len(found) > _MOST_VALUES else ""
        yield Difference(written, name, case.describer.name(sort, expected), shown + more)


def _compared(case: Case, part: _Part, literal: Comparison, values: Binding) -> tuple[str, str, str]:
    """Column, expected and found of a comparison; a plain equality with an argument needs no names."""
    if isinstance(part.formula, syntax.CountOf):
        assert isinstance(literal.left, Variable)
        bound = compute(literal.right, values)
        return "count", f"{literal.op} {bound}", str(values[literal.left.name])
    names = [name for name in literal_variables(literal) if name not in case.law.arguments]
    columns = ", ".join(dict.fromkeys(column for name in names for column in _columns_of(case, name))) or "value"
    shown = [case.named(name, values[name]) for name in names if name in values]
    fixed = [side for side in (literal.left, literal.right) if not isinstance(side, Variable) or side.name not in names]
    if literal.op == "==" and len(names) == len(fixed) == 1:
        value = fixed[0]
        if isinstance(value, Constant | Variable):
            given = value.value if isinstance(value, Constant) else values[value.name]
            return columns, case.named(names[0], given), shown[0]
    return columns, case.written(part.formula), ", ".join(f"{n} {text}" for n, text in zip(names, shown, strict=False))


def _columns_of(case: Case, name: str) -> Iterator[str]:
    """The columns from which a variable of `when` or `expect` takes its values."""
    for literal in case.lowering.body((*case.template.when, *case.template.expect)):
        if isinstance(literal, Atom) and literal.predicate in RELATIONS:
            columns = RELATIONS[literal.predicate].columns
            for column, term in zip(columns, literal.terms, strict=True):
                if isinstance(term, Variable) and term.name == name:
                    yield column.name


def _unlinked(case: Case, literal: Atom, values: Binding) -> tuple[str, str]:
    """What should be tied to what, and where the thing that was found is instead."""
    columns = RELATIONS[literal.predicate].columns
    (first, second) = [
        (column, values[term.name])
        for column, term in zip(columns, literal.terms, strict=True)
        if isinstance(term, Variable)
    ]
    if literal.predicate != "contains":
        return case.describer.name(
            first[0].sort, first[1]
        ), f"{case.describer.name(second[0].sort, second[1])} without it"
    row = case.describer.row("update", second[1])
    path = case.describer.path(row["call"] if row is not None else second[1])
    if row is None:
        path = path[:-1]
    inside = f"inside {' > '.join(repr(api) for api in path)}" if path else "outside every call"
    return f"inside {case.describer.name('call', first[1])}", inside
