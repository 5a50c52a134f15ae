"""What happened in one sentence, and what a condition asks for in words."""

from collections.abc import Mapping, Sequence

from traincheck.check.verdict import Place
from traincheck.datalog.program import ConstantValue
from traincheck.dsl import syntax
from traincheck.dsl.lower import names_in
from traincheck.explain.case import Case
from traincheck.explain.model import Difference, NearMiss, Node
from traincheck.schema import RELATIONS

__all__ = ["INSIDE", "in_words", "sentence"]

Values = Mapping[str, ConstantValue]
INSIDE = "something inside"
_ANY = "any variable"


def in_words(case: Case, formula: syntax.Formula, values: Values) -> str | None:
    """What an atom asks for, such as "a change of the data of 'fc.weight'"; None where only the rule text tells."""
    if not isinstance(formula, syntax.Atom):
        return None
    words = _Words(case, formula, values)
    match formula.relation:
        case "does":
            return words.does()
        case "update":
            return words.update()
        case "call":
            api = words.known("api")
            return f"a call of {api}" if api else None
        case "contains":
            outer, inner = words.known("outer"), words.known("inner")
            return f"{INSIDE} {outer}" if outer and not inner else None
        case "holds":
            variable = words.known("variable")
            return f"an optimizer that holds {variable}" if variable and not words.known("optimizer") else None
    return None


class _Words:
    """The terms of an atom, by column, in words."""

    def __init__(self, case: Case, atom: syntax.Atom, values: Values) -> None:
        self._case = case
        self._relation = atom.relation
        self._values = values
        columns = RELATIONS[atom.relation].columns if atom.relation in RELATIONS else ()
        self._terms: dict[str, syntax.Term] = dict(atom.named)
        self._terms |= {column.name: term for column, term in zip(columns, atom.positional, strict=False)}
        self._positional = atom.positional

    def known(self, column: str) -> str | None:
        """A column's value in words, when the atom and the example fix it."""
        term = self._terms.get(column)
        value = self._value(term)
        if value is None:
            return None
        relation = RELATIONS[self._relation]
        return self._case.describer.name(relation.columns[relation.index(column)].sort, value)

    def does(self) -> str:
        """`does(C, K)`: who does what, or what should be done."""
        call, concept = (self._value(term) for term in self._positional)
        doing = f"'{concept}'"
        row = self._case.describer.row("call", call) if isinstance(call, int) else None
        return f"'{row['api']}' is {_a(str(concept))} {doing}" if row is not None else f"{_a(str(concept))} {doing}"

    def update(self) -> str:
        """`update(U, V, attr: A, before: X, after: Y)`."""
        attr, variable = self._value(self._terms.get("attr")), self.known("variable")
        before, after = self._value(self._terms.get("before")), self._value(self._terms.get("after"))
        change = (f" from {before}" if before is not None else "") + (f" to {after}" if after is not None else "")
        return f"a change of {f'the {attr} of ' if attr is not None else ''}{variable or _ANY}{change}"

    def _value(self, term: syntax.Term | None) -> ConstantValue | None:
        if isinstance(term, syntax.Value):
            return term.value
        return self._values.get(term.text) if isinstance(term, syntax.Name) else None


def sentence(case: Case, first: Place, expect: Sequence[Node], misses: Sequence[NearMiss]) -> str:
    """What happened at the first example: who, and what was missing or different."""
    who = _subject(case)
    when = f"in step {first.step}, " if first.step is not None and not who.startswith("step ") else ""
    if not case.template.expect:
        return f"{when}{case.law.invariant.title}: {who}"
    missing = _missing(case, expect, who)
    if missing is not None:
        return when + missing
    differences = misses[0].differences if misses else ()
    if differences and differences[0].column == "count":
        return f"{when}{who} {_counted(case, differences[0])}"
    if differences:
        told = "; ".join(f"{item.column} is {item.found}, expected {item.expected}" for item in differences)
        return f"{when}{who}: {told}"
    return f"{when}{who} does not satisfy what is expected"


