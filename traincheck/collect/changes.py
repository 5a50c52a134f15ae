"""Sees what changed: compares fingerprints of data and gradients with those last taken, and writes updates."""

import math
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from traincheck import values
from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.fingerprint import ABSENT, UNMEASURED, Prints, fingerprint, zero_fingerprint
from traincheck.collect.needs import Needs
from traincheck.collect.table import NO_GRADIENT, UNSEEN, Column, Indices
from traincheck.collect.variables import Variables
from traincheck.trace.layout import POINTS

_BEFORE_STEP, _AFTER_STEP = range(len(POINTS))


class _Noted(NamedTuple):
    """The states of some variables at one point, until the step ends."""

    seq: int
    attr: int
    point: int
    ids: npt.NDArray[np.int64]
    prints: Prints
    norms: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int32]


class _Watched(NamedTuple):
    """A column, the name of its attribute, and whether its changes are written."""

    column: Column
    attr: int
    written: bool


class Changes:
    """Sweeps over the variables; every sweep attributes what it finds to one call."""

    def __init__(self, buffers: Buffers, variables: Variables, needs: Needs) -> None:
        self._buffers = buffers
        self._table = variables.table
        names = buffers.names
        self._requires = names("requires_grad")
        self._none, self._zero = names(values.NONE), names(values.ZERO)
        self._nonzero, self._nonfinite = names(values.NONZERO), names(values.NONFINITE)
        self._true, self._false = names(values.TRUE), names(values.FALSE)
        self._data = _Watched(self._table.data, names("data"), needs.wants_update("data"))
        self._grad = _Watched(self._table.grad, names("grad"), needs.wants_update("grad"))
        self._flag_updates = needs.wants_update("requires_grad")
        self._grad_states = needs.wants_state("grad", "before_step")
        self._data_states = needs.wants_state("data", "after_step")
        self._watches_data = self._data.written or self._data_states
        self._watches_grad = self._grad.written or self._grad_states
        self._noted: list[_Noted] = []
        self._chosen: dict[int, tuple[int, Collection[int], tuple[Indices, Indices] | None]] = {}

    def data(self, call: int) -> None:
        """Sweep values and requires_grad."""
        tensors = self._table.tensors()
        for index in self._table.changed_flags(tensors):
            self._flag(index, call)
        if self._watches_data:
            seen = self._data.column.reader(tensors)
            moved = np.flatnonzero(seen != self._data.column.prints)
            if len(moved):
                found = self._measured(self._data.column, tensors, moved, seen[moved])
                self._changed(self._data, moved, seen[moved], *found, call)

    def buffers(self, call: int, among: Iterable[torch.Tensor | None]) -> None:
        """Sweep the values of one module's own buffers; their norms are left for the end of the step."""
        if not self._watches_data:
            return
        column, moved, seen, classes = self._data.column, [], [], []
        for tensor in among:
            variable = self._table.find(tensor) if tensor is not None else None
            if variable is not None and tensor is not None:
                now = fingerprint(tensor)
                if now != column.prints[variable.index]:
                    moved.append(variable.index)
                    seen.append(now)
                    classes.append(self._zero if now == zero_fingerprint(tensor.nbytes) else self._nonzero)
        if moved:
            unmeasured = np.full(len(moved), UNMEASURED)
            found = np.array(seen, np.uint64), unmeasured, np.array(classes, np.int32)
            self._changed(self._data, np.array(moved, np.int64), *found, call)

    def grads(self, call: int) -> None:
        """Sweep gradients."""
        if not self._watches_grad:
            return
        column = self._grad.column
        positions, grads = self._table.trained(self._table.tensors())
        there = [at for at, grad in enumerate(grads) if grad is not None]
        present = grads if len(there) == len(grads) else [grads[at] for at in there]
        seen = np.full(len(grads), NO_GRADIENT, np.uint64)
        if there:
            seen[there] = column.reader(present)
        moved = np.flatnonzero(seen != column.prints[positions])
        if not len(moved):
            return
        seen = seen[moved]
        norms, classes = np.full(len(moved), UNMEASURED), np.full(len(moved), self._none, np.int32)
        having = seen != NO_GRADIENT
        if having.any():
            among = np.searchsorted(there, moved[having])  # where they stand in what was read
            norms[having], classes[having] = self._measured(column, present, among, seen[having])
        self._changed(self._grad, positions[moved], seen, norms, classes, call)

    def before_step(self, seq: int, optimizer: int, held: Collection[int]) -> None:
        """Note the gradients that an optimizer is about to use: those it holds, and those that nobody holds."""
        if self._grad_states:
            indices, ids = self._choice(optimizer, held)
            known = self._grad.column.prints[indices] != UNSEEN  # a buffer has no gradient, not even none
            self._note(self._grad, seq, _BEFORE_STEP, indices[known], ids[known])

    def after_step(self, seq: int, optimizer: int, held: Collection[int]) -> None:
        """Note the values that an optimizer's step has left."""
        if not self._data_states:
            return
        indices, ids = self._choice(optimizer, held)
        column = self._data.column
        stale = np.unique(indices[column.norms[indices] == UNMEASURED])
        if len(stale):
            found = self._measured(column, self._table.tensors(), stale, column.prints[stale])
            column.norms[stale], column.classes[stale] = found
        self._note(self._data, seq, _AFTER_STEP, indices, ids)

    def forget(self) -> None:
        """Steps were left out: what changed in them is nobody's, so start from the values of now."""
        self._table.data.prints[:] = UNSEEN
        self._table.grad.prints[:] = UNSEEN
        self.data(NULL)
        self.grads(NULL)

    def flush_states(self) -> None:
        """The step is over: write the states that were noted in it, the last of each variable and point."""
        told: dict[int, set[int]] = {}
        for noted in reversed(self._noted):
            already = told.setdefault(noted.point, set())
            ids = noted.ids.tolist()
            last = np.array([number not in already for number in ids], bool) if already else slice(None)
            self._write(noted, last)
            already.update(ids)
        self._noted.clear()

    def _choice(self, optimizer: int, held: Collection[int]) -> tuple[Indices, Indices]:
        """Positions and ids of what states are noted of around a step of `optimizer`, which holds `held`."""
        version, before, found = self._chosen.get(optimizer, (-1, (), None))
        if found is None or version != self._table.version or before != held:
            found = self._table.noted(held)
            self._chosen[optimizer] = self._table.version, held, found
        return found

    def _note(self, watched: _Watched, seq: int, point: int, indices: Indices, ids: Indices) -> None:
        prints, norms = watched.column.prints[indices], watched.column.norms[indices]
        self._noted.append(_Noted(seq, watched.attr, point, ids, prints, norms, self._classes(watched.column, indices)))

    def _classes(self, column: Column, indices: Indices) -> npt.NDArray[np.int32]:
        return np.where(column.prints[indices] == NO_GRADIENT, np.int32(self._none), column.classes[indices])

    def _write(self, noted: _Noted, rows: Any) -> None:
        prints, norms = noted.prints[rows], noted.norms[rows]
        hashed = (prints != ABSENT) & (prints != UNSEEN) & (prints != NO_GRADIENT)
        self._buffers.add_table(
            "states",
            len(prints),
            variable=noted.ids[rows],
            at=noted.seq,
            fingerprint=np.where(hashed, prints, 0),
            norm=np.where(norms == UNMEASURED, math.nan, norms),
            attr=noted.attr,
            **{"class": noted.classes[rows]},
            nonfinite=NULL,
            point=noted.point,
            hashed=hashed,
        )

    def _changed(
        self,
        watched: _Watched,
        indices: Indices,
        seen: Prints,
        norms: npt.NDArray[np.float64],
        classes: npt.NDArray[np.int32],
        call: int,
    ) -> None:
        """Remember new values, and write that they are new; a first value is none."""
        column = watched.column
        if watched.written:
            known = column.prints[indices] != UNSEEN
            self._update(watched.attr, indices[known], self._classes(column, indices[known]), classes[known], call)
        column.prints[indices], column.norms[indices], column.classes[indices] = seen, norms, classes

    def _flag(self, index: int, call: int) -> None:
        if self._flag_updates:
            now = self._table.flags[index]
            before, after = (self._false, self._true) if now else (self._true, self._false)
            self._update(self._requires, np.array([index]), np.array([before]), np.array([after]), call)

    def _update(self, attr: int, indices: Indices, before: Any, after: Any, call: int) -> None:
        """One row for each name of each variable."""
        names = [self._table.variables[index].ids for index in indices.tolist()]
        ids = [number for of_one in names for number in of_one]
        if len(ids) > len(names):
            times = [len(of_one) for of_one in names]
            before, after = np.repeat(before, times), np.repeat(after, times)
        next_id = self._buffers.next_id
        numbers = [next_id() for _ in ids]
        self._buffers.add_table(
            "updates", len(ids), id=numbers, variable=ids, call=call, attr=attr, before=before, after=after
        )

    def _measured(
        self, column: Column, tensors: list[Any], chosen: Indices, seen: Prints
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
        """Norms and classes of values just read, with fingerprints `seen`: of `tensors` at the positions `chosen`."""
        places = chosen.tolist()
        norms = np.array(column.reader.norms(tensors, places), np.float64)
        classes = np.full(len(places), self._nonzero, np.int32)
        for at in np.flatnonzero(~np.isfinite(norms) | (norms <= 0.0)).tolist():
            classes[at] = self._classify(tensors[places[at]], int(seen[at]), float(norms[at]))
        return norms, classes

    def _classify(self, tensor: torch.Tensor, seen: int, norm: float) -> int:
        """The class of values whose norm does not tell; without a norm they are taken to be finite."""
        if norm == UNMEASURED:
            return self._zero if seen == zero_fingerprint(tensor.nbytes) else self._nonzero
        if norm == 0.0:  # zeros of either sign, or values whose squares vanish
            return self._nonzero if bool(tensor.detach().any()) else self._zero
        # the squares may overflow where no value does
        return self._nonzero if bool(torch.isfinite(tensor.detach()).all()) else self._nonfinite
