"""A small digits classifier, as a user writes it.

With `--frozen` it repeats a mistake from the PyTorch forum (thread 84911): everything but the batch norms is
frozen, and the optimizer gets the head, which is frozen too. It runs, prints losses, and learns nothing.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn


class Classifier(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(16 * width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--frozen", action="store_true", help="plant the mistake")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    data = torch.utils.data.TensorDataset(images, torch.tensor(digits.target))
    loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True, drop_last=True)

    model = Classifier(args.width)
    if args.frozen:
        for module in model.modules():
            if not isinstance(module, nn.BatchNorm2d):
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad = False
        optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_function = nn.CrossEntropyLoss()

    for epoch in range(args.epochs):
        model.train()
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = loss_function(model(batch), labels)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracy = (model(images).argmax(1) == data.tensors[1]).float().mean()
        print(f"epoch {epoch} loss {loss.item():.4f} accuracy {accuracy.item():.3f}")


if __name__ == "__main__":
    main()
