"""Followed functions: the collector says when they ran; which calls they enclose, and in which step, follows from that.

A function in which a step ends is no call: what it encloses belongs to several steps. One that is under way when its
step begins, as everything before was done by the step before, encloses what comes from there on.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from traincheck.trace.layout import FUNCTION_UNRECORDED, MARK_FIRST, MARK_LEFT, MARK_STEP, NULL

__all__ = ["is_followed", "moments", "nested"]

Ints = npt.NDArray[np.int64]
Rows = Mapping[str, Any]
_DEEPER = 1 << 40
"""More than there are calls of followed functions: places one level of nesting behind another in one order."""


def is_followed(calls: Rows, functions: Rows) -> npt.NDArray[np.bool_]:
    """Which rows of `calls` are calls of followed functions."""
    return np.isin(calls["api"], functions["api"])


def moments(calls: Rows, functions: Rows) -> Ints:
    """When each call happens as far as steps are concerned: a followed function when it ends, others as they begin."""
    followed = is_followed(calls, functions)
    return np.asarray(np.where(followed, calls["exit"], calls["enter"]), np.int64)


def nested(families: Mapping[str, Rows]) -> dict[str, Any]:
    """The rows of `calls` with the parents that followed functions are, less those that are no calls; and `at`."""
    calls, functions = families["calls"], families["functions"]
    if not len(functions["api"]):
        return {**calls, "at": calls["enter"]}
    unrecorded = functions["api"][functions["kind"] == FUNCTION_UNRECORDED]
    followed = is_followed(calls, functions)
    begins, whole = _within_steps(calls, families["marks"])
    begins = np.where(followed, begins, calls["enter"])
    keep = ~followed | (whole & ~np.isin(calls["api"], unrecorded))
    calls = {name: column[keep] for name, column in calls.items()}
    begins, followed = begins[keep], followed[keep]
    parent = np.array(calls["parent"], np.int64)
    for thread in np.unique(calls["thread"][followed]):
        chosen = np.flatnonzero(calls["thread"] == thread)
        rows = {name: calls[name][chosen] for name in ("enter", "exit", "parent")}
        parent[chosen] = _parents(rows, begins[chosen], followed[chosen])
    return {**calls, "parent": parent, "at": np.where(followed, calls["exit"], calls["enter"])}


def _within_steps(calls: Rows, marks: Rows) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """From where on each call belongs to its step, and whether it belongs to one step at all."""
    kind, step, seq = (np.asarray(marks[name]).astype(np.int64) for name in ("kind", "step", "seq"))
    first, begun, left = (kind == MARK_FIRST, kind == MARK_STEP, kind == MARK_LEFT)
    begin, number = np.append(seq[first], seq[begun]), np.append(step[first], step[begun])
    order = np.argsort(begin, kind="stable")
    begin, number = begin[order], number[order]
    turned = dict(zip(step[left].tolist(), seq[left].tolist(), strict=True))
    # nothing was done before step 0
    earliest = np.array([turned.get(n, 0 if n == 0 else b) for n, b in zip(number, begin, strict=True)], np.int64)
    enter, leave = calls["enter"], calls["exit"]
    place = np.searchsorted(begin, enter, side="right")
    crossed = np.searchsorted(begin, leave, side="left") - place
    if not len(begin):
        return enter, leave != NULL
    here = np.minimum(place, len(begin) - 1)
    whole = (leave != NULL) & ((crossed == 0) | ((crossed == 1) & (earliest[here] < enter)))
    return np.where(crossed == 1, begin[here], enter), whole


def _parents(calls: Rows, begins: Ints, followed: npt.NDArray[np.bool_]) -> Ints:
    """The innermost call around each call of one thread: the one that is on disk, or a followed one within that."""
    mine = np.flatnonzero(followed)
    mine = mine[np.lexsort((calls["enter"][mine], begins[mine]))]  # in the order in which they begin
    begin, end = begins[mine], np.sort(calls["exit"][mine])
    order = np.arange(len(mine))
    level = order + 1 - np.searchsorted(end, begin)  # how many are open once each has begun
    by_level = np.argsort(level * _DEEPER + order)
    keys = (level * _DEEPER + order)[by_level]

    before = np.searchsorted(begin, begins, side="right")  # how many have begun when each call begins
    inside = before - np.searchsorted(end, begins)
    before[mine], inside[mine] = order, level - 1
    found = np.searchsorted(keys, inside * _DEEPER + before, side="left") - 1
    around = mine[by_level[np.maximum(found, 0)]]
    nearer = (
        (inside > 0)
        & (found >= 0)
        & (calls["enter"][around] > calls["parent"])
        & (calls["exit"][around] > calls["enter"])
    )
    return np.asarray(np.where(nearer, calls["enter"][around], calls["parent"]), np.int64)
