"""Rows on their way to disk: packed, interned, and flushed in batches, so that memory stays flat."""

import struct
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

from traincheck.trace.layout import FAMILIES, NULL
from traincheck.trace.writer import ProcessWriter

__all__ = ["NULL", "Recent", "Sink"]

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

_BATCH = 1 << 14
_KNOWN_WORDS = 1 << 17
_LONG_WORD = 256
"""Longer texts are not remembered here; whoever makes them remembers their ids."""


class Recent(Generic[Key, Item]):
    """What was seen lately, at most twice `limit` items: the older half is forgotten when the newer is full."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._new: dict[Key, Item] = {}
        self._old: dict[Key, Item] = {}

    def get(self, key: Key) -> Item | None:
        """The item of `key`, if it is still known."""
        found = self._new.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self[key] = found
        return found

    def __setitem__(self, key: Key, item: Item) -> None:
        if len(self._new) >= self._limit:
            self._old, self._new = self._new, {}
        self._new[key] = item


class Sink:
    """Writes the rows of one process; `event` numbers its events."""

    def __init__(self, folder: Path) -> None:
        self._writer = ProcessWriter(folder)
        self._rows: dict[str, list[bytes]] = {name: [] for name in FAMILIES if name not in ("process", "names")}
        self._words: list[tuple[int, str]] = []
        self._known: Recent[str, int] = Recent(_KNOWN_WORDS)
        self._next_word = 0
        self._next_event = 0

    def event(self) -> int:
        """The number of a new event."""
        self._next_event += 1
        return self._next_event - 1

    @property
    def next_event(self) -> int:
        """The number that the next event will have."""
        return self._next_event

    def adder(self, family: str) -> Callable[..., None]:
        """The function that adds a row of `family`, given its columns."""
        pack = struct.Struct(FAMILIES[family].struct_format).pack
        rows = self._rows[family]
        stream = self._writer[family]

        def add(*columns: float) -> None:
            rows.append(pack(*columns))
            if len(rows) >= _BATCH:
                stream.write_packed(b"".join(rows))
                rows.clear()

        return add

    def word(self, text: str) -> int:
        """The id of a text."""
        found = self._known.get(text)
        if found is None:
            found = self.new_word(text)
            if len(text) <= _LONG_WORD:
                self._known[text] = found
        return found

    def new_word(self, text: str) -> int:
        """The id of a text that is hardly ever the same twice."""
        found = self._next_word
        self._next_word += 1
        self._words.append((found, text))
        if len(self._words) >= _BATCH:
            self._flush_words()
        return found

    def optional(self, text: str | None) -> int:
        """The id of a text, NULL for none."""
        return NULL if text is None else self.word(text)

    def close(self) -> None:
        """Write what waits and end the streams; the `process` stream is left to whoever knows all processes."""
        self._flush_words()
        for family, rows in self._rows.items():
            self._writer[family].write_packed(b"".join(rows))
            rows.clear()
        self._writer.close()

    def _flush_words(self) -> None:
        self._writer["names"].write_rows(self._words)
        self._words.clear()
