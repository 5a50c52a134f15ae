"""Builds each relation of the schema from the rows of the processes, one process at a time."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from traincheck.facts import recorded, spans, stored
from traincheck.facts.closure import enclosing
from traincheck.facts.dimension import dimensions
from traincheck.facts.raw import Ints, RawProcess, last_rows, whole_number
from traincheck.schema import RELATIONS, Relation
from traincheck.trace.layout import (
    FUNCTION_UNRECORDED,
    LINK_HASHED,
    LINK_RESULT,
    MARK_STEP,
    NULL,
    OUTCOMES,
    POINTS,
    STAGES,
)

Columns = dict[str, Any]
"""A relation's columns; numpy integers with NULL, numpy floats with NaN, or Arrow strings."""

_TYPES: Mapping[str, Any] = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}


def relation_schema(relation: Relation) -> Any:
    """The Arrow schema of a relation's table."""
    return pa.schema([pa.field(column.name, _TYPES[column.type]) for column in relation.columns])


def build(name: str, process: RawProcess) -> Any:
    """The table of relation `name` for one process."""
    relation = RELATIONS[name]
    columns = _BUILDERS[name](process)
    arrays = [_array(columns[column.name], _TYPES[column.type]) for column in relation.columns]
    return pa.table(arrays, schema=relation_schema(relation))


def _array(column: Any, kind: Any) -> Any:
    if isinstance(column, np.ndarray):
        missing = np.isnan(column) if column.dtype.kind == "f" else column == NULL
        return pa.array(column, type=kind, mask=missing)
    if isinstance(column, list):
        return pa.array(column, type=kind)
    return column.cast(kind)


def _texts(process: RawProcess, ids: Any) -> Any:
    """The words that `ids` stand for, null for NULL and for words that a torn stream has lost."""
    found = np.asarray(ids)
    return _words(process.texts, found)


def _words(words: Any, indices: Any) -> Any:
    found = np.asarray(indices).astype(np.int32)
    absent = (found < 0) | (found >= len(words))
    return pa.DictionaryArray.from_arrays(
        pa.array(np.where(absent, 0, found), mask=absent), pa.array(list(words) or [""], type=pa.string())
    ).cast(pa.string())


def _constant(value: int | None, count: int) -> Any:
    return np.full(count, NULL if value is None else value, np.int64)


def _common(process: RawProcess, count: int) -> Columns:
    return {"rank": _constant(process.rank, count), "process": _constant(process.base, count)}


def _steps_of(process: RawProcess, seq: Ints) -> Any:
    """The step column of these events; an Arrow array, as an imported trace may record a step -1."""
    return _constant(None, len(seq)) if process.worker else pa.array(process.step_of(seq), pa.int64())


def _process(process: RawProcess) -> Columns:
    info = process.info
    numbers = {key: [whole_number(info, key)] for key in ("pid", "world")}
    return {
        "id": [process.base],
        "rank": [process.rank],
        **numbers,
        **{key: [info.get(key)] for key in ("host", "python", "torch", "argv", "role", "outcome")},
    }


def _step(process: RawProcess) -> Columns:
    enter = process.boundaries if not process.worker else np.zeros(0, np.int64)
    count = len(enter)
    last = process.last_event
    leave = np.append(enter[1:], last)[:count]
    closed = ["true"] * count
    if count and not process.ended:
        closed[-1] = "false"
    # the events of a step are numbered between its bounds; the id of a window is its own kind of number
    ids = process.base + (1 << 39) + np.arange(count, dtype=np.int64)
    return {
        "id": ids, "step": pa.array(process.step_numbers[:count]), "enter": enter, "exit": leave, "closed": closed,
        **_common(process, count),
    }  # fmt: skip


def _window(process: RawProcess) -> Columns:
    first, last = process.full_steps
    count = len(first)
    return {
        "rank": _constant(process.rank, count),
        "first_step": pa.array(first),
        "last_step": pa.array(last),
        "complete": ["true"] * count,
    }


def _call(process: RawProcess) -> Columns:
    rows = process.families["calls"]
    count = len(rows["enter"])
    return {
        "id": process.ids(rows["enter"]),
        "api": _texts(process, rows["api"]),
        "parent": process.ids(rows["parent"]),
        "thread": np.asarray(rows["thread"], np.int64),
        "step": _steps_of(process, rows["at"]),
        "stage": _words(STAGES, rows["stage"]),
        "enter": rows["enter"],
        "exit": rows["exit"],
        "outcome": _words(OUTCOMES, rows["outcome"]),
        "receiver": process.ids(rows["receiver"]),
        "site": _texts(process, rows["site"]),
        "time": rows["time"],
        **_common(process, count),
    }


def _contains(process: RawProcess) -> Columns:
    calls, updates = process.families["calls"], process.families["updates"]
    ids = process.ids(np.concatenate([calls["enter"], updates["id"]]))
    parents = process.ids(np.concatenate([calls["parent"], updates["call"]]))
    outer, inner = enclosing(ids, parents)
    return {"outer": outer, "inner": inner}


