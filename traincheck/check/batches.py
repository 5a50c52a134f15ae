"""Checks whole traces in large batches, so that memory does not follow their length."""

from pathlib import Path

from traincheck.check.checker import Examined
from traincheck.check.coverage import GrowingCoverage
from traincheck.check.incremental import Incremental
from traincheck.check.law import Law
from traincheck.facts.facts import load_facts, no_events
from traincheck.facts.growing import MOST_BYTES, MOST_EVENTS, Batch, GrowingTrace

__all__ = ["InBatches"]


class InBatches:
    """An `Examiner` that feeds each trace to the incremental checker."""

    def __init__(self, incremental: Incremental) -> None:
        self._incremental = incremental

    @property
    def laws(self) -> list[Law]:
        """All laws, without repetitions."""
        return self._incremental.laws

    def examine(self, trace: Path) -> Examined:
        """See `Examiner`."""
        self._incremental.restart()
        growing, coverage = GrowingTrace(trace, MOST_BYTES), GrowingCoverage()

        def feed(batch: Batch) -> None:
            self._incremental.feed(batch)
            coverage.add(batch)

        while growing.poll() or growing.behind:
            while (batch := growing.take(MOST_EVENTS)) is not None:
                feed(batch)
        if not growing.processes:
            raise no_events(trace)
        feed(growing.last())
        self._incremental.finish()
        return Examined(
            violations=[sighting.violation() for sighting in self._incremental.sightings],
            triggered=self._incremental.triggered,
            size=self._incremental.facts,
            coverage=coverage.result(str(trace)),
            warnings=[line for process in growing.processes for line in process.warnings],
            facts=lambda: load_facts(trace),
        )
