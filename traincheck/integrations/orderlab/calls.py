"""Entries and exits of functions become calls: paired, nested, with their objects, contexts and exceptions."""

from typing import NamedTuple

import msgspec

from traincheck.integrations.orderlab.lines import ENTRY, EXCEPTION, Line, present
from traincheck.integrations.orderlab.managers import Managers
from traincheck.integrations.orderlab.meta import Meta, Metas
from traincheck.integrations.orderlab.sink import NULL, Recent, Sink
from traincheck.integrations.orderlab.values import Given, Values

_RETURNED, _RAISED = 0, 1
_LATELY = 1 << 17
_OBJECTS = 1 << 16


class Open(NamedTuple):
    """A call that has begun."""

    number: int
    parent: int
    function: str
    api: int
    receiver: int
    obj_id: int | None
    ordinal: int
    time: int
    meta: Meta
    contexts: int
    managers: int
    given: Given


class Calls:
    """The calls of one process."""

    def __init__(self, sink: Sink, metas: Metas) -> None:
        self._sink = sink
        self._metas = metas
        self._values = Values(sink)
        self._managers = Managers()
        self._manager_words: dict[int, tuple[object, int]] = {}
        self._open: dict[str, Open] = {}
        self._stacks: dict[int, list[Open]] = {}
        self._done: Recent[str, bool] = Recent(_LATELY)
        self._objects: Recent[tuple[int, str], int] = Recent(_OBJECTS)
        self._counts: dict[tuple[str, int], int] = {}
        self._apis: dict[str, int] = {}
        self._add_call = sink.adder("calls")
        self._add_record = sink.adder("records")
        self._add_raised = sink.adder("raised")
        self._add_object = sink.adder("objects")
        self.duplicates = 0
        self.orphans = 0

    def seen(self, line: Line) -> bool:
        """Whether this record came before: ids are unique, so a second entry or exit is the line written twice."""
        known = line.func_call_id or ""
        if known in self._open:
            twice = line.type == ENTRY
            self.duplicates += twice
            return twice
        if self._done.get(known):
            self.duplicates += 1
            return True
        if line.type == ENTRY:
            return False
        self.orphans += 1
        return True

    def innermost(self, thread: int) -> int:
        """The innermost open call around an event on `thread`; one of another thread when that one is idle."""
        stack = self._stacks.get(thread)
        if not stack:
            stack = next((other for other in self._stacks.values() if other), None)
        return stack[-1].number if stack else NULL

    def managers_on(self, thread: int) -> int:
        """The word for the context managers that are active on a thread, NULL for none."""
        active = self._managers.active(thread)
        if not active:
            return NULL
        known = self._manager_words.get(thread)
        if known is None or known[0] is not active:
            known = (active, self._sink.word(msgspec.json.encode(active).decode()))
            self._manager_words[thread] = known
        return known[1]

    def entry(self, line: Line, meta: Meta) -> None:
        """A call begins."""
        thread, function = line.thread_id, line.function or ""
        bound = bool(line.is_bound_method)
        if function.endswith(("__init__", "__exit__")):
            self._managers.entry(line)
        stack = self._stacks.setdefault(thread, [])
        counted = (function, thread)
        index = self._counts[counted] = self._counts.get(counted, -1) + 1
        active = self._managers.active(thread)
        opened = Open(
            self._sink.event(),
            stack[-1].number if stack else NULL,
            function,
            self._api(function),
            self._receiver(line.obj_id, function) if bound and line.obj_id is not None else NULL,
            line.obj_id,
            index,
            int(line.time),
            meta,
            self._metas.contexts(meta, active),
            self.managers_on(thread) if active else NULL,
            self._values.given(line.args, line.kwargs, bound),
        )
        stack.append(opened)
        self._open[line.func_call_id or ""] = opened

    def exit(self, line: Line) -> None:
        """A call returns or raises."""
        opened = self._open.pop(line.func_call_id or "")
        self._done[line.func_call_id or ""] = True
        stack = self._stacks.get(line.thread_id, [])
        if stack and stack[-1] is opened:
            stack.pop()
        else:
            self._remove(opened)
        results, text = self._values.returned(line.return_values)
        outcome = _RETURNED
        if line.type == EXCEPTION:
            outcome = _RAISED
            self._add_raised(opened.number, self._text(line.exception), self._text(line.exception_msg))
        elif opened.function.endswith(".__enter__"):
            self._managers.exit(line, opened.function, opened.obj_id)
        self._write(opened, self._sink.event(), results, text, outcome)

    def close(self) -> None:
        """The log has ended: what is open stays open."""
        for opened in self._open.values():
            self._write(opened, NULL, NULL, NULL, NULL)

    def _write(self, opened: Open, left: int, results: int, text: int, outcome: int) -> None:
        meta, given = opened.meta, opened.given
        self._add_call(
            opened.number, left, opened.parent, opened.time, opened.receiver, opened.api, NULL, meta.thread,
            opened.contexts, given.arguments, results, meta.stage, outcome,
        )  # fmt: skip
        self._add_record(
            opened.number, opened.number, NULL, opened.time, NULL, NULL, opened.ordinal, meta.thread, meta.said,
            opened.managers, NULL, given.text, text, given.sketch,
        )  # fmt: skip

    def _remove(self, opened: Open) -> None:
        """Take a call off a stack that it is not on top of: calls of generators need not nest."""
        for stack in self._stacks.values():
            if opened in stack:
                stack.remove(opened)
                return

    def _api(self, function: str) -> int:
        known = self._apis.get(function)
        if known is None:
            known = self._apis[function] = self._sink.word(function)
        return known

    def _receiver(self, obj_id: int, function: str) -> int:
        owner = function.rpartition(".")[0]
        known = self._objects.get((obj_id, owner))
        if known is None:
            known = self._objects[obj_id, owner] = self._sink.event()
            self._add_object(known, self._sink.word(owner))
        return known

    def _text(self, raw: msgspec.Raw) -> int:
        if not present(raw):
            return self._sink.word("")
        content = msgspec.json.decode(raw)
        return self._sink.word(content if isinstance(content, str) else bytes(raw).decode("utf-8", "replace"))
