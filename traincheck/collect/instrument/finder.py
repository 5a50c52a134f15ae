"""Finds the functions to follow in the modules that have been imported; imports nothing itself."""

import dis
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch.autograd import Function
from torch.nn import Module

from traincheck.collect.calls.names import module_name
from traincheck.collect.calls.summaries import qualified
from traincheck.collect.instrument.watcher import Watcher
from traincheck.collect.monitor import Monitor
from traincheck.collect.needs import EVERYTHING

ENTRY_POINTS = (
    "transformers.trainer.Trainer.training_step",
    "transformers.trainer.Trainer.compute_loss",
    "transformers.trainer.Trainer.prediction_step",
    "transformers.trainer.Trainer.evaluate",
    "transformers.trainer.Trainer.save_model",
    "transformers.generation.utils.GenerationMixin.generate",
    "accelerate.accelerator.Accelerator.prepare",
    "accelerate.accelerator.Accelerator.backward",
    "accelerate.accelerator.Accelerator.clip_grad_norm_",
    "accelerate.accelerator.Accelerator.clip_grad_value_",
    "accelerate.accelerator.Accelerator.save_state",
    "accelerate.accelerator.Accelerator.load_state",
    *(
        f"{package}.core.module.LightningModule.{method}"
        for package in ("lightning.pytorch", "pytorch_lightning")
        for method in ("backward", "optimizer_step", "configure_gradient_clipping", "lr_scheduler_step")
    ),
)
"""What frameworks do within a step. What spans steps, such as Trainer.train, is nobody's call."""

_NOT_PLAIN = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
_LOOKS_AT_FRAMES = frozenset(
    ("_getframe", "currentframe", "extract_stack", "format_stack", "print_stack", "stacklevel", "walk_stack")
)


