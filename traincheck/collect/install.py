"""Starts the collector in a process, ends it with the process, and starts afresh after a fork."""

import atexit
import multiprocessing.util
import os

from traincheck.collect.flusher import Flusher
from traincheck.collect.monitor import Monitor
from traincheck.collect.settings import Settings
from traincheck.collect.targets import Targets
from traincheck.collect.watch import Watcher


class _Running:
    """The collector of this process."""

    def __init__(self, settings: Settings, worker: str | None) -> None:
        self.pid = os.getpid()
        self.monitor = Monitor(settings, worker)
        self.targets = Targets(self.monitor, Watcher(self.monitor))
        self.flusher = Flusher(self.monitor, settings.trace, "worker" if worker is not None else "main")
        self.targets.install()
        self.flusher.start()


_running: list[_Running] = []  # at most one


def start_from_environment() -> None:
    """Start collecting if this process was told to; never raises."""
    try:
        settings = Settings.from_environment()
        if settings is None or _running:
            return
        _running.append(_Running(settings, None))
        atexit.register(stop)
        multiprocessing.util.Finalize(None, stop, exitpriority=-100)
    except Exception:
        import sys
        import traceback

        sys.stderr.write(f"traincheck: collection could not start:\n{traceback.format_exc()}")


def stop() -> None:
    """Write what is left; safe to call twice and from a forked child."""
    for running in _running:
        if running.pid == os.getpid():
            try:
                running.flusher.stop()
            except Exception:
                running.monitor.fail()
