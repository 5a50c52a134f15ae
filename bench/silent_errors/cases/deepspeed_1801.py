"""DeepSpeed issue 1801 (BLOOM-176B): replicated parameters drift apart between tensor-parallel ranks.

Root cause: for the gradient norm, replicated parameters (layer norms, biases) are counted on tensor-parallel rank 0
only. The BF16 optimizer used that same list for clipping, so the replicated gradients of other ranks were never
clipped. Source: https://github.com/microsoft/DeepSpeed/pull/1801. Fidelity: same effect, re-created logic.
"""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from ranks import launch
from torch import nn


class CopyToRegion(torch.autograd.Function):
    """The identity whose gradient is summed over the ranks."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient


class ReduceFromRegion(torch.autograd.Function):
    """The sum over the ranks whose gradient is the identity."""

    @staticmethod
    def forward(ctx, x):
        x = x.contiguous()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class ParallelMLP(nn.Module):
    """Every rank has a share of the hidden units; the layer norm and the head are replicated."""

    def __init__(self, dim: int, hidden: int, rank: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 4)
        share = hidden // dist.get_world_size()
        generator = torch.Generator().manual_seed(17 + rank)
        self.up = nn.Parameter(0.2 * torch.randn(share, dim, generator=generator))
        self.down = nn.Parameter(0.2 * torch.randn(dim, share, generator=generator))
        for sharded in (self.up, self.down):
            sharded.tensor_model_parallel = True

    def forward(self, x):
        h = CopyToRegion.apply(self.norm(x))
        h = F.linear(F.gelu(F.linear(h, self.up)), self.down)
        return self.head(x + ReduceFromRegion.apply(h))


def clip(model, rank, limit, everything):
    """Clip by the norm over all ranks; replicated parameters are counted once."""
    parameters = list(model.parameters())
    owned = [p for p in parameters if rank == 0 or getattr(p, "tensor_model_parallel", False)]
    total = sum(p.grad.square().sum() for p in owned)
    dist.all_reduce(total)
    scale = limit / (total.sqrt() + 1e-6)
    if scale < 1:
        for p in parameters if everything else owned:
            p.grad.mul_(scale)


def worker(rank, args):
    torch.manual_seed(args.seed)
    model = ParallelMLP(args.dim, 16, rank)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(args.steps):
        x = 3 * torch.randn(16, args.dim)
        y = x[:, :4].argmax(1)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        clip(model, rank, 0.3, everything=not args.fault)
        optimizer.step()
        if rank == 0 and step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--dim", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    launch(worker, 2, parser.parse_args())


if __name__ == "__main__":
    main()
