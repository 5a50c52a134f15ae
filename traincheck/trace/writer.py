"""Writes the streams of one process: packed rows become Arrow record batches, appended and flushed whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from traincheck.trace.layout import FAMILIES, SUFFIX, Family, Storage

_ARROW: dict[Storage, Any] = {
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "float64": pa.float64(),
    "string": pa.string(),
}

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


def arrow_schema(family: Family) -> Any:
    """The Arrow schema of a family's stream."""
    return pa.schema([pa.field(name, _ARROW[storage], nullable=False) for name, storage in family.columns])


def _string_array(texts: Sequence[str]) -> Any:
    """A string array from its buffers; `pa.array` would import pandas into the training process."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum([len(item) for item in encoded], out=offsets[1:])
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def _number_array(values: Any, storage: Storage) -> Any:
    column = np.ascontiguousarray(values)
    return pa.Array.from_buffers(_ARROW[storage], len(column), [None, pa.py_buffer(column)])


class StreamWriter:
    """One family's stream of one process; the file appears with its first batch."""

    def __init__(self, folder: Path, family: Family) -> None:
        self.family = family
        self.path = folder / (family.name + SUFFIX)
        self._schema = arrow_schema(family)
        self._file: Any = None
        self._stream: Any = None
        if all(storage != "string" for _, storage in family.columns):
            self._packed = family.packed

    def write_packed(self, rows: bytes) -> None:
        """Append rows that are packed, one behind the other, with the family's `struct_format` as one batch."""
        if rows:
            table = np.frombuffer(rows, dtype=self._packed)
            self._append([_number_array(table[name], storage) for name, storage in self.family.columns])

    def write_rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Append rows given as tuples, for families that hold text."""
        if not rows:
            return
        columns = list(zip(*rows, strict=True))
        self._append(
            [
                _string_array(values) if storage == "string" else _number_array(np.array(values, storage), storage)
                for (_, storage), values in zip(self.family.columns, columns, strict=True)
            ]
        )

    def _append(self, arrays: list[Any]) -> None:
        if self._stream is None:
            self._file = pa.OSFile(str(self.path), "wb")
            self._stream = pa.ipc.new_stream(self._file, self._schema, options=_OPTIONS)
        self._stream.write_batch(pa.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the end-of-stream mark; a stream without it is one whose process was killed."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._file is not None:
            self._file.close()
            self._file = None


class ProcessWriter:
    """All streams of one process, in the folder `folder`, which is made on first use."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=False)
        self.folder = folder
        self._streams = {name: StreamWriter(folder, family) for name, family in FAMILIES.items()}

    def __getitem__(self, family: str) -> StreamWriter:
        return self._streams[family]

    def close(self) -> None:
        """Close every stream."""
        for stream in self._streams.values():
            stream.close()
