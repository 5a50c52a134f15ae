"""Writing files so that an interrupted run leaves the old content or the new, never half of one."""

import os
import tempfile
from pathlib import Path

from traincheck.errors import UsageError


def write_whole(path: Path, text: str) -> None:
    """Replace `path` by `text` in one move; UsageError when it cannot be written."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device; a folder fails here
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            return
        _replace(path.resolve(), text)
    except OSError as error:
        raise _cannot_write(path, error.strerror or str(error)) from error


def require_writable(path: Path) -> None:
    """Refuse with a UsageError, before long work, a path that could not be written at its end."""
    if path.is_dir():
        raise _cannot_write(path, "Is a directory")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise _cannot_write(path, "Not a directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _cannot_write(path, "Permission denied")


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".traincheck-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _cannot_write(path: Path, reason: str) -> UsageError:
    return UsageError(f"cannot write here: {reason}", where=str(path), next_step="name a file in a writable folder")
