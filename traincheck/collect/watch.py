"""Builds the functions that stand in for watched ones: record the call, run the original, record the outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

from traincheck.collect.apis import Apis, bind
from traincheck.collect.calls import Api, Open, Thread, caller
from traincheck.collect.monitor import Monitor
from traincheck.collect.trampoline import clone, swap

Identify = Callable[[tuple[Any, ...]], tuple[Api, Any, tuple[Any, ...]]]
"""From a call's positional arguments: its API, its receiver, and the arguments without the receiver."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What else happens within a recorded call.

    `before` and `after` see the thread, the call, its receiver and its arguments or its result; `always` runs
    when the call ends in whatever way. A call directly inside another of the same `group` is not recorded.
    """

    before: Callable[[Thread, Open, Any, tuple[Any, ...]], None] | None = None
    after: Callable[[Thread, Open, Any, Any], None] | None = None
    always: Callable[[Thread, Open, Any], None] | None = None
    group: str = ""
    forward: bool = False
    hash_results: bool = False


NO_HOOKS = Hooks()


class Watcher:
    """Installs recorders for one monitor and remembers how to take them out."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self._swapped: dict[int, tuple[FunctionType, Any]] = {}

    def function(self, function: Callable[..., Any], name: str, hooks: Hooks = NO_HOOKS, like: Any = None) -> None:
        """Record calls of a plain Python function as `name`; `like` has the signature to bind arguments to."""
        api = self.monitor.apis.function(name, like or function)
        if api.wanted:
            self._install(function, lambda args: (api, None, args), hooks)

    def method(self, function: Callable[..., Any], method: str, hooks: Hooks = NO_HOOKS) -> None:
        """Record calls of a method, named after the class of whatever it is called on."""
        lookup = partial(_method_of, self.monitor.apis, method)
        self._install(function, lookup, hooks)

    def identified(self, function: Callable[..., Any], identify: Identify, hooks: Hooks = NO_HOOKS) -> None:
        """Record calls whose API and receiver `identify` works out."""
        self._install(function, identify, hooks)

    def shim(self, function: Callable[..., Any], name: str, names: tuple[str, ...]) -> Callable[..., Any] | None:
        """A stand-in for a C function, to be put in its place; None when nobody wants its calls."""
        api = self.monitor.apis.function(name, names)
        if not api.wanted:
            return None
        return _recorder(self.monitor, function, lambda args: (api, None, args), NO_HOOKS, depth=1)

    def notice(self, function: Callable[..., Any], told: Callable[[tuple[Any, ...]], None]) -> None:
        """Tell `told` the arguments of every call of `function`, without recording it."""
        if not isinstance(function, FunctionType):
            return
        monitor, original = self.monitor, clone(function)

        def record(*args: Any, **kwargs: Any) -> Any:
            try:
                told(args)
            except Exception:
                monitor.fail()
            return original(*args, **kwargs)

        self._swapped[id(function)] = (function, swap(function, record, original))

    def remove(self) -> None:
        """Give every function its own code back."""
        for function, code in self._swapped.values():
            function.__code__ = code
        self._swapped.clear()

    def _install(self, function: Callable[..., Any], identify: Identify, hooks: Hooks) -> None:
        if id(function) in self._swapped or not isinstance(function, FunctionType):
            return  # watched already, or compiled code that has none to swap
        original = clone(function)
        record = _recorder(self.monitor, original, identify, hooks, depth=2)
        self._swapped[id(function)] = (function, swap(function, record, original))


def _method_of(apis: Apis, method: str, args: tuple[Any, ...]) -> tuple[Api, Any, tuple[Any, ...]]:
    return apis.method(type(args[0]), method), args[0], args[1:]


class _Recorder:
    """What surrounds each call of one watched function."""

    __slots__ = ("calls", "depth", "hooks", "identify", "monitor")

    def __init__(self, monitor: Monitor, identify: Identify, hooks: Hooks, depth: int) -> None:
        self.monitor = monitor
        self.calls = monitor.calls
        self.identify = identify
        self.hooks = hooks
        self.depth = depth  # frames between the caller's and `begin`'s

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Thread, Open, Any] | None:
        """Open the call; None when it is not to be recorded."""
        thread = self.calls.thread()
        if thread.busy:
            return None
        api, receiver, items = self.identify(args)
        if not api.wanted or (thread.stack and self._repeats(thread.stack[-1], api, receiver)):
            return None
        hooks = self.hooks
        api.group = hooks.group
        thread.busy = True
        try:
            bound, items = bind(api.names, items, kwargs)
            training = receiver.training if hooks.forward else None
            root = hooks.forward and not any(outer.forward for outer in thread.stack)
            opened = self.calls.enter(
                thread, api, bound, items, receiver, caller(self.depth), training, hooks.forward, root
            )
            if hooks.before is not None:
                hooks.before(thread, opened, receiver, items)
        finally:
            thread.busy = False
        return thread, opened, receiver

    def _repeats(self, inner: Open, api: Api, receiver: Any) -> bool:
        """Whether this is a method that calls the one it overrides, or a recursion over children."""
        if inner.api is api and receiver is not None and inner.receiver == self.monitor.objects(receiver):
            return True
        return bool(self.hooks.group) and inner.api.group == self.hooks.group

    def finish(self, thread: Thread, opened: Open, receiver: Any, result: Any) -> None:
        """The call returned."""
        hooks = self.hooks
        thread.busy = True
        try:
            if hooks.after is not None:
                hooks.after(thread, opened, receiver, result)
            if hooks.always is not None:
                hooks.always(thread, opened, receiver)
            self.calls.leave(thread, opened, result, hooks.hash_results)
        except Exception:
            self.monitor.fail()
        finally:
            thread.busy = False

    def abandon(self, thread: Thread, opened: Open, receiver: Any, error: BaseException) -> None:
        """The call raised."""
        try:
            if self.hooks.always is not None:
                self.hooks.always(thread, opened, receiver)
            self.calls.leave_raised(thread, opened, error)
        except Exception:
            self.monitor.fail()


def _recorder(
    monitor: Monitor, original: Callable[..., Any], identify: Identify, hooks: Hooks, depth: int
) -> Callable[..., Any]:
    recorder = _Recorder(monitor, identify, hooks, depth)
    begin, finish, abandon = recorder.begin, recorder.finish, recorder.abandon

    def record(*args: Any, **kwargs: Any) -> Any:
        if not monitor.on:
            return original(*args, **kwargs)
        try:
            begun = begin(args, kwargs)
        except Exception:
            monitor.fail()
            begun = None
        if begun is None:
            return original(*args, **kwargs)
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            abandon(*begun, error)
            raise
        finish(*begun, result)
        return result

    return record
