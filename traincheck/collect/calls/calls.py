"""Records calls: what happens on the training thread around each call that is watched."""

import time
from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch

from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.calls.apis import Api
from traincheck.collect.calls.contexts import Contexts
from traincheck.collect.calls.objects import Objects
from traincheck.collect.calls.sampling import Gate
from traincheck.collect.calls.sites import Sites, frame_above
from traincheck.collect.calls.steps import StepTracker
from traincheck.collect.calls.summaries import Summaries, qualified
from traincheck.collect.compiled import NATIVE
from traincheck.collect.needs import Needs
from traincheck.trace.layout import LINK_RESULT

INIT, TRAIN, EVAL = range(3)
RETURNED, RAISED, EXHAUSTED = range(3)
_MAX_MESSAGE = 300

Values = tuple[Any, ...]


class Open:
    """A call that has been entered: what its row needs when it ends, and what its callees inherit."""

    __slots__ = (
        "api", "args", "contexts", "enter", "in_forward", "parent", "passing", "receiver", "site", "stage", "time",
        "training",
    )  # fmt: skip

    enter: int
    parent: int
    time: int  # when its outermost call was entered, ns since the epoch
    receiver: int
    api: Api
    site: int
    contexts: int
    args: int
    stage: int
    training: bool | None
    in_forward: bool
    """Whether the call is a module's forward or inside one."""
    passing: bool
    """Whether it is only followed, not written: its step is not recorded."""


OPEN: type[Open] = Open if NATIVE is None else NATIVE.Open
"""What open calls are: the compiled part reads and makes them, too."""


class Thread:
    """One thread's open calls, innermost last. `busy` while we ourselves call into torch."""

    __slots__ = ("autocast", "busy", "number", "stack")

    def __init__(self, number: int, autocast: str | None) -> None:
        self.autocast = autocast
        self.number = number
        self.stack: list[Open] = []
        self.busy = False


Before = Callable[[Thread, Open, Any, Values], None]
After = Callable[[Thread, Open, Any, Any], None]
Always = Callable[[Thread, Open, Any, bool], None]
Identify = Callable[[Values], tuple[Api, Any, Values]]
"""From a call's positional arguments: its API, its receiver, and the arguments without the receiver."""


class Watch:
    """One watched function: how its calls are named, and what else happens within them.

    `before` and `after` see the thread, the call, its receiver and its arguments or its result; `always` runs when
    the call ends in whatever way, and sees whether it returned. A call directly inside another of the same `group`
    is not recorded. A `structural` watch is recorded whatever is asked for: steps and variables are found by it; of
    forwards only the outermost are. Calls of a `frequent` one are not written in steps that are left out, and
    `after` is not told of them; nobody is told anything of them where no step may begin, unless the watch `counts`,
    and they are no open calls there unless it does or they are to be `open_always`. Of one that may be told `later`
    it is enough that the tracker of steps has its calls among what is pending, as the compiled recorder does it.
    One that only `starts` steps is never told of calls where none may begin.
    The first call of a watch that `begins` something ends the stage init. `linked` says whether the tensors that a
    call is given and returns are linked to it; unless it is said, those of outermost calls are.
    """

    __slots__ = (
        "after", "always", "api", "before", "begins", "by_class", "counts", "forward", "frequent", "group", "hashed",
        "identify", "later", "linked", "open_always", "starts", "structural", "told",
    )  # fmt: skip

    def __init__(
        self,
        before: Before | None = None,
        after: After | None = None,
        always: Always | None = None,
        group: str = "",
        forward: bool = False,
        hashed: bool = False,
        structural: bool | None = None,
        begins: bool = False,
        frequent: bool = False,
        counts: bool = False,
        open_always: bool = False,
        later: bool = False,
        starts: bool = False,
        linked: bool | None = None,
    ) -> None:
        self.api: Api | None = None
        self.by_class: dict[type, Api] = {}
        self.identify: Identify | None = None
        self.before, self.after, self.always = before, after, always
        self.group = group
        self.forward = forward
        self.begins = begins or forward
        self.frequent = frequent or forward
        self.counts = counts
        self.later = later
        self.starts = starts
        self.open_always = counts or open_always
        self.told = after is not None or always is not None
        self.hashed = hashed
        self.linked = linked
        hooked = before is not None or after is not None or always is not None
        self.structural = hooked if structural is None else structural


