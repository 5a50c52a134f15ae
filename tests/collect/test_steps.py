"""Where steps begin, for the shapes that training loops have."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from traincheck.collect.calls.steps import StepTracker

Event = tuple[str, int]


def boundaries(events: list[str], optimizers: set[int]) -> list[int]:
    """Feed events such as "next", "zero", "step 1"; the positions at which steps begin. "end" finds no batch left."""
    marks: list[int] = []
    tracker = StepTracker(lambda seq, step, at_once: marks.append(seq), optimizers, lambda: 0)
    for position, event in enumerate(events):
        word, _, which = event.partition(" ")
        if word == "step":
            tracker.enter_optimizer(position, int(which or 1))
            tracker.leave_optimizer()
        elif word in ("next", "end"):
            tracker.fetch(position)
            if word == "next":
                tracker.fetched(position)
            tracker.fetch_ended(position)
        elif word != "other":
            tracker.starter(position)
    assert marks == sorted(marks)
    return marks


def test_plain_loop() -> None:
    one = ["next", "zero", "forward", "backward", "step"]
    assert boundaries(one * 3, {1}) == [5, 10]


def test_what_follows_the_step_belongs_to_it() -> None:
    one = ["next", "forward", "backward", "step", "other", "other"]
    assert boundaries(one * 3, {1}) == [6, 12]


def test_zero_grad_after_the_step_begins_the_next() -> None:
    one = ["forward", "backward", "step", "zero"]
    assert boundaries(one * 3, {1}) == [3, 7, 11]


def test_accumulation_is_one_step() -> None:
    one = ["zero", "forward", "backward", "forward", "backward", "step"]
    assert boundaries(one * 2, {1}) == [6]


def test_two_optimizers_make_one_step() -> None:
    one = ["next", "zero", "forward", "backward", "step 1", "zero", "forward", "backward", "step 2"]
    assert boundaries(one * 3, {1, 2}) == [9, 18]


def test_several_critic_steps_are_several_steps() -> None:
    critic, generator = ["next", "zero", "forward", "backward", "step 1"], ["zero", "forward", "backward", "step 2"]
    assert boundaries((critic * 3 + generator) * 2, {1, 2}) == [5, 10, 19, 24, 29]


def test_stepping_twice_stays_visible_in_one_step() -> None:
    one = ["next", "zero", "forward", "backward", "step", "step"]
    assert boundaries(one * 2, {1}) == [6]


def test_evaluation_belongs_to_the_step_that_comes_after_it() -> None:
    train, evaluate = ["next", "forward", "backward", "step"], ["next", "forward", "next", "forward"]
    assert boundaries(train + evaluate + train, {1}) == [4]


def test_the_end_of_the_data_belongs_to_the_last_step() -> None:
    one = ["next", "zero", "forward", "backward", "step"]
    assert boundaries((one * 2 + ["end", "other"]) * 2, {1}) == [5, 12, 17]


def test_what_a_dataset_computes_is_inside_the_fetch() -> None:
    marks: list[int] = []
    tracker = StepTracker(lambda seq, step, at_once: marks.append(seq), {1}, lambda: 0)
    for position in (0, 10):
        tracker.fetch(position)
        tracker.starter(position + 1)
        tracker.fetched(position)
        tracker.enter_optimizer(position + 5, 1)
        tracker.leave_optimizer()
    assert marks == [10]


def test_no_optimizer_step_ever() -> None:
    assert boundaries(["next", "zero", "forward", "backward"] * 3, {1}) == []


def test_an_optimizer_that_never_steps_delays_marks_but_does_not_move_them() -> None:
    one = ["next", "zero", "forward", "backward", "step 1"]
    assert boundaries(one * 3, {1, 2}) == [5, 10]


def test_what_a_closure_does_is_inside_the_step() -> None:
    marks: list[int] = []
    tracker = StepTracker(lambda seq, step, at_once: marks.append(seq), {1}, lambda: 0)
    for position in (0, 10):
        tracker.starter(position)
        tracker.enter_optimizer(position + 5, 1)
        for inner in range(1, 5):
            tracker.starter(position + inner)
        tracker.leave_optimizer()
    assert marks == [10]


def test_where_all_is_in_the_closure_each_call_of_the_optimizer_is_a_step() -> None:
    marks: list[int] = []
    tracker = StepTracker(lambda seq, step, at_once: marks.append(seq), {1}, lambda: 0)
    for position in (0, 10, 20):
        tracker.enter_optimizer(position, 1)
        tracker.starter(position + 1)
        tracker.leave_optimizer()
    assert marks == [10, 20]


def test_an_optimizer_in_the_place_of_one_that_is_gone_begins_a_step() -> None:
    marks: list[int] = []
    optimizers = {1}
    tracker = StepTracker(lambda seq, step, at_once: marks.append(seq), optimizers, lambda: 0)
    for position, optimizer in enumerate((1, 1, 2, 2)):
        optimizers.clear()
        optimizers.add(optimizer)
        tracker.starter(10 * position)
        tracker.enter_optimizer(10 * position + 5, optimizer)
        tracker.leave_optimizer()
    assert marks == [10, 20, 30]


SHAPES = {
    "starters": st.lists(st.sampled_from(["next", "zero", "forward", "backward"]), min_size=1, max_size=4),
    "counted": st.lists(st.booleans(), min_size=12, max_size=12),
}


@given(**SHAPES)
def test_who_only_counts_steps_gets_the_same_numbers(starters: list[str], counted: list[bool]) -> None:
    iteration = [*starters, 1]
    plain, sometimes = Run(iteration, [False] * 13), Run(iteration, [False, *counted])
    assert plain.steps == sometimes.steps
    assert max(plain.steps) == 11


@given(**SHAPES)
def test_who_is_told_later_finds_the_same_boundaries(starters: list[str], counted: list[bool]) -> None:
    iteration = [*starters, 1]
    at_once, later = Run(iteration, [False, *counted]), Run(iteration, [False, *counted], later=True)
    assert at_once.marks == later.marks


class Entered(NamedTuple):
    """What is pending of a call."""

    enter: int
    receiver: int


class Run:
    """A run of a loop; from the beginning of some steps on they are only counted, or told `later` where they may be."""

    def __init__(self, iteration: list[str | int], counted: list[bool], later: bool = False) -> None:
        """What an iteration does: words as above, numbers of optimizers that step."""
        optimizers = {event for event in iteration if isinstance(event, int)}
        self._tracker = tracker = StepTracker(self._begun, optimizers, lambda: self._moment)
        self._counted = [*counted, False]
        self.steps: list[int] = []
        """The step of each optimizer step that was told at once."""
        self.marks: list[tuple[int, int, int]] = []
        for self._moment, event in enumerate(iteration * 12):
            if isinstance(event, int):
                self._step(event, later)
            elif tracker.waits:
                tracker.starter(self._moment)
        tracker.catch_up()

    def _step(self, optimizer: int, later: bool) -> None:
        tracker = self._tracker
        if later and len(tracker.pending) < tracker.limit:
            tracker.pending += [Entered(self._moment, optimizer), self._moment]
            return
        tracker.enter_optimizer(self._moment, optimizer)
        self.steps.append(tracker.step)
        tracker.leave_optimizer()

    def _begun(self, seq: int, step: int, at_once: bool) -> None:
        self.marks.append((seq, step, self._tracker.turned))
        self._tracker.counting = self._counted[step]
        if self._tracker.counting:  # until the step before the next that is looked at
            self._tracker.defer(self._counted.index(False, step) - 1 - step)
