"""The default engine: rules become SQL over Arrow facts, recursion is semi-naive iteration."""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import duckdb
import pyarrow as pa

from traincheck.datalog.bodies import CountStep
from traincheck.datalog.engine import Answers
from traincheck.datalog.plan import Plan, PlannedStratum, plan
from traincheck.datalog.program import Program
from traincheck.datalog.sql import SQL_TYPES, Query, RuleCompiler, quoted
from traincheck.schema import ColumnType

__all__ = ["DuckDBEngine", "DuckDBSession", "table_name"]


def table_name(predicate: str) -> str:
    """The table of a predicate: its own name where that is a plain one, else a safe name made from it."""
    if re.fullmatch(r"[a-z][a-z0-9_]*", predicate):
        return predicate
    digest = hashlib.blake2b(predicate.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{re.sub(r'[^a-z0-9]+', '_', predicate.lower())[:40]}_{digest}"


class DuckDBEngine:
    """Answers programs with DuckDB; holds nothing between calls."""

    name = "duckdb"

    def prepare(self, program: Program, goals: Sequence[str]) -> Callable[[Mapping[str, pa.Table]], Answers]:
        """See `Engine.prepare`."""
        return lambda facts: self.solve(program, facts, goals)

    def solve(self, program: Program, facts: Mapping[str, pa.Table], goals: Sequence[str]) -> dict[str, pa.Table]:
        """See `Engine.solve`."""
        with self.session(facts) as session:
            return session.solve(program, goals)

    def session(self, facts: Mapping[str, pa.Table], threads: int | None = None) -> "DuckDBSession":
        """A connection that keeps what it loaded and materialised; `threads` defaults to every core."""
        return DuckDBSession(facts, threads)


class DuckDBSession:
    """One in-memory database over one set of facts, for one thread.

    Base relations are loaded when a program first uses them; they and what `materialise` made stay visible on
    `connection` as tables named `table_name(predicate)`. Base tables keep their Arrow column names (when those
    are distinct), derived ones have c0, c1... Later programs may use a materialised predicate as a base one.
    """

    def __init__(self, facts: Mapping[str, pa.Table], threads: int | None = None) -> None:
        self._facts = facts
        self._tables: dict[str, str] = {}
        self._derived: set[str] = set()
        spill = Path(tempfile.gettempdir()) / f"traincheck-{uuid4().hex}"
        config: dict[str, str | bool | int] = {"temp_directory": str(spill), "preserve_insertion_order": False}
        if threads is not None:
            config["threads"] = threads
        self.connection = duckdb.connect(":memory:", config=config)
        self._own = self.connection.cursor()  # a result that the caller has not read to its end stays undisturbed
        for connection in (self.connection, self._own):
            connection.execute("SET enable_progress_bar = false")
            connection.execute("SET python_enable_replacements = false")  # a table name is never a Python variable

    def __enter__(self) -> "DuckDBSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop every table and give the memory back."""
        self._own.close()
        self.connection.close()

    def solve(self, program: Program, goals: Sequence[str]) -> dict[str, pa.Table]:
        """See `Engine.solve`; nothing that was derived stays."""
        planned = plan(program, goals)
        made = self._derive(planned)
        tables = {**self._tables, **made}
        try:
            return {goal: self._fetch(tables[goal], planned.columns[goal]) for goal in goals}
        finally:
            self._drop(made.values())

    def materialise(self, program: Program, goals: Sequence[str]) -> dict[str, str]:
        """Compute the goals into tables that stay, replacing earlier ones of the same name; returns their names.

        A goal that is a base predicate is loaded and its own table returned (its rows need not be distinct).
        """
        made = self._derive(plan(program, goals))
        for goal in [goal for goal in made if goal in goals]:
            name = table_name(goal)
            self._own.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
            self._own.execute(f"ALTER TABLE {quoted(made.pop(goal))} RENAME TO {quoted(name)}")
            self._tables[goal] = name
            self._derived.add(goal)
        self._drop(made.values())
        return {goal: self._tables[goal] for goal in goals}

    def forget(self, *predicates: str) -> None:
        """Drop the tables of these predicates; a base one is loaded again when next used."""
        self._drop(self._tables.pop(predicate) for predicate in predicates if predicate in self._tables)
        self._derived -= set(predicates)

    def _derive(self, planned: Plan) -> dict[str, str]:
        """Compute every stratum; returns the scratch table of each derived predicate."""
        for predicate in planned.base:
            self._load(predicate, planned.columns[predicate])
        made: dict[str, str] = {}
        nullable = set(planned.base) - self._derived
        try:
            for stratum in planned.strata:
                for predicate in stratum.predicates:
                    made[predicate] = f"_new_{table_name(predicate)}"
                compiler = RuleCompiler(planned.columns, {**self._tables, **made}, nullable)
                if stratum.recursive:
                    self._recurse(stratum, compiler, made)
                else:
                    for predicate in stratum.predicates:
                        self._create(made[predicate], compiler.union(stratum.of(predicate)))
        except BaseException:
            self._drop(made.values())
            raise
        return made

    def _recurse(self, stratum: PlannedStratum, compiler: RuleCompiler, made: Mapping[str, str]) -> None:
        """One predicate that every rule reads at most once is DuckDB's own recursion; the rest is iterated here."""
        first = [rule for rule in stratum.rules if not stratum.recursive_steps(rule)]
        further = [(rule, stratum.recursive_steps(rule)) for rule in stratum.rules if rule not in first]
        counts = any(isinstance(step, CountStep) for rule in stratum.rules for step in rule.steps)
        if len(stratum.predicates) == 1 and first and not counts and all(len(steps) == 1 for _, steps in further):
            query = compiler.fixpoint(first, [(rule, steps[0][0]) for rule, steps in further])
            self._create(made[stratum.predicates[0]], query)
        else:
            self._iterate(stratum, compiler, made)

    def _iterate(self, stratum: PlannedStratum, compiler: RuleCompiler, made: Mapping[str, str]) -> None:
        """Semi-naive iteration: each round joins what the last round added with everything known.

        # all(X...)   :- base case.
        # next(X...)  :- body with one recursive atom read from recent, not all(X...).
        # all(X...)   :- next(X...).        recent := next, until every next is empty
        """
        recent = {predicate: f"_recent_{made[predicate]}" for predicate in stratum.predicates}
        following = {predicate: f"_next_{made[predicate]}" for predicate in stratum.predicates}
        try:
            for predicate in stratum.predicates:
                first = [rule for rule in stratum.of(predicate) if not stratum.recursive_steps(rule)]
                self._create(made[predicate], compiler.union(first) if first else compiler.nothing(predicate))
                self._create(recent[predicate], Query(f"FROM {quoted(made[predicate])}", {}))
            while any(self._count(recent[predicate]) for predicate in stratum.predicates):
                for predicate in stratum.predicates:
                    self._advance(stratum, predicate, compiler, made, recent, following)
                for predicate in stratum.predicates:
                    self._own.execute(f"INSERT INTO {quoted(made[predicate])} FROM {quoted(following[predicate])}")
                recent, following = following, recent
        finally:
            self._drop((*recent.values(), *following.values()))

    def _advance(
        self,
        stratum: PlannedStratum,
        predicate: str,
        compiler: RuleCompiler,
        made: Mapping[str, str],
        recent: Mapping[str, str],
        following: Mapping[str, str],
    ) -> None:
        """One round of one predicate: what follows from the recent facts and is not known yet."""
        deltas = [
            (rule, position, recent[used])
            for rule in stratum.of(predicate)
            for position, used in stratum.recursive_steps(rule)
        ]
        found = compiler.delta(deltas) if deltas else compiler.nothing(predicate)
        query = Query(f"({found.text}) EXCEPT FROM {quoted(made[predicate])}", found.parameters)
        self._create(following[predicate], query)

    def _load(self, predicate: str, types: Sequence[ColumnType]) -> None:
        """Copy a base relation into the database once, in its declared types."""
        if predicate in self._tables:
            return
        name = table_name(predicate)
        table = self._facts.get(predicate)
        if table is None:
            columns = ", ".join(f"c{i} {SQL_TYPES[kind]}" for i, kind in enumerate(types)) or "c0 BIGINT"
            self._own.execute(f"CREATE TABLE {quoted(name)} ({columns})")
        elif not types:
            self._own.execute(f"CREATE TABLE {quoted(name)} AS SELECT 1::BIGINT AS c0 WHERE {table.num_rows > 0}")
        else:
            self._copy(name, table, types)
        self._tables[predicate] = name

    def _copy(self, name: str, table: pa.Table, types: Sequence[ColumnType]) -> None:
        names = list(table.column_names[: len(types)])
        if len({column.lower() for column in names}) < len(names):
            names = [f"c{i}" for i in range(len(names))]
        arrow = table.select(range(len(types))).rename_columns([f"c{i}" for i in range(len(types))])
        columns = ", ".join(
            f"CAST(c{i} AS {SQL_TYPES[kind]}) AS {quoted(column)}"
            for i, (column, kind) in enumerate(zip(names, types, strict=True))
        )
        self._own.register("_incoming", arrow)
        try:
            self._own.execute(f"CREATE TABLE {quoted(name)} AS SELECT {columns} FROM _incoming")
        finally:
            self._own.unregister("_incoming")

    def _create(self, name: str, query: Query) -> None:
        self._own.execute(f"CREATE OR REPLACE TABLE {quoted(name)} AS {query.text}", dict(query.parameters))

    def _count(self, name: str) -> int:
        return int(self._own.execute(f"SELECT COUNT(*) FROM {quoted(name)}").fetchall()[0][0])

    def _drop(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._own.execute(f"DROP TABLE IF EXISTS {quoted(name)}")

    def _fetch(self, name: str, types: Sequence[ColumnType]) -> pa.Table:
        columns = ", ".join(f"c{i}" for i in range(max(1, len(types))))
        return self._own.sql(f"SELECT DISTINCT * FROM {quoted(name)} AS t({columns})").to_arrow_table()
