"""From violating examples to places: which step, call, variable and source line each law first broke at."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from traincheck.check.program import LawProgram

# For each sort of an example's column: the relation to look it up in and the columns it lends to a place.
LOOKUPS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "call": ("call", {"rank": "rank", "step": "step", "seq": "enter", "api": "api", "site": "site", "time": "time"}),
    "update": ("update", {"rank": "rank", "step": "step", "seq": "at"}),
    "variable": ("variable", {"rank": "rank", "variable": "name"}),
    "record": ("record", {"rank": "rank", "step": "step", "seq": "at", "time": "time"}),
    "window": ("step", {"rank": "rank", "step": "step", "seq": "enter"}),
}
MOST_NAMES = 8  # names that a violation carries
_FIELDS = ("rank", "step", "seq", "api", "variable", "site", "time")


@dataclass
class Locator:
    """Looks examples up in the facts of one trace."""

    facts: Mapping[str, pa.Table]

    def __post_init__(self) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("SET enable_progress_bar = false")
        self._registered: set[str] = set()

    def before(self, program: LawProgram, examples: pa.Table, violated: pa.Table) -> dict[str, int]:
        """For each law with rows in `violated`: how many of its `examples` come before the first of those."""
        sorts = [program.sorts[name] for name in program.grounding.key]
        self._register(sorts)
        self._connection.register("violated", violated)
        self._connection.register("examples", examples)
        query = (
            f"WITH broken AS (SELECT c0, min(place_order) AS place_order FROM ({_placed(sorts)}) GROUP BY c0) "
            f"SELECT b.c0, count(e.c0) FROM broken b LEFT JOIN ({_placed(sorts, 'examples')}) e "
            "ON e.c0 = b.c0 AND e.place_order < b.place_order GROUP BY b.c0"
        )
        return {program.laws[number].id: count for number, count in self._connection.execute(query).fetchall()}

    def _register(self, sorts: Iterable[str]) -> None:
        """Make the relations known in which things of these sorts are looked up."""
        wanted = {LOOKUPS[sort][0] for sort in sorts if sort in LOOKUPS}
        for relation in wanted - self._registered:
            self._connection.register(f"fact_{relation}", self.facts[relation])
            self._registered.add(relation)


def _placed(sorts: Sequence[str], examples: str = "violated") -> str:
    """SQL: every row of a table of examples with the fields of its place, the first column that knows one wins."""
    joins = []
    sources: dict[str, list[str]] = {name: [] for name in _FIELDS}
    for index, sort in enumerate(sorts):
        column = f"v.c{index + 1}"
        if sort in ("step", "rank"):
            sources[sort].append(column)
        elif sort in LOOKUPS:
            relation, lends = LOOKUPS[sort]
            joins.append(f" LEFT JOIN fact_{relation} f{index} ON f{index}.id = {column}")
            for name, source in lends.items():
                sources[name].append(f"f{index}.{source}")
    fields = [f"COALESCE({', '.join([*found, 'NULL'])}) AS {name}" for name, found in sources.items()]
    order = (
        "row(COALESCE(step, 9223372036854775807), COALESCE(seq, 9223372036854775807), "
        + (", ".join(f"c{index + 1}" for index in range(len(sorts))) or "0")
        + ")"
    )
    inner = f"SELECT v.*, {', '.join(fields)} FROM {examples} v{''.join(joins)}"
    return f"SELECT *, {order} AS place_order FROM ({inner})"
