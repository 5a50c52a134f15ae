"""Brings the rows of one process to disk, on a thread of its own and at the end of the process."""

import os
import platform
import socket
import sys
import threading
import time
from pathlib import Path

import torch

from traincheck.collect.monitor import Monitor
from traincheck.collect.settings import RANK, WORLD
from traincheck.trace.layout import (
    FAMILIES,
    MARK_END,
    MARK_FLUSHED,
    NULL,
    PROCESS_PREFIX,
    STOPPED,
    STOPPED_BY_CHECKER,
)
from traincheck.trace.place import is_followed
from traincheck.trace.writer import ProcessWriter

_GAPS = 0.3, 2.0
"""Seconds between flushes at least, and at most: a batch per tiny step would be mostly headers."""
_FOLLOWED_GAP = 0.45
"""As many at most while somebody waits to read them."""
_RESTS = 1000
"""How many times as long as a flush takes the thread rests after it, within those limits."""


class Flusher:
    """Writes what the monitor's buffers hold; the files appear with the first event."""

    def __init__(self, monitor: Monitor, trace: Path) -> None:
        self._monitor = monitor
        self._trace = trace
        self._folder = trace / f"{PROCESS_PREFIX}{time.time_ns()}-{os.getpid()}"
        self._writer: ProcessWriter | None = None
        self.lock = threading.Lock()
        """Held while rows are written; a fork waits for it, as the child would inherit Arrow in mid-work."""
        self._stopped = False
        self.cut_short = False
        """Whether the run is ended from outside, so that what belongs to its end was never to come."""
        self._numbered = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="traincheck-flush", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Write all waiting rows now, on the calling thread, which is one that trains."""
        with self.lock:
            if not self._stopped:
                self._monitor.changes.wait()
                self._flush()

    def stop(self) -> None:
        """The process ends: write what is left and close the streams."""
        with self.lock:
            if self._stopped:
                return
            self._stopped = True
            self._monitor.steps.catch_up()
            self._monitor.close()
            self._monitor.changes.end_step()
            self._monitor.changes.wait()
            if self._flush():
                self._end()

    def _run(self) -> None:
        took = 0.0
        while not self._stopped:
            self._rest(took)
            with self.lock:
                if self._stopped:
                    return
                begun = time.thread_time()
                try:
                    self._flush()
                except Exception:
                    self._monitor.fail()
                    return
                took = time.thread_time() - begun
                governor = self._monitor.sampling.governor
                if governor is not None:
                    governor.wrote(took)

    def _rest(self, took: float) -> None:
        """Sleep after a flush that took so many seconds of this thread's time."""
        least, most = _GAPS
        rest = max(least, min(most, took * _RESTS))
        while rest > 0:
            time.sleep(min(rest, _FOLLOWED_GAP))
            rest = 0 if self._stopped or is_followed(self._trace) else rest - _FOLLOWED_GAP

    def _flush(self) -> bool:
        """Write all waiting rows; False when there has been no event yet."""
        buffers = self._monitor.buffers
        self._monitor.steps.defer(0)  # no boundary is to wait longer than for the flush after this one
        self._monitor.calls.write_open()
        self._monitor.changes.write()
        rows = buffers.drain()
        if self._writer is None:
            if not rows["calls"]:
                buffers.restore(rows)
                return False
            self._writer = ProcessWriter(self._folder)
            self._writer["process"].write_rows(self._describe())
        # an event may be numbered before this flush and appended after it, but not one from before the last flush
        upcoming = self._monitor.steps.upcoming(self._monitor.changes.upcoming())
        flushed, self._numbered = self._numbered, max(self._numbered, upcoming)
        rows["marks"] += self._mark(flushed, MARK_FLUSHED)
        for name in FAMILIES:
            stream = self._writer[name]
            (stream.write_rows if name in ("process", "names") else stream.write_packed)(rows[name])
        return True

    def _mark(self, seq: int, kind: int) -> bytes:
        return self._monitor.buffers.pack("marks")(seq, NULL, kind)

    def _end(self) -> None:
        if self._writer is not None:
            if self.cut_short:
                self._writer["process"].write_rows([(STOPPED, STOPPED_BY_CHECKER)])
            elif not self._monitor.failed:  # what is recorded of a process that goes on is not its end
                self._writer["process"].write_rows([("outcome", "ended")])
                self._writer["marks"].write_packed(self._mark(self._monitor.buffers.next_id(), MARK_END))
            self._writer.close()

    def _describe(self) -> list[tuple[str, str]]:
        return [
            ("pid", str(os.getpid())),
            ("host", socket.gethostname()),
            ("python", platform.python_version()),
            ("torch", torch.__version__),
            ("argv", " ".join(sys.argv)),
            ("role", "main"),
            ("rank", os.environ.get(RANK) or os.environ.get("RANK") or "0"),
            ("world", os.environ.get(WORLD) or os.environ.get("WORLD_SIZE") or "1"),
        ]
