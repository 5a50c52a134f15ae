"""Keeps training at most a step ahead of its checker, and ends it where the checker says so.

The checker writes, into the trace, up to which step it has checked and from which step on nothing is to run. A process
begins step n only once the steps before n - 1 are checked, so that all ranks stop at the same step. Training never
waits for a checker that is gone or does not answer.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from traincheck.collect.flusher import Flusher

__all__ = ["VARIABLE", "Brake", "Word", "read_word", "write_word"]

VARIABLE = "TRAINCHECK_BRAKE"
"""Set for training processes that are to heed their checker."""

_FILE = "checked"
_PATIENCE = 60.0
_PAUSE = 0.002


@dataclass(frozen=True, slots=True)
class Word:
    """What the checker says: all steps before `checked` are; no process is to begin step `stop` or a later one."""

    checked: int
    stop: int | None
    pid: int


def write_word(trace: Path, word: Word) -> None:
    """Leave the checker's word for the training processes."""
    stop = -1 if word.stop is None else word.stop
    new = trace / f".{_FILE}"
    new.write_text(f"{word.checked} {stop} {word.pid}", encoding="ascii")
    new.replace(trace / _FILE)


def read_word(trace: Path) -> Word | None:
    """The checker's last word, if there is one."""
    try:
        checked, stop, pid = map(int, (trace / _FILE).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return Word(checked, None if stop < 0 else stop, pid)


class Brake:
    """Called at the begin of each step, in the thread that trains."""

    def __init__(self, trace: Path, flusher: Flusher) -> None:
        self._trace = trace
        self._flusher = flusher
        self._given_up = False

    def __call__(self, step: int) -> None:
        """Wait for the checker; SystemExit when training is to end before `step`."""
        self._flusher.flush()
        deadline = time.monotonic() + _PATIENCE
        while not self._given_up:
            word = read_word(self._trace)
            if word is not None and word.stop is not None and step >= word.stop:
                self._flusher.cut_short = True
                raise SystemExit(0)
            if word is not None and word.checked >= step - 1:
                return
            self._given_up = time.monotonic() > deadline or (word is not None and not _alive(word.pid))
            time.sleep(_PAUSE)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
