"""Starts one process per rank on this machine, as a user's launch script does."""

import os
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def launch(worker: Callable[[int, Any], None], world: int, args: Any, timeout: float = 60) -> None:
    """Run `worker(rank, args)` in `world` gloo processes on loopback; exit with 1 when one of them fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    processes = [
        context.Process(target=_rank, args=(worker, rank, world, port, args, timeout)) for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(int(any(process.exitcode for process in processes)))


def _rank(worker: Callable[[int, Any], None], rank: int, world: int, port: int, args: Any, timeout: float) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world, timeout=timedelta(seconds=timeout))
    worker(rank, args)
    dist.destroy_process_group()
