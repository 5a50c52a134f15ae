"""PyTorch issue 96600: gather and broadcast deliver wrong data between GPUs.

Root cause: hardware and driver. Ranks average their gradients through dist.all_gather, and one rank receives
garbage in place of a part of what the other sent. Simulated below the library's API, in the process group: from
step `--at` on the first entries of what rank 1 receives are zeros.
Source: https://github.com/pytorch/pytorch/issues/96600. Fidelity: simulation.
"""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from ranks import launch
from torch import nn


class Done:
    """A transfer that has ended."""

    def wait(self, *_timeout):
        return True


def break_link(at):
    """From its call number `at` on, the process group's allgather loses the first entries of what others sent."""
    whole, used = dist.ProcessGroup.allgather, [0]

    def allgather(group, outputs, inputs, *options):
        work = whole(group, outputs, inputs, *options)
        work.wait()
        if used[0] >= at:
            outputs[0][0][:8] = 0
        used[0] += 1
        return Done()

    dist.ProcessGroup.allgather = allgather


def average_gradients(model):
    """Data parallelism by hand."""
    flat = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    parts = [torch.empty_like(flat) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, flat)
    mean = torch.stack(parts).mean(0)
    for parameter in model.parameters():
        size = parameter.numel()
        parameter.grad.copy_(mean[:size].view_as(parameter))
        mean = mean[size:]


def worker(rank, args):
    torch.manual_seed(args.seed)
    model = nn.Sequential(nn.Linear(10, args.width), nn.ReLU(), nn.Linear(args.width, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    if args.fault and rank == 1:
        break_link(args.at)
    torch.manual_seed(1000 + args.seed * 10 + rank)
    for step in range(args.steps):
        x = torch.randn(args.batch, 10)
        y = x[:, :4].argmax(1)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        average_gradients(model)
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
