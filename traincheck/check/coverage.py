"""What a trace covers, so that a reader can judge what a verdict on it is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from traincheck.check.locality import EVENTS

_COUNTED = ("call", "variable", "update", "state")
_ENVIRONMENT = ("rank", "role", "host", "pid", "python", "torch", "argv", "outcome")


@dataclass(frozen=True)
class Coverage:
    """One trace: how much there is of it, which steps it spans, and the processes that wrote it."""

    trace: str
    counts: Mapping[str, int]  # rows of the relations that say most
    apis: int
    steps: int
    first_step: int | None
    last_step: int | None
    unfinished_steps: int
    processes: Sequence[Mapping[str, Any]]


def coverage_of(trace: str, facts: Mapping[str, pa.Table]) -> Coverage:
    """What the facts of a trace cover."""
    steps = facts["step"]
    span = pc.min_max(steps["step"]).as_py()
    return Coverage(
        trace=trace,
        counts={name: facts[name].num_rows for name in _COUNTED},
        apis=pc.count_distinct(facts["call"]["api"]).as_py(),
        steps=pc.count_distinct(steps["step"]).as_py(),
        first_step=span["min"],
        last_step=span["max"],
        unfinished_steps=pc.sum(pc.equal(steps["closed"], "false")).as_py() or 0,
        processes=facts["process"].select(list(_ENVIRONMENT)).sort_by("rank").to_pylist(),
    )


class GrowingCoverage:
    """What the facts of a trace cover that come in batches of steps."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = dict.fromkeys(_COUNTED, 0)
        self._apis: set[str] = set()
        self._steps: set[int] = set()
        self._unfinished = 0
        self._processes: list[dict[str, Any]] = []

    def add(self, facts: Mapping[str, pa.Table]) -> None:
        """Take in a batch; what is in no step is counted as the batch has it."""
        for name in _COUNTED:
            rows = facts[name].num_rows
            self._counts[name] = self._counts[name] + rows if name in EVENTS else rows
        self._apis.update(pc.unique(facts["call"]["api"]).to_pylist())
        steps = facts["step"]
        self._steps.update(pc.unique(steps["step"]).to_pylist())
        self._unfinished += pc.sum(pc.equal(steps["closed"], "false")).as_py() or 0
        self._processes = facts["process"].select(list(_ENVIRONMENT)).sort_by("rank").to_pylist()

    def result(self, trace: str) -> Coverage:
        """What was covered so far."""
        steps = self._steps
        return Coverage(
            trace=trace,
            counts=dict(self._counts),
            apis=len(self._apis - {None}),
            steps=len(steps),
            first_step=min(steps, default=None),
            last_step=max(steps, default=None),
            unfinished_steps=self._unfinished,
            processes=self._processes,
        )
