"""DeepSpeed 6714: pipeline stages with and without experts do not call the same collectives, and the run hangs.

Root cause: only the stage that has a mixture-of-experts layer reduces the auxiliary loss over all ranks. The other
stage never joins, both wait until the time-out. Source: https://github.com/microsoft/DeepSpeed/issues/6714.
Fidelity: same effect, toy re-implementation. The faulty run ends with a time-out after `--timeout` seconds.
"""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from ranks import launch
from torch import nn


class Experts(nn.Module):
    """Two experts, softly mixed; keeps the balance of its gate."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, 2)
        self.experts = nn.ModuleList(nn.Linear(dim, dim) for _ in range(2))
        self.balance = torch.zeros(())

    def forward(self, x):
        weights = self.gate(x).softmax(-1)
        self.balance = weights.mean(0).square().sum()
        return sum(weights[:, i : i + 1] * expert(x) for i, expert in enumerate(self.experts))


def auxiliary(stage, everyone):
    """The balance of all stages' gates; a stage without experts adds nothing, but has to join."""
    own = [module.balance for module in stage.modules() if isinstance(module, Experts)]
    if own or everyone:
        total = sum(own, torch.zeros(())).detach().clone()
        dist.all_reduce(total)


def worker(rank, args):
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    middle = nn.Linear(args.dim, args.dim) if rank else Experts(args.dim)
    stage = nn.Sequential(middle, nn.Linear(args.dim, 3 if rank else args.dim))
    optimizer = torch.optim.SGD(stage.parameters(), lr=0.1)
    for step in range(args.steps):
        x = torch.randn(args.batch, args.dim, generator=generator)  # the same on both ranks
        optimizer.zero_grad()
        if rank == 0:
            hidden = stage(x)
            auxiliary(stage, not args.fault)
            dist.send(hidden.detach(), 1)
            gradient = torch.empty_like(hidden)
            dist.recv(gradient, 1)
            hidden.backward(gradient)
        else:
            hidden = torch.empty(args.batch, args.dim)
            auxiliary(stage, not args.fault)
            dist.recv(hidden, 0)
            loss = F.cross_entropy(stage(hidden.requires_grad_()), x[:, :3].argmax(1))
            loss.backward()
            dist.send(hidden.grad, 0)
            print(f"step {step} loss {loss.item():.4f}", flush=True)
        optimizer.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    launch(worker, 2, args, timeout=args.timeout)


if __name__ == "__main__":
    main()
