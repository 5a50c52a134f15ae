"""What is watched: the functions and methods of torch that training is made of."""

import re
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn import Module
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Sampler
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torch.utils.data.distributed import DistributedSampler

from traincheck.collect.calls import Api, Open, Thread
from traincheck.collect.monitor import Monitor
from traincheck.collect.watch import Hooks, Watcher

_FUNCTIONAL = "torch.nn.functional"
_NOT_OPERATIONS = frozenset(("boolean_dispatch", "handle_torch_function", "has_torch_function", "assert_int_or_pair"))


class Targets:
    """Installs everything that is watched into one process."""

    def __init__(self, monitor: Monitor, watcher: Watcher) -> None:
        self.monitor = monitor
        self.watcher = watcher
        self._shims: list[tuple[str, Callable[..., Any]]] = []
        self._prepared: set[type] = set()
        self._families = {
            Module: ("train", "eval", "zero_grad", "load_state_dict", "_apply", "requires_grad_"),
            Optimizer: ("step", "zero_grad", "__init__", "add_param_group", "load_state_dict"),
            LRScheduler: ("step", "__init__", "load_state_dict"),
            DataLoader: ("__init__", "__iter__"),
            Sampler: ("set_epoch",),
        }

    def install(self) -> None:
        """Put every recorder in place."""
        self._install_functional()
        self._install_autograd()
        self._install_modules()
        bases: tuple[type[Any], ...] = (Optimizer, LRScheduler, DataLoader, Sampler)
        for base in bases:
            for cls in _with_subclasses(base):
                self.prepare(cls)
        self._install_loading()
        self._install_scaler()
        self._install_distributed()

    def remove(self) -> None:
        """Take every recorder out again."""
        self.watcher.remove()
        for name, function in self._shims:
            setattr(F, name, function)

    def prepare(self, cls: type) -> None:
        """Watch the methods that `cls` and its bases define; told of every class when it is first constructed."""
        if cls in self._prepared:
            return
        for base, methods in self._families.items():
            if not issubclass(cls, base):
                continue
            for owner in cls.__mro__:
                if owner in self._prepared or not issubclass(owner, base):
                    continue
                self._prepared.add(owner)
                for method in methods:
                    function = owner.__dict__.get(method)
                    if isinstance(function, FunctionType):
                        self.watcher.method(function, method, self._hooks(base, method))
        self._prepared.add(cls)

    def _hooks(self, base: type, method: str) -> Hooks:
        monitor = self.monitor
        key = (base, method)
        if key == (Optimizer, "step"):
            return Hooks(
                before=lambda thread, opened, optimizer, items: monitor.step_entered(opened, optimizer),
                after=lambda thread, opened, optimizer, result: monitor.step_left(opened, optimizer),
                always=lambda thread, opened, optimizer: monitor.steps.leave_optimizer(),
            )
        if method == "zero_grad":
            return Hooks(before=self._starter, after=self._sweep_grads)
        if base is Optimizer:
            built = "__init__" if method == "__init__" else method
            return Hooks(before=self._prepare_class, after=self._optimizer_built, group=f"optimizer.{built}")
        if base is LRScheduler and method == "__init__":
            return Hooks(before=self._prepare_class)
        if key == (DataLoader, "__init__"):
            return Hooks(before=self._prepare_class)
        if base is Module and method in ("train", "eval"):
            return Hooks(before=self._starter_on_root, group="Module.train")
        if base is Module:
            return Hooks(after=self._sweep_all, group=f"Module.{method}")
        if key == (DataLoader, "__iter__"):
            return Hooks(after=self._remember_loader)
        return Hooks()

    def _install_functional(self) -> None:
        for name in dir(F):
            function = getattr(F, name)
            if name.startswith("_") or name in _NOT_OPERATIONS:
                continue
            if isinstance(function, FunctionType) and function.__module__ == _FUNCTIONAL:
                self.watcher.function(function, f"{_FUNCTIONAL}.{name}", like=_dispatched(function))
            elif isinstance(function, BuiltinFunctionType) and not name.startswith("has_torch_function"):
                shim = self.watcher.shim(function, f"{_FUNCTIONAL}.{name}", _documented_names(function, name))
                if shim is not None:
                    shim.__name__ = shim.__qualname__ = name
                    shim.__module__ = _FUNCTIONAL
                    shim.__doc__ = function.__doc__
                    self._shims.append((name, function))
                    setattr(F, name, shim)

    def _install_autograd(self) -> None:
        self.watcher.function(
            torch.Tensor.backward, "torch.Tensor.backward", Hooks(before=self._backward), like=torch.Tensor.backward
        )
        self.watcher.function(
            torch.autograd.backward, "torch.autograd.backward", Hooks(before=self._starter, after=self._sweep_grads)
        )
        for name in ("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_"):
            function = getattr(torch.nn.utils, name, None)
            if isinstance(function, FunctionType):
                self.watcher.function(function, f"torch.nn.utils.{name}", Hooks(after=self._sweep_grads))

    def _install_modules(self) -> None:
        self.prepare(Module)
        monitor = self.monitor

        def identify(args: tuple[Any, ...]) -> tuple[Api, Any, tuple[Any, ...]]:
            module = args[0]
            return monitor.apis.method(type(module), "forward"), module, args[1:]

        self.watcher.identified(
            Module._call_impl,
            identify,
            Hooks(
                before=lambda thread, opened, module, items: monitor.module_entered(thread, opened, module),
                after=lambda thread, opened, module, result: monitor.module_left(opened, module),
                forward=True,
            ),
        )
        self.watcher.notice(Module.__init__, self._module_built)

    def _install_loading(self) -> None:
        monitor = self.monitor

        def identify(args: tuple[Any, ...]) -> tuple[Api, Any, tuple[Any, ...]]:
            loader = monitor.loaders.get(args[0]) or args[0]
            return monitor.apis.function(f"{_LOADER}.__next__", ()), loader, ()

        self.watcher.identified(_BaseDataLoaderIter.__next__, identify, Hooks(before=self._starter, hash_results=True))
        for method in ("__init__", "__iter__"):
            self.watcher.method(getattr(DistributedSampler, method), method)

    def _install_scaler(self) -> None:
        monitor = self.monitor
        scaler = torch.amp.GradScaler
        self.watcher.method(
            scaler.step,
            "step",
            Hooks(
                before=lambda thread, opened, receiver, items: monitor.steps.enter_optimizer(monitor.objects(items[0])),
                always=lambda thread, opened, receiver: monitor.steps.leave_optimizer(),
            ),
        )
        self.watcher.method(scaler.unscale_, "unscale_", Hooks(after=self._sweep_grads))
        for method in ("update", "scale"):
            self.watcher.method(getattr(scaler, method), method)

    def _install_distributed(self) -> None:
        if not torch.distributed.is_available():
            return
        monitor = self.monitor
        self.watcher.function(
            torch.distributed.init_process_group,
            "torch.distributed.init_process_group",
            Hooks(after=lambda thread, opened, receiver, result: monitor.ranked()),
        )
        self.watcher.method(torch.nn.parallel.DistributedDataParallel.__init__, "__init__")

    def _module_built(self, args: tuple[Any, ...]) -> None:
        self.monitor.modules.add(args[0])
        self.prepare(type(args[0]))

    def _prepare_class(self, thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        self.prepare(type(receiver))

    def _starter(self, thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        self.monitor.starter(opened)

    def _starter_on_root(self, thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        if self.monitor.calls.started:
            self.monitor.starter(opened)

    def _backward(self, thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        self.monitor.starter(opened)
        if self.monitor.needs.metrics:
            self.monitor.metric(opened.enter, "loss", items[0].detach())

    def _sweep_grads(self, thread: Thread, opened: Open, receiver: Any, result: Any) -> None:
        self.monitor.changes.grads(opened.enter)

    def _sweep_all(self, thread: Thread, opened: Open, receiver: Any, result: Any) -> None:
        self.monitor.changes.data(opened.enter)

    def _optimizer_built(self, thread: Thread, opened: Open, optimizer: Any, result: Any) -> None:
        self.monitor.optimizer_built(opened, optimizer)

    def _remember_loader(self, thread: Thread, opened: Open, loader: Any, result: Any) -> None:
        self.monitor.loaders[result] = loader


_LOADER = "torch.utils.data.dataloader.DataLoader"


def _with_subclasses(base: type[Any]) -> Iterator[type[Any]]:
    yield base
    for cls in base.__subclasses__():
        yield from _with_subclasses(cls)


def _dispatched(function: FunctionType) -> Any:
    """The function that carries the signature when `function` only chooses between two (max_pool2d)."""
    if function.__code__.co_name == "fn" and function.__closure__:
        cells = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
        if "if_false" in cells:
            return cells["if_false"].cell_contents
    return function


def _documented_names(function: Any, name: str) -> tuple[str, ...]:
    """Parameter names of a C function from the first signature in its documentation."""
    match = re.search(rf"{name}\((.*?)\)\s*->", function.__doc__ or "", re.DOTALL)
    if match is None:
        return ()
    names = []
    for part in match.group(1).split(","):
        word = part.strip().partition("=")[0].strip()
        if word.isidentifier():
            names.append(word)
    return tuple(names)
