"""Which steps are recorded in full: all of them, or the first few and then one in so many."""

from traincheck.collect.buffers import Buffers
from traincheck.trace.layout import MARK_FULL


class Gate:
    """Whether calls of some kind are recorded now."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = True


class Sampling:
    """Opens and closes the gate `full` at step boundaries; what finds the boundaries is recorded in every step."""

    def __init__(self, buffers: Buffers, full: Gate, every: int, warmup: int) -> None:
        self._buffers = buffers
        self._full = full
        self._every = every
        self._warmup = warmup
        if every > 1:
            self._mark(0)

    @property
    def everything(self) -> bool:
        """Whether no step is left out."""
        return self._every == 1

    def wants(self, step: int) -> bool:
        """Whether `step` is to be recorded in full."""
        return step < self._warmup or step % self._every == 0

    def begin(self, step: int, at_once: bool) -> None:
        """Step `step` has begun; `at_once` says that its first event is the one at hand, not an earlier one.

        A step that is noticed late is in full only if the gate was open already, so it is opened a step early.
        """
        if self.everything:
            return
        if self.wants(step) and (at_once or self._full.open):
            self._mark(step)
        self._full.open = self.wants(step) or (not at_once and self.wants(step + 1))

    def _mark(self, step: int) -> None:
        self._buffers.add("marks", 0, step, MARK_FULL)
