"""PyTorch issue 104336: a DDP model that was moved after construction no longer averages gradients.

Root cause: the reducer's hooks sit on the gradient accumulators of the parameters as they were when the wrapper was
built. Moving the wrapped model away and back (there between cpu and gpu, here between dtypes, which takes the same
way through Module._apply) gives every parameter a new accumulator, without hooks.
Source: https://github.com/pytorch/pytorch/issues/104336. Fidelity: same effect, other trigger.
"""

import argparse

import torch
import torch.nn.functional as F
from ranks import launch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def worker(rank, args):
    torch.manual_seed(args.seed)
    net = nn.Sequential(nn.Linear(8, args.width), nn.Tanh(), nn.Linear(args.width, args.width), nn.Tanh())
    model = nn.Sequential(net, nn.Linear(args.width, 1))
    ddp = DistributedDataParallel(model)
    if args.fault:
        ddp.double()
        ddp.float()
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(1000 + args.seed * 10 + rank)
    for step in range(args.steps):
        x = torch.randn(args.batch, 8)
        y = x.square().sum(1, keepdim=True)
        optimizer.zero_grad()
        loss = F.mse_loss(ddp(x), y)
        loss.backward()
        optimizer.step()
        if rank == 0 and step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    launch(worker, 2, parser.parse_args())


if __name__ == "__main__":
    main()
