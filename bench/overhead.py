#!/usr/bin/env python3
"""What collection costs a training loop: the ratio of its time with collection to its time without.

    python bench/overhead.py [--scenarios DIR] [--only NAME]... [--rounds N] [--mode MODE]... [--json FILE]
    python bench/overhead.py --event           what recording one call costs, in microseconds

Each round runs every mode once, plain first, so that what else the machine does falls on all alike; the table
shows the medians over the rounds of each mode's ratio to the plain run of its round: of the loop's time, and of the
processor time of the process that trains. Every run's final weights and random state must be those of the
plain run, bit for bit; exit status 1 when one is not.

Without --scenarios it needs nothing but torch, and runs the scripts that stand beside it; with CUDA they train
on the GPU.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
MODES = ("full", "learned", "pack", "sampled", "budget")
LEARNED = ("learned", "sampled", "budget")

# name -> script, arguments, arguments of a second reference run; a script of ours where no folder is named
SCENARIOS = {
    "vision": ("vision.py", ["--epochs", "40", "--steps", "0"], ["--seed", "1"]),
    "lm": ("lm.py", ["--steps", "200"], ["--seed", "1"]),
    "lm-256": ("lm.py", ["--steps", "30", "--dim", "256", "--layers", "4"], ["--seed", "1"]),
    "ddp": ("ddp.py", ["--epochs", "10", "--steps", "0"], ["--seed", "1"]),
}
LONGER = 5 if torch.cuda.is_available() else 1  # kernels are compiled and loaded in the first steps
OURS = {
    "tiny": ("overhead_model.py", ["--dim", "64", "--layers", "2", "--steps", str(300 * LONGER)], ["--seed", "1"]),
    "large": ("overhead_model.py", ["--dim", "1024", "--layers", "8", "--steps", str(40 * LONGER)], ["--seed", "1"]),
}


class Bench:
    """The runs of one scenario."""

    def __init__(self, script: Path, arguments: Sequence[str], work: Path, modes: Sequence[str]) -> None:
        self.script, self.arguments, self.work = script, list(arguments), work
        self.modes = modes
        self.learned = work / "learned.rules"
        self.world = 2 if script.stem == "ddp" else 1
        self.environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1073741824"}

    def learn(self, variation: Sequence[str]) -> None:
        """Invariants of two short runs, for the modes that need them."""
        references = []
        for index, extra in enumerate(([], variation)):
            references.append(str(self.work / f"reference-{index}"))
            self._run([*_traincheck("collect"), "-o", references[-1], str(self.script), *extra])
        self._run([*_traincheck("infer"), *references, "-o", str(self.learned)])

    def one(self, mode: str) -> dict[str, Any]:
        """One run; what `digest.py` tells of it, of rank 0 with the weights of all ranks."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        ranks = {"WORLD_SIZE": str(self.world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        started = [
            subprocess.Popen(
                self._command(mode, rank),
                stdout=subprocess.DEVNULL,
                env=self.environment | (ranks | {"RANK": str(rank)} if self.world > 1 else {}),
            )
            for rank in range(self.world)
        ]
        statuses = [process.wait() for process in started]
        if any(statuses):
            raise SystemExit(f"overhead: a run of {self.script} failed")
        told = [json.loads((self.work / f"result-{rank}.json").read_text()) for rank in range(self.world)]
        document: dict[str, Any] = {**told[0], "weights": [each["weights"] for each in told]}
        return document

    def _command(self, mode: str, rank: int) -> list[str]:
        trace, result = self.work / f"trace-{rank}", self.work / f"result-{rank}.json"
        shutil.rmtree(trace, ignore_errors=True)
        program = [str(HERE / "digest.py"), str(result), str(self.script), *self.arguments]
        options = {
            "full": [],
            "learned": ["-i", str(self.learned)],
            "pack": ["--rules", "torch"],
            "sampled": ["-i", str(self.learned), "--every", "10"],
            "budget": ["-i", str(self.learned), "--budget", "2%"],
        }
        command = [sys.executable] if mode == "plain" else [*_traincheck("collect"), "-o", str(trace), *options[mode]]
        return [*command, *program]

    def _run(self, command: Sequence[str]) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=self.environment)


def _traincheck(command: str) -> list[str]:
    return [sys.executable, "-c", "from traincheck.cli import main; main()", command]


def _measure(name: str, bench: Bench, rounds: int) -> dict[str, Any]:
    ratios: dict[str, list[tuple[float, float]]] = {mode: [] for mode in bench.modes}
    identical, step = True, 0.0
    bench.one("plain")
    for _ in range(rounds):
        plain = bench.one("plain")
        step = 1000 * plain["seconds"] / plain["steps"]
        for mode in bench.modes:
            run = bench.one(mode)
            identical &= run["weights"] == plain["weights"] and run["steps"] == plain["steps"]
            ratios[mode].append((run["seconds"] / plain["seconds"], run["processor"] / plain["processor"]))
    row = {
        "scenario": name,
        "step_ms": round(step, 2),
        "identical": identical,
        "time": {mode: round(statistics.median(wall for wall, _ in pairs), 3) for mode, pairs in ratios.items()},
        "processor": {mode: round(statistics.median(cpu for _, cpu in pairs), 3) for mode, pairs in ratios.items()},
    }
    print(_line(row), flush=True)
    return row


def _line(row: dict[str, Any]) -> str:
    cells = [f"{mode} {row['time'][mode]:.2f}x ({row['processor'][mode]:.2f}x)" for mode in row["time"]]
    weights = "weights identical" if row["identical"] else "WEIGHTS DIFFER"
    return f"{row['scenario']}: {row['step_ms']:.1f} ms a step | {' | '.join(cells)} | {weights}"


def main() -> int:
    """Run what was asked for and print a line a scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", type=Path, help="folder of vision.py, lm.py and ddp.py")
    parser.add_argument("--only", action="append", help="a scenario's name; repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mode", action="append", choices=MODES, help="repeatable; all unless said")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--event", action="store_true", help="time the recording of one call")
    args = parser.parse_args()
    if args.event:
        return subprocess.run([sys.executable, str(HERE / "event.py")], check=False).returncode
    folder, scenarios = (args.scenarios.resolve(), SCENARIOS) if args.scenarios else (HERE, OURS)
    modes, rows = args.mode or list(MODES), []
    for name, (script, arguments, variation) in scenarios.items():
        if args.only and name not in args.only:
            continue
        with tempfile.TemporaryDirectory(prefix="overhead-") as work:
            bench = Bench(folder / script, arguments, Path(work), modes)
            if set(modes) & set(LEARNED):
                bench.learn(variation)
            rows.append(_measure(name, bench, args.rounds))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(not all(row["identical"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
