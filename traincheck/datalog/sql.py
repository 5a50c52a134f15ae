"""Rules as SQL: one `SELECT DISTINCT` a rule, over tables whose columns are taken by position.

Constants always travel as bound parameters and identifiers are always quoted, so no text of a rule or a fact
is ever read as SQL.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from traincheck.datalog.bodies import Bind, CountStep, Step, step_variables, term_variables
from traincheck.datalog.columns import ColumnTypes, constant_type
from traincheck.datalog.plan import PlannedRule
from traincheck.datalog.program import (
    Arithmetic,
    Atom,
    Comparison,
    Constant,
    ConstantValue,
    Negation,
    Operand,
    Term,
    Variable,
)
from traincheck.schema import ColumnType

__all__ = ["SQL_TYPES", "Query", "RuleCompiler", "quoted"]

SQL_TYPES: Mapping[ColumnType, str] = {"int": "BIGINT", "float": "DOUBLE", "str": "VARCHAR"}
_SQL_OPERATORS = {"==": "=", "!=": "<>"}


@dataclass(frozen=True, slots=True)
class Query:
    """SQL text and the values of its named parameters."""

    text: str
    parameters: Mapping[str, ConstantValue]


@dataclass(slots=True)
class _Value:
    """What a variable stands for: an SQL expression and its type."""

    sql: str
    type: ColumnType


@dataclass(slots=True)
class _Select:
    """FROM items and WHERE conditions of one body, and the values of its variables."""

    values: dict[str, _Value]
    sources: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)

    def text(self, outputs: str) -> str:
        source = f" FROM {', '.join(self.sources)}" if self.sources else ""
        condition = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        return f"SELECT {outputs}{source}{condition}"


def quoted(identifier: str) -> str:
    """An SQL identifier for any text."""
    return '"' + identifier.replace('"', '""') + '"'


class RuleCompiler:
    """Compiles rules to queries. `tables` names the table of each predicate; `nullable` are the base relations."""

    def __init__(self, columns: ColumnTypes, tables: Mapping[str, str], nullable: Iterable[str]) -> None:
        self._columns = columns
        self._tables = tables
        self._nullable = frozenset(nullable)
        self._parameters: dict[str, ConstantValue] = {}
        self._aliases = 0

    def union(self, rules: Sequence[PlannedRule]) -> Query:
        """All facts that the rules, at least one, derive."""
        return self._query([self._rule(rule, {}) for rule in rules])

    def delta(self, rules: Iterable[tuple[PlannedRule, int, str]]) -> Query:
        """All facts that rules derive when the atom at a position of each reads the named table instead."""
        return self._query([self._rule(rule, {position: table}) for rule, position, table in rules])

    def fixpoint(self, first: Sequence[PlannedRule], further: Iterable[tuple[PlannedRule, int]]) -> Query:
        """All facts of one predicate whose `further` rules each read it once, at the given position."""
        base = " UNION ALL ".join(self._rule(rule, {}) for rule in first)
        step = " UNION ALL ".join(self._rule(rule, {position: "_known"}) for rule, position in further)
        columns = ", ".join(f"c{i}" for i in range(max(1, len(first[0].head.terms))))
        return self._query([f"WITH RECURSIVE _known({columns}) AS (({base}) UNION ({step})) SELECT * FROM _known"])

    def nothing(self, predicate: str) -> Query:
        """No facts, in the columns of `predicate`."""
        types = [SQL_TYPES[column] for column in self._columns[predicate]] or ["BIGINT"]
        columns = ", ".join(f"NULL::{kind} AS c{i}" for i, kind in enumerate(types))
        return Query(f"SELECT {columns} WHERE false", {})

    def _query(self, selects: Sequence[str]) -> Query:
        text = " UNION ".join(selects) if len(selects) > 1 else re.sub("^SELECT ", "SELECT DISTINCT ", selects[0])
        used = set(re.findall(r"\$(p\d+)\b", text))  # a variable that stands for a constant may not be used at all
        parameters = {name: value for name, value in self._parameters.items() if name in used}
        self._parameters, self._aliases = {}, 0
        return Query(text, parameters)

    def _rule(self, rule: PlannedRule, replaced: Mapping[int, str]) -> str:
        select = self._body(rule.steps, {}, set(term_variables(rule.head.terms)), replaced)
        outputs = []
        for position, term in enumerate(rule.head.terms):
            value = select.values[term.name].sql if isinstance(term, Variable) else self._constant(term)
            outputs.append(f"{value} AS c{position}")
        return select.text(", ".join(outputs) or "1::BIGINT AS c0")

    def _body(
        self, steps: Sequence[Step], outer: Mapping[str, _Value], wanted: set[str], replaced: Mapping[int, str]
    ) -> _Select:
        """One body; steps that share no variable with what is wanted only have to be satisfiable: EXISTS."""
        select = _Select(dict(outer))
        for group in _components(steps, set(outer), wanted):
            numbered = [(steps[position], replaced.get(position)) for position in group]
            if any(isinstance(step, Atom | CountStep) for step, _ in numbered) and not _reaches(
                [step for step, _ in numbered], set(outer), wanted
            ):
                inner = _Select(dict(outer))
                self._emit(numbered, inner)
                select.conditions.append(f"EXISTS ({inner.text('1')})")
            else:
                self._emit(numbered, select)
        return select

    def _emit(self, steps: Iterable[tuple[Step, str | None]], select: _Select) -> None:
        for step, table in steps:
            if isinstance(step, Atom):
                self._atom(step, table or self._tables[step.predicate], select)
            elif isinstance(step, Bind):
                self._bind(step, select)
            elif isinstance(step, Comparison):
                select.conditions.append(self._comparison(step, select.values))
            elif isinstance(step, Negation):
                inner = _Select(dict(select.values))
                self._atom(step.atom, self._tables[step.atom.predicate], inner)
                select.conditions.append(f"NOT EXISTS ({inner.text('1')})")
            else:
                self._count(step, select)

    def _alias(self, letter: str) -> str:
        self._aliases += 1
        return f"{letter}{self._aliases}"

    def _atom(self, atom: Atom, table: str, select: _Select) -> None:
        alias = self._alias("t")
        types = self._columns[atom.predicate]
        names = ", ".join(f"c{position}" for position in range(len(types)))
        select.sources.append(f"{quoted(table)} AS {alias}" + (f"({names})" if names else ""))
        for position, (term, column_type) in enumerate(zip(atom.terms, types, strict=True)):
            column = f"{alias}.c{position}"
            if isinstance(term, Constant):
                select.conditions.append(f"{column} = {self._constant(term)}")
            elif isinstance(term, Variable):
                if term.name in select.values:
                    select.conditions.append(f"{column} = {select.values[term.name].sql}")
                    continue
                select.values[term.name] = _Value(column, column_type)
                if atom.predicate in self._nullable:
                    select.conditions.append(f"{column} IS NOT NULL")

    def _bind(self, step: Bind, select: _Select) -> None:
        value = self._operand(step.operand, select.values)
        if isinstance(step.operand, Arithmetic):
            select.conditions.append(f"{value.sql} IS NOT NULL")
        select.values[step.variable] = value

    def _comparison(self, step: Comparison, values: Mapping[str, _Value]) -> str:
        left = self._operand(step.left, values)
        if isinstance(step.right, Constant) and step.op == "glob":
            pattern = self._constant(Constant(_like_pattern(str(step.right.value))))
            return f"{left.sql} LIKE {pattern} ESCAPE '\\'"
        right = self._operand(step.right, values)
        if {left.type, right.type} == {"int", "float"}:
            left, right = _as_float(left), _as_float(right)
        return f"{left.sql} {_SQL_OPERATORS.get(step.op, step.op)} {right.sql}"

    def _count(self, step: CountStep, select: _Select) -> None:
        outer = {name: select.values[name] for name in step.groups}
        inner = self._body(step.body, outer, set(step.counted), {})
        outputs = ", ".join(f"{inner.values[name].sql} AS v{position}" for position, name in enumerate(step.counted))
        distinct = inner.text(outputs or "1").replace("SELECT ", "SELECT DISTINCT ", 1)
        alias, rows = self._alias("k"), self._alias("d")
        lateral = "LATERAL " if select.sources else ""
        select.sources.append(f"{lateral}(SELECT COUNT(*) AS n FROM ({distinct}) AS {rows}) AS {alias}")
        if step.binds:
            select.values[step.result] = _Value(f"{alias}.n", "int")
        else:
            select.conditions.append(f"{alias}.n = {select.values[step.result].sql}")

    def _operand(self, operand: Operand, values: Mapping[str, _Value]) -> _Value:
        if isinstance(operand, Constant):
            return _Value(self._constant(operand), constant_type(operand))
        if isinstance(operand, Variable):
            return values[operand.name]
        left, right = self._operand(operand.left, values), self._operand(operand.right, values)
        if left.type == right.type == "int":
            return _Value(_whole(operand.op, left.sql, right.sql), "int")
        return _Value(_fractional(operand.op, _as_float(left).sql, _as_float(right).sql), "float")

    def _constant(self, constant: Term) -> str:
        assert isinstance(constant, Constant)
        name = f"p{len(self._parameters)}"
        self._parameters[name] = constant.value
        return f"CAST(${name} AS {SQL_TYPES[constant_type(constant)]})"


def _as_float(value: _Value) -> _Value:
    return value if value.type == "float" else _Value(f"CAST({value.sql} AS DOUBLE)", "float")


def _whole(op: str, left: str, right: str) -> str:
    """Arithmetic on 64-bit whole numbers; absent (null) where the result does not fit or a modulus is zero."""
    return f"TRY({_modulo(left, right) if op == '%' else f'({left} {op} {right})'})"


def _fractional(op: str, left: str, right: str) -> str:
    return _modulo(left, right) if op == "%" else f"({left} {op} {right})"


def _modulo(left: str, right: str) -> str:
    """The remainder with the sign of the divisor, as in mathematics and Python; SQL's has the dividend's."""
    rest = f"({left} % NULLIF({right}, 0))"
    return f"(CASE WHEN {rest} <> 0 AND ({rest} < 0) <> ({right} < 0) THEN {rest} + {right} ELSE {rest} END)"


def _like_pattern(glob: str) -> str:
    for special in "\\%_":
        glob = glob.replace(special, "\\" + special)
    return glob.replace("*", "%")


def _components(steps: Sequence[Step], outer: set[str], wanted: set[str]) -> list[list[int]]:
    """Positions of steps, grouped by shared variables that have no value yet; each group keeps its order."""
    groups: list[tuple[set[str], list[int]]] = []
    for position, step in enumerate(steps):
        names = step_variables(step) - outer
        members = [position]
        if names & wanted:
            names |= wanted
        for group in [group for group in groups if group[0] & names]:
            groups.remove(group)
            names |= group[0]
            members += group[1]
        groups.append((names, sorted(members)))
    return [members for _, members in groups]


def _reaches(steps: Iterable[Step], outer: set[str], wanted: set[str]) -> bool:
    return any((step_variables(step) - outer) & wanted for step in steps)
