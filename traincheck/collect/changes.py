"""Sees what changed: compares fingerprints of data and gradients with those last taken, and writes updates."""

import math
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import torch

from traincheck import values
from traincheck.collect.buffers import NULL, Buffers, Columns
from traincheck.collect.fingerprint import ABSENT, UNMEASURED, Reader, local, value_class, zero_fingerprint
from traincheck.collect.needs import Needs
from traincheck.collect.ranges import NO_RANGE, UNKNOWN, Extent, nonfinite, ranges
from traincheck.collect.table import NO_GRADIENT, UNSEEN, Column
from traincheck.collect.variables import Variables
from traincheck.trace.layout import POINTS

_BEFORE_STEP, _AFTER_STEP = range(len(POINTS))
_NO_VALUES = frozenset((ABSENT, UNSEEN, NO_GRADIENT))


class _Noted(NamedTuple):
    """The states of some variables at one point, until the step ends."""

    seq: int
    attr: int
    point: int
    ids: list[int]
    prints: list[int]
    norms: list[float]
    classes: list[int]
    extents: list[Extent]

    def columns(self) -> Columns:
        """As they are written."""
        return {
            "variable": self.ids,
            "at": self.seq,
            "fingerprint": [0 if seen in _NO_VALUES else seen for seen in self.prints],
            "norm": [math.nan if norm == UNMEASURED else norm for norm in self.norms],
            "attr": self.attr,
            "class": self.classes,
            "nonfinite": [bad for bad, _, _ in self.extents],
            "point": self.point,
            "hashed": [seen not in _NO_VALUES for seen in self.prints],
            "minimum": [least for _, least, _ in self.extents],
            "maximum": [greatest for _, _, greatest in self.extents],
        }


class _Updates(NamedTuple):
    """Changes of an attribute in one call: ids of the updates, variables, classes before and after."""

    call: int
    attr: int
    rows: list[tuple[int, int, int, int]]

    def columns(self) -> Columns:
        """As they are written."""
        ids, variables, before, after = map(list, zip(*self.rows, strict=True))
        return {
            "id": ids, "variable": variables, "call": self.call, "attr": self.attr, "before": before, "after": after,
        }  # fmt: skip


class _Watched(NamedTuple):
    """A column, the name of its attribute, whether its changes are written, and whether its states have ranges."""

    column: Column
    attr: int
    written: bool
    ranged: bool


