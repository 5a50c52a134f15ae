"""Records collectives and transfers: who takes part, how many came before, what was given and what came of it."""

import threading
from collections.abc import Callable, Iterator
from threading import get_ident
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch.distributed import distributed_c10d as c10d

from traincheck.collect.buffers import NULL
from traincheck.collect.calls.apis import Api
from traincheck.collect.calls.calls import RETURNED, Open, Thread, Watch
from traincheck.collect.calls.summaries import SetTable
from traincheck.collect.monitor import Monitor
from traincheck.collect.ranks.channels import Groups
from traincheck.collect.ranks.collectives import Operation, Signature
from traincheck.trace.layout import LINK_RESULT

__all__ = ["Begun", "Exchange", "Exchanges"]

_FRAMES = 4
"""From `Calls.enter` up: we, the recorder, the trampoline, the caller."""


class Exchange(NamedTuple):
    """What rows about one collective or transfer need. `channel` is the id of its name; `root` the rank it names."""

    api: Api
    process_group: Any
    group: str
    receiver: Any
    channel: int
    number: int
    root: int
    written: str
    """The parameter that is written on this rank."""
    tensors: Any
    """What was passed for it."""


Begun = tuple[Thread, Open, Exchange]
"""A call about an exchange that has been entered."""


class _Inside(threading.local):
    """Whether this thread is inside an operation: what that calls in turn is how torch does it."""

    busy = False


