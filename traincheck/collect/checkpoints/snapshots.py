"""What state_dict() gave out: whose each tensor is and since when, and the states that models were in then."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import Module

from traincheck.collect.values.fingerprint import UNSEEN
from traincheck.collect.variables.discovery import persistent_tensors
from traincheck.collect.variables.variables import Variables


class _View:
    """A tensor that was given out, by whom, and when."""

    __slots__ = ("module", "moment", "tensor")

    def __init__(self, tensor: weakref.ref[torch.Tensor], module: weakref.ref[Module], moment: int) -> None:
        self.tensor = tensor
        self.module = module
        self.moment = moment


class Snapshots:
    """The tensors that were given out and are alive, and a hash of every state that a model has given out."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._views: dict[int, _View] = {}
        self._states: set[int] = set()

    def remember(self, module: Module, state: Mapping[str, Any], moment: int) -> None:
        """`module.state_dict()` has returned `state`: views of its tensors, unless the very tensors were asked for."""
        giver = weakref.ref(module)
        for tensor in state.values():
            if isinstance(tensor, torch.Tensor) and not isinstance(tensor, torch.nn.Parameter):
                self._views[id(tensor)] = _View(weakref.ref(tensor, self._forget(id(tensor))), giver, moment)
        seen = {name: self._variables.last_print(tensor) for _, name, tensor in persistent_tensors(module)}
        if UNSEEN not in seen.values():
            self._states.add(_hash(seen))

    def moment(self, tensor: torch.Tensor) -> int | None:
        """When `tensor` was given out; None for what was not."""
        view = self._find(tensor)
        return None if view is None else view.moment

    def giver(self, tensor: torch.Tensor) -> Module | None:
        """The module that gave `tensor` out, if it is alive."""
        view = self._find(tensor)
        return None if view is None else view.module()

    def knows(self, prints: Mapping[str, int]) -> bool:
        """Whether some model has once given out the state with these fingerprints by name."""
        return _hash(prints) in self._states

    def _find(self, tensor: torch.Tensor) -> _View | None:
        view = self._views.get(id(tensor))
        return view if view is not None and view.tensor() is tensor else None

    def _forget(self, address: int) -> Callable[[object], None]:
        def forget(dead: object) -> None:
            view = self._views.get(address)
            if view is not None and view.tensor is dead:
                del self._views[address]

        return forget


def _hash(prints: Mapping[str, int]) -> int:
    return hash(frozenset(prints.items()))
