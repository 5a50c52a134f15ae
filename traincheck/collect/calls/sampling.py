"""Which steps are recorded in full: all, the first few and then one in so many, or as many as a budget allows."""

import statistics
import time
from collections import deque
from collections.abc import Callable

from traincheck.collect.buffers import Buffers
from traincheck.trace.layout import MARK_FULL

NOTHING, COUNTING, STEPS, ALL = range(4)
"""What is watched: nothing; what steps are counted by, and what must not be missed; what they begin with; all."""


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
        self.interval = self._FIRST
        """Of how many steps one may be recorded in full."""
        self._until = 0

    def wrote(self, seconds: float) -> None:
        """So much time went into writing what was recorded."""
        self._written += seconds

    def pause(self) -> None:
        """The time from now until the next step ends is nobody's."""
        self._begun = None

    def ended(self, full: bool, count: int = 1) -> None:
        """A step has ended, which was recorded in full or not; or several, about which nothing was told one by one."""
        now = self._clock()
        if self._begun is not None:
            spent = (now - self._begun) / count
            if count > 1 and self._light:  # a mean, of which a validation may be part
                spent = min(spent, statistics.median(self._light))
            (self._full if full else self._light).append(spent)
            self._recorded += full
        self._begun = now
        self._until -= 1
        if full or self._until <= 0:  # in between, medians would cost more than they change
            self._until = self._RECENT
            self.interval = self._allowed()

    def _allowed(self) -> int:
        if min(len(self._full), len(self._light)) < self._ENOUGH:
            return self._FIRST
        plain = statistics.median(self._light)
        extra = max(0.0, statistics.median(self._full) - plain) + self._written / max(1, self._recorded)
        interval = 2  # what others take must be seen again and again
        while interval < self._MOST and extra > self._budget * plain * interval:
            interval *= 2
        return interval


class Sampling:
    """Says at step boundaries what is watched from there on; the gate `full` is open while that is ALL.

    Steps are only counted where one that is left out comes before another. That is for loops in which boundaries are
    seen at once, as it turned out: then it is early enough to look at what a step begins with when it is wanted.
    """

    _SURE = 8
    """Boundaries in a row that were seen at once, before steps are only counted."""
    _MOST = 128
    """Steps that need not be told one by one, at a time."""

    def __init__(
        self,
        buffers: Buffers,
        full: Gate,
        every: int,
        warmup: int,
        governor: Governor | None,
        watch: Callable[[int], None],
    ) -> None:
        """`watch` is told what is watched from now on when that changes."""
        self._buffers = buffers
        self._full = full
        self._every = every
        self._warmup = warmup
        self._watch = watch
        self._level = ALL
        self._at_once = 0  # boundaries in a row that were seen so
        self._late = False  # whether one of the last was not
        self._counted = 0  # steps that have ended since the governor was told of one
        self.foreseen: tuple[int, bool] | None = None
        """What was watched before a step that may begin, and whether that step is wanted."""
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
        level, wanted = self._level, self._wants(step)
        self.foreseen = level, wanted
        if not wanted or level == ALL:
            return False
        self.set(ALL)
        return True

    def forget(self) -> None:
        """What was foreseen has not come."""
        if self.foreseen is not None:
            (level, _), self.foreseen = self.foreseen, None
            self.set(level)

    def begin(self, step: int, at_once: bool, countable: bool) -> bool:
        """Step `step` has begun; `at_once` says that its first event is the one at hand, not an earlier one.

        Steps are `countable` where each has one optimizer step. A step that is noticed late is in full only if the
        gate was open already, so in loops that have such steps it is opened a step early. Whether the gate opens
        now.
        """
        foreseen, self.foreseen = self.foreseen, None
        before = self._level
        level = before if foreseen is None else foreseen[0]
        self._counted += 1
        if self.governor is not None and (level != COUNTING or self._wants(step + 1)):
            self.governor.ended(level == ALL, self._counted)
            self._counted = 0
            if level == COUNTING:  # the next is not seen from where it begins
                self.governor.pause()
        wanted = self._wants(step) if foreseen is None else foreseen[1]
        soon = self._wants(step + 1)
        if level == COUNTING:
            self.set(COUNTING if countable and not soon else STEPS)
            return False
        self._at_once = self._at_once + 1 if at_once else 0
        self._late = not at_once or (self._late and self._at_once < self._SURE)
        wanted = wanted and (at_once or level == ALL)
        if wanted:
            self._mark(step)
        if wanted or (soon and self._late):
            self.set(ALL)
        else:
            self.set(COUNTING if countable and not soon and self._at_once >= self._SURE else STEPS)
        return before != ALL == self._level

    def spare(self, step: int) -> int:
        """How many steps after `step`, which has begun, need not be told until one more has begun."""
        if self._level != COUNTING or step + 1 < self._warmup:
            return 0
        interval = self._interval()
        return max(0, min(self._MOST, interval - step % interval - 2))

    def set(self, level: int) -> None:
        """From now on watch what `level` says."""
        if self._level != level:
            self._level = level
            self._full.open = level == ALL
            self._watch(level)

    def _wants(self, step: int) -> bool:
        return step < self._warmup or step % self._interval() == 0

    def _interval(self) -> int:
        return self._every if self.governor is None else max(self._every, self.governor.interval)

    def _mark(self, step: int) -> None:
        self._buffers.add("marks", 0, step, MARK_FULL)
