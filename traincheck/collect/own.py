"""For people who own their loop: `traincheck.watch` and `traincheck.step`. A failure of ours never stops theirs."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.nn import Module
from torch.optim import Optimizer

from traincheck.collect.install import own_monitor, running_monitor
from traincheck.collect.settings import DISABLED, Settings
from traincheck.errors import UsageError
from traincheck.trace.place import prepare_output

__all__ = ["step", "watch"]


def watch(things: Iterable[Any], output: str | Path) -> None:
    """See `traincheck.watch`; UsageError when `output` cannot be a trace, or a thing is neither model nor optimizer."""
    things = list(things)
    for thing in things:
        if not isinstance(thing, Module | Optimizer):
            raise UsageError(
                f"cannot watch a {type(thing).__name__}", next_step="watch takes models and optimizers of torch"
            )
    if os.environ.get(DISABLED, "") not in ("", "0"):
        return
    monitor = own_monitor(lambda: _settings(Path(output)))
    try:
        monitor.adopt(
            [thing for thing in things if isinstance(thing, Module)],
            [thing for thing in things if isinstance(thing, Optimizer)],
        )
    except Exception:
        monitor.fail()


def _settings(output: Path) -> Settings:
    """Everything is recorded into a fresh trace, by this process and those that it starts."""
    prepare_output(output)
    settings = Settings(trace=output.resolve(), cwd=str(Path.cwd()))
    settings.manifest().write(settings.trace)
    settings.export(os.environ)
    return settings


@contextmanager
def step() -> Iterator[None]:
    """See `traincheck.step`."""
    monitor = running_monitor()
    if monitor is not None and monitor.steps_gate.open:
        try:
            monitor.steps.told(monitor.buffers.next_id())
        except Exception:
            monitor.fail()
    yield
