"""PyTorch issue 115607: a compiled optimizer step that stays a no-op for ever.

Root cause: a missing guard. The step was compiled in an iteration without gradients, where it has nothing to do,
and the compiled nothing is used again when gradients are back. Fixed in torch itself, so simulated by an optimizer
that keeps the specialisation of its first gradient-less call.
Source: https://github.com/pytorch/pytorch/issues/115607. Fidelity: simulation (the compiler's bug is fixed).
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn


class CompiledAdam(torch.optim.Adam):
    """Adam whose step is specialised on whether there are gradients."""

    guarded = True

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.empty_graph = False

    def step(self, closure=None):
        gradients = any(p.grad is not None for group in self.param_groups for p in group["params"])
        if not gradients:
            self.empty_graph = True
        if self.empty_graph and not (gradients and self.guarded):
            return None
        return super().step(closure)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--skip", type=int, default=4, help="the iteration without a backward")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    model = nn.Sequential(nn.Linear(8, args.width), nn.ELU(), nn.Linear(args.width, 2))
    optimizer = CompiledAdam(model.parameters(), lr=0.01)
    CompiledAdam.guarded = not args.fault
    for step in range(args.steps):
        x = torch.randn(16, 8)
        y = (x.sum(1) > 0).long()
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        if step != args.skip:
            loss.backward()
        optimizer.step()
        if step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
