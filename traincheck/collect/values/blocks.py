"""What csrc/digest.c and csrc/memory.c find in memory, found by torch's operations on any device, without waiting.

Memory lies in rows of one block each, the end of a tensor's last one filled up with zeros; sums over blocks make the
fingerprint, which is that of the host. What is told of the values is what sweeps tell of those on the host.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from traincheck.collect.buffers import NULL
from traincheck.collect.values.fingerprint import UNMEASURED
from traincheck.collect.values.measures import CELL, Cells, Measures
from traincheck.collect.values.ranges import ordered

__all__ = [
    "BLOCK", "FIELDS", "KEYS", "WORDS",
    "Found", "Layout", "combined", "has_norm", "is_whole", "measure", "sent", "tell",
]  # fmt: skip

WORDS = 512
"""64-bit words in a block."""
BLOCK = 8 * WORDS
"""Bytes in a block."""
FIELDS = 6
"""What is found of an entry: sum, values that are not finite, that are not zero, squares, least, the negated greatest.

All as 64 bits, the last three of floating point.
"""

_STEP = 0x9E3779B97F4A7C15
_FACTORS = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_SHIFTS = 30, 27, 31
_HALF = 32
_LOW = (1 << _HALF) - 1
_FIRST = 16  # smaller fingerprints have another meaning

_Words = npt.NDArray[np.uint64]
Found = npt.NDArray[np.int64]
"""What is found of some entries, a row of `FIELDS` for each."""


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _mixed(words: _Words) -> _Words:
    for shift, factor in zip(_SHIFTS, (*_FACTORS, 1), strict=True):
        words = (words ^ words >> np.uint64(shift)) * np.uint64(factor)
    return words


KEYS = _mixed(np.arange(1, WORDS + 1, dtype=np.uint64) * np.uint64(_STEP)).view(np.int64)
"""What the words of a block are mixed with, by their places in it."""


class Layout:
    """Which blocks are whose, on a device."""

    def __init__(self, sizes: Sequence[int], blocks: npt.NDArray[np.int64], device: torch.device) -> None:
        """`sizes` are those of the entries in bytes.

        `blocks` has a row for each block, in the order of entries: its entry, its number within the tensor, and how
        many of the values in it and after it are the tensor's.
        """
        self.sizes: _Words = np.array(sizes, np.uint64)
        numbers = (blocks[:, 1].astype(np.uint64) * np.uint64(_STEP)).view(np.int64)
        self.owners = sent(blocks[:, 0].copy(), device)
        self.per_block = sent(np.stack([numbers, blocks[:, 2]], 1), device)
        self.keys = sent(KEYS, device)


def sent(numbers: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Numbers on a device, without waiting for it."""
    table = torch.from_numpy(numbers)
    return (table.pin_memory() if device.type == "cuda" else table).to(device, non_blocking=True)


def measure(words: torch.Tensor, dtype: torch.dtype, layout: Layout, ranged: bool) -> torch.Tensor:
    """What is found of each entry in int64 blocks [blocks, WORDS] of values of `dtype`: int64 [entries, FIELDS]."""
    values = words.view(torch.uint8 if dtype is torch.bool else dtype)
    floats = has_norm(dtype)
    sums = _sums(words, layout)
    nonzero = torch.count_nonzero(values if floats or is_whole(dtype) else words, dim=1)
    nonfinite = torch.count_nonzero(values - values, dim=1) if floats else torch.zeros_like(sums)
    counts = torch.stack((sums, nonfinite, nonzero), 1)
    found = counts.new_zeros((len(layout.sizes), counts.shape[1])).index_add_(0, layout.owners, counts)
    squares = found.new_zeros(len(layout.sizes), dtype=torch.float64)
    if floats:
        norms = torch.linalg.vector_norm(values, dim=1, dtype=torch.float64)
        squares.index_add_(0, layout.owners, norms * norms)
    limits = found.new_full((len(layout.sizes), 2), float("inf"), dtype=torch.float64)
    if ranged and not dtype.is_complex:
        owners = layout.owners[:, None].expand(-1, 2)
        limits.scatter_reduce_(0, owners, _limits(ordered(values), layout.per_block[:, 1]), "amin")
    return torch.cat((found, squares[:, None].view(torch.int64), limits.view(torch.int64)), 1)


def _sums(words: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The sum of each block, mixed with its number. Shifts of negative numbers draw in ones: these are cut off."""
    keyed = words ^ layout.keys
    high = keyed >> _HALF
    high &= _LOW
    found = torch.addcmul(keyed, keyed & _LOW, high, out=keyed).sum(1)
    found += layout.per_block[:, 0]
    for shift, factor in zip(_SHIFTS, (*_FACTORS, 1), strict=True):
        found = (found ^ (found >> shift & (1 << 64 - shift) - 1)) * _signed(factor)
    return found


def _limits(values: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The least and the negated greatest of each block's values that are one: float64 [blocks, 2]."""
    inside = torch.arange(values.shape[1], device=values.device) < counts[:, None]
    if values.is_floating_point():
        inside &= ~values.isnan()
        bounds = float("-inf"), float("inf")
    else:
        bounds = torch.iinfo(values.dtype).min, torch.iinfo(values.dtype).max
    least = torch.where(inside, values, bounds[1]).amin(1).double()
    return torch.stack((least, -torch.where(inside, values, bounds[0]).amax(1).double()), 1)


def combined(found: Found, starts: npt.NDArray[np.int64]) -> Found:
    """What is found of tensors, each of which has the entries from its start to the next."""
    return np.concatenate(
        [
            np.add.reduceat(found[:, :3], starts),
            np.add.reduceat(found[:, 3:4].copy().view(np.float64), starts).view(np.int64),
            np.minimum.reduceat(found[:, 4:].copy().view(np.float64), starts).view(np.int64),
        ],
        axis=1,
    )


def tell(found: Found, sizes: _Words, dtype: torch.dtype, measures: Measures) -> Cells:
    """The cells of tensors of so many bytes, in a row; with ranges, if these were measured."""
    cells = np.empty(len(found), CELL)
    counts, floats = found[:, :3], found[:, 3:].copy().view(np.float64)
    prints = _mixed(counts[:, 0].astype(np.uint64) + sizes * np.uint64(_STEP))
    cells["print"] = np.where(prints < _FIRST, prints + np.uint64(_FIRST), prints)
    _, zero, nonzero, nonfinite = measures.words
    cells["class"] = np.where(counts[:, 1] > 0, nonfinite, np.where(counts[:, 2] > 0, nonzero, zero))
    cells["nonfinite"] = counts[:, 1] if has_norm(dtype) or is_whole(dtype) else NULL
    cells["norm"] = np.sqrt(floats[:, 0]) if has_norm(dtype) else UNMEASURED
    least, greatest = floats[:, 1], -floats[:, 2]
    none = least > greatest  # nobody asked; or nothing but NaN, nothing at all
    cells["minimum"], cells["maximum"] = (np.where(none, math.nan, limit) for limit in (least, greatest))
    cells["position"] = np.arange(len(found))
    return cells


def has_norm(dtype: torch.dtype) -> bool:
    """Whether values of `dtype` have a norm: floating point of more than one byte."""
    return dtype.is_floating_point and dtype.itemsize > 1


def is_whole(dtype: torch.dtype) -> bool:
    """Whether values of `dtype` are integers or truth values."""
    return not (dtype.is_floating_point or dtype.is_complex)
