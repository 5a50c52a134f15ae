"""Writing files so that an interrupted run leaves the old content or the new, never half of one."""

import os
import tempfile
from pathlib import Path

from traincheck.errors import UsageError


def write_whole(path: Path, text: str) -> None:
    """Replace `path` by `text` in one move; UsageError when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
            mask = os.umask(0)
            os.umask(mask)
            Path(temporary).chmod(0o666 & ~mask)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"cannot write here: {error.strerror}", where=str(path), next_step="name a file in a writable folder"
        ) from error
