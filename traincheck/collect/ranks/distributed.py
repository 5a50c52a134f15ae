"""What is watched of torch.distributed: process groups, collectives and transfers, and the wrappers of modules."""

import sys
from typing import Any

from torch.distributed import distributed_c10d as c10d
from torch.nn.parallel import DistributedDataParallel

from traincheck.collect.calls.calls import Open, Thread, Watch
from traincheck.collect.instrument.watcher import Watcher
from traincheck.collect.monitor import Monitor
from traincheck.collect.ranks.collectives import OPERATIONS, Signature
from traincheck.collect.ranks.exchanges import Exchanges
from traincheck.collect.ranks.works import Works

__all__ = ["Distributed"]

_NAME = "torch.distributed"
_SHARDING = "torch.distributed.fsdp"


class Distributed:
    """Everything of torch.distributed that is watched in one process."""

    def __init__(self, monitor: Monitor, watcher: Watcher) -> None:
        self._monitor = monitor
        self._watcher = watcher
        self._exchanges = Exchanges(monitor)
        self._works = Works(monitor, self._exchanges)
        self._sharding_found = False

    def install(self) -> None:
        """Watch what there is now."""
        self._watcher.function(c10d.init_process_group, f"{_NAME}.init_process_group", Watch(after=self._ranked))
        for method in ("__init__", "no_sync"):
            self._watcher.method(getattr(DistributedDataParallel, method), method, Watch())
        for name in ("new_group", "batch_isend_irecv"):
            self._watcher.function(getattr(c10d, name), f"{_NAME}.{name}", Watch())
        self._install_operations()
        self.look()

    def remove(self) -> None:
        """Take out what the watcher does not know of."""
        self._works.remove()

    def look(self) -> None:
        """Watch sharding once it has been imported: it is no part of `import torch`."""
        if self._sharding_found or (module := sys.modules.get(_SHARDING)) is None:
            return
        wrapper, function = (getattr(module, name, None) for name in ("FullyShardedDataParallel", "fully_shard"))
        if wrapper is None or function is None:
            return  # being imported
        self._sharding_found = True
        for method in ("__init__", "no_sync"):
            self._watcher.method(getattr(wrapper, method), method, Watch())
        self._watcher.function(function, f"{_SHARDING}.fully_shard", Watch())

    def _install_operations(self) -> None:
        """Watch all operations if any is wanted, as what one calls in its turn is not the script's; else the receiving.

        Steps are found through what receives.
        """
        signatures = {name: Signature(function) for name in OPERATIONS if (function := getattr(c10d, name, None))}
        apis = {name: self._exchanges.api(name, signature) for name, signature in signatures.items()}
        wanted = any(api.wanted for api in apis.values())
        for name, api in apis.items():
            if wanted or OPERATIONS[name].receives:
                make = self._exchanges.recorder(api, OPERATIONS[name], signatures[name])
                self._watcher.replace(getattr(c10d, name), make)
        if wanted:
            self._works.install()

    def _ranked(self, thread: Thread, opened: Open, receiver: Any, result: Any) -> None:
        self._monitor.ranked()
        self.look()
