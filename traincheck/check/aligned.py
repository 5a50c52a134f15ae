"""SQL that makes the facts of a run comparable with those of another: names and call paths instead of ids.

Every fact becomes a row (kind, rank, step, moment, subject, aspect, path, site, fields): the subject is a call by its
path and ordinal within the step, a variable or a metric; the aspect is one thing about it. Moments count events from
the beginning of a step. What belongs to no rank or step has -1 there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["ARROW", "FIELDS", "READ", "WIDTH", "aligned_rows", "traced_steps"]

ARROW = " > "  # between the apis of a path
WIDTH = 7  # fields of a row

_VALUE = ("type", "value", "class", "dtype", "shape", "device", "fingerprint")

# kind -> the columns that are compared; facts of one moment come in this order
FIELDS: Mapping[str, Sequence[str]] = {
    "variable": ("kind", "dtype", "shape", "device", "requires_grad"),
    "holds": (),
    "call": (),
    "context": ("value",),
    "argument": _VALUE,
    "update": ("before", "after"),
    "result": _VALUE,
    "end": ("outcome",),
    "state": ("class", "fingerprint", "norm", "minimum", "maximum", "nonfinite"),
    "metric": ("value",),
}

# the relations that are read
READ: Sequence[str] = (
    *("process", "step", "window", "call", "object", "variable", "holds"),
    *("context", "arg", "result", "update", "state", "metric"),
)

_COLUMNS = ("rank", "step", "moment", "subject", "aspect", "path", "site")
_LAST = 2**63 - 1


@dataclass(frozen=True)
class _Source:
    """Where the rows of a kind come from: `x` holds the columns to compare."""

    kind: str
    origin: str
    rank: str = "COALESCE(x.rank, -1)"
    step: str = "COALESCE(x.step, -1)"
    moment: str = "x.at - COALESCE(b.begun, 0)"
    subject: str = ""
    aspect: str = "''"
    path: str = "NULL"
    site: str = "NULL"

    def select(self) -> str:
        """One SELECT with the columns of a row."""
        fields = [f'CAST(x."{column}" AS VARCHAR)' for column in FIELDS[self.kind]]
        fields += ["NULL"] * (WIDTH - len(fields))
        columns = {name: getattr(self, name) for name in _COLUMNS}
        columns |= {f"f{index}": expression for index, expression in enumerate(fields)}
        selected = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
        return f"SELECT '{self.kind}' AS kind, {selected} FROM {self.origin}"


def traced_steps(side: str) -> str:
    """Table `side_traced`: the steps that were traced in full; without windows, all."""
    return f"""
        CREATE TABLE {side}_traced AS SELECT DISTINCT s.rank, s.step FROM {side}_step s
        WHERE NOT EXISTS (SELECT 1 FROM {side}_window) OR EXISTS (
            SELECT 1 FROM {side}_window w
            WHERE w.rank = s.rank AND w.complete = 'true' AND s.step BETWEEN w.first_step AND w.last_step)
    """


def aligned_rows(side: str) -> str:
    """Table `side_row` over the steps in `common`, from the relations registered as `side_...`."""
    return f"""
        CREATE TABLE {side}_begun AS SELECT process, rank, step, min(enter) AS begun FROM {side}_step
            GROUP BY process, rank, step;
        CREATE TABLE {side}_named AS
            SELECT *, name || CASE WHEN nth = 1 THEN '' ELSE ' #' || nth END AS called
            FROM (SELECT *, row_number() OVER (PARTITION BY rank, name ORDER BY id) AS nth FROM {side}_variable);
        CREATE TABLE {side}_place AS
        WITH RECURSIVE
        nested AS (
            SELECT id, api AS path FROM {side}_call WHERE parent IS NULL
            UNION ALL
            SELECT c.id, n.path || '{ARROW}' || c.api FROM {side}_call c JOIN nested n ON c.parent = n.id),
        known AS (
            SELECT c.*, p.role AS role FROM {side}_call c LEFT JOIN {side}_process p ON p.id = c.process
            WHERE c.step IS NULL OR {_in_common("c")})
        SELECT k.id, COALESCE(k.rank, -1) AS rank, COALESCE(k.step, -1) AS step, k.site, k.outcome, n.path,
            k.enter - COALESCE(b.begun, 0) AS entered, COALESCE(k.exit, {_LAST}) - COALESCE(b.begun, 0) AS left_at,
            n.path || ' #' || row_number() OVER (PARTITION BY k.role, k.rank, k.step, n.path ORDER BY k.enter, k.id)
                || CASE WHEN k.role = 'main' THEN '' ELSE ' in a worker' END AS subject
        FROM known k JOIN nested n USING (id)
            LEFT JOIN {side}_begun b ON b.process = k.process AND b.rank = k.rank AND b.step = k.step;
        CREATE TABLE {side}_row AS {" UNION ALL ".join(source.select() for source in _sources(side))}
    """


def _sources(s: str) -> Iterator[_Source]:
    start = {"rank": "COALESCE(x.rank, -1)", "step": "-1", "moment": "-1"}
    of_call = {"rank": "p.rank", "step": "p.step", "subject": "p.subject", "path": "p.path", "site": "p.site"}
    call = f"JOIN {s}_place p ON p.id = x.call"
    name = f"JOIN {s}_named v ON v.id = x.variable"
    starts = f"(SELECT rank, step, min(begun) AS begun FROM {s}_begun GROUP BY rank, step)"
    begun = f"LEFT JOIN {starts} b ON b.rank = x.rank AND b.step = x.step"
    nth = "' #' || row_number() OVER (PARTITION BY x.rank, x.step, x.variable, x.attr{} ORDER BY x.at)"
    yield _Source("variable", f"{s}_named x", **start, subject="x.called")
    held = f"""(SELECT o.rank, o.type || ' group ' || h."group" AS holder, v.called FROM {s}_holds h
        JOIN {s}_object o ON o.id = h.optimizer JOIN {s}_named v ON v.id = h.variable) x"""
    yield _Source("holds", held, **start, subject="x.holder", aspect="x.called")
    yield _Source("call", f"{s}_place p", **of_call, moment="p.entered")
    yield _Source("context", f"{s}_context x {call}", **of_call, moment="p.entered", aspect="x.key")
    yield _Source("argument", f"{s}_arg x {call}", **of_call, moment="p.entered", aspect="x.name")
    yield _Source("result", f"{s}_result x {call}", **of_call, moment="p.left_at", aspect="x.name")
    yield _Source("end", f"{s}_place p JOIN {s}_call x ON x.id = p.id", **of_call, moment="p.left_at")
    yield _Source(
        "update",
        f"{s}_update x {name} LEFT {call} {begun} WHERE {_in_common('x')}",
        subject="v.called",
        aspect="x.attr || " + nth.format(""),
        path="p.path",
        site="p.site",
    )
    yield _Source(
        "state",
        f"{s}_state x {name} {begun} WHERE {_in_common('x')}",
        subject="v.called",
        aspect="x.attr || ' ' || x.point || " + nth.format(", x.point"),
    )
    metrics = f"{s}_metric x WHERE x.step IS NULL OR {_in_common('x')}"
    yield _Source("metric", metrics, moment=str(_LAST), subject="x.name")


def _in_common(row: str) -> str:
    return f"EXISTS (SELECT 1 FROM common k WHERE k.rank = {row}.rank AND k.step = {row}.step)"
