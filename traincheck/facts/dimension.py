"""How large the tensors and lists are that calls get and return: what their summaries say in words, as numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from traincheck.facts.raw import Ints, RawProcess

Expand = Callable[[Ints, Ints], tuple[Ints, Ints]]


def dimensions(process: RawProcess, expand: Expand) -> dict[str, Any]:
    """Relation `dimension`; each set of arguments or results is measured once. `expand` joins calls with their sets."""
    calls, sets = process.families["calls"], process.families["valuesets"]
    texts = process.texts
    measured = [_sizes(texts, *row) for row in zip(sets["shape"], sets["type"], sets["number"], strict=True)]
    row = np.repeat(np.arange(len(measured)), [len(sizes) for sizes in measured]).astype(np.int64)
    axes = np.array([axis for sizes in measured for axis, _ in sizes], np.int64)
    sizes = np.array([size for sizes in measured for _, size in sizes], np.float64)
    order = np.argsort(sets["id"][row], kind="stable")
    row, axes, sizes = row[order], axes[order], sizes[order]
    given, given_row = expand(calls["args"], sets["id"][row])
    returned, returned_row = expand(calls["results"], sets["id"][row])
    member = np.concatenate([given_row, returned_row])
    return {
        "call": process.ids(np.concatenate([calls["enter"][given], calls["enter"][returned]])),
        "role": pa.array(["arg"] * len(given) + ["result"] * len(returned), pa.string()),
        "name": [texts[name] if name < len(texts) else None for name in sets["name"][row][member].tolist()],
        "axis": pa.array(axes[member], pa.int64()),
        "size": sizes[member],
    }


def _sizes(texts: list[str], shape: int, kind: int, number: float) -> list[tuple[int, int]]:
    """The size along each axis of a shape, the last of several as -1 too, or the length of a list."""
    if 0 <= shape < len(texts):
        found = [int(size) for size in texts[shape].strip("[]()").split(",") if size.strip().isdigit()]
        return [*enumerate(found), *((-1, size) for size in found[1:][-1:])]
    return [(0, int(number))] if 0 <= kind < len(texts) and texts[kind] == "list" and not np.isnan(number) else []
