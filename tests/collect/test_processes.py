"""Killed processes, growing traces, children of every kind."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.collect.running import collect, collect_command, environment, rows, write_script
from traincheck.errors import TraceError
from traincheck.facts import load_facts
from traincheck.trace import TraceReader
from traincheck.trace.layout import MARK_STEP

ENDLESS = """
import os
print(os.getpid(), flush=True)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
while True:
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
"""


def test_a_killed_run_can_be_followed_and_read(tmp_path: Path) -> None:
    script = write_script(tmp_path, ENDLESS)
    with subprocess.Popen(
        collect_command(tmp_path, script), stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
    ) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        followed, steps = 0, 0
        deadline = time.monotonic() + 120
        reader = None
        while steps < 5 and time.monotonic() < deadline:
            time.sleep(0.1)
            try:
                reader = reader or TraceReader(tmp_path / "trace")
            except TraceError:
                continue
            for process in reader.processes():
                new = process.poll()
                followed += new["calls"].num_rows
                steps += new["marks"]["kind"].to_pylist().count(MARK_STEP)
        os.kill(pid, signal.SIGKILL)
        assert running.wait(timeout=120) == -signal.SIGKILL
    assert steps >= 5
    facts = load_facts(tmp_path / "trace")
    assert len(facts.warnings) == 1
    assert "did not end normally" in facts.warnings[0]
    closed = [row["closed"] for row in rows(facts, "step")]
    assert closed == ["true"] * (len(closed) - 1) + ["false"]
    assert len(closed) > steps
    assert facts["call"].num_rows >= followed * 0.9
    assert rows(facts, "process")[0]["outcome"] is None


def test_spawned_ranks_and_forked_workers_are_processes_of_the_trace(tmp_path: Path) -> None:
    facts = collect(
        tmp_path,
        """
        import os
        import torch.distributed as dist
        import torch.multiprocessing as mp
        from torch.utils.data import DataLoader, TensorDataset, DistributedSampler

        def worker(rank, folder):
            dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
            data = TensorDataset(torch.randn(32, 4), torch.randint(0, 2, (32,)))
            loader = DataLoader(data, 8, sampler=DistributedSampler(data), num_workers=1)
            model = nn.parallel.DistributedDataParallel(Net())
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            loader.sampler.set_epoch(0)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            dist.destroy_process_group()

        if __name__ == "__main__":
            mp.spawn(worker, args=(os.getcwd(),), nprocs=2)
        """,
    )
    mains = rows(facts, "process", role="main")
    assert sorted(row["rank"] for row in mains) == [0, 1]
    assert {row["world"] for row in mains} == {2}
    for rank in (0, 1):
        names = [row["name"] for row in rows(facts, "variable", rank=rank)]
        assert "body.weight" in names
        assert not any(name.startswith("module.") for name in names)
        steps = rows(facts, "call", rank=rank, api="torch.optim.sgd.SGD.step")
        assert [row["step"] for row in sorted(steps, key=lambda row: row["enter"])] == [0, 1]
        (made,) = rows(facts, "call", rank=rank, api="torch.utils.data.distributed.DistributedSampler.__init__")
        assert {row["value"] for row in rows(facts, "arg", call=made["id"], name="rank")} <= {None, str(rank)}
    workers = rows(facts, "process", role="worker")
    assert sorted(row["rank"] for row in workers) == [0, 1]
    for worker in workers:
        fetched = rows(facts, "call", process=worker["id"], api="torch.utils.data.dataloader.DataLoader.fetch")
        assert [row["step"] for row in fetched] == [None, None]
        prints = [rows(facts, "result", call=row["id"], name="0")[0]["fingerprint"] for row in fetched]
        assert len(set(prints)) == 2
        assert {row["value"] for row in rows(facts, "context", call=fetched[0]["id"], key="worker")} == {"0"}
    states = {
        (row["step"], row["point"], row["attr"], row["rank"], names_of(facts)[row["variable"]]): row["fingerprint"]
        for row in rows(facts, "state", attr="data")
    }
    for (step, point, attr, rank, name), fingerprint in states.items():
        if "norm.running" not in name:
            assert states[step, point, attr, 1 - rank, name] == fingerprint


def names_of(facts: object) -> dict[int, str]:
    return {row["id"]: row["name"] for row in rows(facts, "variable")}  # type: ignore[arg-type]


def test_a_process_that_never_touches_torch_leaves_nothing(tmp_path: Path) -> None:
    script = write_script(tmp_path, "print('hello')\n", prelude="")
    done = subprocess.run(
        collect_command(tmp_path, script), capture_output=True, text=True, cwd=tmp_path, env=environment(), check=True
    )
    assert done.stdout == "hello\n"
    assert [path.name for path in (tmp_path / "trace").iterdir()] == ["manifest.json"]
    with pytest.raises(TraceError):
        load_facts(tmp_path / "trace")


def test_a_module_is_run_like_python_does(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    body = "print(__name__, sys.argv[1:])\nnn.Linear(1, 1)(torch.ones(1))\n"
    write_script(tmp_path / "package", body, name="__main__.py")
    done = subprocess.run(
        [*collect_command(tmp_path, None, options=["-m", "package"]), "-x"],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), check=True,
    )  # fmt: skip
    assert done.stdout == "__main__ ['-x']\n"
    assert rows(load_facts(tmp_path / "trace"), "call", site="package/__main__.py:25")
