"""TrainCheck: catches silent training bugs by checking runs against invariants learned from good ones."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

__version__ = "0.1.0"

__all__ = ["__version__", "step", "watch"]


def watch(*things: Any, output: str | Path = "traincheck-trace") -> None:
    """Record this process from now on, as `traincheck collect` does, into the folder `output`.

    `things` are the models and optimizers that are there already; later ones are found. Under `traincheck collect` or
    `traincheck run`, or when called again, it only makes the things known.
    """
    _own().watch(things, output)


def step() -> AbstractContextManager[None]:
    """`with traincheck.step():` around each training step, for loops whose steps are not found by themselves."""
    found: AbstractContextManager[None] = _own().step()
    return found


def _own() -> Any:
    return import_module("traincheck.collect.own")  # by name: everything imports this module, and only this needs torch
