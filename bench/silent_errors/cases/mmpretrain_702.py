"""MMPretrain 702: frozen stages are not frozen unless train() is called.

Root cause: the backbone freezes its first stages in its own train() and nowhere else. A script that never calls
model.train() (a new module is in train mode anyway) trains the stages that its configuration says are frozen.
Source: https://github.com/open-mmlab/mmpretrain/issues/702. Fidelity: same mechanism.
"""

import argparse
import itertools

import torch
import torch.nn.functional as F
from torch import nn


class Backbone(nn.Module):
    def __init__(self, width: int, frozen_stages: int) -> None:
        super().__init__()
        self.frozen_stages = frozen_stages
        channels = [1, width, width, 2 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in itertools.pairwise(channels)
        )

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return x.mean((2, 3))

    def train(self, mode=True):
        super().train(mode)
        self._freeze_stages()
        return self

    def _freeze_stages(self):
        for stage in self.stages[: self.frozen_stages]:
            stage.eval()
            for parameter in stage.parameters():
                parameter.requires_grad = False


class Classifier(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = Backbone(width, frozen_stages=1)
        self.head = nn.Linear(2 * width, 4)

    def forward(self, x):
        return self.head(self.backbone(x))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6, help="steps per epoch")
    parser.add_argument("--width", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    model = Classifier(args.width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(args.epochs):
        if not args.fault:
            model.train()
        for _ in range(args.steps):
            y = torch.randint(4, (16,))
            x = torch.randn(16, 1, 6, 6) + y.view(-1, 1, 1, 1)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
