"""What optimizers hold: looked at before each step, as groups may be changed behind our back."""

import weakref

import torch
from torch.nn import UninitializedParameter
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks

from traincheck.collect.compiled import NATIVE

__all__ = ["Holding", "Holdings"]


class Holding:
    """What one optimizer held when that was last looked at."""

    __slots__ = ("_optimizer", "_plain", "_seen", "tensors")

    def __init__(self, optimizer: "weakref.ref[Optimizer]", tensors: frozenset[int]) -> None:
        self._optimizer = optimizer  # whose death is told while this lives
        self.tensors = tensors
        """Python ids of the tensors, but of those that a lazy module has yet to initialise."""
        self._seen: int | None = None
        self._plain = False

    def moved(self, optimizer: Optimizer) -> bool:
        """Whether its groups may be others than at the last call, tensors and settings alike."""
        seen = None if NATIVE is None else NATIVE.groups(optimizer.param_groups, torch.Tensor)
        if seen is not None and seen == self._seen:
            return False
        self._seen = seen
        self._plain = type(optimizer).__module__.startswith("torch.optim.") and not any(
            group.get("fused") for group in optimizer.param_groups
        )
        return True

    def forget(self) -> None:
        """Somebody else has looked at the settings since: ids of those of before may be those of others by now."""
        self._seen = None

    def counts_writes(self, optimizer: Optimizer) -> bool:
        """Whether what the optimizer's steps write to gradients, if anything, is counted by torch; as of `moved`.

        So it is where only torch's own code runs, but for fused kernels, which scale gradients and count nothing.
        """
        return (
            self._plain
            and not (optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)
            and not (optimizer_hooks._global_optimizer_pre_hooks or optimizer_hooks._global_optimizer_post_hooks)
        )


class Holdings(dict[int, Holding]):
    """What is known of every optimizer that is alive, by its number."""

    def look(self, number: int, optimizer: Optimizer) -> None:
        """Note what an optimizer holds now."""
        reference = weakref.ref(optimizer, lambda _: self.pop(number, None))
        self[number] = Holding(reference, held_by(optimizer))


def held_by(optimizer: Optimizer) -> frozenset[int]:
    """The Python ids of the tensors that an optimizer holds, but those that a lazy module has yet to initialise."""
    return frozenset(
        [
            id(param)
            for group in optimizer.param_groups
            for param in group["params"]
            if type(param) is not UninitializedParameter
        ]
    )
