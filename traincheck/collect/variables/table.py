"""All variables side by side: what was last seen of each, in columns that a sweep compares at once."""

import itertools
import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from traincheck.collect.buffers import NULL
from traincheck.collect.values.fingerprint import NO_GRADIENT, UNSEEN, Reader
from traincheck.collect.variables.roster import Integers, Roster

_grad: Callable[[Any], Any] = attrgetter("grad")
_requires_grad: Callable[[Any], bool] = attrgetter("requires_grad")


class Column:
    """One attribute of all variables: the fingerprint of the value last seen, and who set it.

    Lists, not arrays: most models have so few variables that an array operation costs more than the comparison.
    `unseen` says whether some fingerprint may be UNSEEN; `stale` are positions whose values are yet to be measured.
    Once `deferred`, fingerprints and calls are known only when rows are written.
    """

    __slots__ = ("calls", "deferred", "prints", "reader", "stale", "unseen")

    def __init__(self) -> None:
        self.prints: list[int] = []
        self.calls: list[int] = []
        self.unseen = self.deferred = False
        self.stale: set[int] = set()
        self.reader = Reader()

    def append(self, seen: int) -> None:
        """One more variable."""
        self.prints.append(seen)
        self.calls.append(NULL)
        self.unseen = True

    def keep(self, indices: Sequence[int]) -> None:
        """Leave out all others."""
        self.prints = [self.prints[index] for index in indices]
        self.calls = [self.calls[index] for index in indices]
        self.stale = {place for place, index in enumerate(indices) if index in self.stale}

    def forget(self) -> None:
        """Nothing has been seen yet."""
        self.prints = [UNSEEN] * len(self.prints)
        self.unseen = True


class Variable:
    """One tensor: the ids of its names (the first one, then its ties) and its place in the table."""

    __slots__ = ("held", "ids", "index", "kind", "named", "serial", "tensor")

    def __init__(
        self, tensor: torch.Tensor, kind: str, index: int, serial: int, died: Callable[[object], None]
    ) -> None:
        self.tensor = weakref.ref(tensor, died)
        self.kind = kind
        self.index = index
        self.serial = serial  # never reused
        self.ids: tuple[int, ...] = ()
        self.named = False  # whether a module has it
        self.held = False


class Table:
    """The variables of the process, parameters and buffers; what has died is dropped when it is missed."""

    __slots__ = (
        "_by_tensor", "_missed", "_parameters", "_references", "_roster", "_serials", "data", "deaths",
        "flags", "grad", "lock", "trained", "variables", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held by whoever looks at all variables, or adds some: threads may train side by side."""
        self.variables: list[Variable] = []
        self.data, self.grad = Column(), Column()  # of gradients, those of parameters only
        self.flags: list[bool] = []
        self.deaths = 0  # how many tensors of variables have died
        self.version = 0  # changes whenever variables come, go, are named or held
        self._by_tensor: dict[int, Variable] = {}
        self._references: list[weakref.ref[torch.Tensor]] = []
        self._missed = False
        self.trained: list[int] = []  # positions of what may have a gradient, as in `grad`
        self._parameters: list[weakref.ref[torch.Tensor]] = []  # what stands there
        self._serials = itertools.count()
        self._roster = -1, Roster((), ())  # as of a version

    def find(self, tensor: torch.Tensor) -> Variable | None:
        """The variable of `tensor`, if it is one."""
        variable = self._by_tensor.get(id(tensor))
        return variable if variable is not None and variable.tensor() is tensor else None

    def add(self, tensor: torch.Tensor, kind: str) -> Variable:
        """A variable for a tensor that has none."""
        variable = Variable(tensor, kind, len(self.variables), next(self._serials), self._miss)
        self._by_tensor[id(tensor)] = variable
        self.variables.append(variable)
        self._references.append(variable.tensor)
        self.flags.append(tensor.requires_grad)
        self.data.append(UNSEEN)
        if kind != "buffer":
            self.grad.append(UNSEEN if tensor.grad is not None else NO_GRADIENT)
            self.trained.append(variable.index)
            self._parameters.append(variable.tensor)
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

    def gradients(self) -> list[Any]:
        """The gradients of the parameters, None where there is none."""
        found = [reference() for reference in self._parameters]
        if self._missed:
            tensors = self.tensors()
            found = [tensors[index] for index in self.trained]
        return list(map(_grad, found))

    def changed_flags(self, tensors: list[Any]) -> list[int]:
        """The positions of variables whose requires_grad is another than when this was last asked."""
        flags = list(map(_requires_grad, tensors))
        if flags == self.flags:
            return []
        changed = [index for index, flag in enumerate(flags) if flag is not self.flags[index]]
        self.flags = flags
        return changed

    def noted(self, held: Collection[int], buffers: bool) -> tuple[Integers, Integers]:
        """Positions and ids, one for each name, of what is among `held` (Python ids of tensors) or held by nobody.

        Buffers among them only if so asked.
        """
        chosen = [v for v in self.variables if not v.held or id(v.tensor()) in held]
        rows = [(v.index, number) for v in chosen if buffers or v.kind != "buffer" for number in v.ids]
        table: Integers = np.array(rows, np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def roster(self) -> Roster:
        """Which variables stand where now."""
        version, roster = self._roster
        if version != self.version:
            variables = self.variables
            roster = Roster([variable.serial for variable in variables], [variable.ids for variable in variables])
            self._roster = self.version, roster
        return roster

    def _miss(self, reference: object) -> None:
        self._missed = True
        self.deaths += 1

    def _drop(self, alive: Sequence[int]) -> None:
        self.variables = [self.variables[index] for index in alive]
        self.flags = [self.flags[index] for index in alive]
        self._references = [variable.tensor for variable in self.variables]
        self.data.keep(alive)
        living = set(alive)
        self.grad.keep([place for place, index in enumerate(self.trained) if index in living])
        for index, variable in enumerate(self.variables):
            variable.index = index
        self.trained = [variable.index for variable in self.variables if variable.kind != "buffer"]
        self._parameters = [self._references[index] for index in self.trained]
        kept = set(map(id, self.variables))
        self._by_tensor = {at: variable for at, variable in self._by_tensor.items() if id(variable) in kept}
        self.version += 1
