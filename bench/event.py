"""What recording one call costs in full collection: `python bench/event.py`.

A module calls a function of torch on a small tensor again and again, in blocks with and without collection. Told are
the processor time of the calling thread an event, in microseconds, and the bytes an event takes on disk.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import traincheck

CALLS, BLOCKS = 500, 40


class Many(nn.Module):
    """Calls one function many times."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last result."""
        for _ in range(CALLS):
            y = F.gelu(x)
        return y


def _blocks(model: nn.Module, x: torch.Tensor) -> float:
    times = []
    for _ in range(BLOCKS):
        start = time.thread_time()
        model(x)
        times.append((time.thread_time() - start) / CALLS * 1e6)
    return statistics.median(times)


def main() -> None:
    """Print the two figures."""
    torch.set_num_threads(1)
    model, x = Many(), torch.randn(4, 4)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        plain = _blocks(model, x)
        traincheck.watch(model, output=Path(folder) / "trace")
        print(f"{_blocks(model, x) - plain:.2f} us an event")
        time.sleep(2)  # two flushes
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.arrow"))
        print(f"{size / (CALLS * BLOCKS):.1f} bytes an event")


if __name__ == "__main__":
    main()
