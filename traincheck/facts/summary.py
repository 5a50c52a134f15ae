"""What a trace holds, in numbers: counted from its columns, without making facts of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from traincheck.facts.counts import Api, Attribute, Kind, apis, states, updates, variables
from traincheck.facts.facts import Facts
from traincheck.facts.raw import Ints, RawProcess, whole_number
from traincheck.trace import ProcessReader
from traincheck.trace.layout import FAMILIES, MARK_STEP, NULL, STOPPED

__all__ = ["Family", "Gap", "Process", "Steps", "Summary", "summary_of"]

_EVENTS = ("calls", "updates", "states", "metrics", "records")
_IMPORTED_ONLY = ("records", "spans")


@dataclass(frozen=True)
class Process:
    """One process; `outcome` is None until it said that it ended, `stopped` why its collection stopped early."""

    name: str
    rank: int
    role: str | None
    pid: int | None
    world: int | None
    host: str | None
    python: str | None
    torch: str | None
    argv: str | None
    outcome: str | None
    stopped: str | None


@dataclass(frozen=True)
class Steps:
    """The steps of one process that trains, or of all of them: those that every one of them has ended, has in full.

    `windows` are the first and last of each run of steps that were recorded in full.
    """

    process: str | None
    count: int
    complete: int
    full: int
    first: int | None
    last: int | None
    windows: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class Family:
    """The streams of one family over all processes."""

    family: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Gap:
    """Something that is missing.

    `kind` is not_ended (`count` streams lack their end), stopped (`text` says by what), torn (an ended process's
    stream lacks its end), cut (`count` bytes of a batch without its end), lost_names, open_calls (`count` of them)
    or empty (a family without rows).
    """

    kind: str
    process: str | None = None
    family: str | None = None
    count: int | None = None
    text: str | None = None


@dataclass(frozen=True)
class Summary:
    """A whole trace. An event is a call, an update, a state, a metric or an imported record."""

    trace: str
    format_version: str
    traincheck: str
    settings: Mapping[str, Any]
    processes: Sequence[Process]
    steps: Steps
    steps_by_process: Sequence[Steps]
    apis: Sequence[Api]
    variables: Sequence[Kind]
    updates: Sequence[Attribute]
    states: Sequence[Attribute]
    events: int
    bytes: int
    families: Sequence[Family]
    gaps: Sequence[Gap]

    @property
    def calls(self) -> int:
        """How many calls there are."""
        return sum(api.calls for api in self.apis)


def summary_of(facts: Facts) -> Summary:
    """Count what the trace behind `facts` holds."""
    processes, manifest = sorted(facts.processes, key=lambda process: process.rank), facts.reader.manifest
    readers = {reader.name: reader for reader in facts.reader.processes()}
    families = _families(processes, readers)
    every, by_process = _steps(processes)
    return Summary(
        trace=str(facts.path),
        format_version=manifest.format_version,
        traincheck=manifest.traincheck,
        settings=manifest.settings,
        processes=[_process(process) for process in processes],
        steps=every,
        steps_by_process=by_process,
        apis=apis(processes),
        variables=variables(processes),
        updates=updates(processes),
        states=states(processes),
        events=sum(family.rows for family in families if family.family in _EVENTS),
        bytes=sum(file.stat().st_size for file in facts.path.rglob("*") if file.is_file()),
        families=families,
        gaps=[*_gaps(processes, readers), *_empty(processes)],
    )


def _process(process: RawProcess) -> Process:
    pid, world = (whole_number(process.info, key) for key in ("pid", "world"))
    told = {key: process.info.get(key) for key in ("role", "host", "python", "torch", "argv", "outcome", "stopped")}
    return Process(name=process.name, rank=process.rank, pid=pid, world=world, **told)


def _steps(processes: Sequence[RawProcess]) -> tuple[Steps, list[Steps]]:
    """The steps of the run and of each process that trains; of one that only starts these nobody counts any."""
    mains = [process for process in processes if not process.worker]
    training = [process for process in mains if (process.families["marks"]["kind"] == MARK_STEP).any()] or mains
    every, complete, full, each = [], [], [], []
    for process in training:
        steps = process.step_numbers
        done = steps if process.ended else steps[:-1]
        firsts, lasts = process.full_steps
        window = np.searchsorted(firsts, steps, side="right") - 1
        whole = steps[(window >= 0) & (steps <= lasts[np.maximum(window, 0)])]
        windows = list(zip(firsts.tolist(), lasts.tolist(), strict=True))
        each.append(_counted(process.name, steps, done, whole, windows))
        every.append(steps)
        complete.append(done)
        full.append(whole)
    if not each:
        return Steps(None, 0, 0, 0, None, None), []
    ended, whole = (reduce(np.intersect1d, found) for found in (complete, full))
    return _counted(None, reduce(np.union1d, every), ended, whole, ()), each


def _counted(process: str | None, steps: Ints, complete: Ints, full: Ints, windows: Sequence[tuple[int, int]]) -> Steps:
    count, done, whole = (len(np.unique(found)) for found in (steps, complete, full))
    return Steps(process, count, done, whole, int(steps.min()), int(steps.max()), windows)


def _families(processes: Sequence[RawProcess], readers: Mapping[str, ProcessReader]) -> list[Family]:
    """Those that take room on disk; of a call that was written twice only one row counts."""
    found = []
    for name in FAMILIES:
        size = sum(reader.streams[name].size for reader in readers.values())
        if size:
            found.append(Family(name, sum(_rows(process, name) for process in processes), size))
    return found


def _rows(process: RawProcess, family: str) -> int:
    if family == "names":
        return len(process.texts)
    if family == "process":
        return len(process.info)
    return len(next(iter(process.families[family].values())))


def _gaps(processes: Sequence[RawProcess], readers: Mapping[str, ProcessReader]) -> Iterator[Gap]:
    for process in processes:
        reader = readers[process.name]
        torn = [name for name, stream in reader.streams.items() if stream.torn]
        if STOPPED in process.info:
            yield Gap("stopped", process.name, text=process.info[STOPPED])
        elif process.info.get("outcome") is None:
            yield Gap("not_ended", process.name, count=len(torn))
        else:
            yield from (Gap("torn", process.name, family) for family in torn)
        for name, stream in reader.streams.items():
            if stream.cut:
                yield Gap("cut", process.name, name, stream.cut)
        if process.families["calls"]["api"].max(initial=-1) >= len(process.texts):
            yield Gap("lost_names", process.name)
        opened = int(np.count_nonzero(process.families["calls"]["exit"] == NULL))
        if opened:
            yield Gap("open_calls", process.name, count=opened)


def _empty(processes: Sequence[RawProcess]) -> Iterator[Gap]:
    imported = any(_rows(process, family) for process in processes for family in _IMPORTED_ONLY)
    for name in FAMILIES:
        if (imported or name not in _IMPORTED_ONLY) and not any(_rows(process, name) for process in processes):
            yield Gap("empty", family=name)
