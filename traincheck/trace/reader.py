"""Reads traces, whole or while they grow, up to the last whole batch of every stream."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from traincheck.errors import TraceError
from traincheck.trace.layout import FAMILIES, PROCESS_PREFIX, SUFFIX, Family
from traincheck.trace.manifest import Manifest, read_manifest
from traincheck.trace.writer import arrow_schema

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class StreamReader:
    """One stream, read on from where the last `poll` stopped; a batch that is half written is left for later."""

    def __init__(self, path: Path, family: Family) -> None:
        self.path = path
        self.family = family
        self.ended = False
        self.behind = False
        self._offset = 0
        self._schema: Any = None
        self._expected = arrow_schema(family)

    def poll(self, most_bytes: int | None = None) -> Any:
        """The rows that were added since the last call, as a table with the family's columns.

        `most_bytes` bounds about how much is read of the file; `behind` tells whether that left something.
        """
        batches = list(self._new_batches(most_bytes))
        if not batches:
            return self._expected.empty_table()
        table = pa.Table.from_batches(batches)
        for name in self.family.since_1_1:
            if name not in table.column_names:
                table = table.append_column(name, pa.array(np.full(table.num_rows, np.nan)))
        missing = [name for name in self._expected.names if name not in table.column_names]
        if missing:
            raise TraceError(
                f"the stream '{self.path.name}' lacks the column '{missing[0]}'",
                where=str(self.path.parent),
                next_step="collect the trace again",
            )
        return table.select(self._expected.names)

    @property
    def torn(self) -> bool:
        """Whether the stream lacks its end mark: it is still growing, or its process was killed."""
        return self.path.exists() and not self.ended

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def cut(self) -> int:
        """Bytes behind the last whole batch that was read: of a batch whose end is missing, or still to come."""
        return max(0, self.size - self._offset - len(_END_OF_STREAM) * self.ended)

    def _new_batches(self, most_bytes: int | None) -> Iterator[Any]:
        if self.ended or not self.path.exists():
            return
        offset = self._offset
        yield from self._read(most_bytes)
        while self.behind and self._offset == offset and most_bytes is not None:
            most_bytes *= 2  # a batch is larger than what we meant to read
            yield from self._read(most_bytes)

    def _read(self, most_bytes: int | None) -> Iterator[Any]:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read(-1 if most_bytes is None else most_bytes)
        self.behind = most_bytes is not None and len(data) == most_bytes
        source = pa.BufferReader(pa.py_buffer(data))
        whole = 0
        while True:
            if data.startswith(_END_OF_STREAM, whole):
                self.ended = True
                break
            try:
                message = pa.ipc.read_message(source)
                whole = source.tell()
                if self._schema is None:
                    self._schema = pa.ipc.read_schema(message)
                else:
                    yield pa.ipc.read_record_batch(message, self._schema)
            except (EOFError, OSError, pa.ArrowInvalid):
                break
            except (pa.ArrowException, UnicodeDecodeError) as error:
                raise TraceError(
                    f"the stream '{self.path.name}' is damaged",
                    where=str(self.path.parent),
                    next_step="copy or collect the trace again",
                ) from error
        self._offset += whole


class ProcessReader:
    """All streams of one process of a trace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.streams = {name: StreamReader(folder / (name + SUFFIX), family) for name, family in FAMILIES.items()}

    def poll(self, most_bytes: Mapping[str, int] = MappingProxyType({})) -> Mapping[str, Any]:
        """New rows of every family; families that others refer to are read last, so no reference dangles.

        `most_bytes` bounds, for some families, about how much is read of their files.
        """
        return {name: self.streams[name].poll(most_bytes.get(name)) for name in reversed(self.streams)}

    @property
    def behind(self) -> list[str]:
        """The families of which the last `poll` left rows unread."""
        return [name for name, stream in self.streams.items() if stream.behind]

    @property
    def torn(self) -> bool:
        """Whether the process has not ended, or was killed before it could say so."""
        return any(stream.torn for stream in self.streams.values())


class TraceReader:
    """A trace on disk: its manifest, and its processes in the order in which they started."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest: Manifest = read_manifest(self.path)
        self._processes: dict[str, ProcessReader] = {}

    def processes(self) -> list[ProcessReader]:
        """Every process seen so far; looks for new ones on each call and never changes the order of known ones."""
        for folder in sorted(self.path.glob(PROCESS_PREFIX + "*")):
            if folder.is_dir() and folder.name not in self._processes:
                self._processes[folder.name] = ProcessReader(folder)
        return list(self._processes.values())
