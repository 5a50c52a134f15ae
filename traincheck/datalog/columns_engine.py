"""The engine for many small questions: rules over columns of whole numbers, planned once and run on batch after batch.

A statement of SQL costs milliseconds before it reads its first row; a join here costs tens of microseconds. Bodies are
joined in an order that follows the sizes at hand, variables are dropped as soon as nothing further reads them, and a
rule one of whose atoms has no rows is not run at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from traincheck.datalog.bindings import Bindings
from traincheck.datalog.bodies import CountStep, Step
from traincheck.datalog.codes import Codes
from traincheck.datalog.column_bodies import Body, BodyRunner, head_body
from traincheck.datalog.engine import ARROW_TYPES, Answers, empty_table
from traincheck.datalog.kernels import Index
from traincheck.datalog.plan import PlannedRule, PlannedStratum, plan
from traincheck.datalog.program import Atom, Constant, Negation, Program, Variable, Wildcard
from traincheck.datalog.relations import Table
from traincheck.schema import ColumnType

__all__ = ["ColumnsEngine", "Compiled"]


class ColumnsEngine:
    """Answers programs with numpy; holds nothing between calls."""

    name = "columns"

    def solve(self, program: Program, facts: Mapping[str, pa.Table], goals: Sequence[str]) -> dict[str, pa.Table]:
        """See `Engine.solve`."""
        return Compiled(program, goals).run(facts)

    def prepare(self, program: Program, goals: Sequence[str]) -> Callable[[Mapping[str, pa.Table]], Answers]:
        """See `Engine.prepare`."""
        return Compiled(program, goals).run


class Compiled:
    """A program planned for its goals, to be run on any number of sets of facts; keeps the words it has seen."""

    def __init__(
        self, program: Program, goals: Sequence[str], codes: Codes | None = None, carried: Iterable[str] = ()
    ) -> None:
        """What `carried` predicates have held in one run holds in all later ones."""
        self._plan = plan(program, goals)
        self._carried: dict[str, Table | None] = dict.fromkeys(carried)
        self._goals = list(goals)
        self._codes = codes or Codes()
        self._fixed: dict[str, Table] = {}
        rules = [rule for stratum in self._plan.strata for rule in stratum.rules]
        self._read = _columns_read(step for rule in rules for step in rule.steps)
        self._bodies: dict[int, Body] = {id(rule): head_body(rule, self._plan.columns, self._codes) for rule in rules}

    @property
    def base(self) -> Sequence[str]:
        """The base relations that the goals need."""
        return self._plan.base

    def restart(self) -> None:
        """Forget what was carried from run to run."""
        self._carried = dict.fromkeys(self._carried)

    def types(self, predicate: str) -> Sequence[ColumnType]:
        """The types of a predicate's columns."""
        return self._plan.columns[predicate]

    def fix(self, facts: Mapping[str, pa.Table]) -> None:
        """Base relations that are the same for every run."""
        self._fixed |= {name: self._encode(name, table) for name, table in facts.items() if name in self._plan.base}

    def run(self, facts: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """The answers of the goals over these base relations; one that is missing is empty."""
        tables = dict(self._fixed)
        for name in self._plan.base:
            if name not in tables:
                tables[name] = self._encode(name, facts.get(name))
        runner = BodyRunner(tables, self._codes)
        for stratum in self._plan.strata:
            self._derive(stratum, runner, tables)
        return {
            goal: self._rows(goal, facts.get(goal)) if goal in self._plan.base else self._decode(goal, tables[goal])
            for goal in self._goals
        }

    def _derive(self, stratum: PlannedStratum, runner: BodyRunner, tables: dict[str, Table]) -> None:
        if stratum.recursive:
            self._iterate(stratum, runner, tables)
            return
        for predicate in stratum.predicates:
            found = [self._head(rule, runner.run(self._bodies[id(rule)], {})) for rule in stratum.of(predicate)]
            earlier = self._carried.get(predicate)
            found += [earlier] if earlier is not None else []
            tables[predicate] = _merged(found, len(self._plan.columns[predicate]))
            if predicate in self._carried:
                self._carried[predicate] = tables[predicate]

    def _iterate(self, stratum: PlannedStratum, runner: BodyRunner, tables: dict[str, Table]) -> None:
        """Semi-naive: each round joins what the last round added with everything known."""
        recent: dict[str, Table] = {}
        for predicate in stratum.predicates:
            first = [rule for rule in stratum.of(predicate) if not stratum.recursive_steps(rule)]
            width = len(self._plan.columns[predicate])
            recent[predicate] = _merged(
                [self._head(rule, runner.run(self._bodies[id(rule)], {})) for rule in first], width
            )
        tables.update(recent)
        while any(table.rows for table in recent.values()):
            following: dict[str, Table] = {}
            for predicate in stratum.predicates:
                found = [
                    self._head(rule, runner.run(self._bodies[id(rule)], {position: recent[used]}))
                    for rule in stratum.of(predicate)
                    for position, used in stratum.recursive_steps(rule)
                ]
                following[predicate] = _without(_merged(found, len(self._plan.columns[predicate])), tables[predicate])
            for predicate, fresh in following.items():
                tables[predicate] = _merged([tables[predicate], fresh], len(self._plan.columns[predicate]))
            recent = following

    def _head(self, rule: PlannedRule, found: Bindings) -> Table:
        columns = []
        for term in rule.head.terms:
            if isinstance(term, Variable):
                columns.append(found.values[term.name])
            else:
                assert isinstance(term, Constant)
                columns.append(np.full(found.rows, self._codes.constant(term.value), np.int64))
        return Table(columns, found.rows)

    def _encode(self, name: str, table: pa.Table | None) -> Table:
        types = self._plan.columns[name]
        if table is None or not table.num_rows:
            return Table([np.zeros(0, np.int64) for _ in types], 0)
        wanted: set[int] = self._read.get(name, set())
        columns, valid = [], []
        for place, type_ in enumerate(types):
            codes, mask = (
                self._codes.encode(table.column(place), type_) if place in wanted else (np.zeros(0, np.int64), None)
            )
            columns.append(codes)
            valid.append(mask)
        return Table(columns, table.num_rows, valid)

    def _decode(self, goal: str, table: Table) -> pa.Table:
        types = self._plan.columns[goal]
        if not table.rows:
            return empty_table(types)
        columns = [self._codes.decode(column, type_) for column, type_ in zip(table.columns, types, strict=True)]
        return pa.table(columns or [pa.array([1])], [f"c{place}" for place in range(max(1, len(types)))])

    def _rows(self, name: str, table: pa.Table | None) -> pa.Table:
        """A base relation as an answer: its distinct rows, absent values included."""
        types = self._plan.columns[name]
        if table is None or not table.num_rows or not types:
            return empty_table(types) if table is None or not table.num_rows else pa.table({"c0": pa.array([1])})
        names = [f"c{place}" for place in range(len(types))]
        schema = pa.schema([(column, ARROW_TYPES[type_]) for column, type_ in zip(names, types, strict=True)])
        bare = table.select(range(len(types))).rename_columns(names).cast(schema)
        return bare.group_by(names, use_threads=False).aggregate([])


def _columns_read(steps: Iterable[Step]) -> dict[str, set[int]]:
    """Which columns of each predicate some rule reads."""
    found: dict[str, set[int]] = {}
    for step in steps:
        if isinstance(step, CountStep):
            for name, places in _columns_read(step.body).items():
                found.setdefault(name, set()).update(places)
        elif isinstance(step, Atom | Negation):
            atom = step if isinstance(step, Atom) else step.atom
            places = {place for place, term in enumerate(atom.terms) if not isinstance(term, Wildcard)}
            found.setdefault(atom.predicate, set()).update(places)
    return found


def _merged(tables: Sequence[Table], width: int) -> Table:
    """All rows of several tables, each once."""
    filled = [table for table in tables if table.rows]
    if not filled:
        return Table([np.zeros(0, np.int64) for _ in range(width)], 0)
    if len(filled) == 1:
        return filled[0].without_repetitions()
    columns = [np.concatenate([table.columns[place] for table in filled]) for place in range(width)]
    return Table(columns, sum(table.rows for table in filled)).without_repetitions()


def _without(table: Table, known: Table) -> Table:
    """The rows that are not known yet."""
    if not table.rows or not known.rows:
        return table
    if not table.columns:
        return Table([], 0)
    fresh = np.flatnonzero(~Index(known.columns).has(table.columns))
    return Table([column[fresh] for column in table.columns], len(fresh))
