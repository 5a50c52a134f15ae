"""What a trace covers, so that a reader can judge what a verdict on it is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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
