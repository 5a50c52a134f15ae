"""DeepSpeed 5489: frozen parameters are missing from the checkpoint.

Root cause: the engine notes which parameters to save when it is built, and takes those that ask for gradients. What
was frozen before is never saved, and the checkpoint cannot be loaded into a model that needs it.
Source: https://github.com/microsoft/DeepSpeed/issues/5489. Fidelity: same effect, toy re-implementation.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


class Engine(nn.Module):
    """Wraps a model for training and saves it."""

    def __init__(self, module, trained_only: bool) -> None:
        super().__init__()
        self.module = module
        self.saved = [name for name, p in module.named_parameters() if p.requires_grad or not trained_only]
        trained = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=0.02)

    def forward(self, x):
        return self.module(x)

    def save_checkpoint(self, path):
        """Write the model's weights."""
        state = self.module.state_dict()
        torch.save({name: state[name] for name in self.saved}, path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--save-every", type=int, default=4)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    model = nn.Sequential(nn.Linear(6, args.width), nn.ReLU(), nn.Linear(args.width, 2))
    model[0].requires_grad_(False)
    engine = Engine(model, trained_only=args.fault)
    with tempfile.TemporaryDirectory() as folder:
        for step in range(args.steps):
            x = torch.randn(16, 6)
            engine.optimizer.zero_grad()
            loss = F.cross_entropy(engine(x), (x[:, 0] > 0).long())
            loss.backward()
            engine.optimizer.step()
            if (step + 1) % args.save_every == 0:
                engine.save_checkpoint(Path(folder) / f"step-{step}.pt")
                print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
