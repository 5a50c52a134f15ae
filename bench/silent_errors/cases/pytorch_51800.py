"""PyTorch issue 51800: spectral norm is wrong when the first forward is one in eval mode.

Root cause: the power iteration that estimates a weight's largest singular value runs in train-mode forwards only.
An evaluation before any training (a sanity check, or a baseline) divides by the estimate of random vectors.
Source: https://github.com/pytorch/pytorch/issues/51800. Fidelity: same mechanism.
"""

import argparse
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm


def evaluate(model, dim):
    model.eval()
    with torch.no_grad():
        x = torch.randn(32, dim)
        print(f"validation loss {F.mse_loss(model(x), x.tanh()).item():.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="steps per epoch")
    parser.add_argument("--dim", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    model = nn.Sequential(
        spectral_norm(nn.Linear(args.dim, 24)), nn.LeakyReLU(0.1), spectral_norm(nn.Linear(24, args.dim))
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    if args.fault:
        evaluate(model, args.dim)
    for epoch in range(args.epochs):
        model.train()
        for _ in range(args.steps):
            x = torch.randn(16, args.dim)
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), x.tanh())
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")
        evaluate(model, args.dim)


if __name__ == "__main__":
    main()
