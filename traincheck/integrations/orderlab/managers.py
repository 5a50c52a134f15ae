"""Context managers: the log shows `X.__init__`, `X.__enter__` and `X.__exit__`; between the last two X is active."""

from collections.abc import Mapping
from typing import Any

import msgspec

from traincheck.facts.plain import Json
from traincheck.integrations.orderlab.lines import Line, present
from traincheck.integrations.orderlab.sink import Recent

_LATELY = 1 << 12
_IGNORED = ("torch.autograd.grad_mode", "torch.autograd.profiler.record_function")
"""The original does not look at these: they are entered without having been built, or too often to mean anything."""
_AUTOCAST = {"device_type": None, "dtype": None, "enabled": True, "cache_enabled": None}
# Positional parameters after `self`, with the values that hold when they are left out.
_PARAMETERS: Mapping[str, Mapping[str, Json]] = {
    "torch.amp.autocast_mode.autocast": _AUTOCAST,
    "torch.autocast_mode.autocast": _AUTOCAST,
    "torch.cuda.amp.autocast_mode.autocast": {"enabled": True, "dtype": "torch.float16", "cache_enabled": True},
    "torch.cpu.amp.autocast_mode.autocast": {"enabled": True, "dtype": "torch.bfloat16", "cache_enabled": True},
}

Arguments = Mapping[str, Json]
_NONE: Mapping[str, Arguments] = {}


class Managers:
    """The context managers of one process; `active` of a thread is replaced, never changed, so that it can be kept."""

    def __init__(self) -> None:
        self._built: Recent[tuple[str, int], Arguments] = Recent(_LATELY)
        self._active: dict[int, list[tuple[str, int | None, Arguments]]] = {}
        self._shown: dict[int, Mapping[str, Arguments]] = {}

    def active(self, thread: int) -> Mapping[str, Arguments]:
        """The managers that are active on a thread, with their arguments."""
        return self._shown.get(thread, _NONE)

    def entry(self, line: Line) -> None:
        """A call of `__init__` or `__exit__` begins."""
        name, _, method = (line.function or "").rpartition(".")
        if method == "__init__" and line.obj_id is not None:
            self._built[name, line.obj_id] = _bound(name, line)
        elif method == "__exit__":
            stack = self._active.get(line.thread_id, [])
            for index in reversed(range(len(stack))):
                if stack[index][:2] == (name, line.obj_id):
                    del stack[index]
                    self._show(line.thread_id)
                    break

    def exit(self, line: Line, function: str, obj_id: int | None) -> None:
        """A call of `__enter__` has returned."""
        name = function.removesuffix(".__enter__")
        arguments = None if obj_id is None else self._built.get((name, obj_id))
        if arguments is not None and not name.startswith(_IGNORED):
            self._active.setdefault(line.thread_id, []).append((name, obj_id, arguments))
            self._show(line.thread_id)

    def _show(self, thread: int) -> None:
        self._shown[thread] = {name: arguments for name, _, arguments in self._active[thread]}


def _bound(name: str, line: Line) -> Arguments:
    """The arguments of a constructor by parameter name; positions where the parameters are not known."""
    positional = msgspec.json.decode(line.args) if present(line.args) else {}
    named = msgspec.json.decode(line.kwargs) if present(line.kwargs) else {}
    parameters = _PARAMETERS.get(name, {})
    names = ["self", *parameters]
    found: dict[str, Any] = dict(parameters) if present(line.args) else {}
    for position, value in positional.items():
        index = int(position) if position.isdecimal() else len(names)
        if index:
            found[names[index] if index < len(names) else position] = _content(value)
    return found | {key: _content(value) for key, value in named.items()}


def _content(value: Json) -> Json:
    return next(iter(value.values())) if isinstance(value, dict) and value else value
