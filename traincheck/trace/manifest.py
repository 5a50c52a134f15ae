"""The manifest of a trace: the version of its format, and the settings it was collected with."""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import traincheck
from traincheck.errors import TraceError
from traincheck.schema import SCHEMA_VERSION
from traincheck.trace.layout import FORMAT_VERSION, MANIFEST


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a trace says about itself, and which process began it; unknown keys are kept in `settings` alone."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    format_version: str = FORMAT_VERSION
    schema_version: int = SCHEMA_VERSION
    traincheck: str = traincheck.__version__
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    def write(self, trace: Path) -> None:
        """Write this manifest into the folder `trace`, which must exist."""
        document = {
            "format": "traincheck-trace",
            "format_version": self.format_version,
            "schema_version": self.schema_version,
            "traincheck": self.traincheck,
            "host": self.host,
            "pid": self.pid,
            "settings": dict(self.settings),
        }
        (trace / MANIFEST).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def is_trace(path: Path) -> bool:
    """Whether the folder `path` carries the manifest of a trace, readable or not."""
    try:
        document = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("format") == "traincheck-trace"


def read_manifest(trace: Path) -> Manifest:
    """The manifest of the trace in the folder `trace`; TraceError when there is none that we can read."""
    where = str(trace)
    if not trace.exists():
        raise TraceError("no such trace", where=where, next_step="traincheck collect -o TRACE SCRIPT")
    if not trace.is_dir():
        raise TraceError(
            "not a trace but a file", where=where, next_step="name the folder that 'traincheck collect' wrote"
        )
    if not any(trace.iterdir()):
        raise TraceError(
            "the folder is empty, not a trace", where=where, next_step="traincheck collect -o TRACE SCRIPT"
        )
    try:
        document = json.loads((trace / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        document = None
    except (OSError, ValueError) as error:
        raise TraceError(
            f"the manifest cannot be read: {error}", where=where, next_step="collect the trace again"
        ) from error
    if not isinstance(document, dict) or document.get("format") != "traincheck-trace":
        raise TraceError(
            "not a trace: it has no manifest", where=where, next_step="name the folder that 'traincheck collect' wrote"
        )
    version = str(document.get("format_version", ""))
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise TraceError(
            f"trace format {version or 'unknown'} is not one this version reads ({FORMAT_VERSION})",
            where=where,
            next_step="read it with the traincheck that wrote it, or collect it again",
        )
    settings = document.get("settings") or {}
    if not isinstance(settings, dict):
        raise TraceError("the manifest's settings are no settings", where=where, next_step="collect again")
    return Manifest(
        settings=settings,
        format_version=version,
        schema_version=_whole(document, "schema_version", SCHEMA_VERSION, where),
        traincheck=str(document.get("traincheck", "")),
        host=str(document.get("host", "")),
        pid=_whole(document, "pid", 0, where),
    )


def _whole(document: Mapping[str, Any], key: str, default: int, where: str) -> int:
    value = document.get(key, default)
    if isinstance(value, int):
        return value
    raise TraceError(f"the manifest's {key} is {value!r}, not a number", where=where, next_step="collect again")
