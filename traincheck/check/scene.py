"""The facts of an example, with all that it leaves unsaid, as a trace would hold them.

Events happen in the order in which they are written, those with a `parent` or `call` inside that call. What is said
wins; `_` says that a value is absent; what is not said and has no default here is absent too.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import pyarrow as pa

from traincheck.dsl.examples import cells
from traincheck.dsl.syntax import Atom, Value
from traincheck.facts.build import relation_schema
from traincheck.schema import RELATIONS

_Row = dict[str, Any]

_DEFAULTS: Mapping[str, Mapping[str, int | str]] = {
    "process": {"role": "main", "outcome": "returned"},
    "step": {"closed": "true"},
    "call": {"api": "", "thread": 0, "stage": "train", "outcome": "returned", "site": ""},
    "result": {"name": ""},
    "variable": {"kind": "parameter", "requires_grad": "true"},
    "holds": {"group": 0},
}
_OUTSIDE = {"call": "parent", "update": "call"}  # the column that names the call around an event
_IN_STEPS = ("call", "update", "state", "metric")


def tables_of(facts: Iterable[Atom]) -> dict[str, pa.Table]:
    """Every relation of the schema; `facts` are those of the example's settings, then its own."""
    rows = _Scene(facts).rows
    return {name: pa.Table.from_pylist(rows[name], relation_schema(relation)) for name, relation in RELATIONS.items()}


class _Scene:
    def __init__(self, facts: Iterable[Atom]) -> None:
        self.rows: dict[str, list[_Row]] = defaultdict(list)
        self._written = [(atom.relation, _row(atom)) for atom in facts]
        for relation, row in self._written:
            self.rows[relation].append(row)
        self._give_ids()
        self._fill_processes()
        for relation, row in self._written:
            self._fill(relation, row)
        self._order_events()
        self._fill_steps()
        self._derive()

    def _give_ids(self) -> None:
        """Ids for what has none; calls, updates and all else draw from one source, above every id that is given."""
        given = [row["id"] for _, row in self._written if "id" in row]
        free = count(max([0, *given]) + 1)
        for relation, row in self._written:
            if RELATIONS[relation].columns[0].name == "id" and relation != "process":
                row.setdefault("id", next(free))
        self._fresh = free

    def _fill_processes(self) -> None:
        """Unless they are stated: one process for each rank or process that is spoken of, 0 at least."""
        if not self.rows["process"]:
            spoken_of = {row.get(column) for _, row in self._written for column in ("process", "rank")}
            numbers = sorted({0, *(number for number in spoken_of if number is not None)})
            self.rows["process"] = [{"id": number} for number in numbers]
        for index, row in enumerate(self.rows["process"]):
            row.setdefault("id", index)
            row.setdefault("rank", row["id"])
        world = len({row["rank"] for row in self.rows["process"]})
        for row in self.rows["process"]:
            _set_defaults(row, {"world": world, **_DEFAULTS["process"]})
        self._rank = {row["id"]: row["rank"] for row in self.rows["process"]}
        self._process = {row["rank"]: row["id"] for row in reversed(self.rows["process"])}

    def _fill(self, relation: str, row: _Row) -> None:
        """Everything but moments; what an event is in has been filled before it."""
        around = self._find("call", row.get(_OUTSIDE.get(relation, ""))) or {}
        owner = (self._find("variable", row.get("variable")) if relation == "state" else None) or {}
        first = self.rows["process"][0]
        columns = {column.name for column in RELATIONS[relation].columns}
        if "process" in columns:
            beside = self._process.get(row["rank"]) if "rank" in row else around.get("process", first["id"])
            row.setdefault("process", beside)
            row.setdefault("rank", self._rank.get(row["process"]))
        elif "rank" in columns:
            row.setdefault("rank", owner.get("rank", first["rank"]))
        if relation in _IN_STEPS:
            row.setdefault("step", around.get("step", 0))
        if relation == "call" and "exit" in row and row["exit"] is None:
            row.setdefault("outcome", None)
        _set_defaults(row, _DEFAULTS.get(relation, {}))

    def _find(self, relation: str, number: int | None) -> _Row | None:
        return next((row for row in self.rows[relation] if number is not None and row["id"] == number), None)

    def _order_events(self) -> None:
        """`enter`, `exit` and `at`: each event in turn, and what is inside a call before its exit."""
        inside: dict[int | None, list[tuple[str, _Row]]] = defaultdict(list)
        for relation, row in self._written:
            if relation in ("call", "update", "state"):
                inside[row.get(_OUTSIDE.get(relation, ""))].append((relation, row))
        moments = count()

        def happen(relation: str, row: _Row) -> None:
            row.setdefault("enter" if relation == "call" else "at", next(moments))
            if relation == "call":
                for event in inside[row["id"]]:
                    happen(*event)
                end = next(moments)
                row.setdefault("exit", end if row["outcome"] is not None else None)

        for event in inside[None]:
            happen(*event)

    def _fill_steps(self) -> None:
        """A step for each that is spoken of, from its first event to its last."""
        events: dict[tuple[int, int], list[int]] = defaultdict(list)
        for relation in _IN_STEPS:
            for row in self.rows[relation]:
                process = row["process"] if "process" in row else self._process.get(row["rank"])
                if row["step"] is not None and process is not None:
                    moments = (row.get(column) for column in ("enter", "exit", "at"))
                    events[process, row["step"]] += [moment for moment in moments if moment is not None]
        stated = {(row["process"], row.get("step")) for row in self.rows["step"]}
        for process, step in sorted(events.keys() - stated):
            self.rows["step"].append(
                {"id": next(self._fresh), "process": process, "rank": self._rank.get(process), "step": step}
            )
        for row in self.rows["step"]:
            own = events.get((row["process"], row["step"]), []) if row.get("step") is not None else []
            first, last = min(own, default=0), max(own, default=0)
            _set_defaults(row, {"enter": first, "exit": last + 1, **_DEFAULTS["step"]})

    def _derive(self) -> None:
        """What a trace's reader works out: nesting, the call graph, and how often each api was called before."""
        for relation in ("call", "update"):
            for row in self.rows[relation]:
                self._add(
                    "contains", ({"outer": outer["id"], "inner": row["id"]} for outer in self._around(relation, row))
                )
        for row in self.rows["call"]:
            outer = self._find("call", row.get("parent"))
            self._add("invokes", [{"outer": outer["api"], "inner": row["api"]}] if outer else [])
        seen: dict[tuple[object, ...], int] = defaultdict(int)
        for row in sorted(self.rows["call"], key=lambda row: row["enter"]):
            same_api = (row["process"], row["api"])
            same_object = (*same_api, row.get("receiver"))
            turn = {} if row.get("receiver") is None else {"turn": seen[same_object]}
            self._add("ordinal", [{"call": row["id"], "index": seen[same_api], **turn}])
            seen[same_api] += 1
            seen[same_object] += 1

    def _around(self, relation: str, row: _Row) -> Iterator[_Row]:
        """The calls around an event, inside out."""
        outer = self._find("call", row.get(_OUTSIDE[relation]))
        while outer is not None:
            yield outer
            outer = self._find("call", outer.get("parent"))

    def _add(self, relation: str, rows: Iterable[_Row]) -> None:
        self.rows[relation] += [row for row in rows if row not in self.rows[relation]]


def _row(atom: Atom) -> _Row:
    """A fact's columns as it states them; an absent one is None."""
    return {column.name: term.value if isinstance(term, Value) else None for column, term in cells(atom)}


def _set_defaults(row: _Row, defaults: Mapping[str, int | str]) -> None:
    for column, value in defaults.items():
        row.setdefault(column, value)
