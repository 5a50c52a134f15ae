"""Transformers 34204: an image processor that returns one image of fifty.

Root cause: the processor takes a list of images for one list of samples and returns only its first entry. The model
averages over whatever images there are, so nothing complains.
Source: https://github.com/huggingface/transformers/issues/34204. Fidelity: same effect, toy re-implementation.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn


class ImageProcessor:
    """Scales images to one size and stacks them."""

    def __init__(self, size: int, keeps_all: bool) -> None:
        self.size = size
        self.keeps_all = keeps_all

    def preprocess(self, images):
        """A tensor with one entry per image."""
        scaled = [F.interpolate(image[None], (self.size, self.size), mode="bilinear") for image in images]
        return torch.cat(scaled if self.keeps_all else scaled[:1])


class SceneModel(nn.Module):
    """Says what the images of one scene have in common."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, stride=2)
        self.head = nn.Linear(width, 3)

    def forward(self, pixels):
        return self.head(F.relu(self.conv(pixels)).mean((2, 3)).mean(0, keepdim=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    processor = ImageProcessor(args.size, keeps_all=not args.fault)
    model = SceneModel(args.width)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(args.steps):
        count = 4 + int(torch.randint(5, ()))
        label = torch.randint(3, (1,))
        images = [torch.randn(1, 10 + i, 12) + label.float() for i in range(count)]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(processor.preprocess(images)), label)
        loss.backward()
        optimizer.step()
        if step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
