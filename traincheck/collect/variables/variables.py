"""The tensors that training is about: parameters and buffers under their names, and what optimizers hold."""

import weakref
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import Module
from torch.optim import Optimizer

from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.calls.objects import Objects
from traincheck.collect.calls.summaries import dtype_name, shape_text
from traincheck.collect.compiled import NATIVE
from traincheck.collect.values.fingerprint import UNSEEN
from traincheck.collect.variables.discovery import Modules, is_lazy, named_tensors, unwrap
from traincheck.collect.variables.table import Table, Variable

_PLACEHOLDER = "optimizer"
"""First word of the names of tensors that an optimizer holds and no module does."""

_TABLES = ("_modules", "_parameters", "_buffers")


class _Root:
    """A root module, and the members of all its parts when it was last scanned; it keeps none of them alive."""

    def __init__(self, module: Module) -> None:
        self.module = weakref.ref(module)
        self.known: dict[str, int] = {}  # name -> Python id of its tensor
        self._parts: list[weakref.ref[Module]] = []
        self._members: object = None
        self._deaths = -1

    def remember(self, module: Module, deaths: int) -> None:
        """Note every member of every part; `deaths` counts the variables that have died so far."""
        self._parts = [weakref.ref(part) for part in module.modules() if _has_tables(part)]
        lazy = any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers()))
        self._members = None if lazy else _structure(self._parts)  # they will be others without looking so
        self._deaths = deaths

    def unchanged(self, deaths: int) -> bool:
        """Whether every part still has the same members.

        They are compared by Python id, which only the death of one can give to another.
        """
        return deaths == self._deaths and _structure(self._parts) == self._members


def _has_tables(part: Module) -> bool:
    """Whether its members are in tables of its own: a scripted module has them elsewhere, and gets no others."""
    return all(isinstance(vars(part).get(name), dict) for name in _TABLES)


def _members(parts: list[weakref.ref[Module]]) -> list[object]:
    """Names and Python ids of the members of every part; of one that is gone, that it is."""
    found: list[object] = []
    for reference in parts:
        part = reference()
        if part is None:
            found.append(0)
            continue
        tables = part.__dict__
        for name in _TABLES:
            table = tables[name]
            if table:
                found += table
                found += map(id, table.values())
            found.append(len(table))
    return found


_structure: Callable[[list["weakref.ref[Module]"]], object]
_structure = _members if NATIVE is None else partial(NATIVE.structure, _TABLES)
"""Something that is another when a part has got other members."""


class Variables:
    """All variables of the process."""

    def __init__(self, buffers: Buffers, objects: Objects, modules: Modules) -> None:
        self._buffers = buffers
        self._objects = objects
        self._modules = modules
        self.table = Table()
        self._roots: dict[int, _Root] = {}
        self._inner: dict[int, weakref.ref[Module]] = {}  # called modules known to lie within a root
        self.optimizers: dict[int, weakref.ref[Optimizer]] = {}
        """Those that are alive, by number."""
        self._holds: dict[int, set[tuple[int, int]]] = {}  # variable -> optimizers and groups

    def find(self, tensor: torch.Tensor) -> Variable | None:
        """The variable of `tensor`, if it is one."""
        return self.table.find(tensor)

    def modules(self) -> list[Module]:
        """The outermost modules that are alive, those found through calls and optimizers among them."""
        found = {id(module): module for module in self._modules.outermost()}
        for root in self._roots.values():
            module = root.module()
            if module is not None:
                found[id(module)] = module
        return list(found.values())

    def last_change(self, tensor: torch.Tensor) -> int:
        """The call in which the values of `tensor` were last seen to change; NULL when there was none."""
        variable = self.find(tensor)
        return NULL if variable is None else self.table.data.calls[variable.index]

    def last_print(self, tensor: torch.Tensor) -> int:
        """The fingerprint of the values of `tensor` when they were last looked at; UNSEEN when they never were."""
        variable = self.find(tensor)
        return UNSEEN if variable is None else self.table.data.prints[variable.index]

    def called(self, module: Module) -> None:
        """A module's forward was entered from outside any other's: scan the root it belongs to if anything moved."""
        with self.table.lock:
            inner, root = module, self._roots.get(id(module))
            if root is None or root.module() is not inner:
                inner = unwrap(module)
                root = self._roots.get(id(inner))
            if root is not None and root.module() is inner:
                if not root.unchanged(self.table.deaths):
                    self._scan(inner)
                return
            known = self._inner.get(id(inner))
            if known is None or known() is not inner:
                self._inner[id(inner)] = weakref.ref(inner)
                self._scan(self._modules.root_of(inner))

    def rescan(self) -> None:
        """Scan every root again."""
        with self.table.lock:
            for root in list(self._roots.values()):
                module = root.module()
                if module is not None:
                    self._scan(module)

    def optimized(self, optimizer: Optimizer) -> None:
        """An optimizer was built or given parameters: find the modules it trains, and note what it holds."""
        with self.table.lock:
            params = [param for group in optimizer.param_groups for param in group["params"] if not is_lazy(param)]
            for module in self._modules.roots({id(param) for param in params}):
                root = self._roots.get(id(module))
                if root is None or root.module() is not module or not root.unchanged(self.table.deaths):
                    self._scan(module)
            owner = self._objects.number(optimizer)
            if owner not in self.optimizers:
                self.optimizers[owner] = weakref.ref(optimizer, lambda _: self.optimizers.pop(owner, None))
            for index, group in enumerate(optimizer.param_groups):
                for position, param in enumerate(group["params"]):
                    if is_lazy(param):
                        continue
                    variable = self.find(param) or self._new(
                        param, "parameter", f"{_PLACEHOLDER}.{index}.{position}", owner, False
                    )
                    if not variable.held:
                        variable.held = True
                        self.table.version += 1
                    for number in variable.ids:
                        self._held(number, owner, index)

    def _held(self, number: int, owner: int, group: int) -> None:
        """An optimizer holds the tensor of this name."""
        holders = self._holds.setdefault(number, set())
        if (owner, group) not in holders:
            holders.add((owner, group))
            self._buffers.add("holds", owner, group, number, self._buffers.next_id())

    def _scan(self, module: Module) -> None:
        root = self._roots.get(id(module))
        if root is None or root.module() is not module:
            root = self._roots[id(module)] = _Root(module)
        owner = self._objects.number(module)
        for kind, name, tensor in named_tensors(module):
            if root.known.get(name) != id(tensor) or self.find(tensor) is None:
                root.known[name] = id(tensor)
                self._new(tensor, kind, name, owner, True)
        root.remember(module, self.table.deaths)

    def _new(self, tensor: torch.Tensor, kind: str, name: str, owner: int, named: bool) -> Variable:
        """Name `tensor`. A module's name replaces one made up for it; otherwise a further name is tied to the first."""
        variable = self.find(tensor)
        if variable is None:
            variable = self.table.add(tensor, kind)
        renamed = bool(variable.ids) and not variable.named
        variable.named = named
        number = variable.ids[0] if renamed else self._buffers.next_id()
        names = self._buffers.names
        self._buffers.add(
            "variables", number, names(name), names(kind), owner, names(dtype_name(tensor.dtype)),
            names(shape_text(tensor.shape)), names(str(tensor.device)), int(tensor.requires_grad),
            variable.ids[0] if variable.ids and not renamed else NULL, self._buffers.next_id(),
        )  # fmt: skip
        if not renamed:
            for owner_and_group in sorted(self._holds.get(variable.ids[0], ()) if variable.ids else ()):
                self._held(number, *owner_and_group)
            variable.ids = (*variable.ids, number)
            self.table.version += 1
        return variable
