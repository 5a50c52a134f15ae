"""Records functions that are about the training but no part of its structure: the user's own, and frameworks'.

Their calls say when they ran, and what they contain follows from that when the trace is read. So `main()` is nobody's
parent, no stage is taken from it, and what becomes useless as a call leaves no hole: a function in which steps end, or
a little helper that is called all the time. Such a function is given up for the rest of the run, and the trace says so.
"""

import time
from collections.abc import Callable
from threading import get_ident
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch.nn import Module

from traincheck.collect.buffers import NULL
from traincheck.collect.calls.apis import Api
from traincheck.collect.calls.calls import EVAL, INIT, RAISED, RETURNED, TRAIN, Thread
from traincheck.collect.calls.sites import frame_above
from traincheck.collect.calls.summaries import qualified
from traincheck.collect.monitor import Monitor
from traincheck.trace.layout import FUNCTION_FOLLOWED, FUNCTION_UNRECORDED, LINK_RESULT

MOST_IN_A_STEP = 50
"""Calls of one function in one step; one that is called more often is a helper, unless it was asked for by name."""
_DEPTH = 4
"""Frames up from `_enter`: `enter`, the recorder, the function that was swapped, its caller."""
_WHOLE = ("",)


class Followed:
    """One function that is recorded: `owner` is the class that defines it as a method, None for a plain function."""

    __slots__ = ("api", "asked", "by_class", "count", "function", "given_up", "method", "name", "owner", "turn")

    def __init__(self, function: FunctionType, name: str, owner: type | None, asked: bool) -> None:
        self.function = function
        self.name = name
        self.owner = owner
        self.method = function.__name__
        self.asked = asked
        self.api: Api | None = None
        self.by_class: dict[type, Api] = {}
        self.turn, self.count = -1, 0
        self.given_up = False


class Entered(NamedTuple):
    """A call that has begun."""

    seq: int
    time: int
    parent: int
    receiver: int
    api: Api
    site: int
    contexts: int
    args: int
    stage: int
    step: int
    depth: int


