"""Each way in which people start training, as Python itself would run it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.collect.running import COLLECT, environment, rows
from traincheck.facts import load_facts

MAIN = """
from __future__ import annotations
import sys
from .parts import build, later

def train(model: "not a type") -> NotDefined:
    import torch
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()

if __name__ == "__main__":
    train(build())
    print(__name__, __spec__ and __spec__.name, __package__, sys.argv[1:], train.__annotations__, later())
"""

PARTS = """
from __future__ import annotations
import torch

def build() -> torch.nn.Module:
    later()
    return torch.nn.Linear(2, 1)

def later(x: Missing = 3) -> Missing:
    return later.__annotations__, later.__defaults__
"""


def write_package(folder: Path) -> None:
    (folder / "pack").mkdir()
    for name, text in {"__init__": "", "run": MAIN, "parts": PARTS}.items():
        (folder / "pack" / f"{name}.py").write_text(text)


def outputs(folder: Path, collect: list[str], program: list[str]) -> list[str]:
    """What a program prints under the collector and without it."""
    found = []
    for command in ([*COLLECT, "-o", "trace", *collect], [sys.executable]):
        done = subprocess.run(
            [*command, *program], capture_output=True, text=True, cwd=folder, env=environment(), timeout=120, check=True
        )
        found.append(done.stdout)
    return found


def test_a_module_with_future_and_relative_imports(tmp_path: Path) -> None:
    write_package(tmp_path)
    watched, plain = outputs(tmp_path, [], ["-m", "pack.run", "--flag"])
    assert watched == plain
    assert watched.startswith("__main__ pack.run pack ['--flag'] {'model': \"'not a type'\", 'return': 'NotDefined'}")
    facts = load_facts(tmp_path / "trace")
    assert {row["step"] for row in rows(facts, "call", api="torch.optim.sgd.SGD.step")} == {0, 1}
    assert len(rows(facts, "call", api="pack.parts.later")) == 1  # and once before anything of torch was used


def test_a_script_in_another_folder_and_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    script = tmp_path / "deep" / "my-run.py"
    script.write_text(
        "import sys, torch, pathlib\n"
        "def made():\n    return torch.nn.Linear(1, 1)\n"
        "torch.nn.Linear(1, 1)\nmade()(torch.ones(1))\n"
        "print(__file__, sys.argv, sys.path[0], pathlib.Path.cwd())\n"
    )
    watched, plain = outputs(tmp_path, [], ["deep/my-run.py", "x"])
    assert watched == plain
    assert len(rows(load_facts(tmp_path / "trace"), "call", api="my-run.made")) == 1


TORCHRUN = """
import os
import torch
import torch.distributed as dist
from torch import nn

def shard(index, of):
    return torch.randn(4, 2)

torch.set_num_threads(1)
dist.init_process_group("gloo")
model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(2):
    optimizer.zero_grad()
    model(shard(dist.get_rank(), of=2)).sum().backward()
    optimizer.step()
dist.destroy_process_group()
"""


def test_torchrun(tmp_path: Path) -> None:
    (tmp_path / "ddp.py").write_text(TORCHRUN)
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "ddp.py"]
    done = subprocess.run(
        [*COLLECT, "-o", "trace", *ranks],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = load_facts(tmp_path / "trace")
    for rank in (0, 1):
        shards = rows(facts, "call", rank=rank, api="ddp.shard")
        assert sorted(row["step"] for row in shards) == [0, 1]
        assert {row["value"] for row in rows(facts, "arg", call=shards[0]["id"], name="index")} == {str(rank)}
        assert len(rows(facts, "call", rank=rank, api="torch.optim.sgd.SGD.step")) == 2


NOTEBOOK = """
get_ipython().run_line_magic("run", "train.py --steps 2")
"""


def test_what_a_notebook_runs(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PARTS + "import sys\n" + MAIN.partition("from .parts import build, later")[2])
    (tmp_path / "cell.ipy").write_text(NOTEBOOK)
    ipython = str(Path(sysconfig.get_path("scripts")) / "ipython")
    watched, plain = outputs(tmp_path, [], [ipython, "--no-banner", "--colors=NoColor", "cell.ipy"])
    assert watched.startswith("__main__ None None ['--steps', '2']")
    assert watched == plain
    steps = rows(load_facts(tmp_path / "trace"), "call", api="torch.optim.sgd.SGD.step")
    assert {row["step"] for row in steps} == {0, 1}
    assert {row["site"] for row in steps} == {"train.py:20"}
