"""The functions of one process that have code of ours, and when they have it."""

from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from traincheck.collect.calls.sampling import ALL, COUNTING, NOTHING
from traincheck.collect.instrument.trampoline import clone, trampoline
from traincheck.collect.instrument.untraced import something_compiled

__all__ = ["Make", "Swaps"]

_NEVER = ALL + 1

Make = Callable[[FunctionType], Callable[..., Any]]
"""Makes what is called in place of a function, of a function that does the work."""
Told = Callable[[CodeType], None]


class _Swap:
    """One function: its own code, ours once it is needed, and from which level on it has ours."""

    __slots__ = ("function", "level", "original", "ours", "own", "record", "rests", "told")

    def __init__(self, function: FunctionType, make: Make, level: int, told: Told | None) -> None:
        self.function = function
        self.level = level
        self.told = told
        self.own = function.__code__
        self.original = clone(function)
        self.record = make(self.original)
        self.ours: CodeType | None = None
        self.rests = False
        """Whether it has its own code below its level: not before it has been called."""

    def set(self, level: int, compiling: bool) -> None:
        """Let the function have the code that it is to have while `level` is watched."""
        code = self.own
        if level >= self.level or not (self.rests or level == NOTHING):
            if self.ours is None:
                self.ours = trampoline(self.function, self.own, self.record, self.original, compiling)
                if self.told is not None:
                    self.told(self.ours)
            code = self.ours
        if self.function.__code__ is not code:
            self.function.__code__ = code


class Swaps:
    """Puts our code into functions, and takes it out while it has nothing to do.

    Until something is compiled our code does not ask whether it is being compiled. From then on every function keeps
    the code it has, as compiled code that contains it would have to be compiled again.
    """

    def __init__(self) -> None:
        self._swaps: dict[int, _Swap] = {}
        # by far the most are never called: what comes and goes is little
        self._resting: list[_Swap] = []
        self._uncalled: list[_Swap] = []
        self._level = ALL
        self._compiling = something_compiled()

    def __contains__(self, function: FunctionType) -> bool:
        return id(function) in self._swaps

    def add(self, function: FunctionType, make: Make, level: int, told: Told | None = None) -> None:
        """Let `function` do what `make` makes of it while `level` is watched; `told` is given all code of ours it has.

        Unless the function is one of ours already.
        """
        if function not in self:
            swap = self._swaps[id(function)] = _Swap(function, make, level, told)
            swap.set(self._level, self._compiling)
            if level > COUNTING:
                self._uncalled.append(swap)

    def watch(self, level: int) -> None:
        """From now on watch what `level` says, as Sampling has them."""
        before = self._level
        if level == before or self._compiling:
            return
        self._level = level
        if level < before:
            self._rest()
        for swap in list(self._swaps.values()) if NOTHING in (level, before) else self._resting:  # others may add some
            swap.set(level, self._compiling)

    def before_compiling(self) -> None:
        """Something is about to be compiled: let all functions have code that asks whether it is being compiled."""
        if not self._compiling:
            self._compiling, self._level = True, ALL
            for swap in self._swaps.values():
                swap.ours = None
                swap.set(ALL, True)

    def original(self, function: FunctionType) -> FunctionType:
        """What does the work of a function that may have code of ours."""
        swap = self._swaps.get(id(function))
        return function if swap is None else swap.original

    def give_back(self, function: FunctionType) -> None:
        """Give a function its own code back for the rest of the run, where that costs nothing."""
        if not something_compiled():
            swap = self._swaps[id(function)]
            swap.level, swap.rests = _NEVER, True
            swap.set(self._level, self._compiling)

    def remove(self) -> None:
        """Give every function its own code back."""
        for swap in self._swaps.values():
            swap.function.__code__ = swap.own
        self._swaps.clear()
        self._resting.clear()
        self._uncalled.clear()

    def _rest(self) -> None:
        """Let what has been called by now have its own code below its level."""
        found = [swap for swap in self._uncalled if getattr(swap.record, "called", True)]
        if found:
            self._uncalled = [swap for swap in self._uncalled if swap not in found]
            self._resting += found
            for swap in found:
                swap.rests = True
