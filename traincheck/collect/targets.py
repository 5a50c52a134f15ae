"""What is watched: the functions and methods of torch that training is made of."""

from collections.abc import Callable
from threading import get_ident
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch.nn import Module
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Sampler

from traincheck.collect.calls.calls import Open, Thread, Watch
from traincheck.collect.calls.summaries import qualified
from traincheck.collect.checkpoints.saving import Saving
from traincheck.collect.instrument.finder import Finder
from traincheck.collect.instrument.functional import Functional
from traincheck.collect.instrument.functions import with_subclasses
from traincheck.collect.instrument.imports import when_imported
from traincheck.collect.instrument.loading import install_loading
from traincheck.collect.instrument.operations import Operations
from traincheck.collect.instrument.watcher import Watcher
from traincheck.collect.monitor import Monitor
from traincheck.collect.variables.changes import BACKWARD_API
from traincheck.collect.variables.gradients import BACKWARD, CLIP, UNSCALE, ZERO_GRAD

_PASS_ON = ("accelerate.optimizer.AcceleratedOptimizer",)
"""Optimizers that only pass on what they are told, and not always: their own count as what they are."""
_CONVERSIONS = ("to", "cpu", "cuda", "half", "float", "double", "bfloat16", "to_empty")
_TRANSLATION = "torch._dynamo.symbolic_convert"
"""Imported by whoever compiles, if not by an optimizer."""
_STATE = ("state_dict", "load_state_dict")


