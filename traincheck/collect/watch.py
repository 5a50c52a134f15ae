"""Builds the functions that stand in for watched ones: record the call, run the original, record the outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

from traincheck.collect.apis import Apis, bind, signature_names
from traincheck.collect.calls import Api, Open, Thread, caller
from traincheck.collect.monitor import Monitor
from traincheck.collect.trampoline import clone, swap

Identify = Callable[[tuple[Any, ...]], tuple[Api, Any, tuple[Any, ...]]]
"""From a call's positional arguments: its API, its receiver, and the arguments without the receiver."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What else happens within a recorded call. `before` and `after` see the thread, the call, its receiver and

    its arguments or its result; `always` runs when the call ends in whatever way.
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

    def function(self, function: FunctionType, name: str, hooks: Hooks = NO_HOOKS, like: Any = None) -> None:
        """Record calls of a plain Python function as `name`; `like` has the signature to bind arguments to."""
        names = signature_names(like or function)
        api = self.monitor.apis.function(name, names)
        if api.wanted:
            self._install(function, lambda args: (api, None, args), hooks)

    def method(self, function: FunctionType, method: str, hooks: Hooks = NO_HOOKS) -> None:
        """Record calls of a method, named after the class of whatever it is called on."""
        lookup = partial(_method_of, self.monitor.apis, method)
        self._install(function, lookup, hooks)

    def identified(self, function: FunctionType, identify: Identify, hooks: Hooks = NO_HOOKS) -> None:
        """Record calls whose API and receiver `identify` works out."""
        self._install(function, identify, hooks)

    def shim(self, function: Callable[..., Any], name: str, names: tuple[str, ...]) -> Callable[..., Any] | None:
        """A stand-in for a C function, to be put in its place; None when nobody wants its calls."""
        api = self.monitor.apis.function(name, names)
        if not api.wanted:
            return None
        return _recorder(self.monitor, function, lambda args: (api, None, args), NO_HOOKS, depth=1)

    def notice(self, function: FunctionType, told: Callable[[tuple[Any, ...]], None]) -> None:
        """Tell `told` the arguments of every call of `function`, without recording it."""
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

    def _install(self, function: FunctionType, identify: Identify, hooks: Hooks) -> None:
        if id(function) in self._swapped:
            return
        original = clone(function)
        record = _recorder(self.monitor, original, identify, hooks, depth=2)
        self._swapped[id(function)] = (function, swap(function, record, original))


def _method_of(apis: Apis, method: str, args: tuple[Any, ...]) -> tuple[Api, Any, tuple[Any, ...]]:
    return apis.method(type(args[0]), method), args[0], args[1:]


def _recorder(
    monitor: Monitor,
    original: Callable[..., Any],
    identify: Identify,
    hooks: Hooks,
    depth: int,
) -> Callable[..., Any]:
    calls, before, after, always = monitor.calls, hooks.before, hooks.after, hooks.always
    group, forward, hashed = hooks.group, hooks.forward, hooks.hash_results

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Thread, Open, Any] | None:
        thread = calls.thread()
        if thread.busy:
            return None
        api, receiver, items = identify(args)
        stack = thread.stack
        if not api.wanted:
            return None
        if stack:
            inner = stack[-1].api
            if (inner is api and receiver is not None and stack[-1].receiver == monitor.objects(receiver)) or (
                group and inner.group == group
            ):
                return None  # a method that calls the one it overrides, or a recursion over children
        if group:
            api.group = group
        thread.busy = True
        try:
            bound, items = bind(api.names, items, kwargs)
            training = receiver.training if forward else None
            root = forward and not any(outer.forward for outer in stack)
            opened = calls.enter(thread, api, bound, items, receiver, caller(depth + 1), training, forward, root)
            if before is not None:
                before(thread, opened, receiver, items)
        finally:
            thread.busy = False
        return thread, opened, receiver

    def finish(thread: Thread, opened: Open, receiver: Any, result: Any) -> None:
        thread.busy = True
        try:
            if after is not None:
                after(thread, opened, receiver, result)
            if always is not None:
                always(thread, opened, receiver)
            calls.leave(thread, opened, result, hashed)
        except Exception:
            monitor.fail()
        finally:
            thread.busy = False

    def abandon(thread: Thread, opened: Open, receiver: Any, error: BaseException) -> None:
        try:
            if always is not None:
                always(thread, opened, receiver)
            calls.leave_raised(thread, opened, error)
        except Exception:
            monitor.fail()

    def record(*args: Any, **kwargs: Any) -> Any:
        if not monitor.on:
            return original(*args, **kwargs)
        try:
            begun = begin(args, kwargs)
        except Exception:
            monitor.fail()
            return original(*args, **kwargs)
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
