"""Watches checkpoints: what is saved and loaded, tensor by tensor, beside what the model holds at that moment."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch.nn import Module

from traincheck.collect.buffers import NULL
from traincheck.collect.calls.calls import After, Open, Thread, Watch
from traincheck.collect.calls.summaries import dtype_name, shape_text
from traincheck.collect.checkpoints.owners import Container, Owners, containers_of, same_memory
from traincheck.collect.checkpoints.snapshots import Snapshots
from traincheck.collect.instrument.imports import when_imported
from traincheck.collect.instrument.watcher import Watcher
from traincheck.collect.monitor import Monitor
from traincheck.collect.values.fingerprint import measured
from traincheck.collect.variables.discovery import persistent_tensors
from traincheck.trace.layout import STORED_EARLIER, STORED_HASHED, STORED_LIVE, STORED_MOVES, STORED_OUTDATED

_SAFETENSORS = "safetensors.torch"
_WHOLE = "."
"""The place of what is in the saved object itself, not in a part of it."""
_SHARDED = "FullyShardedDataParallel"
"""Modules of this type keep their tensors under other names than those that they are saved and loaded by."""


class Saving:
    """The checkpoints of one process. A call that is asked for is recorded in every step, sampled or not."""

    def __init__(self, monitor: Monitor, watcher: Watcher) -> None:
        self._monitor = monitor
        self._watcher = watcher
        self._wanted = monitor.needs.stored
        self._given: dict[int, Container] = {}
        self._snapshots = Snapshots(monitor.variables)

    def install(self) -> None:
        """Watch what writes and reads files."""
        self._function(torch.save, "torch.save", self._saves)
        self._function(torch.load, "torch.load")
        when_imported(_SAFETENSORS, self._install_safetensors)

    def of_state_dict(self) -> Watch:
        """How calls of `Module.state_dict` are watched."""
        return Watch(after=self._remember, group="Module.state_dict", structural=self._wanted)

    def of_load_state_dict(self, also: After) -> Watch:
        """How calls of `Module.load_state_dict` are watched; `also` is what else to do when one has returned."""

        def after(thread: Thread, opened: Open, module: Any, result: Any) -> None:
            also(thread, opened, module, result)
            self._loaded(opened, module)

        def always(thread: Thread, opened: Open, module: Any, returned: bool) -> None:
            self._given.pop(opened.enter, None)

        return Watch(before=self._loads, after=after, always=always, group="Module.load_state_dict")

    def _install_safetensors(self, module: ModuleType) -> None:
        try:
            self._function(module.save_file, f"{_SAFETENSORS}.save_file", self._saves)
            self._function(module.load_file, f"{_SAFETENSORS}.load_file")
        except Exception:
            self._monitor.fail()

    def _function(self, function: Callable[..., Any], name: str, before: Any = None) -> None:
        watch = Watch(before=before, structural=self._monitor.needs.wants_api((name,)))
        self._watcher.function(function, name, watch)

    def _remember(self, thread: Thread, opened: Open, module: Any, state: Any) -> None:
        if self._wanted and isinstance(state, Mapping):
            self._monitor.changes.settle()
            self._snapshots.remember(module, state, opened.enter)

    def _saves(self, thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        if not self._wanted:
            return
        self._monitor.changes.settle()
        whole, values = containers_of(items[0]), _Values()
        matches = Owners(self._modules(whole), values.equal).matches(whole)
        owned = set()
        for container, module, names in matches:
            self._write_stored(opened.enter, container, module, names, values)
            self._write_live(opened.enter, container.place, module, values)
            owned |= {id(tensor) for tensor in container.tensors.values()}
        others = {name: tensor for name, tensor in whole.tensors.items() if id(tensor) not in owned}
        self._write_stored(opened.enter, Container("", others), None, {}, values)

    def _loads(self, thread: Thread, opened: Open, module: Any, items: tuple[Any, ...]) -> None:
        if self._wanted and _loads_by_name(module):
            given = self._given[opened.enter] = containers_of(items[0])
            names = {name: name for _, name, _ in persistent_tensors(module)}
            own = {name: name for name in given.tensors if name in names}
            self._write_stored(opened.enter, given, module, own, _Values())

    def _loaded(self, opened: Open, module: Module) -> None:
        if opened.enter in self._given:
            self._monitor.changes.settle()
            self._write_live(opened.enter, "", module, _Values())

    def _modules(self, saved: Container) -> list[Module]:
        """The modules whose state may be saved: all that are alive, and those that gave out what is saved."""
        found = {id(module): module for module in self._monitor.variables.modules()}
        for tensor in saved.tensors.values():
            giver = self._snapshots.giver(tensor)
            if giver is not None:
                found[id(giver)] = giver
        return list(found.values())

    def _write_stored(
        self, call: int, container: Container, owner: Module | None, names: Mapping[str, str], values: "_Values"
    ) -> None:
        """The tensors of a container; `names` are the owner's, by key, for those that are its."""
        live = {} if owner is None else {name: tensor for _, name, tensor in persistent_tensors(owner)}
        earlier = STORED_EARLIER if self._is_earlier(container, names, live, values) else 0
        for key, tensor in container.tensors.items():
            held = live.get(names[key]) if key in names else None
            flags = earlier | (STORED_OUTDATED if held is not None and self._is_outdated(tensor, held) else 0)
            self._write(
                call, container.place, names.get(key, key), tensor, values,
                owner=owner if key in names else None, held=held, flags=flags, taken=self._snapshots.moment(tensor),
            )  # fmt: skip

    def _is_earlier(
        self, container: Container, names: Mapping[str, str], live: Mapping[str, torch.Tensor], values: "_Values"
    ) -> bool:
        """Whether the container is, as a whole, a state that the model has left since it gave it out."""
        saved = {names[key]: values(tensor)[0] for key, tensor in container.tensors.items() if key in names}
        now = {name: values(tensor)[0] for name, tensor in live.items()}
        return saved != now and self._snapshots.knows(saved)

    def _is_outdated(self, tensor: torch.Tensor, held: torch.Tensor) -> bool:
        """Whether `tensor` is no copy of `held`, which has changed since it was given out."""
        taken = self._snapshots.moment(tensor)
        return taken is not None and taken < self._monitor.variables.last_change(held) and same_memory(tensor, held)

    def _write_live(self, call: int, place: str, module: Module, values: "_Values") -> None:
        for kind, name, tensor in persistent_tensors(module):
            flags = STORED_LIVE | (STORED_MOVES if self._monitor.moved_last(tensor) else 0)
            self._write(call, place, name, tensor, values, owner=module, held=tensor, flags=flags, kind=kind)

    def _write(
        self, call: int, place: str, name: str, tensor: torch.Tensor, values: "_Values", *,
        owner: Module | None, held: torch.Tensor | None, flags: int, taken: int | None = None, kind: str | None = None,
    ) -> None:  # fmt: skip
        """One row, of a tensor that is the owner's `held` by name."""
        variable = None if held is None else self._monitor.variables.find(held)
        token = self._monitor.tensors.token(tensor) if flags & STORED_LIVE else NULL
        seen, value = values(tensor)
        intern = self._monitor.buffers.names
        self._monitor.buffers.add(
            "stored", call, NULL if owner is None else self._monitor.objects.number(owner),
            NULL if variable is None else variable.ids[0], token, NULL if taken is None else taken, seen,
            intern(place or _WHOLE), intern(name), intern.optional(kind), intern(dtype_name(tensor.dtype)),
            intern(shape_text(tensor.shape)), intern.optional(value), flags | (STORED_HASHED if seen else 0),
        )  # fmt: skip


def _loads_by_name(module: Module) -> bool:
    """Whether loading gives each tensor the value of its own name, as torch's own implementation does."""
    own = type(module).load_state_dict is Module.load_state_dict
    return own and not any(type(part).__name__ == _SHARDED for part in module.modules())


class _Values:
    """Fingerprints and classes of tensors, each tensor read once; the tensors must stay alive."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, str | None]] = {}

    def __call__(self, tensor: torch.Tensor) -> tuple[int, str | None]:
        """The fingerprint and the class; 0 and None when the values cannot be read."""
        found = self._known.get(id(tensor))
        if found is None:
            seen, _, value = measured(tensor)
            found = self._known[id(tensor)] = seen, value
        return found

    def equal(self, tensor: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether both hold the same values in the same type."""
        return tensor.dtype == other.dtype and self(tensor)[0] == self(other)[0] != 0
