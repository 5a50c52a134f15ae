"""Checks a trace while it grows, from whenever it appears until its run has ended."""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from traincheck.check.coverage import GrowingCoverage
from traincheck.check.incremental import Incremental
from traincheck.check.verdict import Report, Violation
from traincheck.facts.growing import MOST_BYTES, MOST_EVENTS, GrowingTrace
from traincheck.trace import is_trace, read_manifest
from traincheck.trace.place import follow

__all__ = ["Follower"]

_PAUSE = 0.05
_BRISK = 0.004
_SETTLE = 0.5
"""Seconds without growth after which the processes that have ended are taken to be all there are."""
_START = 10.0
"""Seconds without any process after which a run whose starter is gone is taken to have recorded nothing."""

Told = Callable[[Mapping[str, Any], Sequence[Violation]], None]


class Follower:
    """Feeds a growing trace to a checker. `report` may be asked for at any time."""

    def __init__(
        self,
        trace: Path,
        incremental: Incremental,
        sources: Sequence[str],
        *,
        told: Told = lambda _facts, _violations: None,
        checked: Callable[[int], None] = lambda _step: None,
        over: Callable[[], bool] | None = None,
        main: int | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        brisk: bool = False,
    ) -> None:
        """`told` gets the first violations of laws as they are found, with the facts of their steps if still there.

        `checked` gets the step before which everything has been checked; `over` knows that the run has ended, and so
        does the last word of the process numbered `main`; `interrupted` says to end before. With `brisk` training
        waits for us.
        """
        self._trace = trace
        self._incremental = incremental
        self._sources = sources
        self._told, self._checked, self._over, self._interrupted = told, checked, over, interrupted
        self._main = str(main)
        self._pause = _BRISK if brisk else _PAUSE
        self._most = 1 if brisk else MOST_EVENTS  # what stops training is said before a step more has begun
        self._growing: GrowingTrace | None = None
        self._coverage = GrowingCoverage()
        self._started = time.perf_counter()

    def run(self) -> None:
        """Follow until the run has ended, or an interrupt came."""
        while not is_trace(self._trace):
            if self._interrupted() or (self._over is not None and self._over()):
                return
            time.sleep(self._pause)
        follow(self._trace)
        growing = self._growing = GrowingTrace(self._trace, MOST_BYTES)
        grown_at = time.monotonic()
        while not self._interrupted():
            over = self._over is not None and self._over()  # asked before reading: what was written by then is read
            if growing.poll():
                grown_at = time.monotonic()
            if self._feed(growing) or growing.behind:
                continue
            quiet = time.monotonic() - grown_at
            if (over or self._main_ended(growing)) and not growing.behind and quiet > 0:
                return
            if self._over is None and self._ended(growing, quiet):
                return
            time.sleep(self._pause)

    def finish(self) -> Report:
        """Take in what is left and say what was found."""
        if self._growing is not None:
            while self._growing.poll() and self._growing.behind:
                self._feed(self._growing)
            self._check(self._growing.last())
            self._tell({}, [sighting.violation() for sighting in self._incremental.finish()])
        return self.report()

    def report(self) -> Report:
        """What was found so far."""
        report = Report([str(self._trace)], list(self._sources))
        violations = [sighting.violation() for sighting in self._incremental.sightings]
        report.settle(self._incremental.laws, violations, self._incremental.triggered)
        report.facts = self._incremental.facts
        report.seconds = time.perf_counter() - self._started
        processes = self._growing.processes if self._growing is not None else []
        report.warnings = [line for process in processes for line in process.warnings]
        if processes:
            report.coverage.append(self._coverage.result(str(self._trace)))
        return report

    def _feed(self, growing: GrowingTrace) -> bool:
        batch = growing.take(self._most)
        if batch is None:
            return False
        self._check(batch)
        if batch.before is not None:
            self._checked(batch.before)
        return True

    def _check(self, batch: Any) -> None:
        fresh = self._incremental.feed(batch)
        self._coverage.add(batch)
        self._tell(batch, [sighting.violation() for sighting in fresh])

    def _tell(self, facts: Mapping[str, Any], violations: Sequence[Violation]) -> None:
        if violations:
            self._told(facts, violations)

    def _main_ended(self, growing: GrowingTrace) -> bool:
        """Whether the process that started the others has written its last word: it leaves some time after it."""
        return any(process.ended and process.info.get("pid") == self._main for process in growing.processes)

    def _ended(self, growing: GrowingTrace, quiet: float) -> bool:
        """Whether every process has ended; one that is gone from this machine without a word counts as ended."""
        if not growing.processes:
            starter = read_manifest(self._trace)
            return quiet > _START and _gone(starter.host, str(starter.pid))
        for process in growing.processes:
            if not process.ended and _gone(process.info.get("host", ""), process.info.get("pid", "")):
                process.gone = True
        return quiet > _SETTLE and all(process.ended for process in growing.processes)


def _gone(host: str, pid: str) -> bool:
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
