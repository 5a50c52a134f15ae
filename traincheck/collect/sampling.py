"""Which steps are recorded in full: all, the first few and then one in so many, or as many as a budget allows."""

import statistics
import time
from collections import deque
from collections.abc import Callable

from traincheck.collect.buffers import Buffers
from traincheck.trace.layout import MARK_FULL


class Gate:
    """Whether calls of some kind are recorded now."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = True


class Governor:
    """Keeps the time that collection takes below a share of the time that training takes.

    A step recorded in full takes longer than one that is only counted. From the medians of both, and from the time
    spent on writing, follows in how many steps one may be recorded. Intervals are powers of two, so that ranks
    which come to different ones still record some steps together.
    """

    _FIRST = 8
    _MOST = 1 << 14
    _RECENT = 15
    _ENOUGH = 3
    _SAFETY = 0.4
    """Share of the budget that is given to recording: to follow the other steps is not free either."""

    def __init__(self, budget: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._budget = budget * self._SAFETY
        self._clock = clock
        self._full: deque[float] = deque(maxlen=self._RECENT)
        self._light: deque[float] = deque(maxlen=self._RECENT)
        self._begun: float | None = None
        self._recorded = 0
        self._written = 0.0
        self._told = self._FIRST
        self._until = 0

    def wrote(self, seconds: float) -> None:
        """So much time went into writing what was recorded."""
        self._written += seconds

    def ended(self, full: bool) -> None:
        """A step has ended, which was recorded in full or not."""
        now = self._clock()
        if self._begun is not None:
            (self._full if full else self._light).append(now - self._begun)
            self._recorded += full
        self._begun = now
        self._until -= 1
        if full or self._until <= 0:  # in between, medians would cost more than they change
            self._until = self._RECENT
            self._told = self._allowed()

    def interval(self) -> int:
        """Of how many steps one may be recorded in full."""
        return self._told

    def _allowed(self) -> int:
        if min(len(self._full), len(self._light)) < self._ENOUGH:
            return self._FIRST
        plain = statistics.median(self._light)
        extra = max(0.0, statistics.median(self._full) - plain) + self._written / max(1, self._recorded)
        interval = 1
        while interval < self._MOST and extra > self._budget * plain * interval:
            interval *= 2
        return interval


class Sampling:
    """Opens and closes the gate `full` at step boundaries; what finds the boundaries is recorded in every step."""

    def __init__(self, buffers: Buffers, full: Gate, every: int, warmup: int, governor: Governor | None = None) -> None:
        self._buffers = buffers
        self._full = full
        self._every = every
        self._warmup = warmup
        self.foreseen: tuple[bool, bool] | None = None
        """Whether the gate was open before a step that may begin, and whether that step is wanted."""
        self.governor = governor
        self.everything = every == 1 and governor is None
        """Whether no step is left out."""
        if not self.everything:
            self._mark(0)

    def foresee(self, step: int) -> bool:
        """Step `step` begins with the event at hand, or not at all; whether the gate opens for it.

        Not to be told, as `begin` and `forget` are not, where `everything` is recorded.
        """
        if self.foreseen is not None:
            return False
        was, wanted = self._full.open, self._wants(step)
        self.foreseen = was, wanted
        self._full.open = was or wanted
        return wanted and not was

    def forget(self) -> None:
        """What was foreseen has not come."""
        if self.foreseen is not None:
            (self._full.open, _), self.foreseen = self.foreseen, None

    def begin(self, step: int, at_once: bool) -> bool:
        """Step `step` has begun; `at_once` says that its first event is the one at hand, not an earlier one.

        A step that is noticed late is in full only if the gate was open already, so it is opened a step early.
        Whether the gate opens now.
        """
        foreseen = self.foreseen
        now = self._full.open
        self.forget()
        was = self._full.open
        if self.governor is not None:
            self.governor.ended(was)
        wanted = self._wants(step) if foreseen is None else foreseen[1]
        if wanted and (at_once or was):
            self._mark(step)
        self._full.open = wanted or (not at_once and self._wants(step + 1))
        return self._full.open and not now

    def _wants(self, step: int) -> bool:
        interval = self._every if self.governor is None else max(self._every, self.governor.interval())
        return step < self._warmup or step % interval == 0

    def _mark(self, step: int) -> None:
        self._buffers.add("marks", 0, step, MARK_FULL)
