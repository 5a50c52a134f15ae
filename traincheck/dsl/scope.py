"""The sorts of the variables in one scope: what its atoms, comparisons and parameters say, and where they clash."""

from collections.abc import Iterable, Sequence

from traincheck.dsl.report import Problems
from traincheck.dsl.signature import Signatures
from traincheck.dsl.sorts import (
    ORDERED,
    Sorts,
    comparable,
    describe,
    describe_literal,
    literal_sort,
    literal_type,
    meet,
    storage,
)
from traincheck.dsl.syntax import (
    Atom,
    Calculation,
    Compare,
    CountOf,
    Expression,
    Formula,
    Name,
    Not,
    Position,
    Value,
)
from traincheck.dsl.walk import atoms_of
from traincheck.schema import IDENTITY_SORTS

_GLOBLESS = IDENTITY_SORTS - {"site"}


class Scope:
    """The variables of one declaration; `sorts` holds what is known of each."""

    def __init__(self, signatures: Signatures, problems: Problems) -> None:
        self._signatures = signatures
        self._problems = problems
        self._first: dict[str, Position] = {}
        self._clashed: set[str] = set()
        self.sorts: dict[str, Sorts] = {}

    def declare(self, name: str, sorts: Sorts, at: Position) -> None:
        """Say that `name` has `sorts` at `at`; a clash with what is known already is reported, once a variable."""
        known = self.sorts.get(name)
        common = sorts if known is None else meet(known, sorts)
        if common is not None:
            self.sorts[name] = common
            self._first.setdefault(name, at)
        elif name not in self._clashed and known is not None:
            self._clashed.add(name)
            line = self._first[name].line
            before = "before" if line == at.line else f"in line {line}"
            what = f"'{name}' is {describe(sorts)} here, but {describe(known)} {before}"
            self._problems.add(what, at, "use two variables")

    def read(self, formulas: Sequence[Formula]) -> None:
        """Learn the sorts that a conjunction gives its variables."""
        for atom, _ in atoms_of(formulas):
            for term, column in self._signatures.slots(atom):
                if column is not None and isinstance(term, Name):
                    self.declare(term.text, column, term.position)
        for _ in range(len(formulas)):  # each round passes sorts one equation further
            before = len(self.sorts)
            for formula in _equations(formulas):
                self._pass_on(formula)
            if len(self.sorts) == before:
                break

    def check(self, formulas: Sequence[Formula]) -> None:
        """Report unknown names, constants in columns of another type, globs out of place, senseless comparisons."""
        for formula in formulas:
            match formula:
                case Atom():
                    self._check_atom(formula, negated=False)
                case Not(atom=atom):
                    self._check_atom(atom, negated=True)
                case Compare():
                    self._check_compare(formula)
                case CountOf(body=body, bound=bound):
                    self.check(body)
                    self._check_number(bound, "a count is compared with a number")

    def sorts_of(self, expression: Expression) -> Sorts | None:
        """The sorts of an expression; None for what fits anything of its type."""
        match expression:
            case Name(text=text):
                return self.sorts.get(text)
            case Value(value=float()):
                return frozenset({"number"})
            case Value():
                return None
            case Calculation(op=op, left=left, right=right):
                return _calculated(op, self.sorts_of(left), self.sorts_of(right))

    def _pass_on(self, formula: Compare | CountOf) -> None:
        if isinstance(formula, CountOf):
            if isinstance(formula.bound, Name) and formula.bound.text not in self.sorts:
                self.declare(formula.bound.text, frozenset({"integer"}), formula.bound.position)
            return
        for target, source in ((formula.left, formula.right), (formula.right, formula.left)):
            if isinstance(target, Name) and target.text not in self.sorts:
                sorts = self.sorts_of(source)
                if sorts is None and isinstance(source, Value):
                    sorts = frozenset({literal_sort(source)})
                if sorts is not None:
                    self.declare(target.text, sorts, target.position)

    def _check_atom(self, atom: Atom, negated: bool) -> None:
        self._signatures.check(atom, self._problems)
        for term, column in self._signatures.slots(atom):
            if isinstance(term, Value) and column is not None:
                self._check_constant(term, column, negated)

    def _check_constant(self, value: Value, column: Sorts, negated: bool) -> None:
        if literal_type(value) != storage(column):
            what = f"{describe_literal(value)} stands where {describe(column)} belongs"
            self._problems.add(what, value.position, _other_spelling(value, column))
        elif _is_glob(value) and column & _GLOBLESS:
            self._problems.add(f"a glob cannot match {describe(column)}", value.position, "globs match words")
        elif _is_glob(value) and negated:
            advice = "define a predicate with the glob, and negate that"
            self._problems.add("a glob cannot stand under 'not'", value.position, advice)

    def _check_compare(self, compare: Compare) -> None:
        for side in (compare.left, compare.right):
            if isinstance(side, Value) and _is_glob(side):
                advice = 'match it in an atom: call(C, api: "torch.*")'
                self._problems.add("a comparison does not match globs", side.position, advice)
            self._check_calculation(side)
        left, right = compare.left, compare.right
        if not self._fits(left, right) or not self._fits(right, left):
            what = f"cannot compare {self._words(left)} with {self._words(right)}".rstrip(",")
            self._problems.add(what, compare.position, "compare values of one sort")

    def _fits(self, left: Expression, right: Expression) -> bool:
        known = self.sorts_of(left)
        if known is None:
            return True
        if isinstance(right, Value):
            return (storage(known) == "str") == (literal_type(right) == "str")
        other = self.sorts_of(right)
        return other is None or comparable(known, other)

    def _check_number(self, expression: Expression, rule: str) -> None:
        """Report an expression that is no number one may calculate with."""
        self._check_calculation(expression)
        sorts = self.sorts_of(expression)
        text = isinstance(expression, Value) and literal_type(expression) == "str"
        if text or (sorts is not None and (storage(sorts) == "str" or sorts & (IDENTITY_SORTS - ORDERED))):
            self._problems.add(f"{self._words(expression)} is not a number here", expression.position, rule)

    def _check_calculation(self, expression: Expression) -> None:
        if isinstance(expression, Calculation):
            for side in (expression.left, expression.right):
                self._check_number(side, f"'{expression.op}' calculates with numbers")

    def _words(self, expression: Expression) -> str:
        sorts = self.sorts_of(expression)
        match expression:
            case Value():
                return describe_literal(expression)
            case Name(text=text):
                return f"'{text}'" if sorts is None else f"'{text}', {describe(sorts)},"
            case Calculation():
                return "a calculation" if sorts is None else f"a calculation, {describe(sorts)},"


