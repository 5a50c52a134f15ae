"""Builds the functions that stand in for watched ones: record the call, run the original, record the outcome."""

from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from traincheck.collect.calls import Identify, Watch
from traincheck.collect.functions import Followed, Functions
from traincheck.collect.monitor import Monitor
from traincheck.collect.recorder import Recorders
from traincheck.collect.trampoline import clone, swap
from traincheck.collect.untraced import something_compiled


class Watcher:
    """Installs recorders for one monitor and remembers how to take them out."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.functions = Functions(monitor, self.release)
        self._recorders = Recorders(monitor)
        self._swapped: dict[int, tuple[FunctionType, CodeType, FunctionType]] = {}

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

    def replace(self, function: Callable[..., Any], make: Callable[[FunctionType], Callable[..., Any]]) -> None:
        """Let `function` do what `make` makes of its original, unless it is watched already."""
        if id(function) in self._swapped or not isinstance(function, FunctionType):
            return  # or compiled code that has none to swap
        original = clone(function)
        self._swapped[id(function)] = (function, swap(function, make(original), original), original)
        self.monitor.sites.ours(function.__code__)

    def follow(self, function: FunctionType, name: str, owner: type | None, asked: bool) -> None:
        """Record when calls of a function ran: as `name`, or as a method of what is derived from `owner`."""
        if id(function) in self._swapped:
            return
        followed = Followed(function, name, owner, asked)
        if something_compiled():
            self.functions.leave_out(followed)
            return
        if owner is None:
            self.functions.named(followed)
        original = clone(function)
        record = self.functions.recorder(followed, original)
        self._swapped[id(function)] = (function, swap(function, record, original), original)

    def release(self, function: FunctionType) -> None:
        """Give a function its own code back for the rest of the run, where that costs nothing."""
        if not something_compiled():
            function.__code__ = self._swapped[id(function)][1]

    def original(self, function: FunctionType) -> FunctionType:
        """What does the work of a function that may have been swapped."""
        swapped = self._swapped.get(id(function))
        return function if swapped is None else swapped[2]

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
        if not isinstance(function, FunctionType):
            return
        monitor, original = self.monitor, clone(function)

        def record(*args: Any, **kwargs: Any) -> Any:
            if after:
                result = original(*args, **kwargs)
            if not monitor.failed:
                try:
                    told(args)
                except Exception:
                    monitor.fail()
            return result if after else original(*args, **kwargs)

        self._swapped[id(function)] = (function, swap(function, record, original), original)

    def remove(self) -> None:
        """Give every function its own code back."""
        for function, code, _ in self._swapped.values():
            function.__code__ = code
        self._swapped.clear()

    def _install(self, function: Callable[..., Any], watch: Watch) -> None:
        self.replace(function, lambda original: self._recorders.swapped(original, watch))
