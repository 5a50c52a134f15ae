"""Records calls: what happens on the training thread around each call that is watched."""

import sys
import time
from threading import get_ident
from types import FrameType
from typing import Any

import torch

from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.contexts import Contexts
from traincheck.collect.needs import Needs
from traincheck.collect.objects import Objects
from traincheck.collect.sites import Sites
from traincheck.collect.summaries import SetTable, Summaries, qualified
from traincheck.trace.layout import LINK_RESULT

INIT, TRAIN, EVAL = range(3)
RETURNED, RAISED, EXHAUSTED = range(3)
_MAX_MESSAGE = 300

Values = tuple[Any, ...]


class Api:
    """One API name, with the sets its arguments and results have been seen as."""

    __slots__ = ("args", "group", "name", "names", "number", "results", "wanted")

    def __init__(
        self, number: int, name: str, names: tuple[str, ...], wanted: bool, optional: frozenset[str] = frozenset()
    ) -> None:
        self.number = number
        self.name = name
        self.names = names
        self.wanted = wanted
        self.group = ""
        self.args = SetTable(optional)
        self.results = SetTable()


class Open:
    """A call that has been entered: what its row needs when it ends, and what its callees inherit."""

    __slots__ = (
        "api", "args", "contexts", "enter", "forward", "parent", "receiver", "site", "stage", "thread", "time",
        "training", "written",
    )  # fmt: skip

    api: Api
    args: int
    contexts: int
    enter: int
    forward: bool
    parent: int
    receiver: int
    site: int
    stage: int
    thread: int
    time: int
    training: bool | None
    written: bool


class Thread:
    """One thread's open calls, innermost last."""

    __slots__ = ("busy", "number", "stack")

    def __init__(self, number: int) -> None:
        self.number = number
        self.stack: list[Open] = []
        self.busy = False


class Calls:
    """The recorder of calls. `enter` and `leave` are the hot path."""

    def __init__(
        self, buffers: Buffers, contexts: Contexts, summaries: Summaries, sites: Sites, objects: Objects, needs: Needs
    ) -> None:
        self._buffers = buffers
        self._next_id = buffers.next_id
        self._contexts = contexts.current
        self._wants_contexts, self._wants_sites = needs.contexts, needs.sites
        self._wants_args, self._wants_results = needs.args, needs.results
        self._describe = summaries.describe
        self._sites = sites
        self._objects = objects
        self._append = buffers.append("calls")
        self._pack = buffers.pack("calls")
        self._grad_enabled = torch.is_grad_enabled
        self.threads: dict[int, Thread] = {}
        self.started = False  # whether the first root forward or step has been seen

    def thread(self) -> Thread:
        """The state of the current thread."""
        ident = get_ident()
        found = self.threads.get(ident)
        if found is None:
            found = self.threads[ident] = Thread(len(self.threads))
        return found

    def enter(
        self, thread: Thread, api: Api, names: tuple[str, ...], items: Values, receiver: Any, frame: FrameType | None,
        training: bool | None, forward: bool, hashed: bool,
    ) -> Open:  # fmt: skip
        """Open a call; `training` is its module's flag, `frame` the caller's."""
        stack = thread.stack
        opened = Open()
        opened.enter = enter = self._next_id()
        if stack:
            outer = stack[-1]
            opened.parent, opened.stage = outer.enter, outer.stage
            opened.training = outer.training if training is None else training
        else:
            opened.parent, opened.training = NULL, training
            opened.stage = INIT if not self.started else TRAIN if self._grad_enabled() else EVAL
        opened.api = api
        opened.thread = thread.number
        opened.forward = forward
        opened.written = False
        opened.receiver = NULL if receiver is None else self._objects(receiver)
        opened.site = self._sites(frame) if self._wants_sites else NULL
        opened.contexts = self._contexts(opened.training) if self._wants_contexts else NULL
        opened.args = self._describe(api.args, names, items, enter, 0, hashed) if self._wants_args else NULL
        opened.time = time.time_ns()
        stack.append(opened)
        return opened

    def leave(self, thread: Thread, opened: Open, result: Any, hashed: bool) -> None:
        """Close a call that returned."""
        api = opened.api
        kind = type(result)
        if not self._wants_results:
            results = NULL
        elif kind is tuple or kind is list:
            names = [str(index) for index in range(len(result))][:16]
            results = self._describe(api.results, names, result, opened.enter, LINK_RESULT, hashed)
        else:
            results = self._describe(api.results, ("",), (result,), opened.enter, LINK_RESULT, hashed)
        self._close(thread, opened, results, RETURNED)

    def leave_raised(self, thread: Thread, opened: Open, error: BaseException) -> None:
        """Close a call that raised; running out of items is how an iterator ends, not an error."""
        if isinstance(error, StopIteration):
            self._close(thread, opened, NULL, EXHAUSTED)
            return
        names = self._buffers.names
        try:
            message = str(error)[:_MAX_MESSAGE]
        except Exception:  # a user's exception may not print
            message = ""
        self._buffers.add("raised", opened.enter, names(qualified(type(error))), names(message))
        self._close(thread, opened, NULL, RAISED)

    def write_open(self) -> None:
        """Write the calls that are open now and were not at the last flush, without an exit."""
        for thread in list(self.threads.values()):
            for opened in list(thread.stack):
                if not opened.written:
                    opened.written = True
                    self._write(opened, NULL, NULL, NULL)

    def _close(self, thread: Thread, opened: Open, results: int, outcome: int) -> None:
        stack = thread.stack
        while stack and stack.pop() is not opened:
            pass  # calls that were left without our seeing it, such as abandoned generators
        self._write(opened, self._next_id(), results, outcome)

    def _write(self, opened: Open, left: int, results: int, outcome: int) -> None:
        self._append(
            self._pack(
                opened.enter, left, opened.parent, opened.time, opened.receiver, opened.api.number, opened.site,
                opened.thread, opened.contexts, opened.args, results, opened.stage, outcome,
            )
        )  # fmt: skip


def caller(depth: int) -> FrameType | None:
    """The frame `depth` above the function that asks."""
    return sys._getframe(depth + 1)
