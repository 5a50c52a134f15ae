"""How a collection was asked for, as handed from the command to the training processes."""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from traincheck.collect.needs import Needs
from traincheck.trace.manifest import Manifest, read_manifest

VARIABLE = "TRAINCHECK_TRACE"
RANK, WORLD = "TRAINCHECK_RANK", "TRAINCHECK_WORLD"
"""Set once a process knows its rank, for the processes that it starts."""
DISABLED = "TRAINCHECK_DISABLED"
HOOK_FOLDER = Path(__file__).resolve().parent / "sitehook"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the trace goes, what is recorded, and which steps: the first `warmup`, then one in `every`.

    With a `budget`, a share of the time of training, rather as many as it allows.
    """

    trace: Path
    needs: Needs = field(default_factory=Needs)
    every: int = 1
    warmup: int = 0
    budget: float = 0.0
    cwd: str = ""

    def manifest(self) -> Manifest:
        """The manifest that hands these settings to the training processes."""
        document = asdict(self)
        del document["trace"]
        return Manifest(settings=document)

    @classmethod
    def from_manifest(cls, trace: Path, document: Mapping[str, Any]) -> Self:
        """The settings that a trace's manifest holds; unknown keys are ignored."""
        known = {key: value for key, value in document.items() if key in ("every", "warmup", "budget", "cwd")}
        return cls(trace=trace, needs=Needs.from_mapping(document.get("needs") or {}), **known)

    def export(self, environment: MutableMapping[str, str]) -> None:
        """Set the variables by which a Python started with `environment`, and its children, find the trace."""
        environment[VARIABLE] = str(self.trace)
        path = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(HOOK_FOLDER), *([path] if path else [])])

    @classmethod
    def from_environment(cls) -> Self | None:
        """The settings this process was started with; None when it is not to be watched."""
        trace = os.environ.get(VARIABLE)
        if not trace or os.environ.get(DISABLED, "") not in ("", "0"):
            return None
        return cls.from_manifest(Path(trace), read_manifest(Path(trace)).settings)
