"""The folder that a trace goes to."""

import contextlib
import os
import shutil
from pathlib import Path

from traincheck.errors import UsageError
from traincheck.trace.manifest import is_trace

__all__ = ["follow", "is_followed", "prepare_output"]

_FOLLOWED = "followed"


def prepare_output(output: Path) -> None:
    """Make an empty folder for a trace; an older trace is replaced, anything else is refused."""
    if output.exists() and not output.is_dir():
        raise UsageError(
            "the output is a file, not a folder", where=str(output), next_step="choose another name with -o"
        )
    if output.is_dir() and any(output.iterdir()):
        if not is_trace(output):
            raise UsageError(
                "the output folder is not empty and not a trace", where=str(output), next_step="choose another with -o"
            )
        shutil.rmtree(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make this folder: {error.strerror}", where=str(output), next_step="choose another with -o"
        ) from error


def follow(trace: Path) -> None:
    """Leave word for the processes that write `trace` that somebody reads it while it grows.

    Without it, as where the folder cannot be written to, they bring their rows to disk all the same, less often.
    """
    with contextlib.suppress(OSError):
        (trace / _FOLLOWED).touch()


def is_followed(trace: Path) -> bool:
    """Whether somebody reads `trace` while it grows."""
    return os.path.exists(trace / _FOLLOWED)  # noqa: PTH110 -- no error of a file system is to reach who asks
