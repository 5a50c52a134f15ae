"""Values read by kernels, where they are on a GPU, as a sweep comes by: nothing is copied, and nobody waits."""

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import attrgetter
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from traincheck.collect.batches import Batch, Taken
from traincheck.collect.blocks import BLOCK, FIELDS, KEYS, has_norm, is_whole, sent, tell
from traincheck.collect.measures import Measures

__all__ = ["Readings", "kernels_for"]

_ROW = 8 * FIELDS
"""Bytes that are kept of each block."""
_LEAST, _MOST = 1 << 20, 1 << 26
"""Bytes of the room for what is found; a sweep that needs more gets it: about a hundredth of what it reads."""
_MAX_PLANS = 1024
_ALIGNED = 16

_shape = attrgetter("shape")
_data_ptr = torch.Tensor.data_ptr


class _Plan(NamedTuple):
    """How tensors of some shapes are cut into blocks."""

    blocks: torch.Tensor  # int32 [blocks, 3]: its entry, its number in the tensor, and how many values are yet to come
    starts: npt.NDArray[np.int64]  # of each entry the first block
    sizes: list[int]  # in bytes
    before: npt.NDArray[np.int64]  # bytes of the tensor before each entry's


class Readings:
    """What is found of the blocks of tensors that have one dtype, in the order of a stream of their device."""

    def __init__(
        self, kernels: ModuleType, device: torch.device, dtype: torch.dtype, ranged: bool, measures: Measures
    ) -> None:
        self._device, self._dtype, self._ranged, self._kernels = device, dtype, ranged, kernels
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._tell = functools.partial(tell, dtype=dtype, measures=measures)
        self._keys = sent(KEYS, device)
        self._plans: dict[tuple[Any, ...], _Plan] = {}
        self._tables: dict[tuple[Any, ...], tuple[torch.Tensor, bool]] = {}
        self._measured: list[Batch] = []
        self._make_room(_LEAST // _ROW)

    def put(self, tensors: Sequence[torch.Tensor], numbers: Sequence[int] = ()) -> list[Taken]:
        """Read tensors; the batches they are in.

        What is part of a tensor has the number of its first block there among `numbers`. One thread at a time.
        """
        plan = self._plan(tensors, tuple(numbers) or (0,) * len(tensors))
        count = len(plan.blocks)
        if self._used + count > len(self._room):
            self._measure()
            self._make_room(max(_enough(count), min(2 * len(self._room), _MOST // _ROW)))
        dense = [tensor if tensor.is_contiguous() else tensor.contiguous() for tensor in tensors]
        with self._on_device():
            table, aligned = self._table(tuple(map(_data_ptr, dense)), plan)
            self._kernels.read(
                table, plan.blocks, aligned, self._dtype, self._keys, self._room, self._used, self._ranged
            )
        taken = self._batch, self._entries, len(dense)
        self._taken.append((self._used, plan))
        self._entries += len(dense)
        self._used += count
        return [taken]

    def measured(self) -> list[Batch]:
        """Have what was found of blocks added up; all batches since this was last asked."""
        self._measure()
        found, self._measured = self._measured, []
        return found

    def give_up(self) -> None:
        """Nothing of what was read will be known."""
        for batch in (*self._measured, self._batch):
            batch.arrived = batch.failed = True

    def _measure(self) -> None:
        if not self._taken:
            return
        starts = np.concatenate([plan.starts + begin for begin, plan in self._taken] + [[self._used]])
        sizes = np.array([size for _, plan in self._taken for size in plan.sizes], np.uint64)
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            self._batch.launch(self._kernels.total(self._room, sent(starts, self._device)), sizes)
        self._measured.append(self._batch)
        self._begin()

    def _begin(self) -> None:
        self._batch = Batch(self._tell)
        self._taken: list[tuple[int, _Plan]] = []  # what was read since the last batch, from which row on
        self._used = self._entries = 0

    def _make_room(self, rows: int) -> None:
        self._begin()
        self._room = torch.empty((rows, FIELDS), dtype=torch.int64, device=self._device)

    def _on_device(self) -> AbstractContextManager[Any]:
        """Kernels are launched on the device that is the current one, in its current stream."""
        if self._stream is None or torch.cuda.current_device() == self._device.index:
            return nullcontext()
        return torch.cuda.device(self._device)

    def _table(self, addresses: tuple[int, ...], plan: _Plan) -> tuple[torch.Tensor, bool]:
        """Where the tensors begin that entries are of, on the device; and whether all of these are aligned."""
        key = addresses, id(plan)
        known = self._tables.get(key)
        if known is None:
            if len(self._tables) >= _MAX_PLANS:
                self._tables.clear()
            table = np.array(addresses, np.int64) - plan.before
            known = self._tables[key] = sent(table, self._device), not (table % _ALIGNED).any()
        return known

    def _plan(self, tensors: Sequence[torch.Tensor], numbers: tuple[int, ...]) -> _Plan:
        key = tuple(map(_shape, tensors)), numbers
        known = self._plans.get(key)
        if known is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
                self._tables.clear()  # which know plans by their ids
            known = self._plans[key] = self._planned([shape.numel() for shape in key[0]], numbers)
        return known

    def _planned(self, lengths: list[int], numbers: tuple[int, ...]) -> _Plan:
        each = BLOCK // self._dtype.itemsize
        counts = np.array([-(-length // each) for length in lengths], np.int64)
        starts = np.cumsum(counts) - counts
        entries = np.repeat(np.arange(len(lengths)), counts)
        within = np.arange(len(entries)) - starts[entries]
        firsts = np.array(numbers, np.int64)
        left = np.array(lengths, np.int64)[entries] - within * each
        rows = np.stack([entries, within + firsts[entries], left], 1).astype(np.int32)
        sizes = [length * self._dtype.itemsize for length in lengths]
        return _Plan(sent(rows, self._device), starts, sizes, firsts * BLOCK)


def _enough(count: int) -> int:
    """A power of two that is no less."""
    return 1 << max(count - 1, 0).bit_length()


@functools.cache
def kernels_for(device: torch.device, dtype: torch.dtype, ranged: bool) -> ModuleType | None:
    """The kernels, if they can be compiled for such values: that takes Triton, a GPU it knows, and a C compiler."""
    if device.type != "cuda" or not (has_norm(dtype) or is_whole(dtype)):
        return None
    try:
        from traincheck.collect import kernels

        value = torch.zeros(1, dtype=dtype, device=device)
        room = torch.zeros((1, FIELDS), dtype=torch.int64, device=device)
        address, block = sent(np.array([value.data_ptr()]), device), sent(np.array([[0, 0, 1]], np.int32), device)
        with torch.cuda.device(device):
            kernels.read(address, block, True, dtype, sent(KEYS, device), room, 0, ranged)
            kernels.total(room, sent(np.array([0, 1]), device))
    except Exception:  # whatever it is that Triton raises
        return None
    return kernels
