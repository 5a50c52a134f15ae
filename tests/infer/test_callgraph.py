"""The call graph keeps the nestings that others do not imply."""

import pyarrow as pa

from traincheck.infer.callgraph import reduced_edges


def edges(*pairs: tuple[str, str]) -> pa.Table:
    return pa.table({"outer": [a for a, _ in pairs], "inner": [b for _, b in pairs]})


def reduced(*pairs: tuple[str, str]) -> set[tuple[str, str]]:
    table = reduced_edges(edges(*pairs))
    return set(zip(table["outer"].to_pylist(), table["inner"].to_pylist(), strict=True))


def test_an_implied_edge_goes() -> None:
    assert reduced(("net", "block"), ("block", "linear"), ("net", "linear")) == {("net", "block"), ("block", "linear")}


def test_recursion_is_collapsed() -> None:
    assert reduced(("net", "a"), ("a", "b"), ("b", "a"), ("b", "relu")) == {("net", "a"), ("b", "relu")}


def test_no_calls_no_edges() -> None:
    assert (
        reduced_edges(pa.table({"outer": pa.array([], pa.string()), "inner": pa.array([], pa.string())})).num_rows == 0
    )
