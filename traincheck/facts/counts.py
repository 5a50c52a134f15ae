"""Counts over the columns of all processes: calls by API, variables by kind, updates and states by attribute."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from traincheck.facts.raw import RawProcess, last_rows
from traincheck.trace.layout import NULL, OUTCOMES, POINTS

__all__ = ["Api", "Attribute", "Kind", "apis", "states", "updates", "variables"]

_RAISED = OUTCOMES.index("raised")
_UNKNOWN = "unknown"
_MOST_KEYS = 1 << 62


@dataclass(frozen=True)
class Api:
    """The calls of one API; `api` is None where the trace has lost the name."""

    api: str | None
    calls: int
    raised: int


@dataclass(frozen=True)
class Kind:
    """The variables of one kind; what shares another's tensor has no elements and bytes of its own."""

    kind: str | None
    variables: int
    elements: int
    bytes: int
    requires_grad: int
    held: int
    tied: int


@dataclass(frozen=True)
class Attribute:
    """The updates of an attribute, or its states at one point of a step, by the class that the value then had."""

    attr: str | None
    point: str | None
    count: int
    classes: Mapping[str, int]


def apis(processes: Sequence[RawProcess]) -> list[Api]:
    """Every API that was called, the most called first."""
    calls: Counter[str | None] = Counter()
    raised: Counter[str | None] = Counter()
    for process in processes:
        rows = process.families["calls"]
        for (number, outcome), count in _tally(rows["api"], rows["outcome"]):
            api = _word(process, number)
            calls[api] += count
            raised[api] += count * (outcome == _RAISED)
    order = sorted(calls, key=lambda api: (-calls[api], api or ""))
    return [Api(api, calls[api], raised[api]) for api in order]


def variables(processes: Sequence[RawProcess]) -> list[Kind]:
    """Every kind of variable, the most numerous first."""
    kinds: Counter[str | None] = Counter()
    found: Counter[tuple[str | None, str]] = Counter()
    for process in processes:
        rows = process.families["variables"]
        last = last_rows(rows["id"])
        rows = {name: column[last] for name, column in rows.items()}
        held = np.isin(rows["id"], process.families["holds"]["variable"])
        tied = rows["ties"] != NULL
        groups = _tally(rows["kind"], rows["shape"], rows["dtype"], rows["requires_grad"], held, tied)
        for (number, shape, dtype, requires_grad, is_held, is_tied), count in groups:
            kind = _word(process, number)
            kinds[kind] += count
            elements = 0 if is_tied else count * _elements(_word(process, shape))
            found[kind, "elements"] += elements
            found[kind, "bytes"] += elements * _bits(_word(process, dtype)) // 8
            found[kind, "requires_grad"] += count * (requires_grad == 1)
            found[kind, "held"] += count * is_held
            found[kind, "tied"] += count * is_tied
    columns = ("elements", "bytes", "requires_grad", "held", "tied")
    return [Kind(kind, count, *(found[kind, column] for column in columns)) for kind, count in kinds.most_common()]


def updates(processes: Sequence[RawProcess]) -> list[Attribute]:
    """The updates of each attribute, the most numerous first; classes are those after them."""
    found: Counter[tuple[str | None, str | None, str | None]] = Counter()
    for process in processes:
        rows = process.families["updates"]
        for (attr, after), count in _tally(rows["attr"], rows["after"]):
            found[_word(process, attr), None, _word(process, after)] += count
    return _attributes(found)


def states(processes: Sequence[RawProcess]) -> list[Attribute]:
    """The states of each attribute at each point, the most numerous first."""
    found: Counter[tuple[str | None, str | None, str | None]] = Counter()
    for process in processes:
        rows = process.families["states"]
        for (attr, point, kind), count in _tally(rows["attr"], rows["point"], rows["class"]):
            found[_word(process, attr), POINTS[point], _word(process, kind)] += count
    return _attributes(found)


def _attributes(found: Counter[tuple[str | None, str | None, str | None]]) -> list[Attribute]:
    grouped: dict[tuple[str | None, str | None], dict[str, int]] = {}
    for (attr, point, kind), count in found.most_common():
        grouped.setdefault((attr, point), {})[kind or _UNKNOWN] = count
    made = [Attribute(attr, point, sum(classes.values()), classes) for (attr, point), classes in grouped.items()]
    return sorted(made, key=lambda attribute: -attribute.count)


def _tally(*columns: Any) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Each combination of values that the columns have, and how often."""
    key, size = np.zeros(len(columns[0]), np.int64), 1
    for column in columns if len(key) else ():
        low = int(column.min())
        width = int(column.max()) - low + 1
        size *= width
        if size > _MOST_KEYS:
            key = np.unique(key, return_inverse=True)[1]
            size = (int(key.max()) + 1) * width
        key = key * width + (column.astype(np.int64) - low)
    _, places, counts = np.unique(key, return_index=True, return_counts=True)
    found = [column[places].tolist() for column in columns]
    yield from zip(zip(*found, strict=True), counts.tolist(), strict=True)


def _word(process: RawProcess, number: int) -> str | None:
    return process.texts[number] if 0 <= number < len(process.texts) else None


def _elements(shape: str | None) -> int:
    """How many elements a tensor of this shape has, `[64, 3]`; 0 for a shape that is not known."""
    return math.prod(map(int, re.findall(r"\d+", shape))) if shape else 0


def _bits(dtype: str | None) -> int:
    """How many bits an element of this dtype has, `float32`; 0 where the name does not say."""
    digits = re.search(r"\d+", dtype or "")
    return int(digits[0]) if digits else 8 * (dtype == "bool")