class Exchanges:
    """The recorder of one process. All of them are counted, recorded or not, as the numbers must agree on all ranks."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._groups = Groups(monitor.buffers)
        self._inside = _Inside()
        self._watch = Watch(linked=False)
        self._watch.identify = lambda args: (args[0], args[1], args[2:])
        self.unfinished: Callable[[Any, Exchange], None] = lambda work, exchange: None
        """Told of every operation that was recorded and goes on when it returns, with the handle it returned."""

    def api(self, name: str, signature: Signature) -> Api:
        """The API of an operation."""
        api = self._monitor.apis.function(f"torch.distributed.{name}", signature.names)
        api.args = SetTable(signature.optional)
        return api

    def recorder(
        self, api: Api, operation: Operation, signature: Signature
    ) -> Callable[[FunctionType], Callable[..., Any]]:
        """What makes the stand-in for an operation from its original."""
        inside, monitor = self._inside, self._monitor

        def make(original: FunctionType) -> Callable[..., Any]:
            def record(*args: Any, **kwargs: Any) -> Any:
                if inside.busy or monitor.failed:
                    return original(*args, **kwargs)
                inside.busy = True
                try:
                    begun = self._begin(api, operation, signature.bind(args, kwargs))
                    try:
                        result = original(*args, **kwargs)
                    except BaseException as error:
                        self.raised(begun, error)
                        raise
                    self._left(begun, result)
                    return result
                finally:
                    inside.busy = False

            monitor.sites.ours(record.__code__)
            return record

        return make

    def enter(self, exchange: Exchange, api: Api, items: tuple[Any, ...], depth: int) -> Begun | None:
        """Open a call that is about an exchange."""
        calls = self._monitor.calls
        thread = calls.threads.get(get_ident()) or calls.new_thread()
        if thread.busy:
            return None
        opened = calls.enter(thread, self._watch, (api, exchange.receiver, *items), {}, depth)
        if opened is None:
            return None
        if exchange.number != NULL:
            self._monitor.buffers.add(
                "exchanges", opened.enter, exchange.number, exchange.channel, exchange.root, exchange.api.number
            )
        return thread, opened, exchange

    def ended(self, begun: Begun | None, written: bool) -> None:
        """Close a call that returned; `written` says that what the exchange writes is there."""
        if begun is None:
            return
        thread, opened, exchange = begun
        try:
            results = NULL
            if written and exchange.tensors is not None and opened.api.gives:
                results = self._monitor.summaries.describe(
                    opened.api.results, (exchange.written,), (exchange.tensors,), opened.enter, LINK_RESULT,
                    True, self._at_hand(exchange.tensors),
                )  # fmt: skip
            self._monitor.calls.close(thread, opened, results, RETURNED)
        except Exception:
            self._monitor.fail()

    def raised(self, begun: Begun | None, error: BaseException) -> None:
        """Close a call that raised."""
        if begun is None:
            return
        try:
            self._monitor.calls.leave_raised(begun[0], self._watch, begun[1], None, error)
        except Exception:
            self._monitor.fail()

    def _begin(self, api: Api, operation: Operation, values: dict[str, Any]) -> Begun | None:
        try:
            exchange = self._exchange(api, operation, values)
            steps = self._monitor.steps
            if exchange is not None and operation.receives and self._monitor.steps_gate.open and steps.waits:
                steps.starter(self._monitor.buffers.next_id())
            if exchange is None or not (api.wanted and self._monitor.full_gate.open):
                return None
            values |= {"group": exchange.group, "op": _op_name(values.get("op"))}
            if exchange.root != NULL:
                values[operation.root] = exchange.root
            begun = self.enter(exchange, api, tuple(values[name] for name in api.names), _FRAMES)
            given = operation.gives(exchange.root == c10d.get_rank())
            if begun is not None and given and api.takes:
                self._link(begun[1], given, values[given])
            return begun
        except Exception:
            self._monitor.fail()
            return None

    def _exchange(self, api: Api, operation: Operation, values: dict[str, Any]) -> Exchange | None:
        """What is about to happen, counted; None when this rank has no part in it."""
        found = self._groups.find(values.get("group"))
        if found is None:
            return None
        process_group, group = found
        rank, root = c10d.get_rank(), _root(operation, values, group.ranks)
        receiver, channel = process_group, group.channel
        if operation.transfer and root != NULL:
            ends = (root, rank) if operation.root == "src" else (rank, root)
            receiver = channel = group.between(*ends, values.get("tag") or 0)
            numbered = operation.root == "dst" or not group.mixed
        else:
            numbered = not operation.transfer
            group.mixed |= operation.transfer  # it may take what is meant for any of the channels to this rank
        number = channel.count() if numbered else NULL
        written = operation.writes(root == rank)
        return Exchange(
            api, process_group, group.text, receiver, channel.name, number, root, written, values.get(written)
        )

    def _link(self, opened: Open, name: str, given: Any) -> None:
        hashed = self._at_hand(given)
        for suffix, tensor in _tensors(given):
            self._monitor.summaries.link(opened.enter, name + suffix, tensor, 0, True, hashed)

    def _at_hand(self, value: Any) -> bool:
        """Whether fingerprints make nobody wait: on another device that were for all ranks that take part."""
        return all(self._monitor.changes.is_at_hand(tensor) for _, tensor in _tensors(value))

    def _left(self, begun: Begun | None, result: Any) -> None:
        """The original has returned; unless it returned a handle it has done what it does."""
        if begun is None:
            return
        exchange = begun[2]
        handed = result is not None and not isinstance(result, int)
        self.ended(begun, not handed and exchange.process_group not in c10d._world.pg_coalesce_state)
        if handed:
            self.unfinished(result, exchange)


def _root(operation: Operation, values: dict[str, Any], ranks: list[int]) -> int:
    """The global rank that a call names; NULL when it names none, or none that there is."""
    within = values.get(f"group_{operation.root}")
    if isinstance(within, int):
        return ranks[within] if 0 <= within < len(ranks) else NULL
    root = values.get(operation.root)
    if root is None and operation.root and not operation.transfer:
        return 0
    return root if isinstance(root, int) else NULL


def _op_name(op: Any) -> str | None:
    """`SUM` for the operation of a reduction."""
    return None if op is None else str(getattr(op, "op", op)).rpartition(".")[2]


def _tensors(value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors in an argument, each with what is added to the argument's name."""
    if isinstance(value, torch.Tensor):
        yield "", value
    elif isinstance(value, list | tuple):
        yield from ((f".{index}", item) for index, item in enumerate(value) if isinstance(item, torch.Tensor))
