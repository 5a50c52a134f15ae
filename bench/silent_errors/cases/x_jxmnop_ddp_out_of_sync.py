"""x.com/jxmnop: data-parallel replicas that drift apart.

Root cause: the forward pass goes through the bare module instead of the DistributedDataParallel wrapper, so the
reducer never learns of it and gradients are not averaged. Every rank trains a model of its own.
Fidelity: same mechanism.
"""

import argparse

import torch
import torch.nn.functional as F
from ranks import launch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def worker(rank, args):
    torch.manual_seed(args.seed)
    net = nn.Sequential(nn.Linear(10, args.width), nn.GELU(), nn.LayerNorm(args.width), nn.Linear(args.width, 3))
    ddp = DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(ddp.parameters(), lr=0.01)
    torch.manual_seed(1000 + args.seed * 10 + rank)
    for step in range(args.steps):
        x = torch.randn(args.batch, 10)
        y = x[:, :3].argmax(1)
        optimizer.zero_grad()
        forward = net if args.fault else ddp  # the mistake: the wrapper is what reduces gradients
        loss = F.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()
        if rank == 0 and step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    launch(worker, 2, parser.parse_args())


if __name__ == "__main__":
    main()
