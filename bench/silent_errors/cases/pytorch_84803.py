"""PyTorch issue 84803: peer-to-peer transfers between GPUs lose data, and replicas drift apart.

Root cause: hardware and driver. What arrives on one device is not what the other sent. Simulated by a DDP
communication hook: from step `--at` on, the second half of each reduced bucket arrives as zeros on rank 1.
Source: https://github.com/pytorch/pytorch/issues/84803. Fidelity: simulation.
"""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from ranks import launch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Link:
    """Averages a bucket over the ranks; a broken one loses half of it on the way."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.used = 0

    def reduce(self, _state, bucket):
        """Do what a DDP communication hook does."""
        future = dist.all_reduce(bucket.buffer().div_(dist.get_world_size()), async_op=True).get_future()
        broken = self.at is not None and self.used >= self.at
        self.used += 1

        def arrived(done):
            buffer = done.value()[0]
            if broken:
                buffer[buffer.numel() // 2 :] = 0
            return buffer

        return future.then(arrived)


def worker(rank, args):
    torch.manual_seed(args.seed)
    model = nn.Sequential(nn.Linear(10, args.width), nn.ReLU(), nn.BatchNorm1d(args.width), nn.Linear(args.width, 4))
    ddp = DistributedDataParallel(model)
    link = Link(args.at if args.fault and rank == 1 else None)
    ddp.register_comm_hook(None, link.reduce)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
    torch.manual_seed(1000 + args.seed * 10 + rank)
    for step in range(args.steps):
        x = torch.randn(args.batch, 10)
        y = x[:, :4].argmax(1)
        optimizer.zero_grad()
        loss = F.cross_entropy(ddp(x), y)
        loss.backward()
        optimizer.step()
        if rank == 0 and step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--at", type=int, default=3)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    launch(worker, 2, parser.parse_args())


if __name__ == "__main__":
    main()
