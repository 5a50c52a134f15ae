"""Sees what changed: compares fingerprints of data and gradients with those last taken, and notes what is new."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from threading import current_thread, get_ident
from threading import enumerate as enumerate_threads
from typing import Any, NamedTuple

import numpy as np
import torch

from traincheck import values
from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.calls.calls import Thread
from traincheck.collect.compiled import NATIVE
from traincheck.collect.device.deferred import Deferred
from traincheck.collect.needs import Needs
from traincheck.collect.values.fingerprint import (
    DEFERRED,
    LOW,
    NO_GRADIENT,
    PLAIN_TYPES,
    UNSEEN,
    Floats,
    Reader,
    capturing,
    fingerprint,
    readable,
)
from traincheck.collect.values.measures import CELL, Measures
from traincheck.collect.values.mirror import mirrored
from traincheck.collect.values.modes import undisturbed
from traincheck.collect.variables.replay import (
    AFTER_STEP,
    BEFORE_STEP,
    DATA,
    GRAD,
    Choice,
    Ended,
    Linked,
    Noted,
    Replay,
    Swept,
)
from traincheck.collect.variables.roster import Roster
from traincheck.collect.variables.table import Column, Table, Variable
from traincheck.collect.variables.variables import Variables


class _Watched(NamedTuple):
    """A column, its number, whether its changes are written, and whether its states have ranges."""

    column: Column
    number: int
    written: bool
    ranged: bool


class _Sweep(NamedTuple):
    """What is read within a call: tensors, where in the table they stand, and what their fingerprints were.

    All is measured at once, but what is on another device at the end of the step if `later`.
    """

    watched: _Watched
    call: int
    tensors: list[Any]
    positions: Sequence[int] | None  # None for all, in order
    before: list[int]
    later: bool = False


BACKWARD_API = "torch.autograd.backward"
"""The call within which gradients are computed."""
_SWEPT_BOTH = 2
"""What the compiled part answers when it has swept values and gradients."""
READ, GLANCED, PASSED = range(3)
"""What is known of gradients: all; only which were new at the last sweep; not even that, as something that is not asked
about may have changed some since."""
_SWEEPS = "data", "grads", "both", "some"
"""Methods of what does sweeps in C."""

_noted: Callable[[tuple[Roster, Choice, int]], Noted] = partial(tuple.__new__, Noted)
_ended: Callable[[tuple[tuple[tuple[int, int, int], ...]]], Ended] = partial(tuple.__new__, Ended)
"""Made in every step: those that NamedTuple defines are functions of Python."""


class Changes:
    """Sweeps over the variables; every sweep attributes what it finds to one call."""

    def __init__(self, buffers: Buffers, variables: Variables, needs: Needs, threads: Mapping[int, Thread]) -> None:
        """`threads` are those that have made calls, by their idents."""
        self._buffers = buffers
        self._threads = threads
        self._table = variables.table
        names = buffers.names
        self._requires = names("requires_grad")
        self._true, self._false = names(values.TRUE), names(values.FALSE)
        self._measures = Measures(names)
        self.follows_flags = needs.wants_update("requires_grad")
        """Whether changes of requires_grad are written."""
        noted = needs.wants_state("grad", "before_step"), needs.wants_state("data", "after_step")
        self._noted = noted  # by point
        self._data = _Watched(self._table.data, DATA, needs.wants_update("data"), needs.ranges and noted[AFTER_STEP])
        self._grad = _Watched(self._table.grad, GRAD, needs.wants_update("grad"), needs.ranges and noted[BEFORE_STEP])
        self._watches_data = self._data.written or noted[AFTER_STEP]
        self._watches_grad = self._grad.written or noted[BEFORE_STEP]
        self._replay = Replay(buffers)
        self.trainer: int | None = None
        """The ident of the thread that computes gradients."""
        self._chosen: dict[int, tuple[int, Collection[int], Roster, tuple[Choice, Choice]]] = {}
        self._readers: dict[tuple[int, ...], Reader] = {}
        self._compiled = self._sweeper()
        # fingerprints taken on a GPU are those of the compiled part
        self._deferred = (
            None
            if NATIVE is None
            else Deferred(self._measures, self._data.ranged or self._grad.ranged, buffers.upcoming)
        )
        # compiled sweeps of memory as it is, while that does for all; by name those that take copies on the host
        # where some is on another device, and those that have to be done in Python
        self._direct = {name: getattr(self._compiled, name) for name in _SWEEPS if self._compiled is not None}
        if not (self._watches_data and self._watches_grad):
            self._direct.pop("both", None)
        self._mirrored: set[str] = set()
        self._unfit: set[str] = set()
        self.read: Callable[[torch.Tensor], int | None] | None = getattr(self._compiled, "fingerprint", None)
        """The fingerprint of a tensor whose memory can be read directly, None for others; None without what can."""
        # those of gradients that are compared later, as of the last sweep
        self._marks: list[tuple[int, int] | None] | None = None
        self.seen = READ
        """How much is known of gradients: READ, GLANCED or PASSED."""
        self.write: Callable[[], None] = self._replay.run
        """Lets what was noted become rows."""

    def fingerprint(self, tensor: torch.Tensor) -> int:
        """As that of the module of this name, in less time where memory can be read directly."""
        found = None if self.read is None else self.read(tensor)
        return fingerprint(tensor) if found is None else found

    def data(self, call: int) -> None:
        """Sweep values and requires_grad."""
        if capturing():
            return
        with self._table.lock:
            if self._watches_data:
                sweep = self._direct.get("data")
                if (sweep is not None and sweep(call, None)) or self._did("data", self._table.tensors, call):
                    return
            tensors = self._look_at_flags(call)
            if self._watches_data:
                column = self._data.column
                column.prints = self._swept(_Sweep(self._data, call, tensors, None, column.prints), column.reader)
                column.unseen = False

    def flags(self, call: int) -> None:
        """Look at requires_grad only."""
        with self._table.lock:
            self._look_at_flags(call)

    def buffers(self, call: int, among: Iterable[torch.Tensor | None]) -> None:
        """Sweep the values of one module's own buffers; Python leaves those on another device until the step ends."""
        if not self._watches_data or capturing():
            return
        with self._table.lock:
            every = list(among)
            sweep = self._direct.get("some")
            if sweep is not None and sweep(call, None, every):
                return
            present = [tensor for tensor in every if tensor is not None]
            if self._did("some", lambda: present, call, present):
                return
            prints, find = self._data.column.prints, self._table.find
            known = [(variable.index, tensor) for tensor in present if (variable := find(tensor))]
            indices, tensors = tuple([index for index, _ in known]), [tensor for _, tensor in known]
            reader = self._readers.get(indices)
            if reader is None:
                reader = self._readers[indices] = Reader()
            before = [prints[index] for index in indices]
            seen = self._swept(_Sweep(self._data, call, tensors, indices, before, True), reader)
            for index, now in zip(indices, seen, strict=True):
                prints[index] = now

    def grads(self, call: int, told: bool = True, brief: bool = False, counted: bool = False) -> None:
        """Sweep gradients, unless another thread is just about to set some: then not even their addresses are sure.

        What is new is an update where it is to be `told`. A `brief` sweep may only tell which are new, from as little
        of each as that takes: then all of these are new to the next one. With `counted` only operations whose writes
        torch counts may have written to them since the last sweep.
        """
        if capturing() or (len(self._threads) > 1 and self._others_compute()):
            return
        with self._table.lock:
            if not self._watches_grad or (counted and self._is_untouched()):
                return
            self.seen, self._marks = READ, None
            sweep = self._direct.get("grads")
            if sweep is not None and sweep(call, None, told, brief):
                if brief:
                    self.seen = GLANCED
                return
            if self._did("grads", self._table.gradients, call, told, False):
                return
            column, watched = self._grad.column, self._grad if told else self._grad._replace(written=False)
            grads, positions = self._table.gradients(), self._table.trained
            column.prints = self._swept(_Sweep(watched, call, grads, positions, column.prints), column.reader)
            column.unseen = False
            if column.deferred:
                self._marks = _marks(grads)

    def _is_untouched(self) -> bool:
        """Whether all gradients are those of the last sweep, and no operation that torch counts has written to one."""
        if self._grad.column.deferred:
            return self._marks is not None and self._marks == _marks(self._table.gradients())
        return self._compiled is not None and self._compiled.untouched()

    def _others_compute(self) -> bool:
        """Whether another thread computes gradients."""
        own = get_ident()
        others = [thread for ident, thread in list(self._threads.items()) if ident != own]
        return any(opened.api.name == BACKWARD_API for thread in others for opened in list(thread.stack))

    def meet_trainer(self) -> None:
        """This thread, which is not the `trainer`, is about to compute gradients.

        Raises RuntimeError when another thread of the script's does, too: its tensors may go while they are read.
        """
        if not current_thread().name.startswith("Dummy-"):  # autograd's own for a device
            if any(other.ident == self.trainer for other in enumerate_threads()):
                raise RuntimeError("two threads of this process train; values are followed where one does")
            self.trainer = get_ident()

    def both(self, told: bool, data_call: int, grad_call: int, counted: bool = False) -> None:
        """What `data` and then `grads` do."""
        done, sweeps = 0, self._direct.get("both")
        if sweeps is not None and len(self._threads) <= 1 and not capturing():
            with self._table.lock:
                done = sweeps(data_call, grad_call, told, counted)
            if done == _SWEPT_BOTH:
                self.seen = READ
        if done <= DATA:
            self.data(data_call)
        if done <= GRAD:
            self.grads(grad_call, told, False, counted)

    def states(self, point: int, seq: int, optimizer: int, held: Collection[int]) -> None:
        """Note what an optimizer's step finds and leaves: the gradients BEFORE_STEP, the values AFTER_STEP.

        Those of what it holds, and of what nobody holds.
        """
        if not self._noted[point]:
            return
        if point == AFTER_STEP and self._data.column.stale and not capturing():
            self._measure_stale()
        known = self._chosen.get(optimizer)
        if known is None or known[0] != self._table.version or known[1] is not held:
            with self._table.lock:
                before = Choice(GRAD, BEFORE_STEP, *self._table.noted(held, False))
                after = Choice(DATA, AFTER_STEP, *self._table.noted(held, True))
                known = self._table.version, held, self._table.roster(), (before, after)
                self._chosen[optimizer] = known
        self._replay.note(_noted((known[2], known[3][point], seq)))

    def forget(self) -> None:
        """Steps were left out: what changed in them is nobody's, so start from the values of now."""
        with self._table.lock:
            for column in (self._data.column, self._grad.column):
                column.forget()
            self._marks = None
            self.data(NULL)
            self.grads(NULL)

    def end_step(self, *marks: tuple[int, int, int]) -> None:
        """The step is over: its states are the last that were noted in it of each variable and point.

        `marks` are rows of marks that say so, which are not to be written before what was in the step.
        """
        if self._deferred is not None and self._deferred.used:
            with self._table.lock:
                self._deferred.end_step()
        self._replay.note(_ended((marks,)))

    def upcoming(self) -> int:
        """The number before which no event has rows that wait for a GPU: what comes next when there are none."""
        number = self._buffers.upcoming()
        awaited = None if self._deferred is None else self._deferred.awaited
        return number if awaited is None else min(number, awaited)

    def is_at_hand(self, tensor: torch.Tensor) -> bool:
        """Whether a fingerprint makes nobody wait for what a device was asked for before: on a GPU it comes later."""
        return tensor.is_cpu or (self._deferred is not None and tensor.is_cuda and readable(tensor))

    def link_later(self, call: int, token: int, name: int, flags: int, tensor: torch.Tensor) -> bool:
        """Write the row of links about a tensor on a GPU when its fingerprint is known; False when it is not to be."""
        if self._deferred is None or capturing():
            return False
        with self._table.lock:
            pending = self._deferred.sweep([tensor], (0,), False)
        self._replay.note(Linked(pending, call, token, name, flags))
        return True

    def wait(self) -> None:
        """Wait for what is yet to come from a GPU, so that it can be written."""
        if self._deferred is not None and self._deferred.used:
            with self._table.lock:
                self._deferred.finish()

    def settle(self) -> None:
        """See to it that the table knows what was last seen: where that is yet to come from a GPU, wait for it."""
        column = self._data.column
        if column.deferred and not capturing():
            with self._table.lock:
                self.wait()
                self._replay.run()
                column.prints, column.calls = self._replay.last(DATA, self._table.roster())

    def _sweeper(self) -> Any:
        """What does the same in C where all memory can be read directly, on the host and contiguous; None without it.

        Its methods return True when they have, False when it has to be done here this time, and None when a tensor
        cannot be read or measured so. They may be given stand-ins for all tensors, on the host.
        """
        exchange = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
        if NATIVE is None or exchange is None:
            return None
        NATIVE.use({each.__name__: each for each in (Column, Roster, Table, Variable)})
        watched = self._data, self._grad
        try:
            return NATIVE.Sweeper(
                self._table,
                self._replay.waiting,
                self._buffers.counter,
                Swept,
                PLAIN_TYPES,
                exchange,
                (NO_GRADIENT, UNSEEN, LOW),
                self._measures.words,
                tuple([each.written for each in watched]),
                tuple([each.ranged for each in watched]),
            )
        except ValueError:  # a DLPack of another age
            return None

    def _did(self, sweep: str, tensors: Callable[[], list[Any]], call: int, *more: Any) -> bool:
        """Whether the compiled part did it: on memory as it is, or on copies where some is on another device."""
        if self._compiled is None or sweep in self._unfit:
            return False
        method, done = getattr(self._compiled, sweep), None
        if sweep not in self._mirrored:
            done = method(call, None, *more)
        if done is None:
            # where one tensor needs more than a look at its memory, it most often will again
            self._direct.pop(sweep, None)
            self._direct.pop("both", None)
            self._mirrored.add(sweep)
            with undisturbed():
                copies = mirrored(tensors())
            done = None if copies is None else method(call, copies, *more)
        if done is None:
            self._unfit.add(sweep)
        return done is True

    def _swept(self, sweep: _Sweep, reader: Reader) -> list[int]:
        """Read fingerprints, and note what is new; of tensors on a GPU, all that will be found in them."""
        if self._deferred is not None and _is_deferred(sweep):
            self._defer(self._deferred, sweep)
            return sweep.before
        with undisturbed():
            seen, small = reader.with_gaps(sweep.tensors)
            places = [place for place, (now, old) in enumerate(zip(seen, sweep.before, strict=True)) if now != old]
            if places:
                self._note(sweep, places, self._measured(sweep, seen, places, small))
        return seen

    def _measured(self, sweep: _Sweep, seen: list[int], places: list[int], small: Sequence[Floats | None]) -> bytes:
        """The cells of what is new."""
        tensors = [sweep.tensors[place] for place in places]
        positions = places if sweep.positions is None else [sweep.positions[place] for place in places]
        cells = self._measures.cells(tensors, [seen[place] for place in places], positions)
        flat = [small[place] for place in places]
        rest = self._measures.measure(cells, tensors, flat, sweep.watched.ranged, sweep.later)
        sweep.watched.column.stale.update([positions[place] for place in rest])
        return cells.tobytes()

    def _note(self, sweep: _Sweep, places: list[int], cells: bytes) -> None:
        """Note what is new; the first values of a variable are no update."""
        column = sweep.watched.column
        if column.unseen:
            every, first = np.frombuffer(cells, CELL), np.array([sweep.before[place] == UNSEEN for place in places])
            if first.any():
                self._tell(sweep, every[first].tobytes(), True)
            if not first.all():
                self._tell(sweep, every[~first].tobytes(), False)
        else:
            self._tell(sweep, cells, False)
        if sweep.watched is self._data:
            for place in places:
                column.calls[place if sweep.positions is None else sweep.positions[place]] = sweep.call

    def _tell(self, sweep: _Sweep, cells: bytes, first: bool) -> None:
        watched, roster = sweep.watched, self._table.roster()
        number = NULL
        if watched.written and not first:
            number = self._buffers.reserve(roster.count(np.frombuffer(cells, CELL)["position"]))
        self._replay.note(Swept(roster, watched.number, sweep.call, number, cells))

    def _defer(self, deferred: Deferred, sweep: _Sweep) -> None:
        watched, roster = sweep.watched, self._table.roster()
        positions = range(len(sweep.tensors)) if sweep.positions is None else sweep.positions
        if not len(positions):
            return
        fresh = [place for place, seen in enumerate(sweep.before) if seen == UNSEEN] if watched.column.unseen else []
        if fresh:  # what is first seen, or was forgotten, is no update
            cells = self._measures.cells([None] * len(fresh), [UNSEEN] * len(fresh), [positions[at] for at in fresh])
            self._replay.note(Swept(roster, watched.number, sweep.call, NULL, cells.tobytes()))
            for place in fresh:
                sweep.before[place] = DEFERRED
        number = self._buffers.reserve(roster.count(positions)) if watched.written else NULL
        pending = deferred.sweep(sweep.tensors, positions, watched.ranged)
        self._replay.note(Swept(roster, watched.number, sweep.call, number, pending))

    def _measure_stale(self) -> None:
        """Measure what was left for the end of the step."""
        column = self._data.column
        every, stale = self._table.tensors(), sorted(column.stale)
        column.stale.clear()
        tensors = [every[at] for at in stale]
        cells = self._measures.cells(tensors, [column.prints[at] for at in stale], stale)
        with undisturbed():
            self._measures.measure(cells, tensors, [None] * len(stale), self._data.ranged, False)
        self._replay.note(Swept(self._table.roster(), DATA, NULL, NULL, cells.tobytes()))

    def _look_at_flags(self, call: int) -> list[Any]:
        tensors = self._table.tensors()
        for index in self._table.changed_flags(tensors):
            self._flag(index, call)
        return tensors

    def _flag(self, index: int, call: int) -> None:
        if self.follows_flags:
            now = self._table.flags[index]
            before, after = (self._false, self._true) if now else (self._true, self._false)
            for number in self._table.variables[index].ids:
                self._buffers.add("updates", self._buffers.next_id(), number, call, self._requires, before, after)


def _marks(gradients: Sequence[Any]) -> list[tuple[int, int] | None] | None:
    """Of each, where it is and how often it was written to; None when that cannot be said of one."""
    if not all(gradient is None or type(gradient) in PLAIN_TYPES for gradient in gradients):
        return None
    try:
        return [None if gradient is None else (gradient.data_ptr(), gradient._version) for gradient in gradients]
    except RuntimeError:  # it was made in inference mode, or has no memory of its own
        return None


def _is_deferred(sweep: _Sweep) -> bool:
    """Whether what is found is compared when rows are written: from when tensors of this kind are first on a GPU."""
    column = sweep.watched.column
    if not column.deferred:
        column.deferred = any(tensor is not None and tensor.is_cuda for tensor in sweep.tensors)
    return column.deferred
