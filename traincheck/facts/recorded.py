"""The relations that only imported traces have: records, what they say, parts of values, and spans."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from traincheck.facts.plain import Json, flatten, number_of, plain
from traincheck.facts.raw import Ints, RawProcess
from traincheck.trace.layout import NULL

Columns = dict[str, Any]
_ACTIVE = "active"


def record(process: RawProcess, steps: Callable[[RawProcess, Ints], Any]) -> Columns:
    """Relation `record`; `steps` gives the step column of events."""
    rows = process.families["records"]
    count = len(rows["id"])
    return {
        "id": process.ids(rows["id"]),
        "process": np.full(count, process.base, np.int64),
        "rank": np.full(count, process.rank, np.int64),
        "step": steps(process, rows["id"]),
        "at": rows["id"],
        "call": process.ids(rows["call"]),
        "variable": process.ids(rows["variable"]),
        "time": rows["time"],
        "index": np.asarray(rows["index"], np.int64),
        "given": process.ids(rows["given"]),
        "returned": process.ids(rows["returned"]),
        "sketch": _texts(process, rows["sketch"]),
    }


def properties(process: RawProcess) -> Columns:
    """Relation `property`: the texts that records refer to, taken apart once each."""
    rows = process.families["records"]
    owners: list[Ints] = []
    keys: list[Any] = []
    values: list[Any] = []
    for column, read in (("said", flatten), ("contexts", _managers), ("attributes", flatten), ("identity", flatten)):
        ids, position = np.unique(rows[column], return_inverse=True)
        pairs = [[] if number == NULL else list(read(_json(process, number))) for number in ids]
        counts = np.array([len(found) for found in pairs], np.int64)
        flat = [pair for found in pairs for pair in found]
        repeat = counts[position]
        starts = np.cumsum(counts) - counts
        ends = np.cumsum(repeat)
        total = int(ends[-1]) if len(ends) else 0
        member = np.arange(total) - np.repeat(ends - repeat, repeat) + np.repeat(starts[position], repeat)
        owners.append(np.repeat(rows["id"], repeat))
        keys.append(pa.array([key for key, _ in flat], pa.string()).take(pa.array(member)))
        values.append(pa.array([value for _, value in flat], pa.string()).take(pa.array(member)))
    return {
        "record": process.ids(np.concatenate(owners)),
        "key": pa.concat_arrays(keys),
        "value": pa.concat_arrays(values),
    }


def parts(process: RawProcess) -> Columns:
    """Relation `part`, from the texts of what calls were given and returned."""
    rows = process.families["records"]
    columns: Columns = {name: [] for name in ("id", "role", "place", "key", "value", "number")}
    for column in ("given", "returned"):
        for number in np.unique(rows[column]):
            if number != NULL:
                for role, place, key, value in _parts(_json(process, number)):
                    row = (process.base + int(number), role, place, key, value, number_of(value))
                    for name, cell in zip(columns, row, strict=True):
                        columns[name].append(cell)
    return columns


def spans(process: RawProcess) -> Columns:
    """Relation `span`; a span without an end lasts until the end of the log."""
    rows = process.families["spans"]
    last = int(process.info.get("log_end") or 0)
    texts = {number: process.texts[number] for number in np.unique([rows["value"], rows["before"]]) if number != NULL}
    numbers = {number: number_of(text) for number, text in texts.items()}
    return {
        "id": process.ids(rows["id"]),
        "variable": process.ids(rows["variable"]),
        "process": np.full(len(rows["id"]), process.base, np.int64),
        "attr": _texts(process, rows["attr"]),
        "value": _texts(process, rows["value"]),
        "number": [numbers.get(number) for number in rows["value"]],
        "before": _texts(process, rows["before"]),
        "before_number": [numbers.get(number) for number in rows["before"]],
        "at": rows["id"],
        "begin": rows["begin"],
        "end": np.where(rows["end"] == NULL, last, rows["end"]),
        "last": process.ids(rows["last"]),
    }


def _texts(process: RawProcess, ids: Any) -> list[str | None]:
    return [None if number == NULL else process.texts[number] for number in ids]


def _json(process: RawProcess, number: int) -> Json:
    return json.loads(process.texts[number])


def _managers(active: Json) -> Iterable[tuple[str, str]]:
    """Context managers by name, each with its arguments."""
    assert isinstance(active, dict)
    for name, arguments in active.items():
        yield f"meta_vars.context_managers.{name}", _ACTIVE
        for argument, value in arguments.items() if isinstance(arguments, dict) else ():
            yield f"meta_vars.context_managers.{name}.{argument}", plain(value)


def _parts(values: Json) -> Iterable[tuple[str, str, str, str]]:
    """Role, place, key and value of every piece of `{"args": ..., "kwargs": ...}` or `{"returned": ...}`."""
    assert isinstance(values, dict)
    tensors = 0
    for role, field in (("positional", "args"), ("keyword", "kwargs")):
        for place, value in _items(values.get(field)):
            for kind, content in _items(value):
                yield from ((role, place, key, text) for key, text in argument_pieces(kind, content))
                if is_tensor(kind):
                    yield from (("input", str(tensors), key, text) for key, text in flatten(content, lists=True))
                    tensors += 1
                break
    returned = values.get("returned")
    tensors = 0
    for value in returned if isinstance(returned, list) else [returned]:
        for kind, content in _items(value):
            if is_tensor(kind):
                yield "output", str(tensors), "type", plain(kind)
                yield from (("output", str(tensors), key, text) for key, text in flatten(content, lists=True))
                tensors += 1
            break


def argument_pieces(kind: str, content: Json) -> Iterable[tuple[str, str]]:
    """An argument `{kind: content}` as keys and values: its kind, with its value or with each of its attributes."""
    if not isinstance(content, Mapping):
        yield kind, plain(content)
        return
    yield kind, ""
    for key, value in flatten(content):
        yield f"{kind}.{key}", value


def is_tensor(kind: str) -> bool:
    """Whether the type of a value is what the original takes for a tensor."""
    return (kind.startswith("torch.") and "Tensor" in kind) or "Parameter" in kind


def _items(value: Json) -> Iterable[tuple[str, Json]]:
    return value.items() if isinstance(value, dict) else ()
