#!/usr/bin/env python3
"""Collect a data-parallel run again and again, and compare each trace with what the script counted itself.

    python bench/counting.py [--runs N] [--work DIR]

Every other run is started by torchrun. A fact is lost or doubled when a rank has another number of calls of an API than
its script counted, a step that changes another number of parameters than there are, or a collective without its number.
Exit status 0 when nothing differs in any run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from traincheck.facts import Facts, load_facts

SCRIPT = Path(__file__).resolve().parent / "counted_ddp.py"
PARAMETERS = 4
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint"]


def collect(folder: Path, seed: int) -> None:
    """One run into `folder`/trace, its counts beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    starter = [*TORCHRUN, "127.0.0.1:0"] if seed % 2 else []
    command = [sys.executable, "-c", "from traincheck.cli import collect_main; collect_main()", "-o", folder / "trace"]
    subprocess.run(
        [*map(str, command), *starter, str(SCRIPT), "--counts", str(folder), "--seed", str(seed)],
        check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def differences(folder: Path) -> Iterator[str]:
    """What the trace in `folder` says otherwise than the script."""
    facts = load_facts(folder / "trace")
    yield from facts.warnings
    calls = facts["call"].to_pylist()
    ids = Counter(row["id"] for row in calls)
    yield from (f"call {number} is there {times} times" for number, times in ids.items() if times > 1)
    yield from (f"'{row['api']}' on rank {row['rank']} never ended" for row in calls if row["outcome"] is None)
    for rank in (0, 1):
        counted = json.loads((folder / f"counts-{rank}.json").read_text())
        seen = Counter(row["api"] for row in calls if row["rank"] == rank)
        for api, times in counted.items():
            if seen[api] != times:
                yield f"rank {rank} called '{api}' {times} times, and the trace has {seen[api]}"
        steps = counted["torch.optim.sgd.SGD.step"]
        yield from _steps(facts, rank, steps)
        yield from _numbers(facts, rank, counted["torch.distributed.all_reduce"])


def _steps(facts: Facts, rank: int, steps: int) -> Iterator[str]:
    moved = Counter(row["step"] for row in facts["update"].to_pylist() if row["rank"] == rank and row["attr"] == "data")
    for step in range(steps):
        if moved[step] != PARAMETERS:
            yield f"step {step} of rank {rank} changed {moved[step]} parameters"


def _numbers(facts: Facts, rank: int, times: int) -> Iterator[str]:
    own = {row["id"] for row in facts["call"].to_pylist() if row["rank"] == rank}
    numbers = sorted(row["number"] for row in facts["exchange"].to_pylist() if row["call"] in own)
    if numbers != list(range(times)):
        yield f"the collectives of rank {rank} have the numbers {numbers}"


def main() -> int:
    """Run, compare, say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--work", type=Path, help="keep the traces here")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="counting-"))
    wrong = 0
    for run in range(args.runs):
        collect(work / f"run-{run}", run)
        found = list(differences(work / f"run-{run}"))
        wrong += bool(found)
        print(f"run {run}: {'; '.join(found) or 'nothing lost, doubled or torn'}", flush=True)
    print(f"{args.runs - wrong} of {args.runs} runs without a difference")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
