"""DeepSpeed 6772: initialisation overwrites the modules' own `id`, and they are placed wrongly.

Root cause: the engine numbers all modules for its own bookkeeping under the attribute `id`. The model uses an `id` of
its own to say on which rank an expert belongs, and afterwards every expert lands on the wrong one.
Source: https://github.com/microsoft/DeepSpeed/issues/6772. Fidelity: same effect, toy re-implementation.
"""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from ranks import launch
from torch import nn


class Expert(nn.Module):
    def __init__(self, number: int, dim: int) -> None:
        super().__init__()
        self.id = number
        self.up = nn.Linear(dim, 2 * dim)
        self.down = nn.Linear(2 * dim, dim)

    def forward(self, x):
        return self.down(self.up(x).relu())


class Mixture(nn.Module):
    def __init__(self, dim: int, experts: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, experts)
        self.experts = nn.ModuleList(Expert(number, dim) for number in range(experts))
        self.head = nn.Linear(dim, 3)

    def forward(self, x):
        weights = self.gate(x).softmax(-1)
        mixed = sum(weights[:, i : i + 1] * expert(x) for i, expert in enumerate(self.experts))
        return self.head(x + mixed)


def number_modules(model, attribute):
    """The engine's bookkeeping."""
    for number, module in enumerate(model.modules()):
        setattr(module, attribute, number)


def placed(model, rank):
    """The parameters that this rank trains: what is not an expert's, and its own experts'."""
    mine = [*model.gate.parameters(), *model.head.parameters()]
    for expert in model.experts:
        if expert.id % dist.get_world_size() == rank:
            mine += expert.parameters()
    return mine


def worker(rank, args):
    torch.manual_seed(args.seed)
    model = Mixture(args.dim, args.experts)
    number_modules(model, "id" if args.fault else "engine_id")
    optimizer = torch.optim.Adam(placed(model, rank), lr=0.01)
    for step in range(args.steps):
        x = torch.randn(16, args.dim)
        model.zero_grad()
        loss = F.cross_entropy(model(x), x[:, :3].argmax(1))
        loss.backward()
        optimizer.step()
        for expert in model.experts:  # everyone gets what the owner has trained
            for parameter in expert.parameters():
                dist.broadcast(parameter.data, expert.id % dist.get_world_size())
        if rank == 0 and step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--experts", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    launch(worker, 2, parser.parse_args())


if __name__ == "__main__":
    main()
