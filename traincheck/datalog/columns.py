"""Column types of derived predicates, inferred from the base relations and the constants."""

from collections.abc import Iterable, Mapping, Sequence

from traincheck.datalog.bodies import Bind, CountStep, Step
from traincheck.datalog.program import Atom, Comparison, Constant, Negation, Operand, Rule, Term, Variable
from traincheck.errors import RuleError
from traincheck.schema import ColumnType

__all__ = ["ColumnTypes", "VariableTypes", "constant_type", "infer_columns", "operand_type"]

ColumnTypes = Mapping[str, tuple[ColumnType, ...]]
VariableTypes = Mapping[str, ColumnType]
_UNDETERMINED: ColumnType = "int"  # of a predicate that can hold nothing; any type would do


def constant_type(constant: Constant) -> ColumnType:
    """The storage type of a constant."""
    if isinstance(constant.value, str):
        return "str"
    return "float" if isinstance(constant.value, float) else "int"


def operand_type(operand: Operand, variables: VariableTypes) -> ColumnType:
    """The type of an operand: whole numbers stay whole, a float on either side makes the result a float."""
    return _operand_type(operand, variables) or _UNDETERMINED


def infer_columns(
    base: Mapping[str, Sequence[ColumnType]], bodies: Sequence[tuple[Rule, Sequence[Step]]]
) -> ColumnTypes:
    """Types of the columns of every predicate; RuleError when two uses clash or text meets a number."""
    inference = _Inference(base)
    for rule, steps in bodies:
        inference.declare(rule.head, steps)
    variables: list[dict[str, ColumnType]] = [{} for _ in bodies]
    inference.changed = True
    while inference.changed:
        inference.changed = False
        for (rule, steps), known in zip(bodies, variables, strict=True):
            inference.visit(steps, known)
            inference.unify(rule.head, known)
    return {name: tuple(column or _UNDETERMINED for column in found) for name, found in inference.columns.items()}


class _Inference:
    """What is known so far; `None` for a column of which nothing is known yet."""

    def __init__(self, base: Mapping[str, Sequence[ColumnType]]) -> None:
        self.columns: dict[str, list[ColumnType | None]] = {name: list(types) for name, types in base.items()}
        self.changed = False
        self._scopes: dict[int, dict[str, ColumnType]] = {}  # of each count, by identity

    def declare(self, head: Atom, steps: Sequence[Step]) -> None:
        """Note every predicate in use; RuleError when one is used with different numbers of terms."""
        for atom in (head, *_atoms(steps)):
            known = self.columns.setdefault(atom.predicate, [None] * len(atom.terms))
            if len(known) != len(atom.terms):
                raise RuleError(f"'{atom.predicate}' has {len(known)} columns but is used with {len(atom.terms)}")

    def visit(self, steps: Iterable[Step], known: dict[str, ColumnType]) -> None:
        """Carry types through one body once. A count's local variables have a scope of their own."""
        for step in steps:
            if isinstance(step, Atom):
                self.unify(step, known)
            elif isinstance(step, Negation):
                self.unify(step.atom, known)
            elif isinstance(step, Bind):
                self._learn(step.variable, _operand_type(step.operand, known), known)
            elif isinstance(step, CountStep):
                self._learn(step.result, "int", known)
                inside = self._scopes.setdefault(id(step), {})
                for name in step.groups:
                    self._learn(name, known.get(name), inside)
                self.visit(step.body, inside)
                for name in step.groups:
                    self._learn(name, inside.get(name), known)
            else:
                self._compare(step, known)

    def unify(self, atom: Atom, known: dict[str, ColumnType]) -> None:
        """Let an atom's columns and terms tell each other their types."""
        columns = self.columns[atom.predicate]
        for position, (column, term) in enumerate(zip(columns, atom.terms, strict=True)):
            given = _term_type(term, known)
            if column is None and given is not None:
                columns[position] = given
                self.changed = True
            elif column is not None and isinstance(term, Variable) and given is None:
                self._learn(term.name, column, known)
            elif column != given and given is not None:
                shown = f"'{term.name}'" if isinstance(term, Variable) else repr(getattr(term, "value", "_"))
                raise RuleError(f"column {position + 1} of '{atom.predicate}' is {column}, but {shown} is {given}")

    def _compare(self, step: Comparison, known: dict[str, ColumnType]) -> None:
        left, right = _operand_type(step.left, known), _operand_type(step.right, known)
        if left == "str" and right is None and isinstance(step.right, Variable):
            self._learn(step.right.name, left, known)
        elif right == "str" and left is None and isinstance(step.left, Variable):
            self._learn(step.left.name, right, known)
        elif left is not None and right is not None and (left == "str") != (right == "str"):
            raise RuleError(f"'{step.op}' compares text with a number")

    def _learn(self, name: str, found: ColumnType | None, known: dict[str, ColumnType]) -> None:
        if found is None:
            return
        if name not in known:
            known[name] = found
            self.changed = True
        elif known[name] != found:
            raise RuleError(f"'{name}' is {known[name]} in one place and {found} in another")


def _atoms(steps: Iterable[Step]) -> Iterable[Atom]:
    for step in steps:
        if isinstance(step, Atom):
            yield step
        elif isinstance(step, Negation):
            yield step.atom
        elif isinstance(step, CountStep):
            yield from _atoms(step.body)


def _term_type(term: Term, known: VariableTypes) -> ColumnType | None:
    if isinstance(term, Constant):
        return constant_type(term)
    return known.get(term.name) if isinstance(term, Variable) else None


def _operand_type(operand: Operand, known: VariableTypes) -> ColumnType | None:
    """The operand's type, or None while one of its variables has none yet."""
    if isinstance(operand, Constant):
        return constant_type(operand)
    if isinstance(operand, Variable):
        return known.get(operand.name)
    sides = (_operand_type(operand.left, known), _operand_type(operand.right, known))
    if "str" in sides:
        raise RuleError(f"'{operand.op}' needs numbers on both sides")
    if None in sides:
        return None
    return "float" if "float" in sides else "int"
