#!/usr/bin/env python3
"""What collection costs a training loop, within one process: blocks of steps with and without it take turns.

    python bench/alternate.py [--rules FILE|PACK]... [--every N] [--budget SHARE] [--block STEPS] SCRIPT [ARGS]...

Two runs of one script differ, on most machines, by more than collection costs; neighbouring blocks of one run do not.
Told is the median, over all pairs of neighbouring blocks, of the ratio of the time of the one with collection to that
of the other: of the clock, and of the processor time of the whole process, writing included. The first steps
of a block, in which collection takes stock, are left aside. Without --rules everything is collected.
"""

import argparse
import atexit
import functools
import os
import runpy
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from traincheck.cli.collect import needs_for
from traincheck.collect.calls.sampling import ALL, NOTHING
from traincheck.collect.install import own_monitor
from traincheck.collect.needs import Needs
from traincheck.collect.settings import Settings
from traincheck.trace.place import prepare_output

WARMUP, SETTLING = 60, 4


class Alternation:
    """Opens and closes a monitor's gates every so many steps, and keeps the time of each block."""

    def __init__(self, block: int) -> None:
        self.monitor: Any = None
        self._block = block
        self._steps, self._open = 0, True
        self._begun = (0.0, 0.0)
        self.blocks: list[tuple[bool, float, float]] = []

    def step(self) -> None:
        """An optimizer has stepped."""
        self._steps += 1
        place = (self._steps - WARMUP) % self._block
        if self._steps < WARMUP:
            return
        if place == 0:
            self._open = not self._open
            self.monitor.steps_gate.open = self._open
            self.monitor.sampling.set(ALL if self._open else NOTHING)
            if self.monitor.sampling.governor is not None:
                self.monitor.sampling.governor.pause()
            if self._open:
                self.monitor.changes.forget()
        elif place == SETTLING:
            self._begun = time.perf_counter(), time.process_time()
        elif place == self._block - 1:
            clock, processor = self._begun
            steps = self._block - 1 - SETTLING
            self.blocks.append(
                (self._open, (time.perf_counter() - clock) / steps, (time.process_time() - processor) / steps)
            )

    def report(self) -> None:
        """Print the medians."""
        if len(self.blocks) < 3:
            raise SystemExit(f"alternate: {self._steps} steps are too few for blocks of {self._block}")
        pairs = [(a, b) if a[0] else (b, a) for a, b in pairwise(self.blocks)]
        clock, processor = (statistics.median(on[kind] / off[kind] for on, off in pairs) for kind in (1, 2))
        plain = statistics.median(time for on, time, _ in self.blocks if not on)
        added = statistics.median(on[1] - off[1] for on, off in pairs)
        ratios = f"{clock:.3f}x ({processor:.3f}x)"
        print(f"{1000 * plain:.2f} ms a step, {1e6 * added:+.0f} us | {ratios} | {len(pairs)} pairs", file=sys.stderr)


def followed(step: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    """An optimizer's method that does something more at its end; a hook of torch's would be code of the user's."""

    @functools.wraps(step)
    def stepped(*args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        then()
        return result

    return stepped


def main() -> None:
    """Run the script, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", action="append", default=[], help="collect what these rules or invariants need")
    parser.add_argument("--every", type=int, default=1, help="as that of traincheck collect")
    parser.add_argument("--budget", type=float, default=0.0, help="as that of traincheck collect, 0.02 for 2%%")
    parser.add_argument("--block", type=int, default=24, help="steps in a block")
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    trace = Path(tempfile.mkdtemp(prefix="alternate-")) / "trace"
    atexit.register(shutil.rmtree, trace.parent, ignore_errors=True)
    prepare_output(trace)
    needs = needs_for(args.rules) if args.rules else Needs()
    settings = Settings(trace=trace, cwd=str(Path.cwd()), needs=needs, every=args.every, budget=args.budget)
    settings.manifest().write(trace)
    alternation = Alternation(args.block)
    for optimizer in vars(torch.optim).values():
        if isinstance(optimizer, type) and "step" in vars(optimizer):
            optimizer.step = followed(optimizer.step, alternation.step)  # type: ignore[attr-defined]
    alternation.monitor = own_monitor(lambda: settings)
    sys.argv = [args.script, *args.arguments]
    sys.path.insert(0, str(Path(args.script).resolve().parent))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    runpy.run_path(args.script, run_name="__main__")
    alternation.report()


if __name__ == "__main__":
    main()
