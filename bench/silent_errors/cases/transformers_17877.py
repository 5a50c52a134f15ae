"""Transformers 17877: weights are initialised again by every nested model.

Root cause: each model's constructor ends in post_init, which applies _init_weights to everything below. A model that
contains other models initialises their parameters once more, and the second time overwrites whatever special
initialisation they had and draws other random numbers.
Source: https://github.com/huggingface/transformers/pull/17877. Fidelity: same mechanism.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn


class PreTrained(nn.Module):
    """The base class of a model library."""

    marks = True

    def post_init(self):
        self.apply(self._initialise)

    def _initialise(self, module):
        if getattr(module, "initialised", False):
            return
        self._init_weights(module)
        if PreTrained.marks:
            module.initialised = True

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.2)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)


class Encoder(PreTrained):
    def __init__(self, vocabulary: int, dim: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, dim)
        self.mix = nn.Linear(dim, dim)
        self.post_init()

    def forward(self, tokens):
        return F.relu(self.mix(self.embed(tokens))).mean(1)


class Classifier(PreTrained):
    def __init__(self, vocabulary: int, dim: int) -> None:
        super().__init__()
        self.encoder = Encoder(vocabulary, dim)
        self.head = nn.Linear(dim, 3)
        self.post_init()

    def forward(self, tokens):
        return self.head(self.encoder(tokens))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--dim", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    PreTrained.marks = not args.fault
    model = Classifier(args.vocabulary, args.dim)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(args.steps):
        tokens = torch.randint(args.vocabulary, (16, 6))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(tokens), tokens[:, 0] % 3)
        loss.backward()
        optimizer.step()
        if step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
