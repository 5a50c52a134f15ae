"""Waits for torch: starts the collector at the end of `import torch`."""

from types import ModuleType

from traincheck.collect.instrument.imports import when_imported


def watch_for_torch() -> None:
    """Start the collector as soon as this process has imported torch, or now if it has."""
    when_imported("torch", _start)


def _start(torch: ModuleType) -> None:
    from traincheck.collect.install import start_from_environment

    start_from_environment()
