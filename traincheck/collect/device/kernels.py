"""What blocks.py finds by some thirty of torch's operations, in two kernels that read values where they are, once.

They are of Triton, which comes with a torch for GPUs; to be imported only where there is one.
"""

import torch
import triton
import triton.language as tl

from traincheck.collect.values.blocks import FIELDS, WORDS

__all__ = ["ALIGNED", "COMPILED", "read", "total"]

_TOGETHER = 1024
"""Blocks of an entry that are added up at a time."""
_WARPS = 2
"""Of 32 threads each, for a block: on an H200 two are quicker than one and than four."""
ALIGNED = 16
"""Tensors begin at a multiple of so many bytes: so a thread loads as many at a time."""

_CARRIERS = {1: tl.uint8, 2: tl.uint16, 4: tl.uint32, 8: tl.uint64}
_TYPES = {
    torch.float64: tl.float64, torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16,
    torch.int64: tl.int64, torch.int32: tl.int32, torch.int16: tl.int16, torch.int8: tl.int8,
    torch.uint64: tl.uint64, torch.uint32: tl.uint32, torch.uint16: tl.uint16, torch.uint8: tl.uint8,
    torch.bool: tl.uint8,
}  # fmt: skip


def read(
    addresses: torch.Tensor,
    blocks: torch.Tensor,
    dtype: torch.dtype,
    keys: torch.Tensor,
    room: torch.Tensor,
    amounts: torch.Tensor,
    start: int,
    ranged: bool,
) -> None:
    """What is found of each block of entries, into `room`, int64 [any, 6], from row `start` on.

    `amounts` is the room seen as float64; `addresses` are those where the entries' tensors begin: int64 [entries].
    `blocks` has of each block its entry, its number within the tensor, and how many of the values of `dtype` in it and
    after it are the entry's: int32 [blocks, 3].
    """
    if len(blocks):
        _of_block[(len(blocks),)](
            addresses, blocks, keys, room, amounts, start,
            _CARRIERS[dtype.itemsize], _TYPES[dtype], dtype.itemsize, WORDS, FIELDS, ALIGNED,
            dtype.is_floating_point, ranged,
            num_warps=_WARPS, enable_fp_fusion=True,
        )  # fmt: skip


def total(room: torch.Tensor, amounts: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """What is found of entries, of which each has the rows from its start to the next: int64 [entries, 6]."""
    entries = len(starts) - 1
    found = torch.empty((entries, FIELDS), dtype=torch.int64, device=room.device)
    _of_entry[(entries,)](
        room, amounts, starts, found, found.view(torch.float64), FIELDS, _TOGETHER,
        enable_fp_fusion=True,
    )  # fmt: skip
    return found


@triton.jit(do_not_specialize=["start"])
def _of_block(
    addresses, blocks, keys, room, room_amounts, start,
    CARRIER: tl.constexpr, TYPE: tl.constexpr, SIZE: tl.constexpr, WORDS: tl.constexpr, FIELDS: tl.constexpr,
    ALIGNED: tl.constexpr, FLOATS: tl.constexpr, RANGED: tl.constexpr,
):  # fmt: skip
    PER: tl.constexpr = 8 // SIZE  # values in a word
    block = tl.program_id(0).to(tl.int64)
    entry = tl.load(blocks + block * 3)
    number = tl.load(blocks + block * 3 + 1).to(tl.int64)
    left = tl.load(blocks + block * 3 + 2)
    address = tl.load(addresses + entry) + number * (WORDS * 8)
    at = tl.arange(0, WORDS * PER)
    values = tl.multiple_of(address.to(tl.pointer_type(CARRIER)), ALIGNED) + at
    if left >= WORDS * PER:  # noqa: SIM108  (without a mask, several values are loaded at a time)
        raw = tl.load(values)
    else:
        raw = tl.load(values, at < left, 0)

    shifts = (tl.arange(0, PER) * (8 * SIZE)).to(tl.uint64)
    words = tl.sum(tl.reshape(raw, (WORDS, PER)).to(tl.uint64) << shifts[None, :], 1)
    keyed = words ^ tl.load(keys + tl.arange(0, WORDS)).to(tl.uint64, bitcast=True)
    total = tl.sum((keyed & 0xFFFFFFFF) * (keyed >> 32) + keyed, 0)
    total += number.to(tl.uint64, bitcast=True) * 0x9E3779B97F4A7C15
    total = (total ^ (total >> 30)) * 0xBF58476D1CE4E5B9
    total = (total ^ (total >> 27)) * 0x94D049BB133111EB
    row = (start + block) * FIELDS
    tl.store(room + row, (total ^ (total >> 31)).to(tl.int64, bitcast=True))

    value = raw.to(TYPE, bitcast=True).to(tl.float64)
    nonfinite = 0
    squares = 0.0
    if FLOATS:
        unlike = (value != value) | (tl.abs(value) == float("inf"))  # noqa: PLR0124
        nonfinite = tl.sum(unlike.to(tl.int32), 0)
        squares = tl.sum(value * value, 0)
    tl.store(room + row + 1, nonfinite)
    tl.store(room + row + 2, tl.sum((value != 0).to(tl.int32), 0))
    tl.store(room_amounts + row + 3, squares)
    least = float("inf")
    greatest = float("-inf")
    if RANGED:
        counted = (at < left) & (value == value)  # noqa: PLR0124
        least = tl.min(tl.where(counted, value, float("inf")), 0)
        greatest = tl.max(tl.where(counted, value, float("-inf")), 0)
    tl.store(room_amounts + row + 4, least)
    tl.store(room_amounts + row + 5, -greatest)


@triton.jit
def _of_entry(room, room_amounts, starts, found, found_amounts, FIELDS: tl.constexpr, TOGETHER: tl.constexpr):
    entry = tl.program_id(0).to(tl.int64)
    end = tl.load(starts + entry + 1)
    total = tl.zeros((TOGETHER,), tl.int64)
    nonfinite = tl.zeros((TOGETHER,), tl.int64)
    nonzero = tl.zeros((TOGETHER,), tl.int64)
    squares = tl.zeros((TOGETHER,), tl.float64)
    least = tl.full((TOGETHER,), float("inf"), tl.float64)
    negated = tl.full((TOGETHER,), float("inf"), tl.float64)
    for first in range(tl.load(starts + entry), end, TOGETHER):
        block = first + tl.arange(0, TOGETHER)
        there = block < end
        row = block * FIELDS
        total += tl.load(room + row, there, 0)
        nonfinite += tl.load(room + row + 1, there, 0)
        nonzero += tl.load(room + row + 2, there, 0)
        squares += tl.load(room_amounts + row + 3, there, 0.0)
        least = tl.minimum(least, tl.load(room_amounts + row + 4, there, float("inf")))
        negated = tl.minimum(negated, tl.load(room_amounts + row + 5, there, float("inf")))
    tl.store(found + entry * FIELDS, tl.sum(total, 0))
    tl.store(found + entry * FIELDS + 1, tl.sum(nonfinite, 0))
    tl.store(found + entry * FIELDS + 2, tl.sum(nonzero, 0))
    tl.store(found_amounts + entry * FIELDS + 3, tl.sum(squares, 0))
    tl.store(found_amounts + entry * FIELDS + 4, tl.min(least, 0))
    tl.store(found_amounts + entry * FIELDS + 5, tl.min(negated, 0))


COMPILED = isinstance(_of_block, triton.runtime.JITFunction)
"""Whether they run on the GPU.

Not when Triton is told to interpret kernels: on the host addresses of a GPU mean nothing.
"""
