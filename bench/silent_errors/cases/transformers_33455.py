"""Transformers 33455: the trainer stops before the epochs that were asked for are over.

Root cause: the number of updates per epoch is computed as len(loader) // accumulation, while the last, partial group of
an epoch is an update too. The planned total is too small and the loop ends in the middle of an epoch.
Source: https://github.com/huggingface/transformers/issues/33455. Fidelity: same effect, toy re-implementation.
"""

import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Trainer:
    """The loop of a training library."""

    def __init__(self, model, loader, epochs: int, accumulate: int, rounding) -> None:
        self.model = model
        self.loader = loader
        self.epochs = epochs
        self.accumulate = accumulate
        self.max_steps = epochs * rounding(len(loader) / accumulate)
        self.global_step = 0
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        self.scheduler = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, 0.1, self.max_steps)

    def train(self):
        """Train until the planned number of updates is reached."""
        self.model.train()
        for epoch in range(self.epochs):
            for index, (x, y) in enumerate(self.loader):
                loss = F.mse_loss(self.model(x), y) / self.accumulate
                loss.backward()
                if (index + 1) % self.accumulate == 0 or index + 1 == len(self.loader):
                    self.update()
                    if self.global_step >= self.max_steps and index + 1 < len(self.loader):
                        return
            print(f"epoch {epoch} updates {self.global_step} loss {loss.item() * self.accumulate:.4f}")
            if self.global_step >= self.max_steps:
                return

    def update(self):
        """One optimizer step."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        self.global_step += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batches", type=int, default=7)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    x = torch.randn(args.batches * 8, 6)
    loader = DataLoader(TensorDataset(x, x.prod(1, keepdim=True)), 8, shuffle=True)
    model = nn.Sequential(nn.Linear(6, args.width), nn.ReLU(), nn.Linear(args.width, 1))
    rounding = math.floor if args.fault else math.ceil
    trainer = Trainer(model, loader, args.epochs, args.accumulate, rounding)
    trainer.train()
    print(f"{trainer.global_step} updates")


if __name__ == "__main__":
    main()
