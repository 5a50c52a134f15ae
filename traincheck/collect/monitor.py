"""The collector of one process: everything it knows, and what it does at the events that matter."""

import os
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch.nn import Module, UninitializedParameter
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks

from traincheck.collect.apis import Apis
from traincheck.collect.buffers import Buffers
from traincheck.collect.calls import Calls, Open
from traincheck.collect.changes import Changes
from traincheck.collect.contexts import Contexts
from traincheck.collect.discovery import Modules
from traincheck.collect.hyperparameters import Hyperparameters
from traincheck.collect.moments import Moments
from traincheck.collect.objects import Objects, Tensors
from traincheck.collect.sampling import Gate, Governor, Sampling
from traincheck.collect.settings import RANK, WORLD, Settings
from traincheck.collect.sites import Sites
from traincheck.collect.steps import StepTracker
from traincheck.collect.summaries import Summaries
from traincheck.collect.variables import Variables
from traincheck.trace.layout import MARK_FIRST, MARK_LEFT, MARK_STEP, NULL, STOPPED, STOPPED_BY_FAILURE


class Monitor:
    """One process's collector.

    `steps_gate` is open while steps are followed, `full_gate` while everything that is asked for is recorded.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.needs = settings.needs
        self.steps_gate, self.full_gate = Gate(), Gate()
        self.failed = False
        self.worker: str | None = None
        self.buffers = Buffers()
        self._pack_mark = self.buffers.pack("marks")
        self.objects = Objects(self.buffers)
        self.tensors = Tensors(self.buffers.next_id)
        self.contexts = Contexts(self.buffers)
        self.sites = Sites(self.buffers.names, settings.cwd)
        self.modules = Modules()
        self.variables = Variables(self.buffers, self.objects, self.modules)
        self.changes = Changes(self.buffers, self.variables, self.needs)
        self.summaries = Summaries(self.buffers, self.tensors.token, self.changes)
        self.calls = Calls(
            self.buffers, self.contexts, self.summaries, self.sites, self.objects, self.needs, self.full_gate
        )
        self.apis = Apis(self.buffers, self.needs, self.sites.is_user_file)
        self.sampling = Sampling(
            self.buffers,
            self.full_gate,
            settings.every,
            settings.warmup,
            Governor(settings.budget) if settings.budget else None,
        )
        self.steps = StepTracker(self._mark_step, self._optimizer_ids, self.buffers.next_id)
        self.loaders: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._held: weakref.WeakKeyDictionary[Optimizer, frozenset[int]] = weakref.WeakKeyDictionary()
        self.hyperparameters = Hyperparameters(self.buffers, self.objects, self.needs)
        self.moments = Moments(self.buffers, self.variables, self.needs)
        self._last_steps: dict[int, int] = {}  # the last step of each optimizer
        self._stepped = False  # whether an optimizer has: without one, values are looked at when a forward begins
        self.step_ended: Callable[[], None] = lambda: None
        self.look: Callable[[], None] = lambda: None
        """Looks for functions to follow; called where a script has just imported or defined something, if ever."""
        self.turn: Callable[[], None] = lambda: None
        """Told that a step begins, or a batch in a process that loads data."""
        self._lock = threading.Lock()

    def fail(self) -> None:
        """Something of ours raised: say so once, stop collecting, let the training go on."""
        with self._lock:
            self.close()
            if self.failed:
                return
            self.failed = True
            self.buffers.process.append((STOPPED, STOPPED_BY_FAILURE))
        sys.stderr.write(f"traincheck: collection stopped after an internal error:\n{traceback.format_exc()}")

    def close(self) -> None:
        """Record nothing from now on."""
        self.steps_gate.open = self.full_gate.open = False

    def _mark_step(self, seq: int, step: int, at_once: bool) -> None:
        mark = self._pack_mark
        self.changes.end_step(mark(seq, step, MARK_STEP), mark(self.steps.turned, step, MARK_LEFT))
        self.turn()
        self.look()
        if self.sampling.begin(step, at_once):
            self.changes.forget()
        self.step_ended()

    def _optimizer_ids(self) -> Collection[int]:
        return self.variables.optimizers.keys()

    # What follows is told by the targets; each is called within the call that it is about.

    def starter(self, opened: Open) -> None:
        """An event that begins an iteration."""
        self._note_first(opened)
        self.steps.starter(opened.enter)

    def fetch_entered(self, opened: Open) -> None:
        """A batch is asked for, which begins an iteration unless there is none left."""
        self._note_first(opened)
        if self.steps.fetch(opened.enter) and self.sampling.foresee(self.steps.step + 1):
            self.changes.forget()

    def fetch_returned(self, opened: Open) -> None:
        """A batch has come."""
        self.steps.fetched(opened.enter)

    def fetch_left(self, opened: Open) -> None:
        """A batch has come or not."""
        self.steps.fetch_ended(opened.enter)
        self.sampling.forget()

    def _note_first(self, opened: Open) -> None:
        if self.steps.first == NULL:
            self.buffers.add("marks", opened.enter, 0, MARK_FIRST)

    def autocast_changed(self) -> None:
        """Autocast was entered or left on this thread."""
        thread = self.calls.threads.get(threading.get_ident())
        if thread is not None:
            thread.autocast = self.contexts.autocast()

    def module_entered(self, opened: Open, module: Module) -> None:
        """A forward was entered outside any other: a root's."""
        if not self.calls.started:
            self.look()
        self.calls.started = True
        self.starter(opened)
        if self.full_gate.open:
            self.variables.called(module)
            if torch.is_grad_enabled():
                if self._stepped:
                    self.changes.flags(opened.parent)
                else:
                    self.changes.data(opened.parent)

    def module_left(self, opened: Open, module: Module) -> None:
        """The forward of a module with buffers returned: they may have moved."""
        if self.full_gate.open:
            self.changes.buffers(opened.enter, module._buffers.values())

    def optimizer_built(self, call: int, optimizer: Optimizer) -> None:
        """An optimizer was constructed or given other parameters; what has changed until now is `call`'s doing."""
        self._hold(optimizer, call)
        self.changes.data(call)
        self.changes.grads(call)

    def adopt(self, models: Iterable[Module], optimizers: Iterable[Optimizer]) -> None:
        """Things that were there before the collector was."""
        self.look()
        for model in models:
            for module in model.modules():
                self.modules.add(module)
            self.variables.called(model)
        for optimizer in optimizers:
            self._hold(optimizer, NULL)
        self.changes.data(NULL)
        self.changes.grads(NULL)

    def step_entered(self, opened: Open, optimizer: Optimizer) -> None:
        """An optimizer's step begins."""
        full = self.full_gate.open
        known = self._held.get(optimizer)
        # one that we never saw, or whose groups were changed behind our back
        if known is None or (full and known != held_by(optimizer)):
            self.optimizer_built(opened.parent, optimizer)
        self.calls.started = True
        number = self.objects.number(optimizer)
        self.steps.enter_optimizer(number)
        if full:
            self._stepped = True
            self.changes.data(NULL)
            self.changes.grads(opened.parent)
            self.changes.before_step(opened.enter, number, self._held[optimizer])
            if self.hyperparameters.follows:
                self.hyperparameters.look(optimizer, opened.parent)

    def step_left(self, opened: Open, optimizer: Optimizer, loss: Any) -> None:
        """An optimizer's step ends; `loss` is that of a closure it was given."""
        if not self.full_gate.open:
            return
        self.changes.data(opened.enter)
        self.changes.grads(opened.enter, counted=loss is None and counts_writes(optimizer))
        self.changes.after_step(opened.enter, opened.receiver, self._held[optimizer])
        if self.moments.wanted:
            self.moments.note(optimizer, opened.enter)
        self._last_steps[opened.receiver] = opened.enter
        if self.needs.metrics:
            for index, group in enumerate(optimizer.param_groups):
                self.metric(opened.enter, f"lr.{index}", group.get("lr"))

    def moved_last(self, tensor: torch.Tensor) -> bool:
        """Whether the last step of an optimizer changed the values of `tensor`."""
        return self.variables.last_change(tensor) in self._last_steps.values()

    def ranked(self) -> None:
        """The process has learned its place among the others."""
        rank, world = str(torch.distributed.get_rank()), str(torch.distributed.get_world_size())
        self.buffers.process += [("rank", rank), ("world", world)]
        os.environ.update({RANK: rank, WORLD: world})  # for the processes that load data for this one

    def be_worker(self, number: str) -> None:
        """This process loads data for another."""
        self.worker = number
        self.contexts.add("worker", number)
        self.buffers.process.append(("role", "worker"))

    def metric(self, seq: int, name: str, value: Any) -> None:
        """A number at an event."""
        if isinstance(value, torch.Tensor) and value.numel() == 1 and value.is_cpu:
            value = value.item()
        if isinstance(value, int | float):
            self.buffers.add("metrics", seq, float(value), self.buffers.names(name))

    def _hold(self, optimizer: Optimizer, call: int) -> None:
        self._held[optimizer] = held_by(optimizer)
        self.variables.optimized(optimizer)
        self.hyperparameters.look(optimizer, call)


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


def counts_writes(optimizer: Optimizer) -> bool:
    """Whether what an optimizer's steps write to gradients, if anything, is counted by torch.

    So it is where only torch's own code runs, but for fused kernels, which scale gradients and count nothing.
    """
    return (
        type(optimizer).__module__.startswith("torch.optim.")
        and not any(group.get("fused") for group in optimizer.param_groups)
        and not (optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)
        and not (optimizer_hooks._global_optimizer_pre_hooks or optimizer_hooks._global_optimizer_post_hooks)
    )
