"""The relations that only imported traces have: records, what they say, and the parts of values."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from traincheck.facts.plain import Json, flatten, number_of, plain
from traincheck.facts.raw import Ints, RawProcess
from traincheck.trace.layout import NULL, WHOLE

Columns = dict[str, Any]
Triple = tuple[Ints, Any, Any]

PARAMETER = "torch.nn.Parameter"
_ACTIVE, _NONE = "active", "none"
_IDS = {"data_id": "data_ID", "grad_id": "grad_ID"}


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
        "sketch": [None if number == NULL else process.texts[number] for number in rows["sketch"]],
    }


def properties(process: RawProcess) -> Columns:
    """Relation `property`: the texts that records refer to, taken apart once each, and what their columns say."""
    rows = process.families["records"]
    found = [
        _spread(process, rows["id"], rows[column], read)
        for column, read in (("said", flatten), ("contexts", _managers), ("attributes", flatten))
    ]
    found += [_identities(rows, column, f"attributes._TRAINCHECK_{key}") for column, key in _IDS.items()]
    found += [_of_variables(process, key) for key in ("var_name", "var_type")]
    records, keys, values = zip(*found, strict=True)
    return {
        "record": process.ids(np.concatenate(records)),
        "key": pa.concat_arrays(keys),
        "value": pa.concat_arrays(values),
    }


def _spread(
    process: RawProcess, records: Ints, words: Any, read: Callable[[Json], Iterable[tuple[str, str]]]
) -> Triple:
    """The pairs that `read` finds in each record's text."""
    ids, position = np.unique(words, return_inverse=True)
    pairs = [[] if number == NULL else list(read(_json(process, number))) for number in ids]
    counts = np.array([len(found) for found in pairs], np.int64)
    flat = [pair for found in pairs for pair in found]
    repeat = counts[position] if len(position) else np.zeros(0, np.int64)
    ends, starts = np.cumsum(repeat), np.cumsum(counts) - counts
    total = int(ends[-1]) if len(ends) else 0
    member = pa.array(np.arange(total) - np.repeat(ends - repeat, repeat) + np.repeat(starts[position], repeat))
    keys = pa.array([key for key, _ in flat], pa.string()).take(member)
    values = pa.array([value for _, value in flat], pa.string()).take(member)
    return np.repeat(records, repeat), keys, values


def _identities(rows: Mapping[str, Any], column: str, key: str) -> Triple:
    there = rows[column] != NULL
    values = [_NONE if number == WHOLE else str(number) for number in rows[column][there]]
    return rows["id"][there], pa.array([key] * len(values), pa.string()), pa.array(values, pa.string())


def _of_variables(process: RawProcess, key: str) -> Triple:
    """What the records of a variable say of it because of whose they are."""
    rows, variables = process.families["records"], process.families["variables"]
    column, read = ("name", str) if key == "var_name" else ("kind", type_of)
    there = rows["variable"] != NULL
    spoken_of = np.isin(variables["id"], rows["variable"][there])
    known = {
        int(number): plain(read(process.texts[word]))
        for number, word in zip(variables["id"][spoken_of], variables[column][spoken_of], strict=True)
    }
    values = [known[int(number)] for number in rows["variable"][there]]
    return rows["id"][there], pa.array([key] * len(values), pa.string()), pa.array(values, pa.string())


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


def _json(process: RawProcess, number: int) -> Json:
    content: Json = json.loads(process.texts[number])
    return content


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


def type_of(kind: str) -> str:
    """The recorded type of a variable of this kind."""
    return PARAMETER if kind == "parameter" else kind


def kind_of(var_type: str) -> str:
    """The kind of an imported variable: `parameter`, or the recorded type of what is none."""
    return "parameter" if var_type == PARAMETER else var_type


def is_tensor(kind: str) -> bool:
    """Whether the type of a value is what the original takes for a tensor."""
    return (kind.startswith("torch.") and "Tensor" in kind) or "Parameter" in kind


def _items(value: Json) -> Iterable[tuple[str, Json]]:
    return value.items() if isinstance(value, dict) else ()