def _expand(keys: Ints, sets: Ints) -> tuple[Ints, Ints]:
    """For a column of set ids and the (sorted) set column of the sets' rows: pairs (row of keys, row of sets)."""
    starts = np.searchsorted(sets, keys, side="left")
    counts = np.searchsorted(sets, keys, side="right") - starts
    counts[keys == NULL] = 0
    owner = np.repeat(np.arange(len(keys)), counts)
    ends = np.cumsum(counts)
    member = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts) + np.repeat(starts, counts)
    return owner, member


def _context(process: RawProcess) -> Columns:
    calls, sets = process.families["calls"], process.families["contextsets"]
    order = np.argsort(sets["id"], kind="stable")
    owner, member = _expand(calls["contexts"], sets["id"][order])
    member = order[member]
    return {
        "call": process.ids(calls["enter"][owner]),
        "key": _texts(process, sets["key"][member]),
        "value": _texts(process, sets["value"][member]),
    }


def _values(column: str, is_result: bool) -> Callable[[RawProcess], Columns]:
    def make(process: RawProcess) -> Columns:
        calls, sets, links = (process.families[name] for name in ("calls", "valuesets", "links"))
        order = np.argsort(sets["id"], kind="stable")
        owner, member = _expand(calls[column], sets["id"][order])
        member = order[member]
        call, name = calls["enter"][owner], sets["name"][member]
        chosen = ((links["flags"] & LINK_RESULT) != 0) == is_result
        tensor, hashes = _linked(call, name, {key: value[chosen] for key, value in links.items()})
        return {
            "call": process.ids(call),
            "name": _texts(process, name),
            **{
                key: _texts(process, sets[key][member])
                for key in ("type", "value", "class", "dtype", "shape", "device")
            },
            "number": sets["number"][member],
            "tensor": process.ids(tensor),
            "fingerprint": hashes,
        }

    return make


def _unrecorded(process: RawProcess) -> Columns:
    rows = process.families["functions"]
    return {"api": _texts(process, rows["api"][rows["kind"] == FUNCTION_UNRECORDED])}


def _linked(call: Ints, name: Ints, links: Mapping[str, Any]) -> tuple[Ints, list[str | None]]:
    """The tensor and fingerprint of each (call, name), from the rows of `links`."""
    key = call * (1 << 22) + name
    own = links["call"] * (1 << 22) + links["name"]
    order = np.argsort(own, kind="stable")
    tensor = np.full(len(key), NULL, np.int64)
    hashes: list[str | None] = [None] * len(key)
    if len(order):
        position = np.minimum(np.searchsorted(own[order], key), len(order) - 1)
        row = order[position]
        hit = own[row] == key
        tensor[hit] = links["tensor"][row[hit]]
        hashed = hit & ((links["flags"][row] & LINK_HASHED) != 0)
        for index in np.flatnonzero(hashed):
            hashes[index] = format(int(links["fingerprint"][row[index]]), "016x")
    return tensor, hashes


def _raised(process: RawProcess) -> Columns:
    rows = process.families["raised"]
    return {
        "call": process.ids(rows["call"]),
        "type": _texts(process, rows["type"]),
        "message": _texts(process, rows["message"]),
    }


def _object(process: RawProcess) -> Columns:
    rows = process.families["objects"]
    return {
        "id": process.ids(rows["id"]),
        "type": _texts(process, rows["type"]),
        **_common(process, len(rows["id"])),
    }


def _variable(process: RawProcess) -> Columns:
    rows = process.families["variables"]
    last = last_rows(rows["id"])
    rows = {key: value[last] for key, value in rows.items()}
    return {
        "id": process.ids(rows["id"]),
        "owner": process.ids(rows["owner"]),
        "ties": process.ids(rows["ties"]),
        "requires_grad": _words(("false", "true"), rows["requires_grad"]),
        "rank": _constant(process.rank, len(rows["id"])),
        **{key: _texts(process, rows[key]) for key in ("name", "kind", "dtype", "shape", "device")},
    }


def _holds(process: RawProcess) -> Columns:
    rows = process.families["holds"]
    return {
        "optimizer": process.ids(rows["optimizer"]),
        "group": np.asarray(rows["group"], np.int64),
        "variable": process.ids(rows["variable"]),
    }


def _hyperparameter(process: RawProcess) -> Columns:
    rows = process.families["hyperparameters"]
    return {
        "optimizer": process.ids(rows["optimizer"]),
        "group": np.asarray(rows["group"], np.int64),
        "name": _texts(process, rows["name"]),
        "value": _texts(process, rows["value"]),
        "number": rows["number"],
    }


def _adjustment(process: RawProcess) -> Columns:
    rows = process.families["adjustments"]
    return {
        "optimizer": process.ids(rows["optimizer"]),
        "group": np.asarray(rows["group"], np.int64),
        **{key: _texts(process, rows[key]) for key in ("name", "before", "after")},
        "number": rows["number"],
        "step": _steps_of(process, rows["at"]),
        "at": rows["at"],
        "call": process.ids(rows["call"]),
        **_common(process, len(rows["at"])),
    }


