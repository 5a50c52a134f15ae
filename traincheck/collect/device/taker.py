"""What takes values on a device, sweep by sweep, and has them measured together."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from traincheck.collect.device.batches import Batch
from traincheck.collect.values.blocks import tell
from traincheck.collect.values.measures import Measures

__all__ = ["MOST", "Taken", "Taker"]

MOST = 1 << 25
"""Bytes that a tensor may have, or the part of one, that is taken at once."""
Taken = tuple[Batch, int, int]
"""Where the cells of some tensors are: a batch, the first one's entry in it, and how many."""


class Taker(ABC):
    """Takes values of one dtype on one device, in the order of one of its streams. One thread at a time."""

    def __init__(self, device: torch.device, dtype: torch.dtype, ranged: bool, measures: Measures) -> None:
        """In the order of the stream that is current; ranges are measured if `ranged`."""
        self._device, self._dtype, self._ranged = device, dtype, ranged
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._tell = functools.partial(tell, dtype=dtype, measures=measures)
        self._batch = Batch(self._tell)  # of what was taken since the last one
        self._measured: list[Batch] = []

    @abstractmethod
    def put(self, tensors: Sequence[torch.Tensor], numbers: Sequence[int] = ()) -> list[Taken]:
        """Take the values that tensors of at most `MOST` bytes each have now; the batches they are in, in order.

        What is part of a tensor has the number of its first block there among `numbers`.
        """

    @abstractmethod
    def _measure(self) -> None:
        """Have measured what is in the batch, if anything is, and begin another."""

    def measured(self) -> list[Batch]:
        """Have measured what there is; all batches since this was last asked."""
        self._measure()
        found, self._measured = self._measured, []
        return found

    def give_up(self) -> None:
        """Nothing of what was taken will be measured."""
        for batch in (*self._measured, self._batch):
            batch.arrived = batch.failed = True

    def _in_order(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
