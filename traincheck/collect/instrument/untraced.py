"""Keeps torch.compile out of the collector: its frames are run as they are, never compiled."""

import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

from torch._C._dynamo.eval_frame import _FrameAction, _FrameExecStrategy, set_code_exec_strategy

_PACKAGE = "traincheck."
_PASS_ON = frozenset(("record", "__torch_function__"))
"""Names of our functions that call the user's: what these call is compiled as without us."""


def hide() -> None:
    """Mark the code of every module of ours that is loaded."""
    for name, module in list(sys.modules.items()):
        if name.startswith(_PACKAGE):
            for code in _codes_of(module):
                pass_over(code, and_what_it_calls=code.co_name not in _PASS_ON)


def pass_over(code: CodeType, and_what_it_calls: bool = False) -> None:
    """Mark one piece of code; what it calls is compiled as it would be otherwise, unless that is ours too."""
    further = _FrameAction.SKIP if and_what_it_calls else _FrameAction.DEFAULT
    set_code_exec_strategy(code, _FrameExecStrategy(_FrameAction.SKIP, further))


def something_compiled() -> bool:
    """Whether there is compiled code, which would be compiled again if a function it contains got other code."""
    utils = sys.modules.get("torch._dynamo.utils")
    return utils is not None and bool(getattr(utils, "counters", {}).get("frames"))


def _codes_of(module: ModuleType) -> Iterator[CodeType]:
    for thing in list(vars(module).values()):
        members = vars(thing).values() if isinstance(thing, type) else (thing,)
        for member in members:
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if isinstance(function, FunctionType) and function.__module__.startswith(_PACKAGE):
                yield from _with_inner(function.__code__)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _with_inner(const)
