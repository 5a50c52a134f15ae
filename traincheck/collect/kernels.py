"""What blocks.py finds by some thirty of torch's operations, in two kernels that read the blocks once.

They are of Triton, which comes with a torch for GPUs; to be imported only where there is one.
"""

import torch
import triton
import triton.language as tl

__all__ = ["measure"]

_TOGETHER = 1024
"""Blocks of an entry that are added up at a time."""


def measure(
    words: torch.Tensor,
    values: torch.Tensor,
    keys: torch.Tensor,
    per_block: torch.Tensor,
    starts: torch.Tensor,
    ranged: bool,
) -> torch.Tensor:
    """What is found of entries, of which each has the blocks from its start to the next: int64 [entries, 6].

    The blocks are seen as int64 words and as `values`, integers or floating point of two bytes and more; of each,
    `per_block` has a number, and how many of its values, and of those after it, are the tensor's.
    """
    blocks, entries = len(words), len(starts) - 1
    counts = torch.empty((blocks, 3), dtype=torch.int64, device=words.device)
    amounts = torch.empty((blocks, 3), dtype=torch.float64, device=words.device)
    found = torch.empty((entries, 6), dtype=torch.int64, device=words.device)
    if blocks:
        _of_block[(blocks,)](
            words, values, keys, per_block, counts, amounts, words.shape[1], values.shape[1],
            values.is_floating_point(), ranged,
        )  # fmt: skip
    _of_entry[(entries,)](counts, amounts, starts, found, found.view(torch.float64), _TOGETHER)
    return found


@triton.jit
def _of_block(
    words, values, keys, per_block, counts, amounts,
    WORDS: tl.constexpr, VALUES: tl.constexpr, FLOATS: tl.constexpr, RANGED: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, WORDS)
    word = tl.load(words + block * WORDS + place)
    keyed = (word ^ tl.load(keys + place)).to(tl.uint64, bitcast=True)
    total = tl.sum((keyed & 0xFFFFFFFF) * (keyed >> 32) + keyed, 0)
    total += tl.load(per_block + block * 2).to(tl.uint64, bitcast=True)
    total = (total ^ (total >> 30)) * 0xBF58476D1CE4E5B9
    total = (total ^ (total >> 27)) * 0x94D049BB133111EB
    tl.store(counts + block * 3, (total ^ (total >> 31)).to(tl.int64, bitcast=True))

    at = tl.arange(0, VALUES)
    value = tl.load(values + block * VALUES + at).to(tl.float64)
    nonfinite = 0
    squares = 0.0
    if FLOATS:
        nonfinite = tl.sum(((value != value) | (tl.abs(value) == float("inf"))).to(tl.int64), 0)  # noqa: PLR0124
        squares = tl.sum(value * value, 0)
    tl.store(counts + block * 3 + 1, nonfinite)
    tl.store(counts + block * 3 + 2, tl.sum((value != 0).to(tl.int64), 0))
    tl.store(amounts + block * 3, squares)
    least = float("inf")
    greatest = float("-inf")
    if RANGED:
        counted = (at < tl.load(per_block + block * 2 + 1)) & (value == value)  # noqa: PLR0124
        least = tl.min(tl.where(counted, value, float("inf")), 0)
        greatest = tl.max(tl.where(counted, value, float("-inf")), 0)
    tl.store(amounts + block * 3 + 1, least)
    tl.store(amounts + block * 3 + 2, -greatest)


@triton.jit
def _of_entry(counts, amounts, starts, found, found_amounts, TOGETHER: tl.constexpr):
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
        total += tl.load(counts + block * 3, there, 0)
        nonfinite += tl.load(counts + block * 3 + 1, there, 0)
        nonzero += tl.load(counts + block * 3 + 2, there, 0)
        squares += tl.load(amounts + block * 3, there, 0.0)
        least = tl.minimum(least, tl.load(amounts + block * 3 + 1, there, float("inf")))
        negated = tl.minimum(negated, tl.load(amounts + block * 3 + 2, there, float("inf")))
    tl.store(found + entry * 6, tl.sum(total, 0))
    tl.store(found + entry * 6 + 1, tl.sum(nonfinite, 0))
    tl.store(found + entry * 6 + 2, tl.sum(nonzero, 0))
    tl.store(found_amounts + entry * 6 + 3, tl.sum(squares, 0))
    tl.store(found_amounts + entry * 6 + 4, tl.min(least, 0))
    tl.store(found_amounts + entry * 6 + 5, tl.min(negated, 0))
