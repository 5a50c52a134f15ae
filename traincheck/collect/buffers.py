"""Rows waiting to be written: packed bytes per family, appended on the training thread, drained on another."""

import itertools
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from traincheck.trace.layout import FAMILIES, NULL

__all__ = ["NULL", "Buffers", "Names"]

_TEXT_FAMILIES = ("process", "names")


class Names:
    """Words interned to ids; new ones wait to be written."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self._lock = threading.Lock()
        self.rows: list[tuple[int, str]] = []

    def __call__(self, text: str) -> int:
        """The id of `text`."""
        known = self.known.get(text)
        if known is not None:
            return known
        with self._lock:
            known = self.known.get(text)
            if known is None:
                known = len(self.known)
                self.rows.append((known, text))
                self.known[text] = known
            return known

    def optional(self, text: str | None) -> int:
        """The id of `text`, or NULL for none."""
        return NULL if text is None else self(text)


class Buffers:
    """The rows of one process that are not yet on disk, and the counter that orders its events.

    A list's `append` and a slice's deletion are each atomic, so that the training thread never takes a lock.
    """

    def __init__(self) -> None:
        self.counter = itertools.count(1)
        self.next_id: Callable[[], int] = self.counter.__next__
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

    def rows(self, family: str) -> list[Any]:
        """The packed rows of `family` that wait: always the same list."""
        return self._packed[family]

    def add(self, family: str, *columns: Any) -> None:
        """Add one row to `family`; the slow way, for rows that are rare."""
        self._packed[family].append(self._structs[family].pack(*columns))

    def add_table(self, family: str, rows: npt.NDArray[Any]) -> None:
        """Add many rows to `family` at once, of its packed type."""
        self._packed[family].append(rows.tobytes())

    def reserve(self, count: int) -> int:
        """Take so many numbers, one at least; the first of them."""
        last = next(itertools.islice(self.counter, count - 1, None))  # in one piece, whatever other threads do
        return last - count + 1

    def upcoming(self) -> int:
        """The number that comes next, without using it up: when rows are written must not show in how they count."""
        return int(repr(self.counter).removeprefix("count(").removesuffix(")"))

    def drain(self) -> dict[str, list[Any]]:
        """Take all waiting rows. Families that are referred to are taken last, so that no reference dangles."""
        taken: dict[str, list[Any]] = {}
        for name in reversed(list(FAMILIES)):
            rows: list[Any] = self._packed[name] if name in self._packed else self._text(name)
            count = len(rows)
            taken[name] = rows[:count]
            del rows[:count]
        return taken

    def restore(self, rows: dict[str, list[Any]]) -> None:
        """Put back what `drain` took, in front of what has come since."""
        for name, taken in rows.items():
            waiting: list[Any] = self._packed[name] if name in self._packed else self._text(name)
            waiting[:0] = taken

    def _text(self, family: str) -> list[Any]:
        return self.process if family == "process" else self.names.rows
