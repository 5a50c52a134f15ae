"""Rows waiting to be written: packed bytes per family, appended on the training thread, drained on another."""

import itertools
import struct
import threading
from collections.abc import Callable
from typing import Any, Self

import numpy.typing as npt

from traincheck.collect.compiled import NATIVE
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


class Count(itertools.count):  # type: ignore[type-arg]
    """Numbers events, from 1 on; the compiled part has another (csrc/waiting.c)."""

    def __new__(cls) -> Self:
        return super().__new__(cls, 1)  # type: ignore[return-value]

    def reserve(self, count: int) -> int:
        """Take so many numbers, one at least; the first of them."""
        wanted = max(count, 1)
        last: int = next(itertools.islice(self, wanted - 1, None))  # in one piece, whatever other threads do
        return last - wanted + 1

    def upcoming(self) -> int:
        """The number that comes next, without using it up: when rows are written must not show in how they count."""
        return int(repr(self).partition("(")[2].removesuffix(")"))


class Rows:
    """Packed rows of one family that wait to be written; the compiled part has others (csrc/waiting.c).

    A list's `append` and a slice's deletion are each atomic, so that the training thread never takes a lock.
    """

    __slots__ = ("_rows", "append")

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self.append: Callable[[bytes], None] = self._rows.append

    def take(self) -> bytes:
        """Take all that wait."""
        count = len(self._rows)
        taken = b"".join(self._rows[:count])
        del self._rows[:count]
        return taken

    def restore(self, taken: bytes) -> None:
        """Put back what was taken, in front of what has come since."""
        self._rows.insert(0, taken)


class Buffers:
    """The rows of one process that are not yet on disk, and the counter that orders its events."""

    def __init__(self) -> None:
        self.counter: Any = Count() if NATIVE is None else NATIVE.Count()
        self.next_id: Callable[[], int] = self.counter.__next__
        self.reserve: Callable[[int], int] = self.counter.reserve
        self.upcoming: Callable[[], int] = self.counter.upcoming
        self.names = Names()
        self.process: list[tuple[str, str]] = []
        made = Rows if NATIVE is None else NATIVE.Rows
        self._packed: dict[str, Any] = {name: made() for name in FAMILIES if name not in _TEXT_FAMILIES}
        self._structs = {name: struct.Struct(FAMILIES[name].struct_format) for name in self._packed}

    def pack(self, family: str) -> Callable[..., bytes]:
        """The function that packs a row of `family` from its columns."""
        return self._structs[family].pack

    def append(self, family: str) -> Callable[[bytes], None]:
        """The function that adds a packed row to `family`."""
        added: Callable[[bytes], None] = self._packed[family].append
        return added

    def rows(self, family: str) -> Any:
        """The packed rows of `family` that wait: always the same object."""
        return self._packed[family]

    def add(self, family: str, *columns: Any) -> None:
        """Add one row to `family`; the slow way, for rows that are rare."""
        self._packed[family].append(self._structs[family].pack(*columns))

    def add_table(self, family: str, rows: npt.NDArray[Any]) -> None:
        """Add many rows to `family` at once, of its packed type."""
        self._packed[family].append(rows.tobytes())

    def drain(self) -> dict[str, Any]:
        """Take all waiting rows, packed ones as bytes.

        Families that are referred to are taken last, so that no reference dangles.
        """
        taken: dict[str, Any] = {}
        for name in reversed(list(FAMILIES)):
            taken[name] = self._packed[name].take() if name in self._packed else self._take_text(name)
        return taken

    def restore(self, rows: dict[str, Any]) -> None:
        """Put back what `drain` took, in front of what has come since."""
        for name, taken in rows.items():
            if name in self._packed:
                self._packed[name].restore(taken)
            else:
                self._text(name)[:0] = taken

    def _take_text(self, family: str) -> list[Any]:
        rows = self._text(family)
        count = len(rows)
        taken = rows[:count]
        del rows[:count]
        return taken

    def _text(self, family: str) -> list[Any]:
        return self.process if family == "process" else self.names.rows