class Finder:
    """Follows functions as modules appear and grow.

    With everything asked for these are the plain functions and methods at the top of the user's modules, and the
    entry points of frameworks; otherwise only what is asked for by name, in whatever module but torch's.
    """

    def __init__(self, monitor: Monitor, watcher: Watcher, prepare: Callable[[type], None]) -> None:
        """`prepare` is told of classes first, so that their part in the structure of training comes first."""
        self._monitor = monitor
        self._watcher = watcher
        self._prepare = prepare
        apis = monitor.needs.apis
        self._everything = EVERYTHING[0] in apis
        self._asked = tuple(glob for glob in apis if glob not in EVERYTHING)
        self._globs = (*self._asked, *(ENTRY_POINTS if self._everything else ()))
        # a glob that names no module is about the user's own: all packages have something that matches `*.__init__`
        prefixes = {glob.partition("*")[0].partition("?")[0].partition("[")[0] for glob in self._globs}
        self._prefixes = tuple(prefixes - {""})
        self._known: set[str] = set()
        self._growing: dict[str, tuple[ModuleType | None, int]] = {}
        """By name the modules that may have functions to follow, and how much was in each when it was scanned."""
        self._looked_at: set[int] = set()
        self._kept: list[Any] = []

    def look(self) -> None:
        """Follow what has come since the last look; cheap when nothing has."""
        if not (self._everything or self._asked):
            return
        modules = sys.modules
        if len(modules) != len(self._known):
            self._meet(list(modules.items()))
        for name, (scanned, size) in list(self._growing.items()):
            module = modules.get(name)
            if module is scanned and (module is None or len(module.__dict__) == size):
                continue
            if module is not None and _is(module, ModuleType):  # a script may put something else in its place
                self._growing[name] = module, len(module.__dict__)
                self._scan(module)

    def _meet(self, modules: list[tuple[str, ModuleType]]) -> None:
        """Sort out modules that have not been seen before."""
        for name, module in modules:
            if name not in self._known:
                self._known.add(name)
                if _is(module, ModuleType) and (self._is_users(module) or self._may_match(module_name(name))):
                    self._growing[name] = None, 0
        self._known.intersection_update([name for name, _ in modules])

    def _is_users(self, module: ModuleType) -> bool:
        file = module.__dict__.get("__file__")
        if file is None:
            return module.__name__ == "__main__"  # a notebook's
        return isinstance(file, str) and self._monitor.sites.is_user_file(file)

    def _may_match(self, name: str) -> bool:
        if name.partition(".")[0] in ("torch", "traincheck", "builtins"):
            return False
        return any(prefix.startswith(f"{name}.") or f"{name}.".startswith(prefix) for prefix in self._prefixes)

    def _scan(self, module: ModuleType) -> None:
        for thing in list(module.__dict__.values()):
            if not _is(thing, FunctionType, type) or thing.__module__ != module.__name__:
                continue
            if id(thing) not in self._looked_at:
                self._looked_at.add(id(thing))
                self._kept.append(thing)  # so that its id stays its own
                if _is(thing, FunctionType):
                    self._consider(thing, None)
                elif "<" not in thing.__qualname__:
                    self._scan_class(thing)

    def _scan_class(self, cls: type) -> None:
        self._prepare(cls)
        for member in list(cls.__dict__.values()):
            if _is(member, FunctionType):
                self._consider(member, cls)
            elif _is(member, staticmethod, classmethod) and _is(member.__func__, FunctionType):
                self._consider(member.__func__, None)

    def _consider(self, function: FunctionType, owner: type | None) -> None:
        """Follow what is inside of its decorators, if it is to be followed."""
        while isinstance(inner := function.__dict__.get("__wrapped__"), FunctionType):
            function = inner
        if function.__code__.co_flags & _NOT_PLAIN or _is_operation(function, owner):
            return
        name = f"{module_name(function.__module__)}.{function.__qualname__}"
        asked = self._matches(name, owner, function.__name__, self._asked)
        if asked or self._matches(name, owner, function.__name__, self._globs) or self._is_plain(function):
            self._watcher.follow(function, name, owner, asked)

    def _matches(self, name: str, owner: type | None, method: str, globs: tuple[str, ...]) -> bool:
        known = [name]
        if owner is not None:  # what torch's own classes have is recorded for them and for what is derived from them
            bases = [cls for cls in owner.__mro__[1:] if cls.__module__.partition(".")[0] != "torch"]
            known += [f"{qualified(cls)}.{method}" for cls in bases]
        return any(
            fnmatchcase(each, glob) and (not _is_special(method) or (glob.endswith(method) and glob[0] not in "*?["))
            for glob in globs
            for each in known
        )

    def _is_plain(self, function: FunctionType) -> bool:
        """Whether a function is followed without being asked for."""
        if not self._everything or "<" in function.__qualname__ or _is_special(function.__name__):
            return False
        code = function.__code__
        recurs = "." not in function.__qualname__ and _calls_itself(code)
        return self._monitor.sites.is_user_file(code.co_filename) and not recurs and not _looks_at_frames(code)


def _is(thing: Any, *kinds: type) -> bool:
    """What isinstance says, without asking the thing itself: a proxy would load what it stands for."""
    return issubclass(type(thing), kinds)


def _is_operation(function: FunctionType, owner: type | None) -> bool:
    """Whether it is what a module's call does, which is recorded as that, or a function of autograd."""
    if owner is None:
        return False
    return issubclass(owner, Function) or (issubclass(owner, Module) and function.__name__ == "forward")


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _calls_itself(code: CodeType) -> bool:
    """Whether a plain function calls itself: it might run out of stack, as each of its calls would take three frames.

    Of what is loaded to be called the lowest bit is set.
    """
    return code.co_name in code.co_names and any(
        instruction.opname == "LOAD_GLOBAL" and instruction.argval == code.co_name and (instruction.arg or 0) & 1
        for instruction in dis.get_instructions(code)
    )


def _looks_at_frames(code: CodeType) -> bool:
    """Whether the code may look at who called it, and so would see us."""
    words = set(code.co_names).union(*(const for const in code.co_consts if isinstance(const, tuple)))
    levels = "warn" in words and any(type(const) is int and const > 1 for const in code.co_consts)
    stacks = {"inspect", "stack"} <= words  # torch.stack looks at none
    return levels or stacks or not _LOOKS_AT_FRAMES.isdisjoint(words)
