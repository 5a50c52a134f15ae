"""Where two runs part: their facts aligned by rank, step and call path, and the first that differs in causal order.

Rows of two runs (traincheck/check/aligned.py) meet on all but moment and fields. A fact that only one run has is a
difference, so is a field that both know and that is not the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from traincheck.check.aligned import ARROW, FIELDS, READ, WIDTH, aligned_rows, traced_steps

__all__ = ["Difference", "Parting", "parting"]

_MOST_SHOWN = 200


@dataclass(frozen=True)
class Difference:
    """One fact that is not the same: `changed` has both values of each field, a side without the fact is missing."""

    kind: str
    rank: int | None
    step: int | None
    subject: str
    aspect: str
    path: tuple[str, ...]  # apis from the outermost call to the one the fact is about
    sites: tuple[str | None, str | None]
    present: tuple[bool, bool]
    changed: Mapping[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class Parting:
    """The differences at the moment where two runs part, and how many there are of each kind over all."""

    first: Sequence[Difference]
    counts: Mapping[str, int]
    compared: int  # facts that both runs have in the steps that both traced
    steps: tuple[int, int]  # steps traced in full by each run
    common: int
    notes: Sequence[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.first and self.steps[0] == self.steps[1] == self.common


def parting(left: Mapping[str, pa.Table], right: Mapping[str, pa.Table]) -> Parting:
    """Compare two runs over the steps that both traced in full, and what belongs to no step."""
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    for side, facts in (("a", left), ("b", right)):
        for name in READ:
            connection.register(f"{side}_{name}", facts[name])
        connection.execute(traced_steps(side))
    both = "SELECT rank, step FROM a_traced INTERSECT SELECT rank, step FROM b_traced"
    connection.execute(f"CREATE TABLE common AS {both}")
    for side in "ab":
        connection.execute(aligned_rows(side))
    connection.execute(_differences())
    counts = connection.execute("SELECT kind, count(*) FROM differences GROUP BY kind ORDER BY min(place)").fetchall()
    cursor = connection.execute(
        f"SELECT * FROM differences ORDER BY place LIMIT {_MOST_SHOWN}"  # place is a row: compared from its left
    )
    names = [column[0] for column in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    first = [_difference(row) for row in found if _moment(row) == _moment(found[0])]
    tables = ("a_traced", "b_traced", "common")
    a, b, common = (_number(connection, f"count(DISTINCT step) FROM {name}") for name in tables)
    compared = _number(connection, "count(*) FROM a_row JOIN b_row USING (rank, step, kind, subject, aspect)")
    return Parting(first, dict(counts), compared, (a, b), common, _notes(connection))


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    number: int = connection.execute(f"SELECT {query}").fetchall()[0][0]
    return number


def _moment(row: Mapping[str, object]) -> tuple[object, ...]:
    """What happens at once is told together."""
    return row["step"], row["moment"], row["rank"]


def _difference(row: Mapping[str, object]) -> Difference:
    names = FIELDS[str(row["kind"])]
    both = [(row[f"a{index}"], row[f"b{index}"]) for index in range(len(names))]
    present = (bool(row["in_a"]), bool(row["in_b"]))
    known = all(present)
    changed = {
        name: (None if a is None else str(a), None if b is None else str(b))
        for name, (a, b) in zip(names, both, strict=True)
        if (a != b and a is not None and b is not None if known else a is not None or b is not None)
    }
    path = str(row["path"]) if row["path"] is not None else ""
    rank, step = row["rank"], row["step"]
    return Difference(
        kind=str(row["kind"]),
        rank=rank if isinstance(rank, int) and rank >= 0 else None,
        step=step if isinstance(step, int) and step >= 0 else None,
        subject=str(row["subject"]),
        aspect=str(row["aspect"]),
        path=tuple(path.split(ARROW)) if path else (),
        sites=(_text(row["a_site"]), _text(row["b_site"])),
        present=present,
        changed=changed,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _differences() -> str:
    """Full join of both sides; what both have and know alike is left out."""
    order = " ".join(f"WHEN '{kind}' THEN {index}" for index, kind in enumerate(FIELDS))
    sides = ", ".join(f"{side}.f{i} AS {side}{i}" for side in "ab" for i in range(WIDTH))
    differ = " OR ".join(f"COALESCE(a.f{i} <> b.f{i}, false)" for i in range(WIDTH))
    return f"""
        CREATE TABLE differences AS
        SELECT kind, rank, step, COALESCE(a.moment, b.moment) AS moment, subject, aspect,
            COALESCE(a.path, b.path) AS path,
            a.site AS a_site, b.site AS b_site, a.f_in IS NOT NULL AS in_a, b.f_in IS NOT NULL AS in_b, {sides},
            row(step, COALESCE(a.moment, b.moment), CASE kind {order} END, rank, subject, aspect) AS place
        FROM (SELECT *, 1 AS f_in FROM a_row) a FULL JOIN (SELECT *, 1 AS f_in FROM b_row) b
            USING (rank, step, kind, subject, aspect)
        WHERE a.f_in IS NULL OR b.f_in IS NULL OR {differ}
    """


def _notes(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """How the two runs were started differently."""
    notes = []
    for column in ("argv", "python", "torch", "world", "host"):
        query = f"SELECT min(CAST({column} AS VARCHAR)) FROM %s_process WHERE role = 'main'"
        a, b = (connection.execute(query % side).fetchall()[0][0] for side in "ab")
        if a != b:
            notes.append(f"{column} is '{a}' and '{b}'")
    return notes
