"""Fingerprints of memory: what they must not miss, and that they are what they are said to be."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from traincheck.collect import compiled
from traincheck.collect.values.fingerprint import digest, fingerprint

pytestmark = pytest.mark.skipif(compiled.NATIVE is None, reason="the compiled part was not built, or is switched off")

BLOCK, STEP, MASK = 4096, 0x9E3779B97F4A7C15, (1 << 64) - 1
SIZES = st.one_of(st.integers(0, 300), st.integers(BLOCK - 9, BLOCK + 9), st.integers(0, 3 * BLOCK))


def mix(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


KEYS = [mix((at + 1) * STEP & MASK) for at in range(BLOCK // 8)]


def products(block: bytes) -> Iterator[int]:
    for at, key in enumerate(KEYS):
        keyed = int.from_bytes(block[8 * at : 8 * at + 8], "little") ^ key
        yield (keyed & 0xFFFFFFFF) * (keyed >> 32) + keyed


def by_definition(values: bytes) -> int:
    total = 0
    for number, begin in enumerate(range(0, len(values), BLOCK)):
        block = values[begin : begin + BLOCK].ljust(BLOCK, b"\0")
        total += mix((sum(products(block)) + STEP * number) & MASK)
    found = mix((total + STEP * len(values)) & MASK)
    return found + 16 if found < 16 else found


def some(size: int, seed: int) -> bytearray:
    generator = torch.Generator().manual_seed(seed)
    return bytearray(torch.randint(0, 256, (size,), generator=generator, dtype=torch.uint8).tolist())


@given(size=SIZES, seed=st.integers(0, 1 << 32))
def test_a_fingerprint_is_what_the_definition_says(size: int, seed: int) -> None:
    values = bytes(some(size, seed))
    assert digest(values) == by_definition(values)
    assert digest(bytes(size)) == by_definition(bytes(size))


@given(size=SIZES.filter(bool), seed=st.integers(0, 1 << 32), data=st.data())
def test_any_change_within_four_bytes_is_seen(size: int, seed: int, data: st.DataObject) -> None:
    values = some(size, seed)
    before = digest(values)
    at = data.draw(st.integers(0, size - 1)) // 4 * 4
    change = data.draw(st.binary(min_size=1, max_size=min(4, size - at)).filter(any))
    for place, byte in enumerate(change):
        values[at + place] ^= byte
    assert digest(values) != before


@given(seed=st.integers(0, 1 << 32), rows=st.permutations(range(4)), width=st.sampled_from([1, 7, 512, 1024, 1500]))
def test_order_counts(seed: int, rows: list[int], width: int) -> None:
    values = torch.randn(4, width, generator=torch.Generator().manual_seed(seed))
    assert (fingerprint(values) == fingerprint(values[rows])) is (rows == [0, 1, 2, 3])
    assert fingerprint(values) != fingerprint(-values)


@given(one=SIZES, other=SIZES, byte=st.integers(0, 255))
def test_constants_of_other_sizes_are_told_apart(one: int, other: int, byte: int) -> None:
    assert (digest(bytes([byte]) * one) == digest(bytes([byte]) * other)) is (one == other)
