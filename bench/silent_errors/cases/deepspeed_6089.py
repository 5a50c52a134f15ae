"""DeepSpeed 6089: ranks with different expert capacities exchange different numbers of times, and the run hangs.

Root cause: without tokens dropped, the capacity of the experts is what the fullest one needs, and each rank computes it
from its own tokens. The exchange goes in rounds of fixed size, so a rank with a larger capacity calls one more
collective than the others, which never join. Source: https://github.com/microsoft/DeepSpeed/issues/6089.
Fidelity: same effect, toy re-implementation. The faulty run ends with a time-out after `--timeout` seconds.
"""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from ranks import launch
from torch import nn

ROUND = 4


class Dispatch(nn.Module):
    """Sends every token to the rank of its expert, a few at a time, and back."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expert = nn.Linear(dim, dim)

    def forward(self, x, chosen, capacity):
        world = dist.get_world_size()
        out = torch.zeros_like(x)
        for start in range(0, capacity, ROUND):
            sent = x.new_zeros(world, ROUND, x.shape[1])
            places = [(chosen == e).nonzero().flatten()[start : start + ROUND] for e in range(world)]
            for expert, tokens in enumerate(places):
                sent[expert, : len(tokens)] = x[tokens]
            received = torch.empty_like(sent)
            dist.all_to_all_single(received, sent)
            with torch.no_grad():
                answered = self.expert(received)
            returned = torch.empty_like(answered)
            dist.all_to_all_single(returned, answered)
            for expert, tokens in enumerate(places):
                out[tokens] = returned[expert, : len(tokens)]
        return out


class MoE(nn.Module):
    def __init__(self, dim: int, agree: bool) -> None:
        super().__init__()
        self.agree = agree
        self.gate = nn.Linear(dim, dist.get_world_size())
        self.dispatch = Dispatch(dim)
        self.head = nn.Linear(dim, 3)

    def forward(self, x):
        weight, chosen = self.gate(x).softmax(1).max(1)
        capacity = chosen.bincount(minlength=dist.get_world_size()).max()
        if self.agree:
            dist.all_reduce(capacity, dist.ReduceOp.MAX)
        mixed = self.dispatch(x.detach(), chosen, int(capacity))
        return self.head(x + weight[:, None] * mixed)


def worker(rank, args):
    torch.manual_seed(args.seed)
    model = MoE(args.dim, agree=not args.fault)
    optimizer = torch.optim.SGD([*model.gate.parameters(), *model.head.parameters()], lr=0.1)
    torch.manual_seed(1000 + args.seed * 10 + rank)
    for step in range(args.steps):
        # lengths differ between ranks after the third step, and the capacities with them
        tokens = 8 + (8 * (1 - rank) if step >= 3 else 0)
        x = torch.randn(tokens, args.dim)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), x[:, :3].argmax(1))
        loss.backward()
        optimizer.step()
        if rank == 0 and step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    launch(worker, 2, args, timeout=args.timeout)


if __name__ == "__main__":
    main()
