"""The rows of one process as numpy columns, and what is derived from them alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from traincheck.trace.layout import FAMILIES, MARK_END, MARK_FLUSHED, MARK_FULL, MARK_STEP, NULL

Ints = npt.NDArray[np.int64]

PROCESS_SHIFT = 40
"""Ids in facts are the process's index shifted by this, plus the id within the process."""


@dataclass
class RawProcess:
    """All rows of one process. `index` numbers the processes of a trace."""

    index: int
    name: str
    families: Mapping[str, Mapping[str, Any]]
    texts: list[str]
    torn: bool
    info: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> int:
        """What is added to an id within the process to make it unique in the trace."""
        return (self.index + 1) << PROCESS_SHIFT

    @property
    def rank(self) -> int:
        """The process's rank; 0 when the run was not distributed."""
        return whole_number(self.info, "rank") or 0

    @property
    def worker(self) -> bool:
        """Whether the process only loads data."""
        return self.info.get("role") == "worker"

    @cached_property
    def _steps(self) -> tuple[Ints, Ints]:
        """First event and number of each step, in order; step 0 begins at the first event unless a mark does."""
        marks = self.families["marks"]
        chosen = np.asarray(marks["kind"]) == MARK_STEP
        seq, step = (np.asarray(marks[name])[chosen].astype(np.int64) for name in ("seq", "step"))
        if not (seq == 0).any():
            seq, step = np.append(0, seq), np.append(0, step)
        order = np.argsort(seq, kind="stable")
        return seq[order], step[order]

    @property
    def boundaries(self) -> Ints:
        """The first event of each step, in order."""
        return self._steps[0]

    @property
    def step_numbers(self) -> Ints:
        """The number of each step; an imported trace may count in its own way, or begin again."""
        return self._steps[1]

    @cached_property
    def full_steps(self) -> tuple[Ints, Ints]:
        """First and last of each run of steps that were recorded in full; all of them unless steps were sampled."""
        none = np.zeros(0, np.int64)
        if self.worker:
            return none, none
        marks = self.families["marks"]
        full = np.unique(np.asarray(marks["step"], np.int64)[np.asarray(marks["kind"]) == MARK_FULL])
        if not len(full):
            return self.step_numbers.min(keepdims=True), self.step_numbers.max(keepdims=True)
        breaks = np.flatnonzero(np.diff(full) != 1)
        return full[np.append(0, breaks + 1)], full[np.append(breaks, len(full) - 1)]

    @cached_property
    def ended(self) -> bool:
        """Whether the process said that it ended."""
        return bool((np.asarray(self.families["marks"]["kind"]) == MARK_END).any())

    @cached_property
    def last_event(self) -> int:
        """No event of the process that is on disk has this number or a later one."""
        marks = self.families["marks"]
        flushed = np.asarray(marks["seq"])[np.asarray(marks["kind"]) != MARK_STEP]
        seen = [0, *(int(column.max()) for column in self._event_columns() if len(column))]
        return max([int(flushed.max()) if len(flushed) else 0, max(seen) + 1])

    def _event_columns(self) -> list[Ints]:
        calls, families = self.families["calls"], self.families
        return [calls["enter"], calls["exit"], families["updates"]["id"], families["records"]["id"]]

    def step_of(self, seq: Ints) -> Ints:
        """The step of each event."""
        return self.step_numbers[np.searchsorted(self.boundaries, seq, side="right") - 1]

    def ids(self, local: Any) -> Ints:
        """Ids unique in the trace, NULL kept."""
        column = np.asarray(local, dtype=np.int64)
        return np.where(column == NULL, NULL, column + self.base)


def whole_number(info: Mapping[str, str], key: str) -> int | None:
    """What a process says of itself under `key`; None when that is no whole number, such as a RANK of one's own."""
    try:
        number = int(info.get(key) or "")
    except ValueError:
        return None
    return number if abs(number) < 1 << PROCESS_SHIFT else None


def last_rows(keys: Any) -> npt.NDArray[np.intp]:
    """The positions of the last row of every key, in the order of the keys' last rows."""
    column = np.asarray(keys)
    _, first_from_end = np.unique(column[::-1], return_index=True)
    return np.sort(len(column) - 1 - first_from_end)


__all__ = ["FAMILIES", "MARK_FLUSHED", "PROCESS_SHIFT", "Ints", "RawProcess", "last_rows", "whole_number"]
