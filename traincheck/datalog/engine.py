"""What an engine is: something that answers a program's goals over base facts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from traincheck.datalog.program import Program
from traincheck.errors import UsageError
from traincheck.schema import ColumnType

__all__ = ["ARROW_TYPES", "ENGINES", "Answers", "Engine", "empty_table", "engine_named"]

Answers = dict[str, pa.Table]
ENGINES = ("columns", "duckdb", "pydatalog")
ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}


class Engine(Protocol):
    """Answers programs; every engine gives the same answers.

    Arithmetic: whole numbers have 64 bits; a result that does not fit and a remainder by zero are absent, so
    nothing matches them. `%` has the sign of the divisor. A whole number is compared with a fractional one as
    a float. Every nan equals every nan and is greater than all numbers; 0.0 equals -0.0.
    """

    name: str

    def solve(self, program: Program, facts: Mapping[str, pa.Table], goals: Sequence[str]) -> dict[str, pa.Table]:
        """The facts of each goal, a derived or base predicate, as a table of distinct rows with columns c0, c1...

        `facts` holds the base relations, columns by position; only those that the goals need are looked up, and
        one that is missing is empty. Columns are int64, float64 or string. A predicate without terms comes back
        as one int64 column `c0` with one row (it holds) or none. Raises RuleError for a bad program.
        """

    def prepare(self, program: Program, goals: Sequence[str]) -> Callable[[Mapping[str, pa.Table]], Answers]:
        """`solve` for one program and many sets of facts; what can be worked out beforehand is."""


def engine_named(name: str) -> Engine:
    """The engine of that name, one of ENGINES; UsageError for another."""
    if name == "columns":
        from traincheck.datalog.columns_engine import ColumnsEngine

        return ColumnsEngine()
    if name == "duckdb":
        from traincheck.datalog.duckdb_engine import DuckDBEngine

        return DuckDBEngine()
    if name == "pydatalog":
        from traincheck.datalog.pydatalog_engine import PyDatalogEngine

        return PyDatalogEngine()
    raise UsageError(f"there is no engine '{name}'", next_step=f"choose one of {', '.join(ENGINES)}")


def empty_table(types: Sequence[ColumnType]) -> pa.Table:
    """A result table without rows."""
    columns = [ARROW_TYPES[column] for column in types] or [pa.int64()]
    return pa.table([pa.array([], column) for column in columns], [f"c{i}" for i in range(len(columns))])
