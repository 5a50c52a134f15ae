"""Which files of a folder are logs, and whose records they hold; judged by what is in them."""

import re
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from traincheck.errors import TraceError
from traincheck.integrations.orderlab.lines import decode

_PROCESS = re.compile(rb'"process_id": ?(\d+)\D')
_CHUNK = 1 << 20
_OVERLAP = 64
_PROBED_LINES = 50
_LOOKS_LIKE_A_LOG = ("trace_", "proxy_log")


@dataclass(frozen=True)
class Log:
    """A file with records, and the processes that they name, the first one first."""

    path: Path
    processes: tuple[int, ...]


@dataclass
class Logs:
    """What a folder holds; `warnings` tells of files that should have been logs."""

    logs: list[Log] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def processes(self) -> list[int]:
        """Every process, in ascending order."""
        return sorted({process for log in self.logs for process in log.processes})


def find_logs(path: Path) -> Logs:
    """The logs in a folder, or the one file named; TraceError when there is none."""
    if not path.exists():
        raise TraceError(
            "no such file or folder", where=str(path), next_step="name what the original's collector wrote"
        )
    found = Logs()
    for file in sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]:
        if _is_log(file):
            found.logs.append(Log(file, _processes(file)))
        elif file == path or file.name.startswith(_LOOKS_LIKE_A_LOG):
            found.warnings.append(f"{file}: no record in it")
    if not found.logs:
        raise TraceError(
            "no records of the original TrainCheck here",
            where=str(path),
            next_step="name the folder with its trace_API_*, trace_VAR_* or proxy_log.json files",
        )
    return found


def _is_log(file: Path) -> bool:
    with file.open("rb") as lines:
        for text in islice(lines, _PROBED_LINES):
            try:
                decode(text)
            except ValueError:
                continue
            return True
    return False


def _processes(file: Path) -> tuple[int, ...]:
    """Every process id that the file speaks of; a nested one may name a process without records."""
    found: dict[int, None] = {}
    rest = b""
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            chunk = rest + chunk
            found.update((int(number), None) for number in dict.fromkeys(_PROCESS.findall(chunk)))
            rest = chunk[-_OVERLAP:]
    return tuple(found)
