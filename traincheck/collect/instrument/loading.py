"""Watches how data reaches the training: loaders, samplers, and the processes that load for them."""

from functools import cache
from typing import Any

from torch.utils.data._utils import fetch, worker
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torch.utils.data.distributed import DistributedSampler

from traincheck.collect.calls.apis import Api
from traincheck.collect.calls.calls import Open, Thread, Watch
from traincheck.collect.instrument.trampoline import parameter_names
from traincheck.collect.instrument.watcher import Watcher
from traincheck.collect.monitor import Monitor

_NEXT = "torch.utils.data.dataloader.DataLoader.__next__"
_PLACE = ("place",)
"""Which batch of its pass is asked for, as if it were an argument."""
_FETCH = "torch.utils.data.dataloader.DataLoader.fetch"


def install_loading(monitor: Monitor, watcher: Watcher) -> None:
    """Watch batches as the training gets them, and in loading processes as they are made."""

    api = cache(lambda: monitor.apis.function(_NEXT, _PLACE))  # not before the first: who loads nothing has none

    def of_iterator(args: tuple[Any, ...]) -> tuple[Api, Any, tuple[Any, ...]]:
        (iterator,) = args  # which has its loader's number
        found = api()
        if not found.takes:  # then the class is all there is to ask about
            watch.by_class[type(iterator)] = found
        return found, iterator, (iterator._num_yielded,)

    watch = Watch(
        before=monitor.fetch_entered,
        always=monitor.fetch_left,
        hashed=True,
        frequent=True,
    )
    watcher.identified(_BaseDataLoaderIter.__next__, of_iterator, watch)
    for method in ("__init__", "__iter__"):
        watcher.method(getattr(DistributedSampler, method), method, Watch())
    position = parameter_names(worker._worker_loop.__code__).index("worker_id")

    def loads(args: tuple[Any, ...]) -> None:
        monitor.be_worker(str(args[position]))
        monitor.look()
        _install_fetching(monitor, watcher)

    watcher.notice(worker._worker_loop, loads)


def _install_fetching(monitor: Monitor, watcher: Watcher) -> None:
    """Watch the making of batches; in the process that trains it is part of getting them."""

    def of_fetcher(args: tuple[Any, ...]) -> tuple[Api, Any, tuple[Any, ...]]:
        return monitor.apis.function(_FETCH, ()), None, ()

    def begins(thread: Thread, opened: Open, receiver: Any, items: tuple[Any, ...]) -> None:
        monitor.turn()

    for name in ("_MapDatasetFetcher", "_IterableDatasetFetcher"):
        watch = Watch(before=begins, hashed=True, structural=False)
        watcher.identified(getattr(fetch, name).fetch, of_fetcher, watch)
