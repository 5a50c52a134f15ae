"""Accelerate 2665: the optimizer is built before the model is wrapped for sharding.

Root cause: FullyShardedDataParallel replaces the parameters by flat ones. An optimizer that was built before keeps the
old tensors, which nobody trains any more; its steps change nothing.
Source: https://github.com/huggingface/accelerate/issues/2665. Fidelity: same mechanism.
"""

import argparse
import warnings

import torch
import torch.nn.functional as F
from ranks import launch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel


def worker(rank, args):
    warnings.simplefilter("ignore")
    torch.manual_seed(args.seed)
    model = nn.Sequential(nn.Linear(10, args.width), nn.ReLU(), nn.Linear(args.width, 4))
    if args.fault:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    wrapped = FullyShardedDataParallel(model, device_id=torch.device("cpu"))
    if not args.fault:
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.2)
    torch.manual_seed(1000 + args.seed * 10 + rank)
    for step in range(args.steps):
        x = torch.randn(args.batch, 10)
        y = x[:, :4].argmax(1)
        optimizer.zero_grad()
        loss = F.cross_entropy(wrapped(x), y)
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
