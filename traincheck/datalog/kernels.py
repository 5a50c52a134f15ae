"""Joins, memberships and distinct rows over columns of whole numbers: what the columns engine is made of.

A key of several columns becomes one number per row: each column is shifted to begin at zero (or replaced by its rank
where its values lie too far apart) and the columns are packed side by side. Keys that lie close together, as the
ids of a batch do, index a table directly; the others are searched by bisection.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Column", "Index", "distinct"]

Column = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]

_WIDEST = 1 << 62
_DENSE_AT_LEAST = 1 << 12


class _Packing:
    """How the columns of a key become one number, made from the rows of one side.

    A row of the other side whose values none of those rows has is told apart, or gets a number that none of them has.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._parts = [_Part(column) for column in columns]
        self._prefixes: list[Column | None] = [None]
        self.span, self.keys = self._parts[0].fit(columns[0])
        for part, column in zip(self._parts[1:], columns[1:], strict=True):
            span, shifted = part.fit(column)
            prefixes = None
            if self.span * span > _WIDEST:
                prefixes = np.unique(self.keys)
                self.keys, self.span = np.searchsorted(prefixes, self.keys), len(prefixes)
            if self.span * span > _WIDEST:
                span, shifted = part.rank(column)
            self._prefixes.append(prefixes)
            self.keys = self.keys * span + shifted
            self.span *= span

    def find(self, columns: Sequence[Column]) -> tuple[Column, npt.NDArray[np.bool_]]:
        """The keys of other rows, and whether each can be a key here at all."""
        keys, known = self._parts[0].find(columns[0])
        for part, column, prefixes in zip(self._parts[1:], columns[1:], self._prefixes[1:], strict=True):
            if prefixes is not None:
                keys, inside = _find(prefixes, keys)
                known &= inside
            shifted, inside = part.find(column)
            known &= inside
            keys = keys * part.span + shifted
        return np.where(known, keys, 0), known


class _Part:
    """One column of a key, shifted to begin at zero or replaced by its rank."""

    def __init__(self, column: Column) -> None:
        self._lowest, self._highest = int(column.min()), int(column.max())
        self.span = self._highest - self._lowest + 1
        self._ranks: Column | None = None

    def fit(self, column: Column) -> tuple[int, Column]:
        """The span and the shifted values of the column that this was made for."""
        return self.rank(column) if self.span > _WIDEST else (self.span, column - self._lowest)

    def rank(self, column: Column) -> tuple[int, Column]:
        """The same, with as small a span as there can be."""
        self._ranks = np.unique(column)
        self.span = len(self._ranks)
        return self.span, np.searchsorted(self._ranks, column)

    def find(self, column: Column) -> tuple[Column, npt.NDArray[np.bool_]]:
        """Shifted values of another column, and which of them lie inside."""
        if self._ranks is not None:
            return _find(self._ranks, column)
        return column - self._lowest, (column >= self._lowest) & (column <= self._highest)


def _find(among: Column, column: Column) -> tuple[Column, npt.NDArray[np.bool_]]:
    place = np.minimum(np.searchsorted(among, column), len(among) - 1)
    return place, among[place] == column


class Index:
    """The rows of a relation by some of its columns, at least one column and one row."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._packing = _Packing(columns)
        keys = self._packing.keys
        span, count = self._packing.span, len(keys)
        self._table: Any = None
        self._order: Any = None
        self._sorted: Any = None
        if span <= max(_DENSE_AT_LEAST, 4 * count):
            self._table = np.full(span, -1, np.int64)
            self._table[keys] = np.arange(count)
            if (self._table[keys] != np.arange(count)).any():
                counts = np.bincount(keys, minlength=span)
                self._table = np.cumsum(counts) - counts
                self._counts = counts
                self._order = np.argsort(keys, kind="stable")
            return
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def has(self, columns: Sequence[Column]) -> npt.NDArray[np.bool_]:
        """For each probing row whether some row here has its key."""
        keys, known = self._packing.find(columns)
        if self._sorted is not None:
            position = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
            return np.asarray(known & (self._sorted[position] == keys))
        if self._order is not None:
            return np.asarray(known & (self._counts[keys] > 0))
        return np.asarray(known & (self._table[keys] >= 0))

    def count(self, columns: Sequence[Column]) -> Column:
        """For each probing row how many rows here have its key."""
        left, _ = self.join(columns)
        return np.bincount(left, minlength=len(columns[0])).astype(np.int64)

    def join(self, columns: Sequence[Column]) -> tuple[Rows, Rows]:
        """All pairs (probing row, row here) of one key."""
        keys, known = self._packing.find(columns)
        if self._order is None:
            found = np.where(known, self._table[keys], -1)
            left = np.flatnonzero(found >= 0)
            return left, found[left]
        if self._sorted is not None:
            starts = np.searchsorted(self._sorted, keys, side="left")
            counts = np.searchsorted(self._sorted, keys, side="right") - starts
        else:
            starts, counts = self._table[keys], self._counts[keys]
        counts = np.where(known, counts, 0)
        left = np.repeat(np.arange(len(keys)), counts)
        ends = np.cumsum(counts)
        offsets = np.arange(len(left)) + np.repeat(starts - ends + counts, counts)
        return left, self._order[offsets]


def distinct(columns: Sequence[Column]) -> Rows:
    """One row number for each distinct row; there is at least one column."""
    count = len(columns[0])
    if count < 2:
        return np.arange(count)
    packing = _Packing(columns)
    keys = packing.keys
    if packing.span <= max(_DENSE_AT_LEAST, 4 * count):
        table = np.full(packing.span, -1, np.int64)
        table[keys] = np.arange(count)
        return table[table >= 0]
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    fresh = np.ones(count, bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return order[fresh]
