#!/usr/bin/env python3
"""Trains a small classifier on two ranks and counts its own calls: `counts-RANK.json` in the folder `--counts`.

Started by hand it starts its ranks itself; under torchrun it is one of them.
"""

import argparse
import json
import os
import socket
from collections import Counter
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

WORLD = 2


def worker(rank: int, args: argparse.Namespace) -> None:
    """One rank."""
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    counts: Counter[str] = Counter()
    data = TensorDataset(torch.randn(args.batches * WORLD * 8, 12), torch.randint(0, 3, (args.batches * WORLD * 8,)))
    sampler = DistributedSampler(data, num_replicas=WORLD, rank=rank)
    loader = DataLoader(data, 8, sampler=sampler)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        counts["torch.utils.data.distributed.DistributedSampler.set_epoch"] += 1
        for x, y in loader:
            counts["torch.utils.data.dataloader.DataLoader.__next__"] += 1
            optimizer.zero_grad()
            counts["torch.optim.sgd.SGD.zero_grad"] += 1
            loss = F.cross_entropy(model(x), y)
            counts["torch.nn.parallel.distributed.DistributedDataParallel.forward"] += 1
            counts["torch.nn.functional.cross_entropy"] += 1
            loss.backward()
            counts["torch.Tensor.backward"] += 1
            optimizer.step()
            counts["torch.optim.sgd.SGD.step"] += 1
            shown = loss.detach().clone()
            dist.all_reduce(shown)
            counts["torch.distributed.all_reduce"] += 1
        counts["torch.utils.data.dataloader.DataLoader.__next__"] += 1  # the one that says that there are no more
        scheduler.step()
        counts["torch.optim.lr_scheduler.StepLR.step"] += 1
    counts["torch.optim.lr_scheduler.StepLR.step"] += 1  # its construction steps it
    (args.counts / f"counts-{rank}.json").write_text(json.dumps(counts))
    dist.destroy_process_group()


def _spawned(rank: int, port: int, args: argparse.Namespace) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    worker(rank, args)


def main() -> None:
    """Start the ranks, or be one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batches", type=int, default=6, help="batches of each rank and epoch")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
        worker(dist.get_rank(), args)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_spawned, args=(port, args), nprocs=WORLD)


if __name__ == "__main__":
    main()
