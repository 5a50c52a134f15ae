"""Modes and transforms of torch's that make of its operations others than we ask for."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

__all__ = ["undisturbed"]

_NONE = nullcontext()


def undisturbed() -> AbstractContextManager[Any]:
    """Without those that are active now, if any: within most of them a new tensor has no memory of its own."""
    if not torch._C._len_torch_dispatch_stack() and torch._C._functorch.peek_interpreter_stack() is None:
        return _NONE
    return _without_modes()


@contextmanager
def _without_modes() -> Iterator[None]:
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
    from torch.utils._python_dispatch import _disable_current_modes

    with temporarily_clear_interpreter_stack(), _disable_current_modes():
        yield
