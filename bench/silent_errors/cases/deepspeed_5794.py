"""DeepSpeed issue 5794: mixture of experts whose ranks do not agree on the capacity.

Root cause: each rank derives the experts' capacity from its own number of tokens. Without an all_reduce of the
maximum the ranks dispatch with different capacities, and the one with the smaller drops tokens that have a place.
Source: https://github.com/microsoft/DeepSpeed/issues/5794. Fidelity: same effect, toy re-implementation (the buffers
are padded to one size, so nothing hangs).
"""

import argparse
import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from ranks import launch
from torch import nn

ROOM = 24


class Exchange(torch.autograd.Function):
    """All-to-all of equal parts, forward and backward."""

    @staticmethod
    def forward(ctx, x):
        out = torch.empty_like(x)
        dist.all_to_all_single(out, x.contiguous())
        return out

    @staticmethod
    def backward(ctx, gradient):
        out = torch.empty_like(gradient)
        dist.all_to_all_single(out, gradient.contiguous())
        return out


class Experts(nn.Module):
    """One expert per rank. Tokens beyond an expert's capacity are dropped."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expert = nn.Sequential(nn.Linear(dim, 16), nn.ReLU(), nn.Linear(16, dim))

    def forward(self, x, chosen, capacity):
        world = dist.get_world_size()
        buffer = x.new_zeros(world, ROOM, x.shape[1])
        places = []
        for expert in range(world):
            tokens = (chosen == expert).nonzero().flatten()[:capacity]
            buffer[expert, : len(tokens)] = x[tokens]
            places.append(tokens)
        mixed = Exchange.apply(self.expert(Exchange.apply(buffer)))
        out = torch.zeros_like(x)
        for expert, tokens in enumerate(places):
            out = out.index_copy(0, tokens, mixed[expert, : len(tokens)])
        return out


class MoE(nn.Module):
    def __init__(self, dim: int, agree: bool) -> None:
        super().__init__()
        self.agree = agree
        self.gate = nn.Linear(dim, dist.get_world_size())
        self.experts = Experts(dim)
        self.head = nn.Linear(dim, 3)

    def forward(self, x):
        scores = self.gate(x).softmax(1)
        weight, chosen = scores.max(1)
        capacity = torch.tensor(math.ceil(0.6 * len(x)))
        if self.agree:
            dist.all_reduce(capacity, dist.ReduceOp.MAX)
        return self.head(x + weight[:, None] * self.experts(x, chosen, int(capacity)))


def average_gradients(model):
    """Data parallelism for all but the experts, which differ between ranks."""
    for name, parameter in model.named_parameters():
        if "expert" not in name:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


def worker(rank, args):
    torch.manual_seed(args.seed)
    model = MoE(args.dim, agree=not args.fault)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.manual_seed(1000 + args.seed * 10 + rank)
    for step in range(args.steps):
        x = torch.randn(8 + 8 * (1 - rank) + step % 3, args.dim)  # sequences differ in length
        y = x[:, :3].argmax(1)
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
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    launch(worker, 2, parser.parse_args())


if __name__ == "__main__":
    main()
