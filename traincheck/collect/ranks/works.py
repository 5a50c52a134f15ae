"""Watches the handles of operations that go on when they return: what they write is there once they are waited for."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling
from torch.distributed import distributed_c10d as c10d

from traincheck.collect.monitor import Monitor
from traincheck.collect.ranks.exchanges import Begun, Exchange, Exchanges

__all__ = ["Works"]

_FRAMES = 5
"""From `Calls.enter` up: the exchanges, we, the recorder, the stand-in, the caller."""

_References = list[tuple[str, "weakref.ref[torch.Tensor]"]]


class Works:
    """Puts a stand-in in the place of `Work.wait`, which is a C function. No handle or tensor lives longer for it."""

    def __init__(self, monitor: Monitor, exchanges: Exchanges) -> None:
        self._monitor = monitor
        self._exchanges = exchanges
        self._api = monitor.apis.function("torch.distributed.Work.wait", ())
        self._api.wanted = True  # whenever the operation was
        self._pending: weakref.WeakKeyDictionary[Any, Callable[[], Exchange]] = weakref.WeakKeyDictionary()
        self._original: Any = None

    def install(self) -> None:
        """Watch waiting."""
        self._exchanges.unfinished = self._note
        original = self._original = c10d.Work.__dict__["wait"]
        recorded = self._recorder(c10d.Work.wait)

        def wait(self: Any, *args: Any, **kwargs: Any) -> Any:
            return (original if is_dynamo_compiling() else recorded)(self, *args, **kwargs)

        self._monitor.sites.ours(wait.__code__)
        wait.__doc__ = original.__doc__
        c10d.Work.wait = wait  # type: ignore[method-assign]

    def remove(self) -> None:
        """Put the C function back."""
        if self._original is not None:
            c10d.Work.wait = self._original  # type: ignore[method-assign]
            self._original = None

    def _recorder(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def record(work: Any, *args: Any, **kwargs: Any) -> Any:
            begun = self._begin(work)
            try:
                result = original(work, *args, **kwargs)
            except BaseException as error:
                self._exchanges.raised(begun, error)
                raise
            self._exchanges.ended(begun, True)
            return result

        self._monitor.sites.ours(record.__code__)
        return record

    def _note(self, work: Any, exchange: Exchange) -> None:
        if isinstance(work, c10d.Work):
            self._pending[work] = _weakly(exchange)

    def _begin(self, work: Any) -> Begun | None:
        """Open a call for the first time that a handle is waited for."""
        if not self._pending:
            return None
        try:
            revive = self._pending.pop(work, None)
            if revive is None or not self._monitor.full_gate.open:
                return None
            return self._exchanges.enter(revive(), self._api, (), _FRAMES)
        except Exception:
            self._monitor.fail()
            return None


def _weakly(exchange: Exchange) -> Callable[[], Exchange]:
    """The exchange, holding its tensors weakly; without them when one is gone."""
    tensors, held = exchange.tensors, exchange._replace(tensors=None)
    if isinstance(tensors, torch.Tensor):
        reference = weakref.ref(tensors)
        return lambda: held._replace(tensors=reference())
    if not isinstance(tensors, list | tuple):
        return lambda: held
    references = [weakref.ref(tensor) for tensor in tensors]

    def revive() -> Exchange:
        found = [reference() for reference in references]
        return held._replace(tensors=None if None in [id(t) for t in found] else found)

    return revive