class Targets:
    """Installs everything that is watched into one process."""

    def __init__(self, monitor: Monitor, watcher: Watcher) -> None:
        self.monitor = monitor
        self.watcher = watcher
        self.functional = Functional(monitor, watcher)
        self._distributed: Any = None
        self.operations = Operations(watcher)
        self.finder = Finder(monitor, watcher, self.prepare)
        self.saving = Saving(monitor, watcher)
        self._constructed: set[type] = set()
        self._prepared: set[type] = set()
        self._families = {
            Module: ("train", "eval", "zero_grad", "apply", "requires_grad_", *_STATE, *_CONVERSIONS),
            Optimizer: ("step", "zero_grad", "__init__", "add_param_group", *_STATE),
            LRScheduler: ("step", "__init__", *_STATE),
            DataLoader: ("__init__", "__iter__"),
            Sampler: ("set_epoch",),
        }

    def install(self) -> None:
        """Put every recorder in place."""
        self.functional.install()
        self._install_autograd()
        self._install_modules()
        bases: tuple[type[Any], ...] = (Optimizer, LRScheduler, DataLoader, Sampler)
        for base in bases:
            for cls in with_subclasses(base):
                self.prepare(cls)
        install_loading(self.monitor, self.watcher)
        self.saving.install()
        self._install_scaler()
        self._install_distributed()
        self.operations.install()
        self._install_script()
        self.watcher.notice(torch.compile, lambda _: self._before_compiling())
        when_imported(_TRANSLATION, self._notice_translation)
        monitor = self.monitor
        monitor.look, monitor.turn, monitor.watch = self.finder.look, self.watcher.functions.turn, self.watch

    def watch(self, level: int) -> None:
        """From now on watch what `level` says, as Sampling has them."""
        self.watcher.swaps.watch(level)
        self.functional.watch(level)

    def remove(self) -> None:
        """Take every recorder out again."""
        self.watcher.swaps.remove()
        if self._distributed is not None:
            self._distributed.remove()
        self.functional.remove()
        self.operations.remove()

    def prepare(self, cls: type) -> None:
        """Watch the methods that `cls` and its bases define; told of every class when it is first constructed."""
        if cls in self._constructed or qualified(cls) in _PASS_ON:
            return
        self._constructed.add(cls)
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
                        self.watcher.method(function, method, self._watch(base, method))
            for method in methods:
                self.monitor.apis.overridden(cls, base, method)

    def _watch(self, base: type, method: str) -> Watch:
        monitor, gradients = self.monitor, self.monitor.gradients
        key = (base, method)
        if key == (Optimizer, "step"):
            return Watch(
                before=monitor.step_entered,
                after=monitor.step_left,
                always=monitor.steps.leave_optimizer,
                frequent=True,
                counts=True,
                later=True,
                begins=True,
            )
        if method == "zero_grad":
            return Watch(
                before=gradients.before(ZERO_GRAD, monitor.starter),
                after=gradients.after(ZERO_GRAD),
                begins=True,
                frequent=True,
            )
        if key == (Module, "load_state_dict"):
            return self.saving.of_load_state_dict(self._sweep_all)
        if key == (Module, "state_dict"):
            return self.saving.of_state_dict()
        if method == "state_dict":
            return Watch()
        if base is Optimizer:
            built = "__init__" if method == "__init__" else method
            return Watch(before=self._prepare_class, after=self._optimizer_built, group=f"optimizer.{built}")
        if base is LRScheduler and method == "__init__":
            return Watch(before=self._prepare_class)
        if key == (LRScheduler, "step"):
            return Watch(after=self._scheduled, structural=False)
        if key == (DataLoader, "__init__"):
            return Watch(before=self._prepare_class)
        if base is Module and method in ("train", "eval"):
            return Watch(before=self._starter_on_root, group="Module.train", frequent=True)
        if base is Module:
            return Watch(after=self._sweep_all, group=f"Module.{method}")
        if key == (DataLoader, "__iter__"):
            return Watch(after=self._remember_loader)
        return Watch()

    def _install_autograd(self) -> None:
        gradients = self.monitor.gradients
        autocast = torch.amp.autocast_mode.autocast
        for method in (autocast.__enter__, autocast.__exit__):
            self.watcher.notice(method, lambda _: self.monitor.autocast_changed(), after=True)
        starter = self._starter_with_loss if self.monitor.needs.metrics else self.monitor.starter
        self.watcher.function(
            torch.Tensor.backward,
            "torch.Tensor.backward",
            Watch(before=starter, starts=not self.monitor.needs.metrics, frequent=True),
        )
        self.watcher.function(
            torch.autograd.backward,
            BACKWARD_API,
            Watch(
                before=gradients.before(BACKWARD, self._backward_entered),
                after=gradients.after(BACKWARD),
                frequent=True,
                open_always=True,  # for those who ask whether it is under way
            ),
        )
        for name in ("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_"):
            function = getattr(torch.nn.utils, name, None)
            if isinstance(function, FunctionType):
                watch = Watch(before=gradients.before(CLIP), after=gradients.after(CLIP), group="clip", frequent=True)
                self.watcher.function(function, f"torch.nn.utils.{name}", watch)

    def _notice_translation(self, module: ModuleType) -> None:
        """What begins to be translated is compiled, or exported; not all of it was given to `torch.compile`."""
        try:
            self.watcher.notice(module.InstructionTranslator.__init__, lambda _: self._before_compiling())
        except Exception:
            self.monitor.fail()

    def _before_compiling(self) -> None:
        try:
            self.functional.remove()
            self.operations.remove()
            self.watcher.swaps.before_compiling()
        except Exception:
            self.monitor.fail()

    def _install_script(self) -> None:
        """Leave TorchScript what it knows: functions by their identity, and operations one by one."""
        self.watcher.notice(torch.jit.frontend.get_jit_def, lambda _: self.functional.before_scripting())
        tracing = torch.jit._trace
        for function in (tracing._trace_impl, tracing.trace_module, tracing._get_trace_graph):
            self.watcher.replace(function, self._unseen)

    def _unseen(self, original: FunctionType) -> Callable[..., Any]:
        """What does the same as `original`, without the calls in it being recorded."""
        calls = self.monitor.calls

        def record(*args: Any, **kwargs: Any) -> Any:
            thread = calls.threads.get(get_ident()) or calls.new_thread()
            busy, thread.busy = thread.busy, True
            try:
                with self.functional.set_aside():
                    return original(*args, **kwargs)
            finally:
                thread.busy = busy

        return record

    def _install_modules(self) -> None:
        self.prepare(Module)
        monitor = self.monitor

        self.watcher.method(
            Module._call_impl,
            "forward",
            Watch(
                before=monitor.module_entered,
                after=monitor.module_left,
                forward=True,
            ),
        )
        self.watcher.notice(Module.__init__, self._module_built)

    def _install_scaler(self) -> None:
        monitor = self.monitor
        scaler = torch.amp.GradScaler
        self.watcher.method(
            scaler.step,
            "step",
            Watch(
                before=lambda thread, opened, receiver, items: monitor.steps.enter_optimizer(
                    opened.enter, monitor.objects.number(items[0])
                ),
                always=monitor.steps.leave_optimizer,
                frequent=True,
                counts=True,
            ),
        )
        before, after = monitor.gradients.before(UNSCALE), monitor.gradients.after(UNSCALE)
        self.watcher.method(scaler.unscale_, "unscale_", Watch(before=before, after=after, frequent=True))
        for method in ("update", "scale"):
            self.watcher.method(getattr(scaler, method), method, Watch())

    def _install_distributed(self) -> None:
        if torch.distributed.is_available():
            from traincheck.collect.ranks.distributed import Distributed  # needs a torch that has it

            self._distributed = Distributed(self.monitor, self.watcher)
            self._distributed.install()

    def _module_built(self, args: tuple[Any, ...]) -> None:
        self.monitor.modules.add(args[0])
        if self._distributed is not None:
            self._distributed.look()
        self.prepare(type(args[0]))
        if not self.monitor.calls.started:
            self.monitor.look()

    def _prepare_class(self, thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        self.prepare(type(receiver))

    def _starter_on_root(self, thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        if self.monitor.calls.started:
            self.monitor.starter(thread, opened, receiver, items)

    def _starter_with_loss(self, thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        self.monitor.starter(thread, opened, receiver, items)
        if self.monitor.full_gate.open:
            self.monitor.metric(opened.enter, "loss", items[0])

    def _backward_entered(self, thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        monitor = self.monitor
        if get_ident() != monitor.changes.trainer:
            monitor.changes.meet_trainer()
        if monitor.steps.waits:
            monitor.starter(thread, opened, receiver, items)

    def _sweep_all(self, thread: Thread, opened: Open, receiver: Any, result: Any) -> None:
        if self.monitor.full_gate.open:
            self.monitor.changes.data(opened.enter)

    def _optimizer_built(self, thread: Thread, opened: Open, optimizer: Any, result: Any) -> None:
        self.monitor.optimizer_built(opened.enter, optimizer)

    def _scheduled(self, thread: Thread, opened: Open, scheduler: Any, result: Any) -> None:
        optimizer = getattr(scheduler, "optimizer", None)
        if isinstance(optimizer, Optimizer):
            self.monitor.settings_changed(optimizer, opened.enter)

    def _remember_loader(self, thread: Thread, opened: Open, loader: Any, result: Any) -> None:
        self.monitor.objects.alias(result, loader)
