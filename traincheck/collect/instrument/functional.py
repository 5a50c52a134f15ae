"""Watches torch.nn.functional and torch.nn.init: Python functions by their code, C functions by stand-ins."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
import torch.nn.functional as F

from traincheck.collect.calls.calls import Watch
from traincheck.collect.calls.sampling import ALL, NOTHING
from traincheck.collect.instrument.watcher import Watcher
from traincheck.collect.monitor import Monitor

_FUNCTIONAL = "torch.nn.functional"
_CHAINED = frozenset(("softmax", "log_softmax", "softmin", "cross_entropy", "nll_loss"))
"""What one of these returns and another is given must be told to be the same, wherever they are called."""
_NOT_OPERATIONS = frozenset(("boolean_dispatch", "handle_torch_function", "assert_int_or_pair"))


class Functional:
    """The functional operations of one process."""

    def __init__(self, monitor: Monitor, watcher: Watcher) -> None:
        self._monitor = monitor
        self._watcher = watcher
        self._shims: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}
        self._level = ALL

    def install(self) -> None:
        """Watch every public function."""
        for name, function in list(vars(F).items()):
            if name.startswith(("_", "has_torch_function")) or name in _NOT_OPERATIONS:
                continue
            if isinstance(function, FunctionType) and function.__module__ == _FUNCTIONAL:
                watch = Watch(linked=True if name in _CHAINED else None)
                self._watcher.function(function, f"{_FUNCTIONAL}.{name}", watch, like=_dispatched(function))
            elif isinstance(function, BuiltinFunctionType):
                shim = self._watcher.shim(function, f"{_FUNCTIONAL}.{name}", documented_names(function, name))
                if shim is not None:
                    self._shims[name] = (function, shim)
                    setattr(F, name, shim)
        for name, function in list(vars(torch.nn.init).items()):
            if isinstance(function, FunctionType) and name.endswith("_") and not name.startswith("_"):
                self._watcher.function(function, f"torch.nn.init.{name}", Watch(group="torch.nn.init", linked=True))

    def watch(self, level: int) -> None:
        """From now on watch what `level` says."""
        self._level = level
        for name, (function, shim) in list(self._shims.items()):
            there, wanted = (function, shim) if level == ALL else (shim, function)
            if getattr(F, name) is there:
                setattr(F, name, wanted)

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Have the C functions themselves in place for a while."""
        level = self._level
        self.watch(NOTHING)
        try:
            yield
        finally:
            self.watch(level)

    def before_scripting(self) -> None:
        """Let TorchScript, which knows the C functions by their identity, know their stand-ins too."""
        builtins: Any = torch.jit._builtins
        for function, shim in self._shims.values():
            operation = builtins._find_builtin(function)
            if operation is not None:
                builtins._register_builtin(shim, operation)

    def remove(self) -> None:
        """Put the C functions back; done before compiling too, which knows them and not their stand-ins."""
        self.watch(NOTHING)
        self._shims.clear()


def _dispatched(function: FunctionType) -> Any:
    """The function that carries the signature when `function` only chooses between two (max_pool2d)."""
    if function.__code__.co_name == "fn" and function.__closure__:
        cells = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
        if "if_false" in cells:
            return cells["if_false"].cell_contents
    return function


def documented_names(function: Any, name: str) -> tuple[str, ...]:
    """Parameter names of a C function from the first signature in its documentation."""
    match = re.search(rf"{name}\((.*?)\)\s*->", function.__doc__ or "", re.DOTALL)
    if match is None:
        return ()
    words = [part.strip().partition("=")[0].strip() for part in match.group(1).split(",")]
    return tuple(word for word in words if word.isidentifier())
