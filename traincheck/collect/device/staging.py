"""Copies of values on the device they are on, taken when a sweep comes by and measured together: nobody waits."""

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from traincheck.collect.device.batches import Batch
from traincheck.collect.device.taker import MOST, Taken, Taker
from traincheck.collect.values.blocks import BLOCK, WORDS, Layout, measure
from traincheck.collect.values.measures import Measures

__all__ = ["Staging"]

_SHARE = 256
"""One part in so many of a GPU's memory may be copies of one type; to measure them takes three times as much."""
_LEAST = 1 << 22
_MAX_PLANS = 1024

_CARRIERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""What values are copied as, by size, where torch cannot copy many of a dtype at once, or not to the bit."""

_ODD = (torch.uint16, torch.uint32, torch.uint64, torch.complex32)

_shape = attrgetter("shape")
_Blocks = npt.NDArray[np.int64]


class _Run(NamedTuple):
    """Tensors of a list that come after each other in one batch: which, from which block on, and where they go."""

    begin: int
    end: int
    start: int
    views: list[torch.Tensor]
    gaps: list[torch.Tensor]  # up to the next block, behind those that do not end with one
    blocks: _Blocks  # as for a layout, with entries counted from the first of these
    sizes: list[int]  # in bytes


class Staging(Taker):
    """Room for copies of values."""

    def __init__(self, device: torch.device, dtype: torch.dtype, ranged: bool, measures: Measures) -> None:
        """As of any `Taker`."""
        super().__init__(device, dtype, ranged, measures)
        self._carrier = _CARRIERS[dtype.itemsize] if _is_odd(dtype) else dtype
        self._most = MOST
        if device.type == "cuda":
            self._most = max(MOST, torch.cuda.get_device_properties(device).total_memory // _SHARE)
        self._runs: list[_Run] = []  # what was copied since the last batch
        self._earlier: list[_Run] = []  # before it
        self._used = self._entries = 0
        self._full = False  # whether a batch had to be measured to make room
        self._make_room(_LEAST)

    def put(self, tensors: Sequence[torch.Tensor], numbers: Sequence[int] = ()) -> list[Taken]:
        """Copy tensors; they are read when there is no more room, or when that is asked for."""
        found = []
        for run in self._plan(tensors, tuple(numbers) or (0,) * len(tensors)):
            if run.start < self._used:
                self._full = True
                self._measure()
            self._clear(run)
            chosen = tensors[run.begin : run.end]
            if self._carrier is not self._dtype:
                chosen = [tensor.view(self._carrier) for tensor in chosen]
            torch._foreach_copy_(run.views, list(chosen))
            found.append((self._batch, self._entries, len(run.views)))
            self._runs.append(run)
            self._entries += len(run.views)
            self._used = run.start + len(run.blocks)
        return found

    def _measure(self) -> None:
        if not self._runs:
            return
        with self._in_order():
            layout = self._layout()
            self._batch.launch(measure(self._words[: self._used], self._dtype, layout, self._ranged), layout.sizes)
        self._measured.append(self._batch)
        self._earlier = self._runs
        self._begin()

    def _begin(self) -> None:
        self._batch = Batch(self._tell)
        self._runs = []
        self._used = self._entries = 0

    def _make_room(self, size: int) -> None:
        self._begin()
        with torch.inference_mode(False):
            self._words = torch.empty((size // BLOCK, WORDS), dtype=torch.int64, device=self._device)
        self._full, self._earlier = False, []
        self._plans: dict[tuple[Any, ...], list[_Run]] = {}
        self._layouts: dict[tuple[int, ...], tuple[list[_Run], Layout]] = {}

    def _clear(self, run: _Run) -> None:
        """See to it that there are zeros behind what a run copies: it leaves them where it was the last time."""
        place = len(self._runs)
        if place >= len(self._earlier) or self._earlier[place] is not run:
            if run.gaps:
                torch._foreach_zero_(run.gaps)
            del self._earlier[place:]

    def _plan(self, tensors: Sequence[torch.Tensor], numbers: tuple[int, ...]) -> list[_Run]:
        if self._full and not self._runs and 2 * len(self._words) * BLOCK <= self._most:
            self._make_room(2 * len(self._words) * BLOCK)
        shapes = tuple(map(_shape, tensors))
        known = self._plans.get((self._used, shapes, numbers))
        if known is not None:
            return known
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        counts = [-(-shape.numel() * self._dtype.itemsize // BLOCK) for shape in shapes]
        size = len(self._words)
        while size < max(counts):
            size *= 2
        if size > len(self._words):
            self._measure()
            self._make_room(size * BLOCK)
        with torch.inference_mode(False):  # or views could not be written to in another mode
            found = self._plans[self._used, shapes, numbers] = list(self._laid_out(shapes, counts, numbers))
        return found

    def _laid_out(self, shapes: Sequence[torch.Size], counts: list[int], numbers: Sequence[int]) -> Iterator[_Run]:
        begin, start, used = 0, self._used, self._used
        for at, count in enumerate(counts):
            if used + count > len(self._words):
                if at > begin:
                    yield self._run(begin, shapes[begin:at], counts[begin:at], numbers[begin:at], start)
                begin, start, used = at, 0, 0
            used += count
        yield self._run(begin, shapes[begin:], counts[begin:], numbers[begin:], start)

    def _run(
        self, begin: int, shapes: Sequence[torch.Size], counts: list[int], numbers: Sequence[int], start: int
    ) -> _Run:
        flat, each = self._words.view(self._carrier).view(-1), BLOCK // self._dtype.itemsize
        ends = start + np.cumsum(counts, dtype=np.int64)
        views, gaps, rows = [], [], [np.empty((0, 3), np.int64)]
        each_of = zip(shapes, counts, numbers, ends.tolist(), strict=True)
        for entry, (shape, count, number, end) in enumerate(each_of):
            first = (end - count) * each
            last = first + shape.numel()
            views.append(flat[first:last].view(shape))
            if last < end * each:
                gaps.append(flat[last : end * each])
            within = np.arange(count)
            rows.append(np.stack([np.full(count, entry), number + within, shape.numel() - within * each], 1))
        sizes = [shape.numel() * self._dtype.itemsize for shape in shapes]
        return _Run(begin, begin + len(shapes), start, views, gaps, np.concatenate(rows), sizes)

    def _layout(self) -> Layout:
        key = tuple(map(id, self._runs))
        known = self._layouts.get(key)
        if known is None:
            rows, sizes = [], list[int]()
            for run in self._runs:
                rows.append(run.blocks + np.array([len(sizes), 0, 0]))
                sizes += run.sizes
            if len(self._layouts) >= _MAX_PLANS:
                self._layouts.clear()
            layout = Layout(sizes, np.concatenate(rows), self._device)
            known = self._layouts[key] = self._runs, layout  # the runs, whose ids these are, are not to go
        return known[1]


def _is_odd(dtype: torch.dtype) -> bool:
    """Whether a GPU copies many tensors of a dtype at once not at all, or by way of another: so NaN becomes another."""
    return dtype in _ODD or (dtype.is_floating_point and dtype.itemsize < torch.float32.itemsize)
