"""Transformers 23723: generation writes more tokens than it was allowed to.

Root cause: the prompt is trimmed to the model's context, but the length at which to stop is computed from the prompt
before it was trimmed, plus max_new_tokens. Long prompts give too many new tokens.
Source: https://github.com/huggingface/transformers/pull/23723. Fidelity: same effect, toy re-implementation.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

CONTEXT = 12
VOCABULARY = 16


class Writer(nn.Module):
    """A recurrent language model that can generate."""

    trims_first = True

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, dim)
        self.cell = nn.GRU(dim, dim, batch_first=True)
        self.head = nn.Linear(dim, VOCABULARY)

    def forward(self, tokens):
        return self.head(self.cell(self.embed(tokens))[0])

    def trim(self, prompt):
        """What fits into the context."""
        return prompt[:, -CONTEXT:]

    @torch.no_grad()
    def generate(self, prompt, max_new_tokens):
        """The new tokens."""
        tokens = self.trim(prompt)
        limit = (tokens if self.trims_first else prompt).shape[1] + max_new_tokens
        start = tokens.shape[1]
        while tokens.shape[1] < limit:
            following = self(tokens)[:, -1].argmax(-1, keepdim=True)
            tokens = torch.cat([tokens, following], 1)
        return tokens[:, start:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--dim", type=int, default=12)
    parser.add_argument("--new", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    model = Writer(args.dim)
    Writer.trims_first = not args.fault
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for step in range(args.steps):
        model.train()
        first = torch.randint(VOCABULARY, (8, 1))
        text = (first + torch.arange(10)) % VOCABULARY
        optimizer.zero_grad()
        loss = F.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        if step % 3 == 2:
            model.eval()
            prompt = torch.arange(4 + 2 * step).view(1, -1) % VOCABULARY  # prompts grow, the later ones are trimmed
            written = model.generate(prompt, max_new_tokens=args.new)
            print(f"step {step} loss {loss.item():.4f} wrote {written.flatten().tolist()}")


if __name__ == "__main__":
    main()
