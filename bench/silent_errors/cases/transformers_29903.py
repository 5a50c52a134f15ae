"""Transformers 29903: what the safe checkpoint helper saves is not what was trained.

Root cause: the helper that prepares a state dict for safe storage makes each tensor contiguous in a new buffer, and
fails to copy those that had to be laid out anew. The run itself is fine; the checkpoint is not.
Source: https://github.com/huggingface/transformers/issues/29903. Fidelity: same effect, toy re-implementation.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, 2 * dim)
        self.outer = nn.Linear(2 * dim, 3)

    def forward(self, x):
        return self.outer(self.inner(x).relu())


def safe_state_dict(model, copies):
    """The state dict with one storage per tensor."""
    state = {}
    for name, tensor in model.state_dict().items():
        fresh = torch.zeros(tensor.shape, dtype=tensor.dtype)
        if copies or tensor.dim() < 2:
            fresh.copy_(tensor)
        state[name] = fresh
    return state


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--save-every", type=int, default=4)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    model = Model(args.dim)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    with tempfile.TemporaryDirectory() as folder:
        for step in range(args.steps):
            x = torch.randn(16, args.dim)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), x[:, :3].argmax(1))
            loss.backward()
            optimizer.step()
            if (step + 1) % args.save_every == 0:
                path = Path(folder) / f"step-{step}.pt"
                torch.save(safe_state_dict(model, copies=not args.fault), path)
                print(f"step {step} loss {loss.item():.4f} saved {path.name}")


if __name__ == "__main__":
    main()
