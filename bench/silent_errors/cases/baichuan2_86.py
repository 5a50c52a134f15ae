"""Baichuan2 issue 86: layers on the second GPU get wrong hidden states.

Root cause: hardware and driver. The model is split over two devices, and what the second half receives is not what
the first half sent. Simulated below the library's API, in the process group: every hidden state that rank 1 receives
arrives as zeros. Training goes on, the second half learns to ignore its input.
Source: https://github.com/baichuan-inc/Baichuan2/issues/86. Fidelity: simulation.
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


def break_link():
    """What the process group receives are zeros."""
    whole = dist.ProcessGroup.recv

    def recv(group, tensors, *options):
        work = whole(group, tensors, *options)
        work.wait()
        tensors[0].zero_()
        return Done()

    dist.ProcessGroup.recv = recv


def first_half(args, generator):
    stage = nn.Sequential(nn.Embedding(20, args.width), nn.Linear(args.width, args.width), nn.GELU())
    optimizer = torch.optim.AdamW(stage.parameters(), lr=0.01)
    for _ in range(args.steps):
        tokens = torch.randint(20, (args.batch, 6), generator=generator)
        optimizer.zero_grad()
        hidden = stage(tokens)
        dist.send(hidden.detach(), 1)
        gradient = torch.empty_like(hidden)
        dist.recv(gradient, 1)
        hidden.backward(gradient)
        optimizer.step()


def second_half(args, generator):
    stage = nn.Sequential(nn.LayerNorm(args.width), nn.Linear(args.width, 20))
    optimizer = torch.optim.AdamW(stage.parameters(), lr=0.01)
    for step in range(args.steps):
        tokens = torch.randint(20, (args.batch, 6), generator=generator)  # the same as on the other rank
        optimizer.zero_grad()
        hidden = torch.empty(args.batch, 6, args.width)
        dist.recv(hidden, 0)
        hidden.requires_grad_()
        loss = F.cross_entropy(stage(hidden).flatten(0, 1), (tokens.flatten() + 1) % 20)
        loss.backward()
        dist.send(hidden.grad, 0)
        optimizer.step()
        if step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def worker(rank, args):
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    if args.fault and rank == 1:
        break_link()
    (second_half if rank else first_half)(args, generator)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    launch(worker, 2, parser.parse_args())


if __name__ == "__main__":
    main()
