"""A few steps of a linear model: the smallest real training there is. `--fault NAME` leaves something out."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--fault", choices=["none", "no_step", "no_zero_grad"], default="none")
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(options.seed)
model = nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(options.steps):
    inputs, targets = torch.randn(8, 3), torch.randint(0, 2, (8,))
    if options.fault != "no_zero_grad":
        optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs), targets)
    loss.backward()
    if options.fault != "no_step":
        optimizer.step()
print(f"last loss {loss.item():.3f}")
