"""All variables side by side: what was last seen of each, in columns that a sweep compares at once."""

import weakref
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from traincheck.collect.buffers import NULL
from traincheck.collect.fingerprint import UNMEASURED, Prints, Reader

UNSEEN = 2
"""A fingerprint that was never taken."""
NO_GRADIENT = 3
"""The fingerprint of a gradient that is None."""

Indices = npt.NDArray[np.int64]
_grad: Callable[[Any], Any] = attrgetter("grad")
_requires_grad: Callable[[Any], bool] = attrgetter("requires_grad")


class Column:
    """One attribute of all variables: fingerprint, norm and class of the value that was last seen."""

    def __init__(self) -> None:
        self.prints: Prints = np.empty(0, np.uint64)
        self.norms: npt.NDArray[np.float64] = np.empty(0)
        self.classes: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self.reader = Reader()

    def append(self, seen: int) -> None:
        """One more variable."""
        self.prints = np.append(self.prints, np.uint64(seen))
        self.norms = np.append(self.norms, UNMEASURED)
        self.classes = np.append(self.classes, np.int32(NULL))

    def keep(self, indices: Indices) -> None:
        """Leave out all others."""
        self.prints, self.norms, self.classes = self.prints[indices], self.norms[indices], self.classes[indices]


class Variable:
    """One tensor: the ids of its names (the first one, then its ties) and its place in the table."""

    __slots__ = ("held", "ids", "index", "kind", "named", "tensor")

    def __init__(self, tensor: torch.Tensor, kind: str, index: int, died: Callable[[object], None]) -> None:
        self.tensor = weakref.ref(tensor, died)
        self.kind = kind
        self.index = index
        self.ids: tuple[int, ...] = ()
        self.named = False  # whether a module has it
        self.held = False


class Table:
    """The variables of the process, parameters and buffers; what has died is dropped when it is missed."""

    def __init__(self) -> None:
        self.variables: list[Variable] = []
        self.data, self.grad = Column(), Column()
        self.flags: list[bool] = []
        self.version = 0  # changes whenever variables come, go, are named or held
        self._by_tensor: dict[int, Variable] = {}
        self._references: list[weakref.ref[torch.Tensor]] = []
        self._missed = False
        self._trained: list[int] = []  # positions of what may have a gradient
        self._positions: Indices = np.empty(0, np.int64)

    def find(self, tensor: torch.Tensor) -> Variable | None:
        """The variable of `tensor`, if it is one."""
        variable = self._by_tensor.get(id(tensor))
        return variable if variable is not None and variable.tensor() is tensor else None

    def add(self, tensor: torch.Tensor, kind: str) -> Variable:
        """A variable for a tensor that has none."""
        variable = Variable(tensor, kind, len(self.variables), self._miss)
        self._by_tensor[id(tensor)] = variable
        self.variables.append(variable)
        self._references.append(variable.tensor)
        self.flags.append(tensor.requires_grad)
        self.data.append(UNSEEN)
        self.grad.append(UNSEEN if kind == "buffer" or tensor.grad is not None else NO_GRADIENT)
        if kind != "buffer":
            self._trained.append(variable.index)
            self._positions = np.array(self._trained, np.int64)
        self.version += 1
        return variable

    def tensors(self) -> list[Any]:
        """The tensors of all variables, in the table's order."""
        found = [reference() for reference in self._references]
        if self._missed:
            self._missed = False
            self._drop([index for index, tensor in enumerate(found) if tensor is not None])
            found = [tensor for tensor in found if tensor is not None]
        return found

    def trained(self, tensors: list[Any]) -> tuple[Indices, list[Any]]:
        """The positions of the parameters among `tensors`, and their gradients, None where there is none."""
        return self._positions, list(map(_grad, [tensors[index] for index in self._trained]))

    def changed_flags(self, tensors: list[Any]) -> list[int]:
        """The positions of variables whose requires_grad is another than when this was last asked."""
        flags = list(map(_requires_grad, tensors))
        if flags == self.flags:
            return []
        changed = [index for index, flag in enumerate(flags) if flag is not self.flags[index]]
        self.flags = flags
        return changed

    def noted(self, held: Collection[int]) -> tuple[Indices, npt.NDArray[np.int64]]:
        """Positions and ids, one for each name, of what is among `held` (Python ids of tensors) or held by nobody."""
        chosen = [v for v in self.variables if not v.held or id(v.tensor()) in held]
        rows = [(variable.index, number) for variable in chosen for number in variable.ids]
        pairs = np.array(rows, np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1].copy()

    def _miss(self, reference: object) -> None:
        self._missed = True

    def _drop(self, alive: Sequence[int]) -> None:
        self.variables = [self.variables[index] for index in alive]
        self.flags = [self.flags[index] for index in alive]
        self._references = [variable.tensor for variable in self.variables]
        kept = np.array(alive, np.int64)
        self.data.keep(kept)
        self.grad.keep(kept)
        for index, variable in enumerate(self.variables):
            variable.index = index
        self._trained = [variable.index for variable in self.variables if variable.kind != "buffer"]
        self._positions = np.array(self._trained, np.int64)
        living = set(map(id, self.variables))
        self._by_tensor = {at: variable for at, variable in self._by_tensor.items() if id(variable) in living}
        self.version += 1
