"""Relations of the columns engine: coded columns, and what is looked up in them more than once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from traincheck.datalog.kernels import Column, Index, distinct

__all__ = ["Table", "View"]

_SAMPLE = 512


class View:
    """The rows that fit an atom, one column for each of its variables that matter."""

    def __init__(self, columns: Sequence[Column], rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self._indexes: dict[tuple[int, ...], Index] = {}
        self._variety: dict[int, float] = {}

    def index(self, places: tuple[int, ...]) -> Index:
        """The rows by the columns at these places; there is at least one row."""
        found = self._indexes.get(places)
        if found is None:
            found = self._indexes[places] = Index([self.columns[place] for place in places])
        return found

    def each(self, places: Sequence[int]) -> float:
        """About how many rows have the same values at these places."""
        variety = 1.0
        for place in places:
            variety *= self._different(place)
        return self.rows / max(1.0, min(variety, self.rows))

    def _different(self, place: int) -> float:
        found = self._variety.get(place)
        if found is None:
            column = self.columns[place]
            sample = column[:: max(1, self.rows // _SAMPLE)]
            seen = len(np.unique(sample))
            found = float(seen) if seen < 0.7 * len(sample) else seen * self.rows / max(1, len(sample))
            self._variety[place] = found
        return found


class Table:
    """One relation; `valid` tells where a column has values, None for everywhere."""

    def __init__(self, columns: Sequence[Column], rows: int, valid: Sequence[Any] | None = None) -> None:
        self.columns = columns
        self.rows = rows
        self._valid = valid
        self._views: dict[Any, View] = {}

    def view(self, constants: tuple[tuple[int, int], ...], variables: tuple[tuple[int, ...], ...], kept: int) -> View:
        """The rows with these values at these places and, for each variable, one value at all its places.

        The first `kept` variables become columns; of the others only the presence matters.
        """
        key = (constants, variables, kept)
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = self._make(constants, variables, kept)
        return found

    def _make(self, constants: tuple[tuple[int, int], ...], variables: tuple[tuple[int, ...], ...], kept: int) -> View:
        mask = None
        for place, value in constants:
            mask = _both(mask, self.columns[place] == value)
            mask = _both(mask, self._where(place))
        for places in variables:
            for place in places:
                mask = _both(mask, self._where(place))
                if place != places[0]:
                    mask = _both(mask, self.columns[place] == self.columns[places[0]])
        shown = [self.columns[places[0]] for places in variables[:kept]]
        if mask is None:
            return View(shown, self.rows)
        rows = np.flatnonzero(mask)
        return View([column[rows] for column in shown], len(rows))

    def _where(self, place: int) -> Any:
        return None if self._valid is None else self._valid[place]

    def without_repetitions(self) -> "Table":
        """The same relation with every row once; it has no absent values."""
        if not self.columns:
            return Table([], min(1, self.rows))
        rows = distinct(self.columns) if self.rows else np.zeros(0, np.intp)
        return self if len(rows) == self.rows else Table([column[rows] for column in self.columns], len(rows))


def _both(mask: Any, further: Any) -> Any:
    if mask is None or further is None:
        return further if mask is None else mask
    return mask & further
