"""The facts of a trace, as a mapping from relation names to tables."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from traincheck.errors import TraceError
from traincheck.facts.build import build, relation_schema
from traincheck.facts.functions import nested
from traincheck.facts.pending import reading_warnings, settled
from traincheck.facts.raw import RawProcess
from traincheck.facts.spans import with_imported
from traincheck.schema import RELATIONS
from traincheck.trace import ProcessReader, TraceReader

_DISTINCT = frozenset(("subclass", "overrides", "invokes", "member", "unrecorded"))


class Facts(Mapping[str, Any]):
    """Every relation of the schema over one trace; tables are made on first use and kept."""

    def __init__(self, reader: TraceReader, processes: list[RawProcess], warnings: list[str]) -> None:
        self.path = reader.path
        self.reader = reader
        self.processes = processes
        self.warnings = warnings
        self._tables: dict[str, Any] = {}

    @property
    def identity(self) -> str:
        """What tells this run from every other, wherever its trace was copied to."""
        return " ".join(sorted(folder.name for folder in self.path.iterdir() if folder.is_dir()))

    def table(self, name: str) -> Any:
        """The table of relation `name`, with exactly the schema's columns; KeyError for an unknown name."""
        found = self._tables.get(name)
        if found is None:
            schema = relation_schema(RELATIONS[name])
            parts = [build(name, process) for process in self.processes]
            found = pa.concat_tables([schema.empty_table(), *parts]).combine_chunks()
            if name in _DISTINCT:
                found = found.group_by(found.column_names, use_threads=False).aggregate([])
            self._tables[name] = found
        return found

    def __getitem__(self, name: str) -> Any:
        return self.table(name)

    def __iter__(self) -> Iterator[str]:
        return iter(RELATIONS)

    def __len__(self) -> int:
        return len(RELATIONS)


def load_facts(path: Path | str) -> Facts:
    """Read the trace in the folder `path`; TraceError when there is none to read.

    A trace that is still being written, or whose process was killed, is read up to its last whole batch, and
    `warnings` says so.
    """
    reader = TraceReader(path)
    warnings: list[str] = []
    processes = [_read(index, process, warnings) for index, process in enumerate(reader.processes())]
    if not processes:
        raise no_events(path)
    return Facts(reader, processes, warnings)


def no_events(path: Path | str) -> TraceError:
    """What is wrong with a trace without processes."""
    return TraceError(
        "the trace holds no events: nothing of torch was called, or collection did not start",
        where=str(path),
        next_step="run the script under 'traincheck collect' again and look at its standard error",
    )


def _read(index: int, reader: ProcessReader, warnings: list[str]) -> RawProcess:
    tables = reader.poll()
    families = {
        name: {column: table[column].to_numpy() for column in table.column_names}
        for name, table in tables.items()
        if name not in ("process", "names")
    }
    families["calls"] = settled(families["calls"])
    families["calls"] = nested(families)
    info = dict(zip(tables["process"]["key"].to_pylist(), tables["process"]["value"].to_pylist(), strict=True))
    process = RawProcess(index, reader.name, families, tables["names"]["text"].to_pylist(), reader.torn, info)
    warnings += reading_warnings(
        reader.name, families["calls"]["api"].max(initial=-1) >= len(process.texts), process.torn, info
    )
    return with_imported(process)
