"""Sweeps over tensors on a GPU: values are read or copied there, and what is found is fetched when rows are written."""

import functools
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from traincheck.collect.device.batches import Batch
from traincheck.collect.device.readings import Readings, kernels_for
from traincheck.collect.device.staging import Staging
from traincheck.collect.device.taker import MOST, Taken, Taker
from traincheck.collect.values.blocks import BLOCK, combined
from traincheck.collect.values.fingerprint import (
    ABSENT,
    LOW,
    NO_GRADIENT,
    PLAIN_TYPES,
    capturing,
    fingerprint,
    local,
    readable,
)
from traincheck.collect.values.measures import Cells, Measures
from traincheck.collect.values.modes import undisturbed
from traincheck.collect.values.ranges import NO_RANGE

__all__ = ["Deferred", "Pending"]

_kind = attrgetter("layout", "dtype", "device", "shape")
_data_ptr: Callable[[Any], int] = torch.Tensor.data_ptr
_MAX_PARTITIONS = 1024
_MAX_TAKERS = 8
"""Each keeps its room on the device."""
_PERIOD = 0.1
"""Seconds in which what was taken is measured once, if there is room: without kernels that is dozens of operations."""


class _Group(NamedTuple):
    """Tensors of a sweep that have one dtype and device: where they are in it, and how they are cut into entries."""

    device: torch.device
    dtype: torch.dtype
    places: list[int]
    starts: npt.NDArray[np.int64]  # of each the first entry
    sizes: npt.NDArray[np.uint64]  # in bytes
    cut: bool  # whether one of them has several


class _Partition(NamedTuple):
    """The tensors of a sweep: cells that say which are None, the groups, and places of what is read at once."""

    cells: Cells
    groups: list[_Group]
    odd: list[int]
    filled: list[int]  # places of those in groups that are not empty


class Pending:
    """The cells of all that a sweep has read; some are still being computed."""

    def __init__(self, cells: Cells, ranged: bool) -> None:
        self._cells, self._ranged = cells, ranged
        self._parts: list[tuple[_Group, list[Taken]]] = []

    def add(self, group: _Group, batches: list[Taken]) -> None:
        """The cells of a group are in so many entries of these batches, from some entry on."""
        self._parts.append((group, batches))

    @property
    def arrived(self) -> bool:
        """Whether nothing is being computed any more."""
        return all(batch.arrived for _, batches in self._parts for batch, _, _ in batches)

    def cells(self) -> bytes:
        """The cells, when all has arrived; none where the device failed, and with it the training, which says so."""
        cells = self._cells
        positions = cells["position"].copy()
        for group, batches in self._parts:
            if any(batch.failed for batch, _, _ in batches):
                return b""
            if group.cut:
                entries = np.concatenate([batch.found[first : first + count] for batch, first, count in batches])
                cells[group.places] = batches[0][0].cells_of(combined(entries, group.starts), group.sizes)
            else:
                rows = [batch.cells[first : first + count] for batch, first, count in batches]
                cells[group.places] = rows[0] if len(rows) == 1 else np.concatenate(rows)
        cells["position"] = positions
        if not self._ranged:
            cells["minimum"], cells["maximum"] = NO_RANGE
        return cells.tobytes()