class Calls:
    """The recorder of calls. `enter` and `leave` are the hot path."""

    def __init__(
        self,
        buffers: Buffers,
        contexts: Contexts,
        summaries: Summaries,
        sites: Sites,
        objects: Objects,
        needs: Needs,
        full: Gate,
        steps: StepTracker,
        threads: dict[int, Thread],
    ) -> None:
        self._steps = steps
        self._buffers = buffers
        self._next_id = buffers.next_id
        self.contexts = contexts
        self._wants_contexts, self._wants_sites = needs.contexts, needs.sites
        self._describe, self._describe_one = summaries.describe, summaries.one
        self._describe_result = summaries.result
        self._find_site, self._number, self._context = sites.find, objects.number, contexts.current
        self._full = full
        self._append = buffers.append("calls")
        self._pack = buffers.pack("calls")
        self._written: set[int] = set()
        self.threads = threads
        self.started = False  # whether the first root forward or step has been seen

    def new_thread(self) -> Thread:
        """Make the state of the current thread, which has made no recorded call yet."""
        found = self.threads[get_ident()] = Thread(len(self.threads), self.contexts.autocast())
        return found

    def enter(self, thread: Thread, watch: Watch, args: Values, kwargs: dict[str, Any], depth: int) -> Open | None:
        """Open a call; None when it is not to be recorded. The caller's frame is `depth` above ours."""
        stack = thread.stack
        outer = stack[-1] if stack else None
        full = self._full.open
        nested = watch.forward and outer is not None and outer.in_forward
        structural = watch.structural and not nested
        if not full and not structural:
            return None
        api, receiver = watch.api, None
        if api is None:
            receiver = args[0]
            api = watch.by_class.get(type(receiver))
            if api is not None:
                args = args[1:]
            else:
                api, receiver, args = watch.identify(args)  # type: ignore[misc]
        if not (api.wanted and full) and not structural:
            return None
        number = NULL if receiver is None else self._number(receiver)
        if outer is not None and (
            (outer.api is api and number != NULL and outer.receiver == number)
            or (watch.group and outer.api.group == watch.group)
        ):
            return None  # a method that calls the one it overrides, or a recursion over children
        opened = self._open(watch, api, number, receiver, outer)
        told = watch.before is None or nested or (watch.starts and not self._steps.waits)
        if not full and watch.frequent:
            self._pass(thread, watch, opened, receiver, args)
            if not self._full.open:
                stack.append(opened)
                return opened
            told = True  # and that began a step which is recorded, as whose first call it is written
        opened.args = self._arguments(watch, opened, outer, args, kwargs) if api.takes else NULL
        site, users = (None, True) if outer is None else (outer.site, outer.api.users)
        opened.site = self._find_site(frame_above(depth), site, users) if self._wants_sites else NULL
        opened.contexts = self._context(opened.training, thread.autocast) if self._wants_contexts else NULL
        opened.passing = False
        stack.append(opened)
        if not told:
            self._tell(watch.before, thread, opened, receiver, args)  # type: ignore[arg-type]
        return opened

    def _open(self, watch: Watch, api: Api, number: int, receiver: Any, outer: Open | None) -> Open:
        """A call within `outer`; of its own what its place among the others says."""
        opened: Open = OPEN.__new__(OPEN)
        opened.enter = self._next_id()
        opened.api, opened.receiver = api, number
        training = receiver.training if watch.forward else None
        if outer is None:
            begun = self.started or watch.begins
            opened.stage = INIT if not begun else TRAIN if torch.is_grad_enabled() else EVAL
            opened.parent, opened.time, opened.in_forward = NULL, time.time_ns(), watch.forward
        else:
            opened.parent = outer.parent if outer.passing else outer.enter
            opened.stage, opened.time = outer.stage, outer.time
            opened.in_forward = outer.in_forward or watch.forward
            if training is None:
                training = outer.training
        opened.training = training
        api.group = watch.group
        return opened

    def _pass(self, thread: Thread, watch: Watch, opened: Open, receiver: Any, args: Values) -> None:
        """Let a call of a step that is left out through; who waits for the next step is told of it."""
        opened.site = opened.contexts = opened.args = NULL
        opened.passing = True
        if watch.before is not None and (watch.counts or self._steps.waits):
            self._tell(watch.before, thread, opened, receiver, args)

    def _arguments(self, watch: Watch, opened: Open, outer: Open | None, items: Values, kwargs: dict[str, Any]) -> int:
        """The set of a call's arguments."""
        api = opened.api
        table, names = api.args, api.names
        if kwargs or len(items) > len(names) or api.only is not None:
            table, names, items = api.bind(items, kwargs)
        hashed = watch.forward and (outer is None or not outer.in_forward)
        linked = api.linked and (hashed or (outer is None if watch.linked is None else watch.linked))
        hashed = hashed and api.hashed
        if len(items) == 1:
            return self._describe_one(table, names, items[0], opened.enter, 0, linked, hashed)
        return self._describe(table, names, items, opened.enter, 0, linked, hashed)

    def _tell(self, told: Before, thread: Thread, opened: Open, receiver: Any, args: Values) -> None:
        thread.busy = True
        try:
            told(thread, opened, receiver, args)
        finally:
            thread.busy = False

    def leave(self, thread: Thread, watch: Watch, opened: Open, receiver: Any, result: Any) -> None:
        """Close a call that returned."""
        if watch.told and (watch.always is not None or not watch.forward or receiver._buffers):
            thread.busy = True
            try:
                if watch.after is not None and not opened.passing:
                    watch.after(thread, opened, receiver, result)
                if watch.always is not None:
                    watch.always(thread, opened, receiver, True)
            finally:
                thread.busy = False
        results = NULL
        api = opened.api
        if api.gives and not opened.passing:
            hashed = watch.hashed
            linked = api.linked and (hashed or (opened.parent == NULL if watch.linked is None else watch.linked))
            hashed = hashed and api.hashed
            results = self._describe_result(api.results, result, opened.enter, LINK_RESULT, linked, hashed)
        self.close(thread, opened, results, RETURNED)

    def leave_raised(self, thread: Thread, watch: Watch, opened: Open, receiver: Any, error: BaseException) -> None:
        """Close a call that raised; running out of items is how an iterator ends, not an error."""
        if watch.always is not None:
            watch.always(thread, opened, receiver, False)
        if isinstance(error, StopIteration) or opened.passing:
            self.close(thread, opened, NULL, EXHAUSTED)
            return
        names = self._buffers.names
        try:
            message = str(error)[:_MAX_MESSAGE]
        except Exception:  # a user's exception may not print
            message = ""
        self._buffers.add("raised", opened.enter, names(qualified(type(error))), names(message))
        self.close(thread, opened, NULL, RAISED)

    def write_open(self) -> None:
        """Write the calls that are open now and were not at the last flush, without an exit."""
        found = {
            opened.enter: (thread, opened)
            for thread in list(self.threads.values())
            for opened in list(thread.stack)
            if not opened.passing
        }
        for enter in found.keys() - self._written:
            thread, opened = found[enter]
            self._write(thread, opened, NULL, NULL, NULL)
        self._written = set(found)

    def close(self, thread: Thread, opened: Open, results: int, outcome: int) -> None:
        """Close a call with the set of its results."""
        stack = thread.stack
        while stack and stack.pop() is not opened:
            pass  # calls that were left without our seeing it, such as abandoned generators
        if not opened.passing:
            self._write(thread, opened, self._next_id(), results, outcome)

    def _write(self, thread: Thread, opened: Open, left: int, results: int, outcome: int) -> None:
        self._append(
            self._pack(
                opened.enter,
                left,
                opened.parent,
                opened.time,
                opened.receiver,
                opened.api.number,
                opened.site,
                thread.number,
                opened.contexts,
                opened.args,
                results,
                opened.stage,
                outcome,
            )
        )