class Changes:
    """Sweeps over the variables; every sweep attributes what it finds to one call."""

    def __init__(self, buffers: Buffers, variables: Variables, needs: Needs) -> None:
        self._buffers = buffers
        self._table = variables.table
        names = buffers.names
        self._requires = names("requires_grad")
        self._none, self._zero, self._nonzero = names(values.NONE), names(values.ZERO), names(values.NONZERO)
        self._words = {word: names(word) for word in (values.ZERO, values.NONZERO, values.NONFINITE)}
        self._remembers = needs.stored
        self._true, self._false = names(values.TRUE), names(values.FALSE)
        self._flag_updates = needs.wants_update("requires_grad")
        self._grad_states = needs.wants_state("grad", "before_step")
        self._data_states = needs.wants_state("data", "after_step")
        self._data = _Watched(
            self._table.data, names("data"), needs.wants_update("data"), needs.ranges and self._data_states
        )
        self._grad = _Watched(
            self._table.grad, names("grad"), needs.wants_update("grad"), needs.ranges and self._grad_states
        )
        self._watches_data = self._data.written or self._data_states
        self._watches_grad = self._grad.written or self._grad_states
        self._noted: list[_Noted] = []
        self._chosen: dict[int, tuple[int, Collection[int], tuple[list[int], list[int]]]] = {}
        self._readers: dict[tuple[int, ...], Reader] = {}

    def data(self, call: int) -> None:
        """Sweep values and requires_grad."""
        tensors = self._table.tensors()
        for index in self._table.changed_flags(tensors):
            self._flag(index, call)
        if self._watches_data:
            column = self._data.column
            seen = column.reader(tensors)
            if seen != column.prints:
                moved = [at for at, (now, then) in enumerate(zip(seen, column.prints, strict=True)) if now != then]
                new = [seen[at] for at in moved]
                self._changed(self._data, moved, new, *self._measured(self._data, tensors, moved, new), call)

    def buffers(self, call: int, among: Iterable[torch.Tensor | None]) -> None:
        """Sweep the values of one module's own buffers; their norms are left for the end of the step."""
        if not self._watches_data:
            return
        column, find = self._data.column, self._table.find
        known = [(variable.index, tensor) for tensor in among if tensor is not None and (variable := find(tensor))]
        indices = tuple(index for index, _ in known)
        reader = self._readers.get(indices)
        if reader is None:
            reader = self._readers[indices] = Reader()
        seen = reader([tensor for _, tensor in known])
        moved = [at for at, index in enumerate(indices) if seen[at] != column.prints[index]]
        if moved:
            sizes = [known[at][1].nbytes for at in moved]
            new = [seen[at] for at in moved]
            classes = [
                self._zero if now == zero_fingerprint(size) else self._nonzero
                for now, size in zip(new, sizes, strict=True)
            ]
            norms, extents = [UNMEASURED] * len(moved), [UNKNOWN] * len(moved)
            self._changed(self._data, [indices[at] for at in moved], new, norms, classes, extents, call)

    def grads(self, call: int) -> None:
        """Sweep gradients."""
        if not self._watches_grad:
            return
        column = self._grad.column
        positions, grads = self._table.trained(self._table.tensors())
        present = [grad for grad in grads if grad is not None]
        seen = column.reader(present) if present else []
        there = [at for at, grad in zip(positions, grads, strict=True) if grad is not None]
        prints = column.prints
        places = [place for place, at in enumerate(there) if seen[place] != prints[at]]
        if places:
            new = [seen[place] for place in places]
            found = self._measured(self._grad, present, places, new)
            self._changed(self._grad, [there[place] for place in places], new, *found, call)
        if len(present) < len(grads):
            pairs = zip(positions, grads, strict=True)
            gone = [at for at, grad in pairs if grad is None and prints[at] != NO_GRADIENT]
            if gone:
                size = len(gone)
                nothing = size * [NO_GRADIENT], size * [UNMEASURED], size * [self._none], size * [UNKNOWN]
                self._changed(self._grad, gone, *nothing, call)

    def before_step(self, seq: int, optimizer: int, held: Collection[int]) -> None:
        """Note the gradients that an optimizer is about to use: those it holds, and those that nobody holds."""
        if self._grad_states:
            indices, ids = self._choice(optimizer, held)
            # a buffer has no gradient, not even none
            known = [place for place, at in enumerate(indices) if self._grad.column.prints[at] != UNSEEN]
            self._note(
                self._grad, seq, _BEFORE_STEP, [indices[place] for place in known], [ids[place] for place in known]
            )

    def after_step(self, seq: int, optimizer: int, held: Collection[int]) -> None:
        """Note the values that an optimizer's step has left."""
        if not self._data_states:
            return
        indices, ids = self._choice(optimizer, held)
        column = self._data.column
        stale = [at for at in dict.fromkeys(indices) if column.norms[at] == UNMEASURED]
        if stale:
            seen = [column.prints[at] for at in stale]
            found = self._measured(self._data, self._table.tensors(), stale, seen)
            for at, norm, kind, extent in zip(stale, *found, strict=True):
                column.norms[at], column.classes[at], column.extents[at] = norm, kind, extent
        self._note(self._data, seq, _AFTER_STEP, indices, ids)

    def forget(self) -> None:
        """Steps were left out: what changed in them is nobody's, so start from the values of now."""
        for column in (self._data.column, self._grad.column):
            column.prints = [UNSEEN] * len(column.prints)
        self.data(NULL)
        self.grads(NULL)

    def flush_states(self) -> None:
        """The step is over: write the states that were noted in it, the last of each variable and point."""
        told: dict[int, set[int]] = {}
        for noted in reversed(self._noted):
            already = told.get(noted.point)
            if already is None:
                told[noted.point] = set(noted.ids)
                self._write(noted)
                continue
            rows = [place for place, number in enumerate(noted.ids) if number not in already]
            columns = noted.ids, noted.prints, noted.norms, noted.classes, noted.extents
            self._write(_Noted(*noted[:3], *([column[place] for place in rows] for column in columns)))  # type: ignore[arg-type]
            already.update(noted.ids)
        self._noted.clear()

    def _choice(self, optimizer: int, held: Collection[int]) -> tuple[list[int], list[int]]:
        """Positions and ids of what states are noted of around a step of `optimizer`, which holds `held`."""
        known = self._chosen.get(optimizer)
        if known is not None and known[0] == self._table.version and known[1] == held:
            return known[2]
        found = self._table.noted(held)
        self._chosen[optimizer] = self._table.version, held, found
        return found

    def _note(self, watched: _Watched, seq: int, point: int, indices: list[int], ids: list[int]) -> None:
        column = watched.column
        prints = [column.prints[at] for at in indices]
        norms, classes = [column.norms[at] for at in indices], self._classes(column, indices)
        extents = [column.extents[at] for at in indices]
        self._noted.append(_Noted(seq, watched.attr, point, ids, prints, norms, classes, extents))

    def _classes(self, column: Column, indices: list[int]) -> list[int]:
        """The classes last seen; what never had a gradient has none."""
        return [self._none if column.prints[at] == NO_GRADIENT else column.classes[at] for at in indices]

    def _write(self, noted: _Noted) -> None:
        self._buffers.add_rows("states", len(noted.ids), noted.columns)

    def _changed(
        self,
        watched: _Watched,
        indices: list[int],
        seen: list[int],
        norms: list[float],
        classes: list[int],
        extents: list[Extent],
        call: int,
    ) -> None:
        """Remember new values, and write that they are new; a first value is none."""
        column = watched.column
        if watched.written:
            before = self._classes(column, indices)
            rows = [
                (at, old, new)
                for at, old, new in zip(indices, before, classes, strict=True)
                if column.prints[at] != UNSEEN
            ]
            self._update(watched.attr, rows, call)
        for at, now, norm, kind, extent in zip(indices, seen, norms, classes, extents, strict=True):
            column.prints[at], column.norms[at] = now, norm
            column.classes[at], column.extents[at] = kind, extent
        if self._remembers:
            for at in indices:
                column.calls[at] = call

    def _flag(self, index: int, call: int) -> None:
        if self._flag_updates:
            now = self._table.flags[index]
            before, after = (self._false, self._true) if now else (self._true, self._false)
            self._update(self._requires, [(index, before, after)], call)

    def _update(self, attr: int, rows: list[tuple[int, int, int]], call: int) -> None:
        """Write that variables changed, given by position, class before and class after: a row for each name."""
        variables, next_id = self._table.variables, self._buffers.next_id
        named = [(next_id(), number, old, new) for at, old, new in rows for number in variables[at].ids]
        self._buffers.add_rows("updates", len(named), _Updates(call, attr, named).columns)

    def _measured(
        self, watched: _Watched, tensors: list[Any], chosen: list[int], seen: list[int]
    ) -> tuple[list[float], list[int], list[Extent]]:
        """Norms, classes and extents of values just read, with fingerprints `seen`: those at the positions `chosen`."""
        reader = watched.column.reader
        norms = reader.norms(tensors, chosen)
        told = [
            (self._nonzero, 0) if 0.0 < norm < math.inf else self._classify(tensors[at], now, norm)
            for at, now, norm in zip(chosen, seen, norms, strict=True)
        ]
        limits = ranges(reader, tensors, chosen) if watched.ranged else [NO_RANGE] * len(chosen)
        extents = [(bad, *limit) for (_, bad), limit in zip(told, limits, strict=True)]
        return norms, [kind for kind, _ in told], extents

    def _classify(self, tensor: torch.Tensor, seen: int, norm: float) -> tuple[int, int]:
        """The class of values whose norm does not tell, and how many of them are not finite.

        Without a norm they are taken to be finite; of other than integers their number is then NULL.
        """
        tensor = local(tensor)
        kind = value_class(tensor, seen, norm)
        bad = nonfinite(tensor) if kind == values.NONFINITE else 0
        if norm == UNMEASURED and (tensor.is_floating_point() or tensor.is_complex()):
            bad = NULL
        return self._words[kind], bad
