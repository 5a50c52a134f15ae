"""A folder of recorded logs becomes a trace: processes side by side, ranks settled when all are known."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from traincheck.errors import UsageError
from traincheck.integrations.orderlab.files import Log, find_logs
from traincheck.integrations.orderlab.process import ProcessSummary, import_process
from traincheck.trace import Manifest, StreamWriter
from traincheck.trace.layout import FAMILIES, PROCESS_PREFIX


@dataclass
class Summary:
    """What an import read and wrote."""

    processes: int = 0
    records: int = 0
    duplicates: int = 0
    warnings: list[str] = field(default_factory=list)


def import_trace(
    source: Path, target: Path, jobs: int | None = None, progress: Callable[[str], None] = lambda _: None
) -> Summary:
    """Read the logs in `source`, a folder or one file, and write them as the trace `target`, a new folder.

    Up to `jobs` processes of the run are read at once (as many as there are cores, when None). TraceError when
    there is nothing to read, UsageError when `target` is there already.
    """
    found = find_logs(source)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("this is there already", where=str(target), next_step="name a new folder with -o")
    target.mkdir(parents=True, exist_ok=True)
    summary = Summary(warnings=found.warnings)
    done: list[ProcessSummary] = []
    for result in _import_all(found.processes(), found.logs, target, jobs):
        summary.warnings += result.warnings
        if result.records == 0:
            shutil.rmtree(result.folder, ignore_errors=True)
            continue
        progress(f"process {result.process}: {result.records} records")
        done.append(result)
    _describe(done)
    Manifest(settings={"imported_from": "orderlab", "source": source.name}).write(target)
    summary.processes = len(done)
    summary.records = sum(result.records for result in done)
    summary.duplicates = sum(result.duplicates for result in done)
    return summary


def _import_all(
    processes: Sequence[int], logs: Sequence[Log], target: Path, jobs: int | None
) -> Iterator[ProcessSummary]:
    tasks = [
        (process, logs, target / f"{PROCESS_PREFIX}{index:06}-{process}") for index, process in enumerate(processes)
    ]
    workers = min(jobs or len(os.sched_getaffinity(0)), len(tasks))
    if workers <= 1:
        yield from (import_process(*task) for task in tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(import_process, *zip(*tasks, strict=True))


def _describe(done: Sequence[ProcessSummary]) -> None:
    """Write every process's description, now that all ranks and the end of the log are known."""
    end = max((result.end for result in done), default=0)
    for result, rank in zip(done, _ranks(done), strict=True):
        stream = StreamWriter(result.folder, FAMILIES["process"])
        stream.write_rows(
            [
                ("pid", str(result.process)),
                ("role", "main"),
                ("rank", str(rank)),
                ("world", str(len(done))),
                ("outcome", "ended"),
                ("log_end", str(end)),
            ]
        )
        stream.close()


def _ranks(done: Sequence[ProcessSummary]) -> list[int]:
    """The ranks that a meta variable gives every process, each another; else the order of the process ids."""
    for name in dict.fromkeys(name for result in done for name in result.ranks):
        ranks = [result.ranks.get(name) for result in done]
        if None not in ranks and len(set(ranks)) == len(ranks) and min(rank for rank in ranks if rank is not None) >= 0:
            return [rank for rank in ranks if rank is not None]
    return list(range(len(done)))