def _subject(case: Case) -> str:
    """The first call of the example, else its first variable, else its step."""
    for sort in ("call", "update", "variable", "object", "window", "step", "rank"):
        for name, value in case.binding.items():
            if case.sorts.get(name) != sort or name in case.law.arguments:
                continue
            if sort in ("step", "rank"):
                return f"{sort} {value}"
            row = case.describer.row("call", value) if sort == "call" else None
            site = f" called from {row['site']}" if row is not None and row["site"] else ""
            return f"{case.named(name, value)}{site}"
    return "the run"


def _missing(case: Case, expect: Sequence[Node], who: str) -> str | None:
    """The thing that was sought in vain, with where it was sought; None when only a test of values fails."""
    side = _side(case)
    sought_in_vain = any(node.holds is False and node.kind in ("fact", "derived") for node in expect)
    if not sought_in_vain and not side:
        return None
    atoms = [formula for formula in case.template.expect if isinstance(formula, syntax.Atom)]
    nestings = [atom for atom in atoms if atom.relation == "contains"]
    around = {name for atom in nestings for name in names_in([atom])[:1]} - set(case.example)
    for formula in atoms:
        words = in_words(case, formula, case.example)
        if formula.relation == "holds":
            return _not_held(case, atoms, formula, who)
        if words is None or words.startswith(INSIDE):
            continue
        if formula.relation == "does" and around & set(names_in([formula])):
            return f"{who} is not inside {words}"
        words = words.replace(_ANY, _any_such(case, atoms, formula))
        return f"{who} {'made' if nestings else 'has'} no {_bare(words)}{side}"
    return None


def _not_held(case: Case, atoms: Sequence[syntax.Atom], holds: syntax.Atom, who: str) -> str:
    """No optimizer holds the example's variable, or its optimizer holds nothing of the kind that is sought."""
    variable = _Words(case, holds, case.example).known("variable")
    if variable is not None:
        return f"{variable} is held by no optimizer"
    others = [atom for atom in atoms if atom is not holds]
    return f"{who} belongs to an optimizer that does not hold {_any_such(case, others, holds)}"


def _any_such(case: Case, atoms: Sequence[syntax.Atom], sought: syntax.Atom) -> str:
    """The variable that an atom seeks, with all that the other atoms ask of it."""
    noun, asked = "variable", []
    wanted = set(names_in([sought])) - set(case.example)
    for atom in atoms:
        if atom is sought or not wanted & set(names_in([atom])):
            continue
        columns = dict(atom.named)
        if atom.relation == "holds":
            asked.append("that the optimizer holds")
        if atom.relation == "variable":
            known = {name: _constant(case, term) for name, term in columns.items()}
            noun = str(known.pop("kind", None) or noun)
            asked += [f"with {name} {value}" for name, value in known.items() if value is not None]
    return " ".join([f"any {noun}", *asked])


def _constant(case: Case, term: syntax.Term) -> ConstantValue | None:
    if isinstance(term, syntax.Value):
        return term.value
    return case.law.arguments.get(term.text) if isinstance(term, syntax.Name) else None


def _side(case: Case) -> str:
    """' before it' or ' after it', when what is sought must come on one side of the example."""
    known = set(names_in(case.template.when))
    sides = set()
    for formula in case.template.expect:
        if isinstance(formula, syntax.Compare) and formula.op in ("<", "<="):
            left, right = formula.left, formula.right
            if isinstance(left, syntax.Name) and isinstance(right, syntax.Name):
                if right.text in known and left.text not in known:
                    sides.add(" before it")
                if left.text in known and right.text not in known:
                    sides.add(" after it")
    return " between" if len(sides) == 2 else "".join(sides)


def _counted(case: Case, difference: Difference) -> str:
    """How many there are of what is counted."""
    for formula in case.template.expect:
        if isinstance(formula, syntax.CountOf):
            for inner in formula.body:
                words = in_words(case, inner, case.law.arguments)
                if words is not None:
                    wanted = difference.expected.removeprefix("== ")
                    return f"has {difference.found} times {words}, expected {wanted}"
    return f"has a count of {difference.found}, expected {difference.expected}"


def _bare(words: str) -> str:
    """Without its article."""
    return words.removeprefix("a ").removeprefix("an ")


def _a(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"
