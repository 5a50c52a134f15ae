"""What one process of a growing trace has written and nobody has taken yet, and where its steps may be cut apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traincheck.facts.build import build
from traincheck.facts.functions import is_followed, moments, nested
from traincheck.facts.raw import Ints, RawProcess, last_rows, whole_number
from traincheck.facts.spans import with_imported
from traincheck.trace import ProcessReader
from traincheck.trace.layout import MARK_END, MARK_FLUSHED, MARK_STEP, NULL, STOPPED, STOPPED_BY_FAILURE

__all__ = ["END", "GrowingProcess", "Part", "settled"]

END = np.iinfo(np.int64).max
"""Later than every event."""

_KEYS = {
    "calls": "enter", "links": "call", "exchanges": "call", "raised": "call", "updates": "id", "states": "at",
    "metrics": "at", "stored": "call", "adjustments": "at", "records": "id", "spans": "id",
}  # fmt: skip
"""The families of events, with the column that says when."""

Rows = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Events of one process; its steps are those that begin from `first` on and before `end`.

    `earlier` numbers calls on from those that were taken before.
    """

    process: RawProcess
    first: int
    end: int
    earlier: Mapping[str, Any]

    def table(self, name: str) -> Any:
        """The part of relation `name`."""
        table = build(name, self.process)
        if name == "step":
            enter = table["enter"].to_numpy()
            return table.filter(pa.array((enter >= self.first) & (enter < self.end)))
        if name == "ordinal" and table.num_rows:
            places = np.searchsorted(self.earlier["enter"], table["call"].to_numpy() - self.process.base)
            for column in ("index", "turn"):
                if column in table.column_names:
                    moved = pc.add(table[column], pa.array(self.earlier[column][places]))
                    table = table.set_column(table.column_names.index(column), table.schema.field(column), moved)
        return table


def reading_warnings(name: str, lost_names: bool, torn: bool, info: Mapping[str, str]) -> list[str]:
    """What to say of a process of which something was not there to read."""
    if info.get(STOPPED) == STOPPED_BY_FAILURE:
        return [f"{name} stopped recording after {STOPPED_BY_FAILURE}: what it did later is absent from the facts"]
    if lost_names:
        return [f"{name} lost the end of its stream 'names': what it named is absent from the facts"]
    return [f"{name} did not end normally: read up to its last whole batch"] if torn else []


def settled(calls: Rows) -> Rows:
    """One row for each call; one that was open at a flush has another row, without an exit, before or after its own."""
    calls = _chosen(calls, np.argsort(calls["exit"], kind="stable"))
    return _chosen(calls, last_rows(calls["enter"]))