class Deferred:
    """Takes values, sweep by sweep, and has them measured at the ends of some steps, or when there is no more room.

    One thread at a time; only those that train ask the device for anything, as one that captures a graph forbids the
    others to.
    """

    def __init__(self, measures: Measures, ranged: bool, upcoming: Callable[[], int]) -> None:
        self._measures, self._ranged, self._upcoming = measures, ranged, upcoming
        self._measured = upcoming()
        self._takers: dict[tuple[torch.device, torch.dtype, int], Taker] = {}
        self._partitions: dict[tuple[Any, ...], _Partition] = {}
        self._asked: list[tuple[int, list[Batch]]] = []  # what was measured together and is yet to arrive
        self._taken = False
        self._due = 0.0
        self.used = False
        """Whether anything was ever taken."""

    @property
    def awaited(self) -> int | None:
        """The number before which no event has results that are yet to come; None when there are no such results.

        To be asked by the thread that writes: what was numbered before may still be waiting for it.
        """
        taken, measured, asked = self._taken, self._measured, self._asked[:1]
        return asked[0][0] if asked else measured if taken else None

    def sweep(self, tensors: Sequence[Any], positions: Sequence[int], ranged: bool) -> Pending:
        """The cells of some tensors, None among them, at positions of the table; `ranged` if ranges are asked for."""
        tensors = [tensor if tensor is None or type(tensor) in PLAIN_TYPES else local(tensor) for tensor in tensors]
        partition = self._partition(tensors)
        cells = partition.cells.copy()
        cells["position"] = positions
        for place in partition.odd:
            cells[place : place + 1] = self._at_once(tensors[place], positions[place], ranged)
        pending = Pending(cells, ranged)
        with torch.no_grad(), undisturbed():
            for group in partition.groups:
                chosen = [tensors[place] for place in group.places]
                taker = self._taker(group)
                self._taken = self.used = True
                pending.add(group, taker.put(*(_cut(chosen) if group.cut else (chosen,))))
        return pending

    def end_step(self) -> None:
        """Have measured what was taken, unless that was just done, and see what has arrived."""
        if time.monotonic() >= self._due:
            self.measure()
        elif not capturing():
            self._look(False)

    def measure(self, wait: bool = False) -> None:
        """Have measured what was taken so far, and see what has arrived; wait for all of it if so asked."""
        if capturing():
            return
        self._due = time.monotonic() + _PERIOD
        if self._taken:
            self._ask()
        self._measured = self._upcoming()
        self._look(wait)

    def finish(self) -> None:
        """Have measured what was taken so far, and wait for it; what cannot be any more will never be."""
        try:
            self.measure(wait=True)
        except RuntimeError:  # the device has failed, and with it the training, which says so itself
            for taker in self._takers.values():
                taker.give_up()

    def _ask(self) -> None:
        with torch.inference_mode(), undisturbed():
            batches = [batch for taker in self._takers.values() for batch in taker.measured()]
        self._asked.append((self._measured, batches))
        self._taken = False

    def _look(self, wait: bool) -> None:
        while self._asked and all(batch.look(wait) for batch in self._asked[0][1]):
            del self._asked[0]

    def _at_once(self, tensor: torch.Tensor, position: int, ranged: bool) -> Cells:
        """The cell of what has no memory of its own, or not now: of sparse tensors this waits for the device."""
        cells = self._measures.cells([tensor], [fingerprint(tensor)], [position])
        self._measures.measure(cells, [tensor], [None], ranged, False)
        return cells

    def _taker(self, group: _Group) -> Taker:
        # torch.cuda.current_stream makes an object of it, which is asked for in each sweep
        stream = torch._C._cuda_getCurrentRawStream(group.device.index) if group.device.type == "cuda" else 0
        key = group.device, group.dtype, stream
        found = self._takers.get(key)
        if found is None:
            if len(self._takers) >= _MAX_TAKERS:  # a script that goes from stream to stream
                self._ask()  # the sweep that this is part of has its numbers already
                self._takers.clear()
            kernels = kernels_for(group.device, group.dtype, self._ranged)
            kind = Staging if kernels is None else functools.partial(Readings, kernels)
            found = self._takers[key] = kind(group.device, group.dtype, self._ranged, self._measures)
        return found

    def _partition(self, tensors: list[Any]) -> _Partition:
        key = tuple([_kind(tensor) if type(tensor) in PLAIN_TYPES else type(tensor) for tensor in tensors])
        known = self._partitions.get(key)
        if known is not None and min([_data_ptr(tensors[place]) for place in known.filled], default=LOW + 1) > LOW:
            return known  # FSDP frees a storage and keeps the tensors in it
        found = self._parted(tensors)
        if known is None and all(_has_no_memory(tensors[place]) for place in found.odd):
            if len(self._partitions) >= _MAX_PARTITIONS:
                self._partitions.clear()
            self._partitions[key] = found
        return found

    def _parted(self, tensors: list[Any]) -> _Partition:
        present = [place for place, tensor in enumerate(tensors) if tensor is not None]
        read = [place for place in present if readable(tensors[place])]
        kinds: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        for place in read:
            kinds.setdefault((tensors[place].device, tensors[place].dtype), []).append(place)
        groups = [
            _group(device, dtype, places, [tensors[place].nbytes for place in places])
            for (device, dtype), places in kinds.items()
        ]
        prints = [NO_GRADIENT if tensor is None else ABSENT for tensor in tensors]
        return _Partition(
            self._measures.cells(tensors, prints, [0] * len(tensors)),
            groups,
            sorted(set(present) - set(read)),
            [place for place in read if tensors[place].nbytes],
        )


def _group(device: torch.device, dtype: torch.dtype, places: list[int], sizes: list[int]) -> _Group:
    counts = np.array([max(1, -(-size // MOST)) for size in sizes])
    starts = np.cumsum(counts) - counts
    return _Group(device, dtype, places, starts, np.array(sizes, np.uint64), bool((counts > 1).any()))


def _cut(tensors: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[int]]:
    """Tensors, in place of each that is too large its parts, and the numbers of their first blocks."""
    found, numbers = list[torch.Tensor](), list[int]()
    for tensor in tensors:
        if tensor.nbytes > MOST:
            flat, each = tensor.reshape(-1), MOST // tensor.element_size()
            begins = range(0, len(flat), each)
            found += [flat[begin : begin + each] for begin in begins]
            numbers += [begin * tensor.element_size() // BLOCK for begin in begins]
        else:
            found.append(tensor)
            numbers.append(0)
    return found, numbers


def _has_no_memory(tensor: torch.Tensor) -> bool:
    """Whether that is so by the kind of tensor, at all times."""
    strided = type(tensor) in PLAIN_TYPES and tensor.layout is torch.strided
    return not strided or tensor.is_meta or tensor.is_quantized
