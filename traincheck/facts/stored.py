"""The relations of checkpoints: tensors that are saved or loaded, and what the model holds at that moment."""

from collections.abc import Callable
from typing import Any

from traincheck import values
from traincheck.facts.raw import Ints, RawProcess
from traincheck.trace.layout import STORED_EARLIER, STORED_HASHED, STORED_LIVE, STORED_MOVES, STORED_OUTDATED

Columns = dict[str, Any]
Texts = Callable[[RawProcess, Any], Any]


def stored(process: RawProcess, texts: Texts) -> Columns:
    """Relation `stored`."""
    rows = _rows(process, live=False)
    return {
        **_shared(process, rows, texts),
        "taken": rows["taken"],
        "outdated": _flags(rows, STORED_OUTDATED),
        "earlier": _flags(rows, STORED_EARLIER),
    }


def live(process: RawProcess, texts: Texts) -> Columns:
    """Relation `live`."""
    rows = _rows(process, live=True)
    return {
        **_shared(process, rows, texts),
        "kind": texts(process, rows["kind"]),
        "moves": _flags(rows, STORED_MOVES),
        "tensor": process.ids(rows["tensor"]),
    }


def _rows(process: RawProcess, live: bool) -> dict[str, Ints]:
    rows = process.families["stored"]
    chosen = ((rows["flags"] & STORED_LIVE) != 0) == live
    return {column: values[chosen] for column, values in rows.items()}


def _flags(rows: dict[str, Ints], bit: int) -> list[str]:
    return [values.canonical(bool(flags & bit)) for flags in rows["flags"].tolist()]


def _shared(process: RawProcess, rows: dict[str, Ints], texts: Texts) -> Columns:
    hashed = (rows["flags"] & STORED_HASHED) != 0
    return {
        **{key: process.ids(rows[key]) for key in ("call", "owner", "variable")},
        **{key: texts(process, rows[key]) for key in ("place", "name", "dtype", "shape", "class")},
        "fingerprint": [
            format(int(value), "016x") if taken else None
            for value, taken in zip(rows["fingerprint"], hashed, strict=True)
        ],
    }
