"""The collector of one process: everything it knows, and what it does at the events that matter."""

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn import Module
from torch.optim import Optimizer

from traincheck.collect.buffers import Buffers
from traincheck.collect.calls.apis import Apis
from traincheck.collect.calls.calls import Calls, Open, Thread, Values
from traincheck.collect.calls.contexts import Contexts
from traincheck.collect.calls.objects import Objects, Tensors
from traincheck.collect.calls.sampling import COUNTING, NOTHING, Gate, Governor, Sampling
from traincheck.collect.calls.sites import Sites
from traincheck.collect.calls.steps import StepTracker
from traincheck.collect.calls.summaries import Summaries
from traincheck.collect.settings import RANK, WORLD, Settings
from traincheck.collect.values.modes import undisturbed
from traincheck.collect.variables.changes import Changes
from traincheck.collect.variables.discovery import Modules
from traincheck.collect.variables.gradients import Gradients
from traincheck.collect.variables.holdings import Holdings, held_by
from traincheck.collect.variables.hyperparameters import Hyperparameters
from traincheck.collect.variables.moments import Moments
from traincheck.collect.variables.replay import AFTER_STEP, BEFORE_STEP
from traincheck.collect.variables.variables import Variables
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
        self.objects = Objects(self.buffers)
        self.tensors = Tensors(self.buffers.next_id)
        self.contexts = Contexts(self.buffers)
        self.sites = Sites(self.buffers.names, settings.cwd)
        self.modules = Modules()
        self.variables = Variables(self.buffers, self.objects, self.modules)
        self.steps = StepTracker(self._mark_step, self.variables.optimizers.keys(), self.buffers.next_id)
        threads: dict[int, Thread] = {}
        self.changes = Changes(self.buffers, self.variables, self.needs, threads)
        self.gradients = Gradients(self.changes, self.needs, self.full_gate)
        self.summaries = Summaries(self.buffers, self.tensors.token, self.changes)
        self.calls = Calls(
            self.buffers, self.contexts, self.summaries, self.sites, self.objects, self.needs, self.full_gate,
            self.steps, threads,
        )  # fmt: skip
        self.apis = Apis(self.buffers, self.needs, self.sites.is_user_file)
        self.sampling = Sampling(
            self.buffers,
            self.full_gate,
            settings.every,
            settings.warmup,
            Governor(settings.budget) if settings.budget else None,
            self._watches,
        )
        self._holdings = Holdings()
        self.hyperparameters = Hyperparameters(self.buffers, self.objects, self.needs)
        self.moments = Moments(self.buffers, self.variables, self.needs)
        self._last_steps: dict[int, int] = {}  # the last step of each optimizer
        self._stepped = False  # whether an optimizer has: without one, values are looked at when a forward begins
        self.step_ended: Callable[[], None] | None = None
        self.look: Callable[[], None] = lambda: None
        """Looks for functions to follow; called where a script has just imported or defined something, if ever."""
        self.turn: Callable[[], None] = lambda: None
        """Told that a batch begins in a process that loads data."""
        self.watch: Callable[[int], None] = lambda level: None
        """Told what is to be watched from now on, as Sampling has it."""
        self._lock = threading.Lock()

    def fail(self) -> None:
        """Something of ours raised: say so once, stop collecting, let the training go on."""
        with self._lock:
            if self.failed:
                return
            self.failed = True
            self.buffers.process.append((STOPPED, STOPPED_BY_FAILURE))
            self.close()
        sys.stderr.write(f"traincheck: collection stopped after an internal error:\n{traceback.format_exc()}")

    def close(self) -> None:
        """Record nothing from now on."""
        self.steps_gate.open = self.full_gate.open = False
        self.watch(NOTHING)

    def _mark_step(self, seq: int, step: int, at_once: bool) -> None:
        if not self.steps_gate.open:
            return  # the end of a call that was under way when collection ended
        self.changes.end_step((seq, step, MARK_STEP), (self.steps.turned, step, MARK_LEFT))
        if not self.sampling.everything:
            self._sample(step, at_once)
        if self.full_gate.open:
            self.look()
        if self.step_ended is not None:
            self.step_ended()

    def _sample(self, step: int, at_once: bool) -> None:
        """Decide what is recorded of a step that begins."""
        if self.sampling.begin(step, at_once, self.steps.countable):
            self.changes.forget()
        told = not self.steps.counting or self.step_ended is not None
        self.steps.defer(0 if told else self.sampling.spare(step))

    def _watches(self, level: int) -> None:
        self.steps.counting = level == COUNTING
        self.watch(level)

    # What follows is told by the targets; each is called within the call that it is about. What happens in every step
    # is told as a Watch tells it, as one more function in between costs as much as some of these.

    def starter(self, thread: Thread, opened: Open, receiver: Any, items: Values) -> None:
        """An event that begins an iteration."""
        steps = self.steps
        if steps.waits:
            if steps.first == NULL:
                self._note_first(opened)
            steps.starter(opened.enter)

    def fetch_entered(self, thread: Thread, opened: Open, loader: Any, items: Values) -> None:
        """A batch is asked for, which begins an iteration unless there is none left."""
        steps, sampling = self.steps, self.sampling
        if steps.first == NULL:
            self._note_first(opened)
        if steps.fetch(opened.enter) and not sampling.everything and sampling.foresee(steps.step + 1):
            self.changes.forget()

    def fetch_left(self, thread: Thread, opened: Open, loader: Any, returned: bool) -> None:
        """A batch has come or not."""
        if returned:
            self.steps.fetched(opened.enter)
        else:
            self.steps.fetch_ended(opened.enter)
        if self.sampling.foreseen is not None and self.steps_gate.open:
            self.sampling.forget()

    def _note_first(self, opened: Open) -> None:
        self.buffers.add("marks", opened.enter, 0, MARK_FIRST)

    def autocast_changed(self) -> None:
        """Autocast was entered or left on this thread."""
        thread = self.calls.threads.get(threading.get_ident())
        if thread is not None:
            thread.autocast = self.contexts.autocast()

    def module_entered(self, thread: Thread, opened: Open, module: Module, items: Values) -> None:
        """A forward was entered outside any other: a root's."""
        if not self.calls.started:
            self.look()
        self.calls.started = True
        if self.steps.waits:
            self.starter(thread, opened, module, items)
        if self.full_gate.open:
            self.variables.called(module)
            if torch.is_grad_enabled():
                if not self._stepped:
                    self.changes.data(opened.parent)
                elif self.changes.follows_flags:
                    self.changes.flags(opened.parent)

    def module_left(self, thread: Thread, opened: Open, module: Module, result: Any) -> None:
        """The forward of a module with buffers returned: they may have moved."""
        if self.full_gate.open:
            self.changes.buffers(opened.enter, module._buffers.values())

    def optimizer_built(self, call: int, optimizer: Optimizer) -> None:
        """An optimizer was constructed or given other parameters; what has changed until now is `call`'s doing."""
        self._hold(optimizer, call)
        self.changes.data(call)
        self.gradients.sweep(call)

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
        self.gradients.sweep(NULL)

    def step_entered(self, thread: Thread, opened: Open, optimizer: Optimizer, items: Values) -> None:
        """An optimizer's step begins."""
        full = self.full_gate.open
        holding = self._holdings.get(opened.receiver)
        others, reset = holding.moved(optimizer) if full and holding is not None else (False, False)
        # one that we never saw, or whose groups were changed behind our back
        if holding is None or (others and holding.tensors != held_by(optimizer)):
            self.optimizer_built(opened.parent, optimizer)
        self.calls.started = True
        self.steps.enter_optimizer(opened.enter, opened.receiver)
        if full:
            self._stepped = True
            self.gradients.sweep_both(NULL, opened.parent)
            self.changes.states(BEFORE_STEP, opened.enter, opened.receiver, self._holdings[opened.receiver].tensors)
            if reset and self.hyperparameters.follows:
                self.hyperparameters.look(optimizer, opened.parent)

    def step_left(self, thread: Thread, opened: Open, optimizer: Optimizer, loss: Any) -> None:
        """An optimizer's step ends; `loss` is that of a closure it was given."""
        if not self.full_gate.open:
            return
        holding = self._holdings[opened.receiver]
        self.gradients.sweep_both(opened.enter, opened.enter, loss is None and holding.counts_writes(optimizer))
        self.changes.states(AFTER_STEP, opened.enter, opened.receiver, holding.tensors)
        if self.moments.wanted:
            self.moments.note(optimizer, opened.enter)
        self._last_steps[opened.receiver] = opened.enter
        if self.needs.metrics:
            for index, group in enumerate(optimizer.param_groups):
                self.metric(opened.enter, f"lr.{index}", group.get("lr"))

    def settings_changed(self, optimizer: Optimizer, call: int) -> None:
        """A call has set what it had to set of an optimizer's hyperparameters."""
        if self.hyperparameters.follows:
            self.hyperparameters.look(optimizer, call)
            holding = self._holdings.get(self.objects.number(optimizer))
            if holding is not None:
                holding.see_settings(optimizer)

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
        if isinstance(value, torch.Tensor):
            value = _number_in(value)
        if isinstance(value, int | float):
            self.buffers.add("metrics", seq, float(value), self.buffers.names(name))

    def _hold(self, optimizer: Optimizer, call: int) -> None:
        self.steps.catch_up()  # from here on there may be another one
        self._holdings.look(self.objects.number(optimizer), optimizer)
        self.variables.optimized(optimizer)
        self.hyperparameters.look(optimizer, call)


def _number_in(tensor: torch.Tensor) -> float | None:
    """The one number of a tensor that is at hand: of what does its operations itself, it may not be."""
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__ or not tensor.is_cpu:
        return None
    with undisturbed():
        return None if tensor.is_meta or tensor.numel() != 1 else tensor.item()
