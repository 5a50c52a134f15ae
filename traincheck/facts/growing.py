"""The facts of a trace that is still being written, some whole steps at a time.

A step is *closed* once every process of the run has begun a later one or has ended. Steps are handed out together
with everything that belongs to them; where a call spans the end of a step, the steps that it spans come together.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from traincheck.facts.build import relation_schema
from traincheck.facts.pending import END, GrowingProcess, Part
from traincheck.schema import RELATIONS
from traincheck.trace import TraceReader

__all__ = ["MOST_BYTES", "MOST_EVENTS", "Batch", "GrowingTrace"]

MOST_BYTES = 1 << 20
"""How much of each stream to read at once, so that memory does not grow with a backlog."""
MOST_EVENTS = 40_000
"""How many calls to take at once."""

_DISTINCT = frozenset(("subclass", "overrides", "invokes", "member", "unrecorded"))


class Batch(Mapping[str, Any]):
    """The facts of some closed steps; relations that no step owns are as they are known so far."""

    def __init__(self, path: Path, parts: Sequence[Part], before: int | None) -> None:
        """`before` is the step at which the facts end; None for the last of a trace."""
        self.path = path
        self.before = before
        self.parts = parts
        self._tables: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        found = self._tables.get(name)
        if found is None:
            schema = relation_schema(RELATIONS[name])
            found = pa.concat_tables([schema.empty_table(), *(part.table(name) for part in self.parts)])
            if name in _DISTINCT:
                found = found.group_by(found.column_names, use_threads=False).aggregate([])
            self._tables[name] = found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(RELATIONS)

    def __len__(self) -> int:
        return len(RELATIONS)


class GrowingTrace:
    """Follows a trace: `poll` reads what was added, `take` hands out closed steps."""

    def __init__(self, path: Path | str, most_bytes: int | None = None) -> None:
        """`most_bytes` bounds what one poll reads of each stream, and with it the memory that a backlog takes."""
        self._reader = TraceReader(path)
        self._most_bytes = most_bytes
        self.processes: list[GrowingProcess] = []

    @property
    def path(self) -> Path:
        """The trace's folder."""
        return self._reader.path

    def poll(self) -> bool:
        """Read what was added since; whether there was anything."""
        for reader in self._reader.processes()[len(self.processes) :]:
            self.processes.append(GrowingProcess(len(self.processes), reader))
        grown = [process.poll(self._most_bytes) for process in self.processes]
        return any(grown)

    @property
    def behind(self) -> bool:
        """Whether the last poll left rows on disk unread."""
        return any(process.behind for process in self.processes)

    def last(self) -> Batch:
        """Nothing more will be written: everything that is left, closed or not."""
        return Batch(self.path, [process.take(END) for process in self.processes], None)

    def take(self, most_events: int | None = None) -> Batch | None:
        """The next closed steps, as many as there are up to about `most_events`; None when there are none yet."""
        mains = _stepping(self.processes)
        if not mains or not _all_ranks(mains):
            return None
        step = _next_cut(mains, most_events)
        if step is None:
            return None
        parts = [
            process.take(process.cuts.get(step, END)) if process in mains else process.take(process.safe_end(), False)
            for process in self.processes
        ]
        return Batch(self.path, parts, step)


def _stepping(processes: Sequence[GrowingProcess]) -> list[GrowingProcess]:
    """The processes whose steps count; one that only starts those that train has none that anybody waits for."""
    mains = [process for process in processes if not process.worker]
    training = any(process.trains for process in mains)
    return [process for process in mains if process.trains or process.world > 1 or not training]


def _all_ranks(mains: Sequence[GrowingProcess]) -> bool:
    """Whether every rank of the run has appeared."""
    ranks = {process.rank for process in mains}
    return all(len(ranks) >= process.world for process in mains)


def _next_cut(mains: Sequence[GrowingProcess], most_events: int | None) -> int | None:
    """The step to cut before: the last one that all can be cut at, or the first with enough before it."""
    for process in mains:
        process.find_cuts()
    good = sorted(
        step for step in {step for process in mains for step in process.cuts} if all(p.can_cut(step) for p in mains)
    )
    if not good:
        return None
    if most_events is None:
        return good[-1]
    enough = (step for step in good if sum(process.events_before(step) for process in mains) >= most_events)
    return next(enough, good[-1])
