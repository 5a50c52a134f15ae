"""Nesting, against the definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from traincheck.facts.closure import enclosing


@given(st.lists(st.integers(0, 30), max_size=40))
def test_all_ancestors_and_nothing_else(choices: list[int]) -> None:
    # node n hangs below an earlier node or at the top, so that there are no cycles
    parents = [-1 if not n or choice % (n + 1) == n else choice % (n + 1) for n, choice in enumerate(choices)]
    ids = np.arange(len(parents), dtype=np.int64) + 100
    above = np.array([p + 100 if p >= 0 else -1 for p in parents], dtype=np.int64)
    shuffled = np.random.default_rng(0).permutation(len(parents))
    outer, inner = enclosing(ids[shuffled], above[shuffled])
    expected = set()
    for node in range(len(parents)):
        ancestor = parents[node]
        while ancestor >= 0:
            expected.add((ancestor + 100, node + 100))
            ancestor = parents[ancestor]
    assert sorted(zip(outer.tolist(), inner.tolist(), strict=True)) == sorted(expected)


def test_a_lost_parent_ends_the_chain() -> None:
    outer, inner = enclosing(np.array([2, 3]), np.array([1, 2]))
    assert sorted(zip(outer.tolist(), inner.tolist(), strict=True)) == [(1, 2), (1, 3), (2, 3)]
