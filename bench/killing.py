#!/usr/bin/env python3
"""Kill one process of a data-parallel run at a random moment, again and again, and read what it has left behind.

    python bench/killing.py [--runs N] [--seed S] [--work DIR]

The process is the one that started the ranks or a rank; every other run is started by torchrun. Just before, the trace
is copied. Afterwards it must be read without an error, and hold every call that the copy holds, of every process.
Exit status 0 when it does in all runs.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from traincheck.errors import TraceError
from traincheck.facts import load_facts

SCRIPT = Path(__file__).resolve().parent / "counted_ddp.py"
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint"]
LENGTH = ["--epochs", "40", "--batches", "20"]
RANKS = 2
PATIENCE = 60.0
"""Seconds that the ranks have to begin, and the others to end."""

Seen = set[tuple[int, str, int]]
"""Call, API and rank."""


def start(folder: Path, run: int) -> subprocess.Popen[bytes]:
    """A run into `folder`/trace, in a process group of its own."""
    starter = [*TORCHRUN, "127.0.0.1:0"] if run % 2 else []
    command = [sys.executable, "-c", "from traincheck.cli import collect_main; collect_main()", "-o", folder / "trace"]
    return subprocess.Popen(
        [*map(str, command), *starter, str(SCRIPT), "--counts", str(folder), *LENGTH],
        stderr=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def traced(trace: Path) -> list[int]:
    """The processes that have written into the trace."""
    return [int(folder.name.rpartition("-")[2]) for folder in trace.glob("process-*")]


def calls(trace: Path) -> Seen:
    """All calls of a trace; nothing where there is none yet."""
    try:
        return {(row["id"], row["api"], row["rank"]) for row in load_facts(trace)["call"].to_pylist()}
    except TraceError:
        if any(trace.glob("process-*/calls*")):
            raise
        return set()


def kill_one(folder: Path, run: int, chance: random.Random) -> tuple[str, Seen]:
    """Start a run, kill one of its processes, wait for the others: what was done, and the calls just before."""
    with start(folder, run) as running:
        try:
            deadline = time.monotonic() + PATIENCE
            while len(traced(folder / "trace")) < RANKS and time.monotonic() < deadline:
                time.sleep(0.1)
            moment = chance.uniform(0.0, 5.0)
            time.sleep(moment)
            victim = chance.choice([running.pid, *traced(folder / "trace")])
            if (folder / "trace").exists():
                shutil.copytree(folder / "trace", folder / "before")
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            for rank in traced(folder / "trace"):  # torchrun's are in groups of their own
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rank, signal.SIGKILL)
    what = "the starter" if victim == running.pid else "a process with a trace"
    return f"{what} {moment:.1f} s after both ranks had begun", calls(folder / "before") if (
        folder / "before"
    ).exists() else set()


def losses(folder: Path, before: Seen) -> Iterator[str]:
    """What is wrong with what was left."""
    after = calls(folder / "trace")
    if lost := before - after:
        yield f"{len(lost)} calls are lost, such as {min(lost)}"
    ids = [number for number, _, _ in after]
    if len(set(ids)) < len(ids):
        yield "calls are doubled"


def main() -> int:
    """Run, kill, read, say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keep the traces here")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="killing-"))
    chance, wrong = random.Random(args.seed), 0
    for run in range(args.runs):
        folder = work / f"run-{run}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        done, before = kill_one(folder, run, chance)
        found = list(losses(folder, before))
        wrong += bool(found)
        ending = "; ".join(found) or f"all {len(before)} calls on disk are there, {len(calls(folder / 'trace'))} in all"
        print(f"run {run}: killed {done}: {ending}", flush=True)
    print(f"{args.runs - wrong} of {args.runs} traces read, nothing that was written lost")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
