"""Values read by kernels, where they are on a GPU, as a sweep comes by: nobody waits."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from operator import attrgetter
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from traincheck.collect.buffers import Names
from traincheck.collect.device.addresses import Addresses
from traincheck.collect.device.batches import Batch
from traincheck.collect.device.taker import Taken, Taker
from traincheck.collect.values.blocks import BLOCK, FIELDS, KEYS, has_norm, is_whole, sent
from traincheck.collect.values.measures import Measures

__all__ = ["Readings", "kernels_for"]

_ROW = 8 * FIELDS
"""Bytes that are kept of each block."""
_LEAST, _MOST = 1 << 20, 1 << 26
"""Bytes of the room for what is found; a sweep that needs more gets it: 48 bytes for each 4 KiB."""
_MAX_COPIES = 1 << 25
"""Bytes that may be copied before they are read: of tensors that are not contiguous, or begin where kernels cannot."""
_MAX_BLOCKS = 1 << 22
"""How many blocks all plans may have, of 12 bytes each; or four times those of the largest one."""
_MAX_PLANS = 1024

_shape = attrgetter("shape")
_data_ptr = torch.Tensor.data_ptr


class _Plan(NamedTuple):
    """How tensors of some shapes are cut into blocks."""

    blocks: torch.Tensor  # int32 [blocks, 3]: its entry, its number in the tensor, and how many values are yet to come
    starts: npt.NDArray[np.int64]  # of each entry the first block
    sizes: list[int]  # in bytes


class Readings(Taker):
    """Has the values of tensors read by kernels; what is found of their blocks is kept until it is added up."""

    def __init__(
        self, kernels: ModuleType, device: torch.device, dtype: torch.dtype, ranged: bool, measures: Measures
    ) -> None:
        """As of any `Taker`; `kernels` is what `kernels_for` found."""
        super().__init__(device, dtype, ranged, measures)
        self._kernels = kernels
        self._keys = sent(KEYS, device)
        self._plans: dict[tuple[Any, ...], _Plan] = {}
        self._addresses = Addresses(device)
        self._make_room(_LEAST // _ROW)

    def put(self, tensors: Sequence[torch.Tensor], numbers: Sequence[int] = ()) -> list[Taken]:
        """Read tensors where they are; what kernels cannot read there is copied before."""
        numbers = tuple(numbers) or (0,) * len(tensors)
        direct = [_is_direct(tensor, self._kernels.ALIGNED) for tensor in tensors]
        if all(direct):
            return [self._read(tensors, numbers)]
        ends = [0, *_portions(tensors, direct)]
        return [
            self._read(
                [_readable(*each) for each in zip(tensors[at:end], direct[at:end], strict=True)], numbers[at:end]
            )
            for at, end in pairwise(ends)
        ]

    def _read(self, tensors: Sequence[torch.Tensor], numbers: tuple[int, ...]) -> Taken:
        plan = self._plan(tensors, numbers)
        count = len(plan.blocks)
        if self._used + count > len(self._room):
            self._measure()
            rows = max(count, min(2 * len(self._room), _MOST // _ROW))
            if rows > len(self._room):
                self._make_room(rows)
        begins = tuple(map(_data_ptr, tensors))
        if any(numbers):
            begins = tuple([begin - number * BLOCK for begin, number in zip(begins, numbers, strict=True)])
        addresses = self._addresses.on_device(begins)
        with self._on_device():
            self._kernels.read(
                addresses, plan.blocks, self._dtype, self._keys, self._room, self._amounts, self._used, self._ranged
            )
        taken = self._batch, self._entries, len(tensors)
        self._taken.append((self._used, plan))
        self._entries += len(tensors)
        self._used += count
        return taken

    def _measure(self) -> None:
        if not self._taken:
            return
        starts = np.concatenate([plan.starts + begin for begin, plan in self._taken] + [[self._used]])
        sizes = np.array([size for _, plan in self._taken for size in plan.sizes], np.uint64)
        with self._in_order():
            self._batch.launch(self._kernels.total(self._room, self._amounts, sent(starts, self._device)), sizes)
        self._measured.append(self._batch)
        self._begin()

    def _begin(self) -> None:
        self._batch = Batch(self._tell)
        self._taken: list[tuple[int, _Plan]] = []  # what was read since the last batch, from which row on
        self._used = self._entries = 0

    def _make_room(self, rows: int) -> None:
        self._begin()
        self._room = self._amounts = torch.empty(0, device="cpu")  # what there was goes first
        with torch.inference_mode(False):
            self._room = torch.empty((rows, FIELDS), dtype=torch.int64, device=self._device)
            self._amounts = self._room.view(torch.float64)

    def _on_device(self) -> AbstractContextManager[Any]:
        """Kernels are launched on the device that is the current one, in its current stream."""
        if self._stream is None or torch.cuda.current_device() == self._device.index:
            return nullcontext()
        return torch.cuda.device(self._device)

    def _plan(self, tensors: Sequence[torch.Tensor], numbers: tuple[int, ...]) -> _Plan:
        key = tuple(map(_shape, tensors)), numbers
        known = self._plans.get(key)
        if known is None:
            known = self._planned([shape.numel() for shape in key[0]], numbers)
            blocks = [len(plan.blocks) for plan in (known, *self._plans.values())]
            if len(blocks) > _MAX_PLANS or sum(blocks) > max(_MAX_BLOCKS, 4 * max(blocks)):
                self._plans.clear()
            self._plans[key] = known
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
        return _Plan(sent(rows, self._device), starts, sizes)


def _is_direct(tensor: torch.Tensor, aligned: int) -> bool:
    """Whether kernels can read a tensor where it is."""
    return tensor.is_contiguous() and not _data_ptr(tensor) % aligned


def _readable(tensor: torch.Tensor, direct: bool) -> torch.Tensor:
    return tensor if direct else tensor.clone(memory_format=torch.contiguous_format)


def _portions(tensors: Sequence[torch.Tensor], direct: Sequence[bool]) -> Iterator[int]:
    """The ends of portions, of each of which so much has to be copied as there may be copies of at a time."""
    copied = 0
    for at, (tensor, fit) in enumerate(zip(tensors, direct, strict=True)):
        size = 0 if fit else tensor.nbytes
        if copied + size > _MAX_COPIES and copied:
            yield at
            copied = 0
        copied += size
    yield len(tensors)


@functools.cache
def kernels_for(device: torch.device, dtype: torch.dtype, ranged: bool) -> ModuleType | None:
    """The kernels, if they can be compiled for such values: that takes Triton, a GPU it knows, and a C compiler."""
    if device.type != "cuda" or not (has_norm(dtype) or is_whole(dtype)):
        return None
    try:
        from traincheck.collect.device import kernels

        if not kernels.COMPILED:
            return None
        trial = Readings(kernels, device, dtype, ranged, Measures(Names()))
        trial.put([torch.zeros(1, dtype=dtype, device=device)])
        trial.measured()
    except Exception:  # whatever it is that Triton raises
        return None
    return kernels
