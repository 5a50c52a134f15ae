"""Finds the modules that training is about, without being told: whatever is called, and whatever is optimized."""

import weakref
from collections.abc import Collection, Iterator

import torch
from torch.nn import Module
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from traincheck.collect.values.fingerprint import is_transformed

_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "OptimizedModule": "_orig_mod",
}


def unwrap(module: Module) -> Module:
    """The user's own module inside wrappers such as DistributedDataParallel."""
    while (attribute := _WRAPPERS.get(type(module).__name__)) is not None:
        inner = module._modules.get(attribute)
        if inner is None:
            break
        module = inner
    return module


def is_lazy(tensor: torch.Tensor) -> bool:
    """Whether it is one of a lazy module's, which has no values yet."""
    return isinstance(tensor, UninitializedParameter | UninitializedBuffer)


def named_tensors(module: Module) -> Iterator[tuple[str, str, torch.Tensor]]:
    """(kind, name, tensor) of every parameter and buffer, with one entry per name of a shared tensor.

    What a lazy module has yet to initialise, in its first forward, has no shape and is left out; so is what
    `torch.func.functional_call` puts in the place of parameters within a transform.
    """
    for prefix, owner in module.named_modules(remove_duplicate=False):
        for kind, members in (("parameter", owner._parameters), ("buffer", owner._buffers)):
            for name, tensor in members.items():
                if tensor is not None and not is_lazy(tensor) and not is_transformed(tensor):
                    yield kind, f"{prefix}.{name}" if prefix else name, tensor


def persistent_tensors(module: Module) -> Iterator[tuple[str, str, torch.Tensor]]:
    """(kind, name, tensor) of what belongs into a checkpoint: every parameter and persistent buffer."""
    temporary = {
        f"{prefix}.{name}" if prefix else name
        for prefix, owner in module.named_modules(remove_duplicate=False)
        for name in owner._non_persistent_buffers_set
    }
    return (entry for entry in named_tensors(module) if entry[1] not in temporary)


class Modules:
    """Every live module, so that the outermost ones can be found before any is called."""

    def __init__(self) -> None:
        self._live: dict[int, weakref.ref[Module]] = {}

    def add(self, module: Module) -> None:
        """Note a module that is being constructed."""
        self._live[id(module)] = weakref.ref(module)

    def roots(self, wanted: Collection[int]) -> list[Module]:
        """Modules in no other module, unwrapped, that own one of the tensors whose Python ids are `wanted`."""
        found: dict[int, Module] = {}
        for module in self._outermost():
            inner = unwrap(module)
            if any(id(tensor) in wanted for tensor in inner.parameters()):
                found[id(inner)] = inner
        return list(found.values())

    def outermost(self) -> list[Module]:
        """Modules in no other module, unwrapped."""
        return list({id(inner): inner for inner in map(unwrap, self._outermost())}.values())

    def root_of(self, module: Module) -> Module:
        """The outermost module that contains `module`, unwrapped; itself when none does."""
        inner = unwrap(module)
        for candidate in self._outermost():
            if any(part is inner for part in candidate.modules()):
                return unwrap(candidate)
        return inner

    def _outermost(self) -> list[Module]:
        live = self._alive()
        children = {id(child) for module in live for child in module._modules.values() if child is not None}
        return [module for module in live if id(module) not in children]

    def _alive(self) -> list[Module]:
        alive: list[Module] = []
        for address, reference in list(self._live.items()):
            module = reference()
            if module is None or "_modules" not in module.__dict__:
                if module is None:
                    del self._live[address]
            else:
                alive.append(module)
        return alive