class Functions:
    """The recorder of followed functions of one process."""

    def __init__(self, monitor: Monitor, release: Callable[[FunctionType], None]) -> None:
        """`release` gives a function its own code back."""
        self._monitor = monitor
        self._release = release
        self._buffers = monitor.buffers
        self._needs = monitor.needs
        self._append, self._pack = monitor.buffers.append("calls"), monitor.buffers.pack("calls")
        self._open: dict[int, list[tuple[int, int]]] = {}
        self._turn = 0

    def named(self, followed: Followed) -> None:
        """A plain function has one name, whatever it is called on."""
        followed.api = self._new(self._monitor.apis.function(followed.name, followed.function))

    def leave_out(self, followed: Followed) -> None:
        """Say that calls of a function are not all recorded, under whatever names it is known."""
        names = {followed.name}
        if followed.owner is not None:
            names |= {f"{qualified(cls)}.{followed.method}" for cls in with_subclasses(followed.owner)}
        for name in names:
            self._buffers.add("functions", self._buffers.names(name), FUNCTION_UNRECORDED)

    def turn(self) -> None:
        """In a process that loads data a batch begins: calls are counted anew, as they are in every step."""
        self._turn += 1

    def recorder(self, followed: Followed, original: Callable[..., Any]) -> Callable[..., Any]:
        """The function that stands in for `original`."""
        monitor, gate = self._monitor, self._monitor.full_gate
        calls, enter, leave = monitor.calls, self.enter, self.leave

        def record(*args: Any, **kwargs: Any) -> Any:
            if followed.given_up or not gate.open:
                return original(*args, **kwargs)
            thread = calls.threads.get(get_ident()) or calls.new_thread()
            if thread.busy:
                return original(*args, **kwargs)
            entered = enter(thread, followed, args, kwargs)
            if entered is None:
                return original(*args, **kwargs)
            try:
                result = original(*args, **kwargs)
            except BaseException:
                leave(thread, followed, entered, None, RAISED)
                raise
            leave(thread, followed, entered, result, RETURNED)
            return result

        return record

    def enter(self, thread: Thread, followed: Followed, args: Any, kwargs: dict[str, Any]) -> Entered | None:
        """Begin a call; None when it is not to be recorded."""
        thread.busy = True
        try:
            return self._enter(thread, followed, args, kwargs)
        except Exception:
            self._monitor.fail()
            return None
        finally:
            thread.busy = False

    def leave(self, thread: Thread, followed: Followed, entered: Entered, result: Any, outcome: int) -> None:
        """End a call, and write it unless a step ended in it."""
        thread.busy = True
        try:
            self._leave(thread, followed, entered, result, outcome)
        except Exception:
            self._monitor.fail()
        finally:
            thread.busy = False

    def _enter(self, thread: Thread, followed: Followed, args: Any, kwargs: dict[str, Any]) -> Entered | None:
        monitor, needs = self._monitor, self._needs
        turn = self._turn + monitor.steps.step  # neither ever falls
        if followed.turn != turn:
            followed.turn, followed.count = turn, 0
        followed.count += 1
        if followed.count > MOST_IN_A_STEP and not followed.asked:
            self._give_up(followed)
            return None
        api, receiver = followed.api, None
        if api is None:
            receiver, args = args[0], args[1:]
            api = followed.by_class.get(type(receiver)) or self._of_class(followed, type(receiver))
        if not api.wanted:
            return None
        number = NULL if receiver is None else monitor.objects.number(receiver)
        opened = self._open.setdefault(thread.number, [])
        if number != NULL and opened and opened[-1] == (api.number, number):
            return None  # a method that calls the one it overrides
        outer = thread.stack[-1] if thread.stack else None
        training = outer.training if outer else None
        if isinstance(receiver, Module):  # which may still be under construction
            training = receiver.__dict__.get("training")
        seq = self._buffers.next_id()
        table, names, items = api.bind(args, kwargs)
        entered = Entered(
            seq,
            time.time_ns(),
            NULL if outer is None else outer.parent if outer.passing else outer.enter,
            number,
            api,
            monitor.sites.find(frame_above(_DEPTH), outer.site if outer else None, True) if needs.sites else NULL,
            monitor.contexts.current(training, thread.autocast) if needs.contexts else NULL,
            monitor.summaries.describe(table, names, items, seq, 0, False, False) if api.takes else NULL,
            outer.stage if outer else TRAIN if torch.is_grad_enabled() else EVAL,
            monitor.steps.step,
            len(opened),
        )
        opened.append((api.number, number))
        return entered

    def _leave(self, thread: Thread, followed: Followed, entered: Entered, result: Any, outcome: int) -> None:
        monitor = self._monitor
        del self._open[thread.number][entered.depth :]
        steps = monitor.steps.step - entered.step
        if steps > 1 or (steps == 1 and monitor.steps.turned > entered.seq):
            self._give_up(followed)
            return
        api, results = entered.api, NULL
        if api.gives and outcome == RETURNED:
            results = monitor.summaries.describe(api.results, _WHOLE, (result,), entered.seq, LINK_RESULT, False, False)
        stage = entered.stage if monitor.calls.started else INIT
        self._append(
            self._pack(
                entered.seq, self._buffers.next_id(), entered.parent, entered.time, entered.receiver, api.number,
                entered.site, thread.number, entered.contexts, entered.args, results, stage, outcome,
            )
        )  # fmt: skip

    def _of_class(self, followed: Followed, cls: type) -> Api:
        api = followed.by_class[cls] = self._new(self._monitor.apis.method(cls, followed.method))
        return api

    def _new(self, api: Api) -> Api:
        self._buffers.add("functions", api.number, FUNCTION_FOLLOWED)
        return api

    def _give_up(self, followed: Followed) -> None:
        """Record no more calls of a function."""
        if not followed.given_up:
            followed.given_up = True
            self._release(followed.function)
            self.leave_out(followed)


def with_subclasses(base: type[Any]) -> list[type[Any]]:
    """A class and all that are derived from it."""
    derived: list[type[Any]] = type.__subclasses__(base)
    return [base, *(found for cls in derived for found in with_subclasses(cls))]
