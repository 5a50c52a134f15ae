"""Starts the collector in a process, ends it with the process, and starts afresh after a fork."""

import atexit
import multiprocessing.util
import os
import sys
import traceback
from collections.abc import Callable

from traincheck.collect.brake import VARIABLE, Brake
from traincheck.collect.flusher import Flusher
from traincheck.collect.instrument.untraced import hide
from traincheck.collect.instrument.watcher import Watcher
from traincheck.collect.monitor import Monitor
from traincheck.collect.settings import Settings
from traincheck.collect.targets import Targets


class _Running:
    """The collector of this process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.monitor = Monitor(settings)
        self.targets = Targets(self.monitor, Watcher(self.monitor))
        self.flusher = Flusher(self.monitor, settings.trace)
        try:
            hide()
            self.targets.install()
            self.flusher.start()
            if os.environ.get(VARIABLE):
                brake = Brake(settings.trace, self.flusher)
                self.monitor.step_ended = lambda: brake(self.monitor.steps.step)
        except BaseException:
            self.monitor.close()
            self.targets.remove()
            raise


class _Process:
    """This process: its collector, if there is one."""

    def __init__(self) -> None:
        self.running: _Running | None = None

    def start(self, settings: Settings) -> None:
        """Start collecting."""
        self.running = _Running(settings)
        atexit.register(self.stop)
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._forked)
        # children of multiprocessing skip atexit, and forget what was to be finalized when they begin
        multiprocessing.util.register_after_fork(self, _Process.finalize)
        self.finalize()

    def finalize(self) -> None:
        """Stop when multiprocessing ends this process."""
        multiprocessing.util.Finalize(None, self.stop, exitpriority=-100)

    def stop(self) -> None:
        """Write what is left; safe to call twice."""
        if self.running is not None:
            try:
                self.running.flusher.stop()
            except Exception:
                self.running.monitor.fail()

    def _before_fork(self) -> None:
        if self.running is not None:
            self.running.flusher.lock.acquire()

    def _after_fork(self) -> None:
        if self.running is not None:
            self.running.flusher.lock.release()

    def _forked(self) -> None:
        """Start afresh: the parent's rows are the parent's to write."""
        if self.running is not None:
            try:
                self.running.targets.remove()
                self.running = None if self.running.monitor.failed else _Running(self.running.settings)
            except Exception:
                self.running = None
                traceback.print_exc()


_process = _Process()


def own_monitor(settings: Callable[[], Settings]) -> Monitor:
    """The collector of this process; started with `settings` when there is none."""
    if _process.running is None:
        _process.start(settings())
    assert _process.running is not None
    return _process.running.monitor


def running_monitor() -> Monitor | None:
    """The collector of this process, if there is one."""
    return None if _process.running is None else _process.running.monitor


def start_from_environment() -> None:
    """Start collecting if this process was told to; never raises."""
    try:
        settings = Settings.from_environment()
        if settings is not None and _process.running is None:
            _process.start(settings)
    except Exception:
        sys.stderr.write(f"traincheck: collection could not start:\n{traceback.format_exc()}")
