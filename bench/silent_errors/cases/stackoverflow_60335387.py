"""Stack Overflow 60335387: the training loop never clears its gradients.

Root cause: optimizer.zero_grad() is missing, so every step follows the sum of the gradients of all batches so far.
The loss still falls, only worse. Source: https://stackoverflow.com/questions/60335387. Fidelity: same mechanism.
"""

import argparse

import torch
from torch import nn


class Autoencoder(nn.Module):
    def __init__(self, dim: int, code: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, code))
        self.decoder = nn.Sequential(nn.Linear(code, 32), nn.ReLU(), nn.Linear(32, dim))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--code", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    basis = torch.randn(args.code, 20)
    model = Autoencoder(20, args.code)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-5)
    for step in range(args.steps):
        x = torch.randn(args.batch, args.code) @ basis
        loss = criterion(model(x), x)
        if not args.fault:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
