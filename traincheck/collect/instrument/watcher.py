"""Puts recorders in the place of functions, each by what its calls are to be known as, and takes them out again."""

from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

from traincheck.collect.calls.calls import Identify, Watch
from traincheck.collect.calls.sampling import ALL, COUNTING, STEPS
from traincheck.collect.instrument.functions import Followed, Functions
from traincheck.collect.instrument.recorder import Recorders
from traincheck.collect.instrument.swaps import Make, Swaps
from traincheck.collect.instrument.untraced import something_compiled
from traincheck.collect.monitor import Monitor


class Watcher:
    """Installs recorders for one monitor and remembers how to take them out."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.swaps = Swaps()
        self.functions = Functions(monitor, self.swaps.give_back)
        self._recorders = Recorders(monitor)

    def function(self, function: Callable[..., Any], name: str, watch: Watch, like: Any = None) -> None:
        """Record calls of a plain Python function as `name`; `like` has the signature to bind arguments to."""
        watch.api = self.monitor.apis.function(name, like or function)
        if watch.api.wanted or watch.structural:
            self._install(function, watch)

    def method(self, function: Callable[..., Any], method: str, watch: Watch) -> None:
        """Record calls of a method, named after the class of whatever it is called on."""
        find = self.monitor.apis.method

        def identify(args: tuple[Any, ...]) -> Any:
            receiver = args[0]
            api = watch.by_class[type(receiver)] = find(type(receiver), method)
            return api, receiver, args[1:]

        self.identified(function, identify, watch)

    def identified(self, function: Callable[..., Any], identify: Identify, watch: Watch) -> None:
        """Record calls whose API and receiver `identify` works out."""
        watch.identify = identify
        self._install(function, watch)

    def replace(self, function: Callable[..., Any], make: Make, level: int = COUNTING) -> None:
        """Let `function` do what `make` makes of its original while things of a level are watched.

        Unless it is watched already.
        """
        if isinstance(function, FunctionType):  # and not compiled code that has none to swap
            self.swaps.add(function, make, level, self.monitor.sites.ours)

    def follow(self, function: FunctionType, name: str, owner: type | None, asked: bool) -> None:
        """Record when calls of a function ran: as `name`, or as a method of what is derived from `owner`."""
        if function in self.swaps:
            return
        followed = Followed(function, name, owner, asked)
        if something_compiled():
            self.functions.leave_out(followed)
            return
        if owner is None:
            self.functions.named(followed)
        self.swaps.add(function, partial(self.functions.recorder, followed), ALL)

    def shim(
        self, function: Callable[..., Any], name: str, names: tuple[str, ...], frames: int = 1
    ) -> Callable[..., Any] | None:
        """A stand-in for a C function, so many frames below its caller; None when nobody wants its calls."""
        watch = Watch()
        watch.api = self.monitor.apis.function(name, names)
        if not watch.api.wanted:
            return None
        record = self._recorders.shim(function, watch, frames)
        record.__name__ = record.__qualname__ = name.rpartition(".")[2]
        record.__module__ = name.rpartition(".")[0]
        record.__doc__ = function.__doc__
        return record

    def notice(
        self, function: Callable[..., Any], told: Callable[[tuple[Any, ...]], None], after: bool = False
    ) -> None:
        """Tell `told` the arguments of every call of `function`, before or after it, without recording it."""
        monitor = self.monitor

        def make(original: FunctionType) -> Callable[..., Any]:
            def record(*args: Any, **kwargs: Any) -> Any:
                if after:
                    result = original(*args, **kwargs)
                if not monitor.failed:
                    try:
                        told(args)
                    except Exception:
                        monitor.fail()
                return result if after else original(*args, **kwargs)

            return record

        if isinstance(function, FunctionType):
            self.swaps.add(function, make, COUNTING)

    def _install(self, function: Callable[..., Any], watch: Watch) -> None:
        level = ALL if not watch.structural else STEPS if watch.frequent and not watch.open_always else COUNTING
        self.replace(function, lambda original: self._recorders.swapped(original, watch), level)
