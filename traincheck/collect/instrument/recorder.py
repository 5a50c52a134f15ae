"""Makes the functions that stand in for watched ones: record the call, run the original, record the outcome.

There are two kinds, which record the same: one in C, where it could be compiled, and one in Python.
"""

from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch

from traincheck.collect.calls import calls, sites, summaries
from traincheck.collect.calls.apis import Api
from traincheck.collect.calls.calls import Watch
from traincheck.collect.calls.contexts import Contexts
from traincheck.collect.calls.sampling import Gate
from traincheck.collect.compiled import NATIVE
from traincheck.collect.monitor import Monitor

__all__ = ["Recorders"]


class Recorders:
    """Makes recorders for one monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._state = None if NATIVE is None else _state(monitor)

    def swapped(self, original: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
        """What a trampoline calls in place of `original`."""
        return self._recorder(original, watch, 1)

    def shim(self, original: Callable[..., Any], watch: Watch, frames: int) -> Callable[..., Any]:
        """What stands in for a C function, with so many frames of ours below its caller."""
        if self._state is None:
            return self._recorder(original, watch, frames - 1)  # it is a function itself, whose frame is one of them
        compiled = self._recorder(original, watch, frames)

        def record(*args: Any, **kwargs: Any) -> Any:  # a function, as others expect to find in a module
            return compiled(*args, **kwargs) if kwargs else compiled(*args)

        self._monitor.sites.ours(record.__code__)
        return record

    def _recorder(self, original: Callable[..., Any], watch: Watch, frames: int) -> Callable[..., Any]:
        """A recorder, with so many frames of ours between its own, if it has one, and its caller's."""
        monitor = self._monitor
        gate = monitor.steps_gate if watch.structural else monitor.full_gate
        passed = watch.frequent and not watch.open_always  # straight through, in steps that are left out
        if self._state is None:
            return _in_python(monitor, original, watch, gate, passed, frames)
        found: Callable[..., Any] = NATIVE.Recorder(
            self._state, original, watch, gate, frames, passed, watch.api is None
        )
        return found


def _state(monitor: Monitor) -> Any:
    recorded, needs, buffers = monitor.calls, monitor.needs, monitor.buffers
    classes = (Api, Contexts, Gate, summaries.SetTable, calls.Thread, Watch)
    NATIVE.use({each.__name__: each for each in classes})
    return NATIVE.State(
        Tensor=torch.Tensor, Parameter=torch.nn.Parameter, dtype=torch.dtype,
        device=torch.device, exchange=getattr(torch.Tensor, "__dlpack_c_exchange_api__", None),
        Scalars=summaries.ScalarsKey, item_names=summaries.ITEM_NAMES, one=summaries.ONE,
        is_grad_enabled=torch.is_grad_enabled, is_inference=torch.is_inference_mode_enabled,
        monitor=monitor, calls=recorded, threads=recorded.threads, steps=monitor.steps,
        pending=monitor.steps.pending, full=monitor.full_gate,
        fingerprint=monitor.changes.read, links=buffers.rows("links"),
        names=buffers.names, known_names=buffers.names.known,
        rows=buffers.rows("calls"), counter=buffers.counter, summaries=monitor.summaries,
        objects=monitor.objects, known_objects=monitor.objects.known,
        contexts=monitor.contexts, wants_contexts=needs.contexts,
        sites=monitor.sites, codes=monitor.sites.codes, foreign=sites.FOREIGN, ours=sites.OURS, wants_sites=needs.sites,
    )  # fmt: skip


def _in_python(
    monitor: Monitor, original: Callable[..., Any], watch: Watch, gate: Gate, passed: bool, frames: int
) -> Callable[..., Any]:
    recorded, full, steps = monitor.calls, monitor.full_gate, monitor.steps
    forward, is_method = watch.forward, watch.api is None
    depth = frames + 2  # from `Calls.enter` up: the recorder, those frames, the caller
    threads, enter, leave, leave_raised = recorded.threads, recorded.enter, recorded.leave, recorded.leave_raised

    def record(*args: Any, **kwargs: Any) -> Any:
        if not gate.open or (passed and not full.open and not steps.waits):
            return original(*args, **kwargs)
        thread = threads.get(get_ident())
        if thread is None:
            thread = recorded.new_thread()
        elif thread.busy or (forward and not full.open and thread.stack and thread.stack[-1].in_forward):
            return original(*args, **kwargs)
        try:
            opened = enter(thread, watch, args, kwargs, depth)
        except Exception:
            monitor.fail()
            opened = None
        if opened is None:
            return original(*args, **kwargs)
        try:
            result = original(*args, **kwargs) if kwargs else original(*args)
        except BaseException as error:
            try:
                leave_raised(thread, watch, opened, args[0] if is_method else None, error)
            except Exception:
                monitor.fail()
            raise
        try:
            leave(thread, watch, opened, args[0] if is_method else None, result)
        except Exception:
            monitor.fail()
        return result

    monitor.sites.ours(record.__code__)
    return record
