"""Rows waiting to be written: packed bytes per family, appended on the training thread, drained on another."""

import itertools
import struct
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from traincheck.trace.layout import FAMILIES, NULL

__all__ = ["NULL", "Buffers", "Names"]

_TEXT_FAMILIES = ("process", "names")


class Names:
    """Words interned to ids; new ones wait to be written."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._lock = threading.Lock()
        self.rows: list[tuple[int, str]] = []

    def __call__(self, text: str) -> int:
        """The id of `text`."""
        known = self._ids.get(text)
        if known is not None:
            return known
        with self._lock:
            known = self._ids.get(text)
            if known is None:
                known = len(self._ids)
                self.rows.append((known, text))
                self._ids[text] = known
            return known

    def optional(self, text: str | None) -> int:
        """The id of `text`, or NULL for none."""
        return NULL if text is None else self(text)


Columns = dict[str, Any]
"""By name, a list, or one value for all rows."""


class _Rows(NamedTuple):
    """Rows that were added at once and are not packed yet."""

    number: int
    columns: Callable[[], Columns]


class Buffers:
    """The rows of one process that are not yet on disk, and the counter that orders its events.

    A list's `append` and a slice's deletion are each atomic, so that the training thread never takes a lock.
    """

    def __init__(self) -> None:
        self._counter = itertools.count(1)
        self.next_id: Callable[[], int] = self._counter.__next__
        self.names = Names()
        self.process: list[tuple[str, str]] = []
        self._packed: dict[str, list[Any]] = {name: [] for name in FAMILIES if name not in _TEXT_FAMILIES}
        self._structs = {name: struct.Struct(FAMILIES[name].struct_format) for name in self._packed}

    def pack(self, family: str) -> Callable[..., bytes]:
        """The function that packs a row of `family` from its columns."""
        return self._structs[family].pack

    def append(self, family: str) -> Callable[[bytes], None]:
        """The function that adds a packed row to `family`."""
        return self._packed[family].append

    def add(self, family: str, *columns: Any) -> None:
        """Add one row to `family`; the slow way, for rows that are rare."""
        self._packed[family].append(self._structs[family].pack(*columns))

    def add_rows(self, family: str, count: int, columns: Callable[[], Columns]) -> None:
        """Add `count` rows to `family` at once.

        Their columns are asked for, on another thread, when rows are drained: much at a time costs little each.
        """
        if count:
            self._packed[family].append(_Rows(count, columns))

    def upcoming(self) -> int:
        """The number that comes next, without using it up: when rows are written must not show in how they count."""
        return int(repr(self._counter).removeprefix("count(").removesuffix(")"))

    def drain(self) -> dict[str, list[Any]]:
        """Take all waiting rows. Families that are referred to are taken last, so that no reference dangles."""
        taken: dict[str, list[Any]] = {}
        for name in reversed(list(FAMILIES)):
            rows: list[Any] = self._packed[name] if name in self._packed else self._text(name)
            count = len(rows)
            taken[name] = self._together(name, rows[:count])
            del rows[:count]
        return taken

    def restore(self, rows: dict[str, list[Any]]) -> None:
        """Put back what `drain` took, in front of what has come since."""
        for name, taken in rows.items():
            waiting: list[Any] = self._packed[name] if name in self._packed else self._text(name)
            waiting[:0] = taken

    def _together(self, family: str, rows: list[Any]) -> list[Any]:
        """The same rows, all packed; those that were added at once stand behind the others."""
        groups = [row for row in rows if type(row) is _Rows]
        if not groups:
            return rows
        kind = FAMILIES[family].packed
        table = np.empty(sum(group.number for group in groups), kind)
        columns = [group.columns() for group in groups]
        for name in columns[0]:
            parts = [
                _column(found[name], group.number, kind[name]) for group, found in zip(groups, columns, strict=True)
            ]
            table[name] = np.concatenate(parts)
        return [*(row for row in rows if type(row) is not _Rows), table.tobytes()]

    def _text(self, family: str) -> list[Any]:
        return self.process if family == "process" else self.names.rows


def _column(found: Any, number: int, kind: Any) -> Any:
    return np.array(found, kind) if isinstance(found, list) else np.full(number, found, kind)
