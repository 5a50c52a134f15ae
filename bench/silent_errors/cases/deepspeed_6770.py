"""DeepSpeed 6770: the optimizer's parameters are not the model's, and initialisation dies of a KeyError.

Root cause: the engine looks up the names of the optimizer's parameters in a table made from the model. An optimizer
that was built from another copy of the model has parameters that are in no table. The message says nothing of that.
Source: https://github.com/microsoft/DeepSpeed/issues/6770. Fidelity: same effect, toy re-implementation. Not silent:
the faulty run exits with an exception, and the trace has to say why.
"""

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import nn


class Engine(nn.Module):
    """Wraps a model and its optimizer."""

    def __init__(self, module, optimizer) -> None:
        super().__init__()
        self.module = module
        self.optimizer = optimizer
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        self.names = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]

    def forward(self, x):
        return self.module(x)

    def step(self):
        """One update."""
        self.optimizer.step()
        self.optimizer.zero_grad()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    model = nn.Sequential(nn.Linear(6, args.width), nn.Sigmoid(), nn.Linear(args.width, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    if args.fault:
        model = copy.deepcopy(model)
    engine = Engine(model, optimizer)
    for step in range(args.steps):
        x = torch.randn(16, 6)
        loss = F.cross_entropy(engine(x), (x[:, 0] > 0).long())
        loss.backward()
        engine.step()
        if step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
