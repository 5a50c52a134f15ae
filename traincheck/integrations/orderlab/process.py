"""One process of a recorded run: all its records in the order of time, written as one process of a trace."""

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from operator import itemgetter
from pathlib import Path

from traincheck.integrations.orderlab.calls import Calls
from traincheck.integrations.orderlab.files import Log
from traincheck.integrations.orderlab.lines import ENTRY, SNAPSHOT, Line, Warn, read_lines
from traincheck.integrations.orderlab.meta import Metas
from traincheck.integrations.orderlab.sink import Recent, Sink
from traincheck.integrations.orderlab.variables import Variables
from traincheck.trace.layout import MARK_END, MARK_STEP

_CHUNK = 1 << 8
_LATELY = 1 << 17
_MOST_WARNINGS = 20

Timed = tuple[int | float, bytes, Line]


@dataclass
class ProcessSummary:
    """What became of one process. `ranks` are the ranks it claimed by meta variable, `end` its last time."""

    process: int
    folder: Path
    records: int = 0
    duplicates: int = 0
    end: int = 0
    ranks: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def import_process(process: int, logs: Sequence[Log], folder: Path) -> ProcessSummary:
    """Write the records of `process` into `folder`; all but the stream `process`, for which all must be known."""
    collecting = gc.isenabled()
    gc.disable()  # records hold no cycles, and looking for some costs a fifth of the time
    try:
        return _import(process, logs, folder)
    finally:
        if collecting:
            gc.enable()


def _import(process: int, logs: Sequence[Log], folder: Path) -> ProcessSummary:
    summary = ProcessSummary(process, folder)
    malformed = 0

    def warn(message: str) -> None:
        nonlocal malformed
        malformed += 1
        if malformed <= _MOST_WARNINGS:
            summary.warnings.append(message)

    sink = Sink(folder)
    metas = Metas(sink, process)
    calls, variables = Calls(sink, metas), Variables(sink)
    mark = sink.adder("marks")
    seen: Recent[int, bool] = Recent(_LATELY)
    step: int | None = None
    for time, text, line in _in_time(process, logs, warn):
        if line.type == SNAPSHOT:
            known = hash(text)
            if seen.get(known):
                summary.duplicates += 1
                continue
            seen[known] = True
        elif calls.seen(line):
            continue
        summary.records += 1
        summary.end = max(summary.end, int(time))
        meta = metas.of(line)
        if meta.step != step:
            step = meta.step
            mark(sink.next_event, step, MARK_STEP)
        if line.type == SNAPSHOT:
            variables.snapshot(line, meta, calls.managers_on(line.thread_id), calls.innermost(line.thread_id))
        elif line.type == ENTRY:
            calls.entry(line, meta)
        else:
            calls.exit(line)
    calls.close()
    variables.close()
    mark(sink.next_event, 0, MARK_END)
    sink.close()
    summary.duplicates += calls.duplicates
    summary.ranks = metas.ranks
    if malformed > _MOST_WARNINGS:
        summary.warnings.append(f"process {process}: {malformed - _MOST_WARNINGS} more lines are not records")
    if calls.orphans:
        summary.warnings.append(f"process {process}: {calls.orphans} exits of calls whose entry is not in the log")
    return summary


def _in_time(process: int, logs: Sequence[Log], warn: Warn) -> Iterator[Timed]:
    """The records of all logs by time; equal times keep the order of files and lines."""
    streams = []
    for log in logs:
        if process in log.processes:
            lines = read_lines(log.path, process, warn if log.processes[0] == process else None)
            streams.append(_sorted(lines))
    return streams[0] if len(streams) == 1 else merge(*streams, key=itemgetter(0))


def _sorted(lines: Iterator[tuple[bytes, Line]]) -> Iterator[Timed]:
    """A log's records, put in order where threads wrote past each other."""
    waiting: list[Timed] = []
    while chunk := [(line.time, text, line) for text, line in islice(lines, _CHUNK)]:
        waiting += chunk
        waiting.sort(key=itemgetter(0))
        if len(waiting) > _CHUNK:
            yield from waiting[:-_CHUNK]
            del waiting[:-_CHUNK]
    yield from waiting
