"""Runs scripts under the collector, in processes of their own, as users do."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traincheck.facts import Facts, load_facts

PRELUDE = """\
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(0)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 2)
    def forward(self, x):
        return self.head(F.relu(self.norm(self.body(x))))

def batch():
    return torch.randn(16, 4), torch.randint(0, 2, (16,))

def loss_of(model):
    x, y = batch()
    return F.cross_entropy(model(x), y)
"""

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}


def environment() -> dict[str, str]:
    """The environment for scripts: one thread each, none of ours."""
    return {**os.environ, **ENVIRONMENT}


def write_script(folder: Path, body: str, prelude: str = PRELUDE, name: str = "train.py") -> Path:
    """A script of the common prelude and `body`."""
    path = folder / name
    path.write_text(prelude + textwrap.dedent(body), encoding="utf-8")
    return path


COLLECT = [sys.executable, "-c", "from traincheck.cli import collect_main; collect_main()"]


def collect_command(folder: Path, script: Path | None, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The command line that collects `script` into `folder`/trace."""
    program = [str(script)] if script is not None else []
    return [*COLLECT, "-o", str(folder / "trace"), *options, *program, *arguments]


def collect(folder: Path, body: str, *arguments: str, options: Sequence[str] = (), status: int = 0) -> Facts:
    """Run `body` under the collector and load what it wrote."""
    run(folder, body, *arguments, options=options, status=status)
    return load_facts(folder / "trace")


def run(
    folder: Path, body: str, *arguments: str, options: Sequence[str] = (), status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run `body` under the collector; the run must end with `status` and say nothing of an internal error."""
    script = write_script(folder, body)
    done = subprocess.run(
        collect_command(folder, script, *arguments, options=options),
        capture_output=True, text=True, cwd=folder, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "traincheck: collection" not in done.stderr, done.stderr
    return done


def rows(facts: Facts, relation: str, **wanted: Any) -> list[dict[str, Any]]:
    """The rows of a relation with these values."""
    found = facts.table(relation).to_pylist()
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def apis_by_step(facts: Facts, *endings: str) -> dict[int, list[str]]:
    """For each step the last words of the outermost calls' names, in order; only those in `endings` if given.

    The script's own functions stand for what they call.
    """
    found: dict[int, list[str]] = {}
    calls = sorted(rows(facts, "call"), key=lambda row: row["enter"])
    own = {call["id"] for call in calls if re.fullmatch(r"train\.[a-z_]+", call["api"])}
    for call in calls:
        if call["id"] in own or (call["parent"] is not None and call["parent"] not in own):
            continue
        word = call["api"].rpartition(".")[2]
        if not endings or word in endings:
            found.setdefault(call["step"], []).append(word)
    return found