def _equations(formulas: Iterable[Formula]) -> Iterable[Compare | CountOf]:
    for formula in formulas:
        match formula:
            case Compare(op="==") | CountOf(op="=="):
                yield formula
    for formula in formulas:
        if isinstance(formula, CountOf):
            yield from _equations(formula.body)


def _calculated(op: str, left: Sorts | None, right: Sorts | None) -> Sorts | None:
    """The sorts of `left op right`: moments stay moments when shifted, their difference is a whole number."""
    if left is None or right is None:
        return (left or right) if op in "+-" else _plain(left or right)
    if "number" in left | right:
        return frozenset({"number"})
    if op in "+-" and left & ORDERED and not right & IDENTITY_SORTS:
        return left
    return frozenset({"integer"})


def _plain(sorts: Sorts | None) -> Sorts | None:
    return frozenset({"integer"}) if sorts is not None and sorts & ORDERED else sorts


def _is_glob(value: Value) -> bool:
    return isinstance(value.value, str) and "*" in value.value


def _other_spelling(value: Value, column: Sorts) -> str | None:
    """How the constant would have to be written to fit."""
    match storage(column):
        case "str":
            return f'write "{value.value}"'
        case "float" if isinstance(value.value, int):
            return f"write {value.value}.0"
        case _:
            return None