class GrowingProcess:
    """One process: `poll` adds what was written since, `take` removes the events before a cut."""

    def __init__(self, index: int, reader: ProcessReader) -> None:
        self.index = index
        self.reader = reader
        self.cuts: dict[int, int] = {}
        self.behind = False
        self.gone = False
        self._info: dict[str, str] = {}
        self._texts: list[str] = []
        self._last_word = -1
        self._rows: dict[str, Rows] = {}
        self._taken_to = 0
        self._steps_to = 0
        self._read_to = END
        self._counted: dict[int, int] = {}
        self._counted_turns: dict[tuple[int, int], int] = {}

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.reader.name

    @property
    def info(self) -> Mapping[str, str]:
        """What the process says about itself."""
        return self._info

    @property
    def rank(self) -> int:
        """Its rank; 0 when the run is not distributed."""
        return whole_number(self._info, "rank") or 0

    @property
    def world(self) -> int:
        """How many ranks the run has."""
        return whole_number(self._info, "world") or 1

    @property
    def worker(self) -> bool:
        """Whether the process only loads data."""
        return self._info.get("role") == "worker"

    @property
    def ended(self) -> bool:
        """Whether the process said that it ended, or is known to be gone, and everything was read."""
        return not self.behind and (self.gone or bool((self._rows["marks"]["kind"] == MARK_END).any()))

    @property
    def warnings(self) -> list[str]:
        """What is to be said of how the process was read."""
        return reading_warnings(self.name, self._last_word >= len(self._texts), self.reader.torn, self._info)

    @property
    def trains(self) -> bool:
        """Whether it has begun a second step."""
        return bool((self._rows["marks"]["kind"] == MARK_STEP).any())

    def poll(self, most_bytes: int | None) -> bool:
        """Read what was added, at most about `most_bytes` of each family of events; whether there was anything."""
        tables = self.reader.poll(dict.fromkeys(_KEYS, most_bytes) if most_bytes is not None else {})
        process, names = tables["process"], tables["names"]
        self._info |= dict(zip(process["key"].to_pylist(), process["value"].to_pylist(), strict=True))
        self._texts += names["text"].to_pylist()
        grown = False
        for family, table in sorted(
            tables.items(), key=lambda item: item[0] != "functions"
        ):  # by these calls are timed
            if family not in ("process", "names") and (table.num_rows or family not in self._rows):
                grown |= bool(table.num_rows)
                rows = {column: table[column].to_numpy() for column in table.column_names}
                if family in _KEYS and self._taken_to:  # what belongs to a step that is gone comes too late
                    rows = _chosen(rows, np.flatnonzero(self._when(family, rows) >= self._taken_to))
                self._rows[family] = _joined(self._rows.get(family), rows)
        self.behind = bool(self.reader.behind)
        self._read_to = min((self._last(family) for family in self.reader.behind if family in _KEYS), default=END)
        return grown

    def _when(self, family: str, rows: Rows) -> Ints:
        """The moments that decide with which steps rows go."""
        return moments(rows, self._rows["functions"]) if family == "calls" else np.asarray(rows[_KEYS[family]])

    def _last(self, family: str) -> int:
        """Up to where a family that was not read to its end is complete."""
        rows = self._rows[family]
        columns = [rows["enter"], rows["exit"]] if family == "calls" else [rows[_KEYS[family]]]
        return max((int(column.max()) for column in columns if len(column)), default=0)

    def find_cuts(self) -> None:
        """Work out at which steps the events may be cut: no call is open across the cut, and all before it is read."""
        marks = self._rows["marks"]
        begins = (marks["kind"] == MARK_STEP) & (marks["seq"] > self._taken_to) & (marks["seq"] <= self._read_to)
        self.cuts = {}
        if len(self._rows["records"]["id"]) or not begins.any():
            return
        seqs, steps = marks["seq"][begins], marks["step"][begins]
        enters, latest = self._latest_exits(followed=False)
        before = np.searchsorted(enters, seqs)
        free = np.where(before > 0, latest[np.maximum(before - 1, 0)] < seqs, True) if len(enters) else before >= 0
        self.cuts = {int(step): int(seq) for step, seq in zip(steps[free], seqs[free], strict=True)}

    def can_cut(self, step: int) -> bool:
        """Whether everything before `step` is there, with no call open at its begin."""
        if step in self.cuts:
            return True
        marks = self._rows["marks"]
        steps = marks["step"][marks["kind"] == MARK_STEP]
        return self.ended and not (steps >= step).any()

    def events_before(self, step: int) -> int:
        """How many calls there are to take with a cut at `step`."""
        return int(np.count_nonzero(self._rows["calls"]["enter"] < self.cuts.get(step, END)))

    def safe_end(self) -> int:
        """The latest cut of a process that has no steps."""
        if self.ended:
            return END
        marks = self._rows["marks"]
        flushed = marks["seq"][marks["kind"] == MARK_FLUSHED]
        limit = min(int(flushed.max()) if len(flushed) else 0, self._read_to)
        enters, latest = self._latest_exits(followed=True)
        if not len(enters) or latest[-1] < limit:
            return limit
        free = np.append(True, latest[:-1] < enters[1:]) & (enters <= limit)
        return int(enters[free].max()) if free.any() else self._taken_to

    def _latest_exits(self, followed: bool) -> tuple[Ints, Ints]:
        """The calls' entries in order, and the latest exit of all calls up to each of them.

        Without `followed` functions where steps are cut: they are none if a step ends in them.
        """
        calls = settled(self._rows["calls"])
        if not followed:
            calls = _chosen(calls, np.flatnonzero(~is_followed(calls, self._rows["functions"])))
        calls = _chosen(calls, np.argsort(calls["enter"]))
        exits = np.where(calls["exit"] == NULL, END, calls["exit"])
        if (exits == END).any():
            outermost = calls["parent"] == NULL
            for thread in np.unique(calls["thread"][exits == END]):
                # an open call is left for good once its thread has begun another outermost one
                newest = calls["enter"][outermost & (calls["thread"] == thread)].max(initial=-1)
                left = (calls["thread"] == thread) & (exits == END) & (calls["enter"] < newest)
                exits[left] = calls["enter"][left]
        return calls["enter"], np.maximum.accumulate(exits)

    def take(self, end: int, stepping: bool = True) -> "Part":
        """Remove and return the events before `end`, with what is known of everything that lasts.

        A process that is not `stepping` keeps its steps to itself for now: nobody waits for them.
        """
        taken: dict[str, Rows] = {}
        for family, rows in self._rows.items():
            if family in _KEYS:
                early = self._when(family, rows) < end
                taken[family] = _chosen(rows, np.flatnonzero(early))
                self._rows[family] = _chosen(rows, np.flatnonzero(~early))
            else:
                taken[family] = rows
        taken["calls"] = settled(taken["calls"])
        taken["calls"] = nested(taken)
        self._last_word = max(self._last_word, int(taken["calls"]["api"].max(initial=-1)))
        self._taken_to = end
        first, self._steps_to = self._steps_to, end if stepping else self._steps_to
        process = RawProcess(self.index, self.name, taken, list(self._texts), self.reader.torn, dict(self._info))
        return Part(with_imported(process), first, self._steps_to, self._count(taken["calls"]))

    def _count(self, calls: Rows) -> Mapping[str, Any]:
        """For each call, by entry, how many of its API, and of its API on its object, were taken before these."""
        calls = _chosen(calls, np.argsort(calls["enter"]))
        enters = calls["enter"]
        index, turn = np.zeros(len(enters), np.int64), np.zeros(len(enters), np.int64)
        for api in np.unique(calls["api"]).tolist():
            mine = calls["api"] == api
            index[mine] = self._counted.get(api, 0)
            self._counted[api] = self._counted.get(api, 0) + int(np.count_nonzero(mine))
        pairs, where, counts = np.unique(
            np.stack([calls["receiver"], calls["api"]]), axis=1, return_inverse=True, return_counts=True
        )
        before = np.zeros(len(counts), np.int64)
        for place, (pair, count) in enumerate(zip(pairs.T.tolist(), counts.tolist(), strict=True)):
            before[place] = self._counted_turns.get(tuple(pair), 0)
            self._counted_turns[tuple(pair)] = int(before[place]) + count
        turn = before[where.reshape(-1)] if len(enters) else turn
        return {"enter": enters, "index": index, "turn": turn}


def _chosen(rows: Rows, places: Any) -> Rows:
    return {column: values[places] for column, values in rows.items()}


def _joined(rows: Rows | None, more: Rows) -> Rows:
    if rows is None or not len(next(iter(rows.values()))):
        return more
    return {column: np.concatenate([values, more[column]]) for column, values in rows.items()}
