"""What recording one call costs in full collection: `python bench/event.py`.

A module calls a function of torch on a small tensor again and again, in blocks with and without collection that take
turns. Told are the processor time of the calling thread an event, in microseconds, and the bytes that an event takes
on disk.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from traincheck.collect.calls.sampling import ALL, NOTHING
from traincheck.collect.install import own_monitor
from traincheck.collect.settings import Settings
from traincheck.trace.place import prepare_output

CALLS, BLOCKS = 500, 60


class Many(nn.Module):
    """Calls one function many times."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last result."""
        for _ in range(CALLS):
            y = F.relu(x)
        return y


def _block(model: nn.Module, x: torch.Tensor) -> float:
    start = time.thread_time()
    model(x)
    return (time.thread_time() - start) / CALLS * 1e6


def main() -> None:
    """Print the two figures."""
    torch.set_num_threads(1)
    model, x = Many(), torch.randn(4, 4)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        prepare_output(trace)
        settings = Settings(trace=trace, cwd=folder)
        settings.manifest().write(trace)
        monitor = own_monitor(lambda: settings)
        model(x)
        differences = []
        for _ in range(BLOCKS):
            monitor.sampling.set(NOTHING)
            plain = _block(model, x)
            monitor.sampling.set(ALL)
            differences.append(_block(model, x) - plain)
        print(f"{statistics.median(differences):.2f} us an event")
        time.sleep(5)  # some flushes
        size = sum(file.stat().st_size for file in trace.rglob("*.arrow"))
        print(f"{size / (CALLS * (BLOCKS + 1)):.1f} bytes an event")


if __name__ == "__main__":
    main()