def _update(process: RawProcess) -> Columns:
    rows = process.families["updates"]
    return {
        "id": process.ids(rows["id"]),
        "variable": process.ids(rows["variable"]),
        "step": _steps_of(process, rows["id"]),
        "at": rows["id"],
        "call": process.ids(rows["call"]),
        **{key: _texts(process, rows[key]) for key in ("attr", "before", "after")},
        **_common(process, len(rows["id"])),
    }


def _state(process: RawProcess) -> Columns:
    rows = process.families["states"]
    count = len(rows["at"])
    hashes = [
        format(int(value), "016x") if hashed else None
        for value, hashed in zip(rows["fingerprint"], rows["hashed"], strict=True)
    ]
    return {
        "variable": process.ids(rows["variable"]),
        "attr": _texts(process, rows["attr"]),
        "rank": _constant(process.rank, count),
        "step": _steps_of(process, rows["at"]),
        "point": _words(POINTS, rows["point"]),
        "class": _texts(process, rows["class"]),
        "fingerprint": hashes,
        "norm": rows["norm"],
        "minimum": rows["minimum"],
        "maximum": rows["maximum"],
        "nonfinite": rows["nonfinite"],
        "at": rows["at"],
    }


def _metric(process: RawProcess) -> Columns:
    rows = process.families["metrics"]
    return {
        "rank": _constant(process.rank, len(rows["at"])),
        "step": _steps_of(process, rows["at"]),
        "name": _texts(process, rows["name"]),
        "value": rows["value"],
    }


def _exchange(process: RawProcess) -> Columns:
    rows = process.families["exchanges"]
    return {
        "call": process.ids(rows["call"]),
        "channel": _texts(process, rows["channel"]),
        "number": rows["number"],
        "operation": _texts(process, rows["operation"]),
        "peer": np.asarray(rows["peer"], np.int64),
    }


def _member(process: RawProcess) -> Columns:
    rows = process.families["members"]
    return {"channel": _texts(process, rows["channel"]), "rank": np.asarray(rows["rank"], np.int64)}


def _names(relation: str, family: str) -> Callable[[RawProcess], Columns]:
    """A relation whose columns are all words of the same names on disk."""

    def make(process: RawProcess) -> Columns:
        rows = process.families[family]
        return {column.name: _texts(process, rows[column.name]) for column in RELATIONS[relation].columns}

    return make


def _ordinal(process: RawProcess) -> Columns:
    rows = process.families["calls"]
    turn = _rank_in_group(rows["enter"], rows["receiver"], rows["api"])
    return {
        "call": process.ids(rows["enter"]),
        "index": _rank_in_group(rows["enter"], rows["api"]),
        "turn": pa.array(turn, pa.int64(), mask=rows["receiver"] < 0),
    }


def _rank_in_group(order: Ints, *groups: Ints) -> Ints:
    """How many rows of the same groups come before each row in `order`."""
    sorted_ = np.lexsort((order, *groups))
    starts = np.zeros(len(order), bool)
    for group in groups:
        starts[1:] |= np.diff(group[sorted_]) != 0
    position = np.arange(len(order), dtype=np.int64)
    first = np.maximum.accumulate(np.where(starts, position, 0))
    ranks = np.empty(len(order), np.int64)
    ranks[sorted_] = position - first
    return ranks


def _invokes(process: RawProcess) -> Columns:
    rows = process.families["calls"]
    by_id = np.argsort(rows["enter"], kind="stable")
    ids = rows["enter"][by_id]
    position = np.minimum(np.searchsorted(ids, rows["parent"]), max(len(ids) - 1, 0))
    nested = ids[position] == rows["parent"] if len(ids) else np.zeros(0, bool)
    pairs = np.unique(np.stack([rows["api"][by_id[position[nested]]], rows["api"][nested]], axis=1), axis=0)
    return {"outer": _texts(process, pairs[:, 0]), "inner": _texts(process, pairs[:, 1])}


_BUILDERS: Mapping[str, Callable[[RawProcess], Columns]] = {
    "process": _process,
    "step": _step,
    "window": _window,
    "call": _call,
    "contains": _contains,
    "arg": _values("args", False),
    "result": _values("results", True),
    "dimension": lambda process: dimensions(process, _expand),
    "raised": _raised,
    "context": _context,
    "object": _object,
    "variable": _variable,
    "holds": _holds,
    "hyperparameter": _hyperparameter,
    "adjustment": _adjustment,
    "update": _update,
    "state": _state,
    "metric": _metric,
    "exchange": _exchange,
    "member": _member,
    "stored": lambda process: stored.stored(process, _texts),
    "live": lambda process: stored.live(process, _texts),
    "subclass": _names("subclass", "subclasses"),
    "overrides": _names("overrides", "overrides"),
    "ordinal": _ordinal,
    "invokes": _invokes,
    "unrecorded": _unrecorded,
    "record": lambda process: recorded.record(process, _steps_of),
    "property": recorded.properties,
    "part": recorded.parts,
    "span": spans.spans,
}

__all__ = ["MARK_STEP", "build", "relation_schema"]
