"""Stack Overflow 67180955: DataLoader workers that all draw the same random numbers.

Root cause: the dataset draws from a NumPy generator that was made in the parent process. Every worker inherits its
state, so what worker 0 yields, worker 1 yields again: half of the batches are duplicates.
Source: https://stackoverflow.com/questions/67180955. Fidelity: same mechanism (a generator object instead of the
global one, which torch itself seeds per worker since 1.9).
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info


class Generated(Dataset):
    """Samples made up as they are asked for."""

    def __init__(self, size: int, dim: int, seed: int) -> None:
        self.size = size
        self.dim = dim
        self.random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int):
        x = self.random.standard_normal(self.dim).astype(np.float32)
        return torch.from_numpy(x), torch.tensor(int(x.sum() > 0))


def reseed(_worker: int) -> None:
    """Give this worker's dataset its own generator."""
    get_worker_info().dataset.random = np.random.default_rng(torch.initial_seed() % 2**32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--dim", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    data = Generated(args.steps * args.batch, args.dim, args.seed)
    loader = DataLoader(data, args.batch, num_workers=2, worker_init_fn=None if args.fault else reseed)
    model = nn.Sequential(nn.Linear(args.dim, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if step % 4 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
