"""Lightning Thunder 725: autocast is not applied to some operations of a traced function.

Root cause: the transform that inserts casts knows a fixed set of symbols. An operation that reached it under another
symbol was executed in float32 inside an autocast region, without a word. Simulated by a layer whose traced linear
runs with autocast switched off. Source: https://github.com/Lightning-AI/lightning-thunder/issues/725.
Fidelity: simulation (another library).
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn


class Traced(nn.Linear):
    """A linear layer run by an executor that decides on autocast by itself."""

    casts = True

    def forward(self, x):
        if self.casts:
            return F.linear(x, self.weight, self.bias)
        with torch.autocast("cpu", enabled=False):
            return F.linear(x.float(), self.weight, self.bias)


class Block(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up = Traced(dim, 2 * dim)
        self.down = nn.Linear(2 * dim, dim)

    def forward(self, x):
        return x + self.down(F.silu(self.up(self.norm(x))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    model = nn.Sequential(*(Block(args.dim) for _ in range(args.layers)), nn.Linear(args.dim, 5))
    Traced.casts = not args.fault
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(args.steps):
        x = torch.randn(16, args.dim)
        y = x[:, :5].argmax(1)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
