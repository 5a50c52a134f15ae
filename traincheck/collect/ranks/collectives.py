"""The functions of torch.distributed that ranks call together: what each reads and writes, and which rank it names."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

__all__ = ["OPERATIONS", "Operation", "Signature"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a function is given and what it writes (parameters that hold tensors), and the parameter that names a rank.

    A transfer goes between two ranks. In a collective with a source only the source is given something, in one with a
    destination only the destination is written to.
    """

    given: str = ""
    written: str = ""
    root: str = ""
    transfer: bool = False

    @property
    def receives(self) -> bool:
        """Whether it gets data from another rank, as a loader gets it from a disk: an iteration may begin with it."""
        return self.transfer and self.root == "src"

    def gives(self, at_root: bool) -> str:
        """The parameter that is read on this rank, or an empty text."""
        return self.given if at_root or self.transfer or self.root != "src" else ""

    def writes(self, at_root: bool) -> str:
        """The parameter that is written on this rank, or an empty text."""
        return self.written if at_root or self.transfer or self.root != "dst" else ""


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "all_gather": Operation("tensor", "tensor_list"),
        "all_gather_into_tensor": Operation("input_tensor", "output_tensor"),
        "all_gather_object": Operation(),
        "all_gather_single": Operation("input_tensor", "output_tensor"),
        "all_reduce": Operation("tensor", "tensor"),
        "all_reduce_coalesced": Operation("tensors", "tensors"),
        "all_to_all": Operation("input_tensor_list", "output_tensor_list"),
        "all_to_all_single": Operation("input", "output"),
        "barrier": Operation(),
        "broadcast": Operation("tensor", "tensor", "src"),
        "broadcast_object_list": Operation(root="src"),
        "gather": Operation("tensor", "gather_list", "dst"),
        "gather_object": Operation(root="dst"),
        "monitored_barrier": Operation(),
        "reduce": Operation("tensor", "tensor", "dst"),
        "reduce_scatter": Operation("input_list", "output"),
        "reduce_scatter_single": Operation("input", "output"),
        "reduce_scatter_tensor": Operation("input", "output"),
        "scatter": Operation("scatter_list", "tensor", "src"),
        "scatter_object_list": Operation(root="src"),
        "irecv": Operation(written="tensor", root="src", transfer=True),
        "isend": Operation(given="tensor", root="dst", transfer=True),
        "recv": Operation(written="tensor", root="src", transfer=True),
        "recv_object_list": Operation(root="src", transfer=True),
        "send": Operation(given="tensor", root="dst", transfer=True),
        "send_object_list": Operation(root="dst", transfer=True),
    }
)
"""By name; all of them take a `group`."""

# Whatever else says which rank is meant, and the users' own objects, which nobody needs to see.
_UNSEEN = frozenset(
    {
        "group_src", "group_dst", "obj", "object_list", "object_gather_list", "scatter_object_output_list",
        "scatter_object_input_list",
    }
)  # fmt: skip


class Signature:
    """The parameters of a function, with what they are when they are not given."""

    def __init__(self, function: Callable[..., Any]) -> None:
        parameters = inspect.signature(function).parameters
        self._positional = tuple(parameters)
        self._defaults = {
            name: None if parameter.default is parameter.empty else parameter.default
            for name, parameter in parameters.items()
        }
        self.names = tuple(name for name in parameters if name not in _UNSEEN)
        """Those whose values are recorded."""
        self.optional = frozenset(name for name, default in self._defaults.items() if default is None)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The value of every parameter."""
        return {**self._defaults, **dict(zip(self._positional, args, strict=False)), **kwargs}
