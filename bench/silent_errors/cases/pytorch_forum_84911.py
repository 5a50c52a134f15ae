"""PyTorch forum 84911: the model does not learn, because almost everything is frozen.

Root cause: the loop that freezes the backbone tests for the wrong names. Everything but the batch norms loses
requires_grad, the head included, and the optimizer is given nothing but the head. backward() works (the batch
norms still ask for gradients), step() runs, and no parameter ever moves.
Source: https://discuss.pytorch.org/t/84911. Fidelity: same mechanism.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)
        self.head = nn.Linear(width * 16, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn(self.conv(x))), 2)
        return self.head(x.flatten(1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    labels = torch.randint(4, (args.steps * args.batch,))
    images = torch.randn(len(labels), 1, 8, 8) + labels.view(-1, 1, 1, 1)
    loader = DataLoader(TensorDataset(images, labels), args.batch, shuffle=True)
    model = Net(args.width)
    trained = "bn" if args.fault else "head"  # the mistake: what stays trainable is not what the optimizer gets
    for name, parameter in model.named_parameters():
        parameter.requires_grad = trained in name
    optimizer = torch.optim.Adam(model.head.parameters(), lr=0.01)

    model.train()
    for step, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
