"""Watches operations that are C functions, such as torch.matmul or Tensor.item, for those who ask for them by name.

They have no code to swap. While torch calls this mode for every operation on a tensor, the operations that nobody
asked for cost something too, which is why the mode is on only when it is needed.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from types import FunctionType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode

from traincheck.collect.calls.calls import Watch
from traincheck.collect.instrument.functional import documented_names
from traincheck.collect.instrument.watcher import Watcher
from traincheck.collect.needs import EVERYTHING

_FRAMES = 2
"""Of ours, from the stand-in up to the caller: its own, the mode's."""
_PYTHON = ("torch.functional", "torch._tensor")
"""Where the operations that are Python functions are defined."""
_PLACES: tuple[tuple[str, Any], ...] = (("torch.Tensor.", torch.Tensor), ("torch.", torch))


class Operations:
    """The operations of one process that are asked for: torch's own functions and the methods of tensors."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._mode: _Mode | None = None

    def install(self) -> None:
        """Watch what is asked for: Python functions by their code, C functions through the mode."""
        globs = [glob for glob in self._watcher.monitor.needs.apis if glob not in EVERYTHING and glob[:6] == "torch."]
        table: dict[Any, Callable[..., Any]] = {}
        for name, function in _matching(globs):
            if isinstance(function, FunctionType):
                if function.__module__ in _PYTHON:
                    self._watcher.function(function, name, Watch())
                continue
            names = documented_names(function, name.rpartition(".")[2])
            record = self._watcher.shim(function, name, ("self", *names) if "Tensor." in name else names, _FRAMES)
            if record is not None:
                table[function] = record
        if table:
            self._mode = _Mode(table, self._watcher.swaps.original)
            self._watcher.monitor.sites.ours(_Mode.__torch_function__.__code__)
            self._mode.__enter__()  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Watch C functions no longer; done before compiling too, which would compile the mode."""
        mode, self._mode = self._mode, None
        # under a mode of the user's it has to stay
        if mode is not None and _get_current_function_mode() is mode:  # type: ignore[no-untyped-call]
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]


class _Mode(TorchFunctionMode):
    """Calls the recorders of some operations, and leaves all others as they are."""

    def __init__(self, table: dict[Any, Callable[..., Any]], original: Callable[[FunctionType], Any]) -> None:
        super().__init__()
        self._recorder = table.get
        self._original = original

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if type(func) is FunctionType:  # it has been recorded already, and asks here before it does anything
            return self._original(func)(*args, **(kwargs or {}))
        return (self._recorder(func) or func)(*args, **(kwargs or {}))


def _matching(globs: list[str]) -> Iterator[tuple[str, Any]]:
    """Public functions and methods whose names match, once each: a method stands before the function of its name."""
    for prefix, place in _PLACES:
        depth = prefix.count(".")
        chosen = [glob for glob in globs if glob.count(".") == depth]
        for name in dir(place) if chosen else ():
            full = prefix + name
            if name.startswith("_") or not any(fnmatchcase(full, glob) for glob in chosen):
                continue
            function = getattr(place, name)
            if callable(function) and not isinstance(function, type):
                yield full, function
