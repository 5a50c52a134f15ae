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

    __slots__ = ("_optimizer", "_plain", "_settings", "_tensors", "tensors")

    def __init__(self, optimizer: "weakref.ref[Optimizer]", tensors: frozenset[int]) -> None:
        self._optimizer = optimizer  # whose death is told while this lives
        self.tensors = tensors
        """Python ids of the tensors, but of those that a lazy module has yet to initialise."""
        self._tensors: int | None = None
        self._settings: int | None = None
        self._plain = False

    def moved(self, optimizer: Optimizer) -> tuple[bool, bool]:
        """Whether its groups may have other tensors than at the last call, and other settings."""
        tensors, settings = _groups(optimizer)
        moved = tensors is None or tensors != self._tensors, settings is None or settings != self._settings
        self._tensors = tensors
        if moved[1]:
            self._set(optimizer, settings)
        return moved

    def see_settings(self, optimizer: Optimizer) -> None:
        """Note the settings, at which somebody else has looked: ids of those before may be those of others by then."""
        self._set(optimizer, _groups(optimizer)[1])

    def _set(self, optimizer: Optimizer, settings: int | None) -> None:
        self._settings = settings
        self._plain = type(optimizer).__module__.startswith("torch.optim.") and not any(
            group.get("fused") for group in optimizer.param_groups
        )

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


def _groups(optimizer: Optimizer) -> tuple[int | None, int | None]:
    """Numbers for its tensors and for its settings, as far as objects tell whether these are others."""
    found: tuple[int | None, int | None] = (
        (None, None) if NATIVE is None else NATIVE.groups(optimizer.param_groups, torch.Tensor)
    )
    return found


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
