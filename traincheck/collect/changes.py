"""Sees what changed: compares fingerprints of data and gradients with those last taken, and notes what is new."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch

from traincheck import values
from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.compiled import NATIVE
from traincheck.collect.fingerprint import NO_GRADIENT, UNSEEN, Floats, Reader
from traincheck.collect.measures import Measured, Measures, lengths
from traincheck.collect.needs import Needs
from traincheck.collect.replay import AFTER_STEP, BEFORE_STEP, DATA, GRAD, Noted, Replay, Swept
from traincheck.collect.roster import Integers
from traincheck.collect.table import Column
from traincheck.collect.variables import Variables

_Item = TypeVar("_Item")


class _Watched(NamedTuple):
    """A column, its number, whether its changes are written, and whether its states have ranges."""

    column: Column
    number: int
    written: bool
    ranged: bool


class _Sweep(NamedTuple):
    """What was read of a column within a call.

    Tensors, their fingerprints, the values of those that are small, and where in the table they stand. What is not
    small is measured at once, or at the end of the step if `later`.
    """

    watched: _Watched
    call: int
    tensors: list[Any]
    seen: list[int]
    small: list[Any]
    positions: Sequence[int]
    later: bool = False


class Changes:
    """Sweeps over the variables; every sweep attributes what it finds to one call."""

    def __init__(self, buffers: Buffers, variables: Variables, needs: Needs) -> None:
        self._buffers = buffers
        self._table = variables.table
        names = buffers.names
        self._requires = names("requires_grad")
        self._true, self._false = names(values.TRUE), names(values.FALSE)
        self._measures = Measures(names)
        self._remembers = needs.stored
        self._flag_updates = needs.wants_update("requires_grad")
        self._grad_states = needs.wants_state("grad", "before_step")
        self._data_states = needs.wants_state("data", "after_step")
        self._data = _Watched(self._table.data, DATA, needs.wants_update("data"), needs.ranges and self._data_states)
        self._grad = _Watched(self._table.grad, GRAD, needs.wants_update("grad"), needs.ranges and self._grad_states)
        self._watches_data = self._data.written or self._data_states
        self._watches_grad = self._grad.written or self._grad_states
        self._replay = Replay(buffers)
        self._chosen: dict[int, tuple[int, Collection[int], dict[int, tuple[Integers, Integers]]]] = {}
        self._readers: dict[tuple[int, ...], Reader] = {}
        self.write: Callable[[], None] = self._replay.run
        """Lets what was noted become rows."""

    def data(self, call: int) -> None:
        """Sweep values and requires_grad."""
        tensors = self._table.tensors()
        for index in self._table.changed_flags(tensors):
            self._flag(index, call)
        if self._watches_data:
            column = self._data.column
            seen = column.reader(tensors)
            if seen != column.prints:
                sweep = _Sweep(self._data, call, tensors, seen, column.reader.small, range(len(seen)))
                self._compare(sweep, column.prints)
                column.prints = seen.copy()  # what was noted is still to be read
            column.unseen = False

    def buffers(self, call: int, among: Iterable[torch.Tensor | None]) -> None:
        """Sweep the values of one module's own buffers; what is not small is measured when the step ends."""
        if not self._watches_data:
            return
        prints, find = self._data.column.prints, self._table.find
        known = [(variable.index, tensor) for tensor in among if tensor is not None and (variable := find(tensor))]
        indices, tensors = tuple([index for index, _ in known]), [tensor for _, tensor in known]
        reader = self._readers.get(indices)
        if reader is None:
            reader = self._readers[indices] = Reader()
        seen = reader(tensors)
        before = [prints[index] for index in indices]
        if seen != before:
            self._compare(_Sweep(self._data, call, tensors, seen, reader.small, indices, True), before)
            for index, now in zip(indices, seen, strict=True):
                prints[index] = now

    def grads(self, call: int) -> None:
        """Sweep gradients."""
        if not self._watches_grad:
            return
        column = self._grad.column
        positions, grads = self._table.trained()
        present = [grad for grad in grads if grad is not None]
        seen, small = (column.reader(present), column.reader.small) if present else ([], [])
        if len(present) < len(grads):
            seen, small = _filled(seen, grads, NO_GRADIENT), _filled(small, grads, None)
        if seen != column.prints:
            self._compare(_Sweep(self._grad, call, grads, seen, small, positions), column.prints)
            column.prints = seen
        column.unseen = False

    def before_step(self, seq: int, optimizer: int, held: Collection[int]) -> None:
        """Note the gradients that an optimizer is about to use: those it holds, and those that nobody holds."""
        if self._grad_states:
            choice = self._choice(optimizer, held)[GRAD]
            self._replay.note(Noted(self._table.roster(), GRAD, seq, BEFORE_STEP, *choice))

    def after_step(self, seq: int, optimizer: int, held: Collection[int]) -> None:
        """Note the values that an optimizer's step has left."""
        if self._data_states:
            if self._data.column.stale:
                self._measure_stale()
            choice = self._choice(optimizer, held)[DATA]
            self._replay.note(Noted(self._table.roster(), DATA, seq, AFTER_STEP, *choice))

    def forget(self) -> None:
        """Steps were left out: what changed in them is nobody's, so start from the values of now."""
        for column in (self._data.column, self._grad.column):
            column.forget()
        self.data(NULL)
        self.grads(NULL)

    def end_step(self) -> None:
        """The step is over: its states are the last that were noted in it of each variable and point."""
        self._replay.note(None)

    def _choice(self, optimizer: int, held: Collection[int]) -> dict[int, tuple[Integers, Integers]]:
        """Positions and ids of what states are noted of around a step of `optimizer`, which holds `held`."""
        known = self._chosen.get(optimizer)
        if known is not None and known[0] == self._table.version and known[1] == held:
            return known[2]
        found = {DATA: self._table.noted(held, True), GRAD: self._table.noted(held, False)}
        self._chosen[optimizer] = self._table.version, held, found
        return found

    def _compare(self, sweep: _Sweep, before: list[int]) -> None:
        """Note what is new against the fingerprints `before`; the first values of a variable are no update."""
        places, norms = _news(sweep.seen, before, sweep.small)
        watched = sweep.watched
        if norms is not None and not watched.column.unseen:
            limits = self._measures.limits([sweep.small[place] for place in places]) if watched.ranged else None
            self._tell(sweep, places, False, Measured(norms, None, limits))
        else:
            if watched.column.unseen:
                self._note(sweep, [place for place in places if before[place] == UNSEEN], True)
                places = [place for place in places if before[place] != UNSEEN]
            self._note(sweep, places, False)
        if self._remembers and watched is self._data:
            for place in places:
                watched.column.calls[sweep.positions[place]] = sweep.call

    def _note(self, sweep: _Sweep, places: list[int], first: bool) -> None:
        """Measure what is new, by ways that what is small, gone and large takes, and note it all at once."""
        measures, ranged = self._measures, sweep.watched.ranged
        small = [place for place in places if sweep.small[place] is not None]
        gone = [place for place in places if sweep.tensors[place] is None]
        parts = []
        if small:
            parts.append(measures.small([sweep.small[place] for place in small], ranged))
        if gone:
            parts.append(measures.nothing(len(gone)))
        large = [place for place in places if sweep.tensors[place] is not None and sweep.small[place] is None]
        if large:
            tensors, seen = [sweep.tensors[place] for place in large], [sweep.seen[place] for place in large]
            if sweep.later:
                found, rest = measures.unmeasured(tensors, seen, ranged)
                sweep.watched.column.stale.update([sweep.positions[large[place]] for place in rest])
            else:
                found = measures.large(tensors, seen, ranged)
            parts.append(found)
        if parts:
            self._tell(sweep, small + gone + large, first, measures.together(parts))

    def _tell(self, sweep: _Sweep, places: list[int], first: bool, measured: Measured) -> None:
        watched, roster = sweep.watched, self._table.roster()
        number = NULL
        if watched.written and not first:
            number = self._buffers.reserve(roster.count(sweep.positions, places))
        self._replay.note(
            Swept(roster, watched.number, sweep.call, number, sweep.positions, places, sweep.seen, measured)
        )

    def _measure_stale(self) -> None:
        """Measure what was left for the end of the step."""
        column = self._data.column
        tensors, stale = self._table.tensors(), sorted(column.stale)
        column.stale.clear()
        seen, places = [column.prints[at] for at in stale], list(range(len(stale)))
        measured = self._measures.large([tensors[at] for at in stale], seen, self._data.ranged)
        self._replay.note(Swept(self._table.roster(), DATA, NULL, NULL, stale, places, seen, measured))

    def _flag(self, index: int, call: int) -> None:
        if self._flag_updates:
            now = self._table.flags[index]
            before, after = (self._false, self._true) if now else (self._true, self._false)
            for number in self._table.variables[index].ids:
                self._buffers.add("updates", self._buffers.next_id(), number, call, self._requires, before, after)


def _news_in_python(
    now: list[int], before: list[int], small: list[Floats | None]
) -> tuple[list[int], list[float] | None]:
    """Where two lists differ, and the norms there if all is small, finite and not zero."""
    places = [place for place, (new, old) in enumerate(zip(now, before, strict=True)) if new != old]
    arrays = [array for place in places if (array := small[place]) is not None]
    found, ordinary = lengths(arrays)
    return places, found if ordinary and len(arrays) == len(places) else None


_news: Callable[[list[int], list[int], list[Floats | None]], tuple[list[int], list[float] | None]] = (
    _news_in_python if NATIVE is None else NATIVE.news
)


def _filled(found: list[_Item], grads: list[Any], gap: _Item) -> list[_Item]:
    """What was found of the gradients that there are, with `gap` where there is none."""
    rest = iter(found)
    return [gap if grad is None else next(rest) for grad in grads]
