"""Finds where training steps begin, from the order of events alone.

A round is the set of optimizers that have stepped since the step began. A step ends when an optimizer that is
in the round steps again; it ended where the loop turned, at the first event after the round's last optimizer
step that begins an iteration (a starter). That is known only later, so boundaries are marks, not columns.
Where all that begins an iteration is in a closure, which the optimizer calls, each of its steps is one of the loop's.

Where nobody needs to know more than how many steps there are, that can be told from the optimizers alone.
"""

from collections.abc import Callable, Collection
from typing import Any

from traincheck.collect.buffers import NULL


class StepTracker:
    """Decides boundaries for one process; `mark(seq, step, at_once)` is told that `step` begins at event `seq`.

    `at_once` says that this event is the one at hand, not an earlier one. `optimizers` are those that are alive, and
    `now` numbers moments. `first` is the first event that begins an iteration, `asked` the one that asked for a batch
    which has not come, and `turned` the moment at which the last optimizer step before the latest step was left.
    Unless it `waits`, an event that begins an iteration, or a batch that is asked for, changes nothing. While it is
    `counting` it does not wait: each optimizer step is a step of its own, and begins it.
    """

    def __init__(
        self,
        mark: Callable[[int, int, bool], None],
        optimizers: Collection[int],
        now: Callable[[], int],
    ) -> None:
        self._mark = mark
        self._optimizers = optimizers
        self._now = now
        self._left = 0
        self.turned = 0
        self.waits = True
        self.first = NULL
        self.counting = False
        self._entered, self._usual = 0, 0  # optimizer steps in this step, and in the last that was found out about
        self._round: set[int] = set()
        self._known: set[int] = set()  # of these those that were alive
        self._closed = False  # whether the last optimizer step had a starter in it
        self._candidate: int | None = None
        self.asked: int | None = None
        self.pending: list[Any] = []
        """Optimizer steps that were entered (as calls) and left (as moments), yet to be told: always this list."""
        self.limit = 0
        """How much may be pending before the next one is told when it is entered."""
        self._depth = 0
        self._told = False
        self.step = 0

    def told(self, seq: int) -> None:
        """The script itself says that a step begins; from now on only its word counts. The first time is step 0."""
        self.catch_up()
        if self._told:
            self._begin(seq, True)
        elif self.first == NULL:
            self.first = seq
        self._told = True

    def starter(self, seq: int) -> None:
        """An event that begins an iteration: a batch is fetched, gradients are cleared, a model is called."""
        if self.first == NULL:
            self.first = seq
        self.waits = False
        self._closed = self._closed or self._depth > 0
        if self._told or self._depth or not self._round or self._candidate is not None or self.asked is not None:
            return
        if self._round.issuperset(self._optimizers) or self._is_over():  # every one has stepped
            self._begin(seq, True)
        else:
            self._candidate = seq

    def fetch(self, seq: int) -> bool:
        """A batch is asked for at `seq`, which begins an iteration if one comes; whether it begins a step, then."""
        if self.first == NULL:
            self.first = seq
        if self.asked is None:
            self.asked = seq
        waiting = not self._told and not self._depth and self._round and self._candidate is None
        return bool(waiting and self._round.issuperset(self._optimizers))

    def fetched(self, seq: int) -> None:
        """The batch that was asked for at `seq` has come."""
        if self.asked == seq:
            self.asked = None
        self.starter(seq)

    def fetch_ended(self, seq: int) -> None:
        """Whether it has come or not, what was asked for at `seq` is no longer waited for."""
        if self.asked == seq:
            self.asked = None
            self.waits = True

    def enter_optimizer(self, seq: int, optimizer: int) -> None:
        """An optimizer's step (or a gradient scaler's, for it) is entered at `seq`; nested ones do not count."""
        if self.pending:
            self.catch_up()
        self._depth += 1
        if self._depth > 1:
            return
        if not self._told:
            if self.counting:
                if self._entered:
                    self._begin(seq, False)
            elif (optimizer in self._round or self._is_over()) and (self._candidate is not None or self._closed):
                self._begin(seq if self._candidate is None else self._candidate, False)
        self._entered += 1
        self._closed = False
        self._round.add(optimizer)
        if optimizer in self._optimizers:
            self._known.add(optimizer)

    def leave_optimizer(self, *_: object) -> None:
        """The step that `enter_optimizer` announced has returned or raised; which call that was is known."""
        if self.pending:
            self.catch_up()
        self._leave(self._now())

    @property
    def countable(self) -> bool:
        """Whether there is one optimizer, which stepped once in the last step that was looked at."""
        return self._usual == 1 and len(self._optimizers) == 1

    def defer(self, steps: int) -> None:
        """So many steps after this one may be told later."""
        self.limit = max(0, 2 * steps - 1)  # each is entered and left

    def catch_up(self) -> None:
        """Be told of what is pending."""
        events = self.pending[:]
        self.pending.clear()
        for event in events:
            if isinstance(event, int):
                self._leave(event)
            else:
                self.enter_optimizer(event.enter, event.receiver)
        self.limit = 0

    def upcoming(self, number: int) -> int:
        """The number of the first event that is pending, before which all boundaries are told; `number` without any."""
        first = self.pending[:1]
        return min(number, int(first[0].enter)) if first else number

    def _is_over(self) -> bool:
        """Whether all optimizers that have stepped are gone, and others have come in their place."""
        return bool(self._round) and self._round == self._known and self._known.isdisjoint(self._optimizers)

    def _leave(self, moment: int) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._candidate = None
            self.waits = not self.counting
            self._left = moment

    def _begin(self, seq: int, at_once: bool) -> None:
        self.step += 1
        if not self.counting:
            self._usual = self._entered
        self._entered = 0
        self.turned = self._left
        self._round.clear()
        self._known.clear()
        self._candidate = None
        self._mark(seq, self.step, at_once)
