"""The settings of optimizers' parameter groups: as they are built, and every change of one."""

import math
import operator
from typing import Any

import torch
from torch.optim import Optimizer

from traincheck import values
from traincheck.collect.buffers import Buffers
from traincheck.collect.calls.objects import Objects
from traincheck.collect.needs import Needs

_Group = dict[str, values.Scalar]


class Hyperparameters:
    """What is known of every group of every optimizer."""

    def __init__(self, buffers: Buffers, objects: Objects, needs: Needs) -> None:
        self._buffers = buffers
        self._objects = objects
        self._known: dict[tuple[int, int], _Group] = {}
        self.follows = needs.hyperparameters
        """Whether changes are to be recorded."""

    def look(self, optimizer: Optimizer, call: int) -> None:
        """Write the groups that are new, and what has changed in the others; changes are attributed to `call`."""
        owner = self._objects.number(optimizer)
        for index, group in enumerate(optimizer.param_groups):
            known = self._known.get((owner, index))
            if known is None:
                self._known[owner, index] = self._new(owner, index, group)
            # most often the values are the very objects that they were; a tensor never is what is known of it
            elif self.follows and not all(map(operator.is_, map(group.get, known), known.values())):
                for name in known:
                    value = group.get(name)
                    if _same(known[name], value):
                        known[name] = value  # kept alive until the next look, so that nothing else gets its id
                    else:
                        self._changed(owner, index, name, value, known, call)

    def _new(self, owner: int, index: int, group: dict[str, Any]) -> _Group:
        found = {name: plain for name, value in group.items() if (plain := _plain(value)) is not _OTHER}
        names = self._buffers.names
        for name, value in found.items():
            self._buffers.add(
                "hyperparameters", owner, index, names(name), names(values.canonical(value)), _number(value)
            )
        return found

    def _changed(self, owner: int, index: int, name: str, value: Any, known: _Group, call: int) -> None:
        before, after = known[name], _plain(value)
        if after is _OTHER or _same(before, after):
            return
        known[name] = after
        names, next_id = self._buffers.names, self._buffers.next_id
        self._buffers.add(
            "adjustments", next_id(), owner, call, index, names(name), names(values.canonical(before)),
            names(values.canonical(after)), _number(after),
        )  # fmt: skip


_OTHER: Any = object()
"""Stands for a value that is no scalar."""


def _plain(value: Any) -> Any:
    """A scalar as such, `_OTHER` for what is none; a tensor counts where reading it waits for no device."""
    if isinstance(value, torch.Tensor):
        return value.item() if value.numel() == 1 and value.is_cpu else _OTHER
    return value if value is None or isinstance(value, bool | int | float | str) else _OTHER


def _same(known: values.Scalar, value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return False
    return known is value or (type(known) is type(value) and bool(known == value))


def _number(value: values.Scalar) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
