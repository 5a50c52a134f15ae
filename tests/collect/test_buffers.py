"""Rows that wait and the count of events are the same in C and in Python."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traincheck.collect.buffers import Count, Rows
from traincheck.collect.compiled import NATIVE

pytestmark = pytest.mark.skipif(NATIVE is None, reason="the compiled part was not built, or is switched off")

LARGE = 300_000
"""Bytes of a row: a few are more than the room that is kept."""
APPENDED = st.tuples(st.just("append"), st.binary(max_size=9) | st.just(bytes(LARGE)))


@given(st.lists(APPENDED | st.tuples(st.sampled_from(["take", "restore"]), st.none()), max_size=30))
def test_rows_come_out_as_they_went_in(events: list[tuple[str, bytes | None]]) -> None:
    native, python, taken = NATIVE.Rows(), Rows(), b""
    for event, row in events:
        if event == "append":
            native.append(row)
            python.append(row or b"")
        elif event == "take":
            taken = native.take()
            assert taken == python.take()
        else:
            native.restore(taken)
            python.restore(taken)
    assert native.take() == python.take()
    assert native.take() == python.take() == b""


@given(st.lists(st.integers(0, 9), max_size=30))
def test_numbers_are_the_same(wanted: list[int]) -> None:
    native, python = NATIVE.Count(), Count()
    for many in wanted:
        assert native.reserve(many) == python.reserve(many)
        assert next(native) == next(python)
        assert native.upcoming() == python.upcoming()
