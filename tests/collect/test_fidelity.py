"""The training must not notice: same results, same output, same status, nothing left beside the source."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.collect.running import COLLECT, collect, environment, rows, run, write_script

TRAINING = """
import hashlib
from torch.utils.data import DataLoader, TensorDataset
from torch.optim import Adam

model = nn.Sequential(Net(), nn.Dropout(0.5), nn.Linear(2, 2))
loader = DataLoader(TensorDataset(torch.randn(64, 4), torch.randint(0, 2, (64,))), 16, shuffle=True)
optimizer = Adam(model.parameters(), lr=0.01)
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        print(repr(loss.item()))
digest = hashlib.sha256()
for tensor in model.state_dict().values():
    digest.update(tensor.numpy().tobytes())
print(digest.hexdigest(), torch.rand(1).item(), sys.argv[1:])
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("plain")
    script = write_script(folder, TRAINING)
    return subprocess.run(
        [sys.executable, str(script), "--flag", "value"],
        capture_output=True, text=True, cwd=folder, env=environment(), timeout=120, check=True,
    )  # fmt: skip


def test_training_is_bit_identical(tmp_path: Path, plain: subprocess.CompletedProcess[str]) -> None:
    watched = run(tmp_path, TRAINING, "--flag", "value")
    assert {path.name for path in tmp_path.iterdir()} == {"train.py", "trace"}
    assert watched.stdout == plain.stdout
    assert watched.stderr == plain.stderr


def test_a_name_imported_before_is_watched_too(tmp_path: Path) -> None:
    facts = collect(
        tmp_path,
        """
        from torch.nn.functional import relu, linear
        from torch.nn.utils import clip_grad_norm_
        from torch.optim import Adam
        model = nn.Linear(2, 2)
        optimizer = Adam(model.parameters())
        relu(linear(torch.ones(1, 2), model.weight)).sum().backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        """,
    )
    seen = {row["api"] for row in rows(facts, "call")}
    assert {
        "torch.nn.functional.relu", "torch.nn.functional.linear", "torch.nn.utils.clip_grad_norm_",
        "torch.optim.adam.Adam.step", "torch.optim.adam.Adam.__init__", "torch.Tensor.backward",
    } <= seen  # fmt: skip
    sites = {row["site"] for row in rows(facts, "call")}
    assert all(site.startswith("train.py:") for site in sites)


def test_the_traceback_is_the_scripts_own(tmp_path: Path) -> None:
    done = run(tmp_path, "model = Net()\nmodel(torch.ones(1))\n", status=1)
    assert "in forward" in done.stderr
    assert "mat1 and mat2" in done.stderr or "size mismatch" in done.stderr


def test_an_exception_is_recorded_with_the_calls_it_passed(tmp_path: Path) -> None:
    facts = collect(
        tmp_path,
        """
        model = Net()
        try:
            model(torch.ones(1, 3))
        except RuntimeError:
            pass
        model.eval()
        model(torch.ones(1, 4))
        """,
    )
    raised = {row["call"] for row in rows(facts, "raised", type="RuntimeError")}
    apis = [row["api"] for row in rows(facts, "call") if row["id"] in raised]
    assert sorted(apis) == sorted(
        ["train.Net.forward", "torch.nn.modules.linear.Linear.forward", "torch.nn.functional.linear"]
    )
    assert all(row["outcome"] == "raised" for row in rows(facts, "call") if row["id"] in raised)
    assert rows(facts, "call", api="train.Net.eval")[0]["parent"] is None


def test_a_failure_of_the_monitor_is_said_once_and_training_goes_on(
    tmp_path: Path, plain: subprocess.CompletedProcess[str]
) -> None:
    script = write_script(
        tmp_path,
        """
        from traincheck.collect.calls import steps
        def broken(self, seq):
            raise ValueError("planted")
        steps.StepTracker.starter = broken
        """
        + "\n".join(f"        {line}" for line in TRAINING.splitlines())
        + "\n        print('after', F.cross_entropy.__code__.co_consts[0][:7], file=sys.stderr)",
    )
    done = subprocess.run(
        [*COLLECT, "-o", "trace", str(script), "--flag", "value"],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout == plain.stdout
    assert done.stderr.count("collection stopped after an internal error") == 1
    assert "planted" in done.stderr
    assert "after Compute" in done.stderr  # torch's functions have their own code again


def test_another_sitecustomize_still_runs(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import sys; sys.from_the_other = 1\n")
    script = write_script(tmp_path, "print(sys.from_the_other, sys.path[0])")
    done = subprocess.run(
        [*COLLECT, "-o", "trace", str(script)],
        capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True,
        env={**environment(), "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.stdout.split() == ["1", str(tmp_path)]


def test_the_training_process_is_not_burdened(tmp_path: Path) -> None:
    """What analyses traces stays out of the process that trains, and its exit status is handed on."""
    done = run(
        tmp_path,
        """
        import time
        nn.Linear(1, 1)(torch.ones(1))
        time.sleep(3)  # until a flush
        heavy = {"duckdb", "lark", "networkx", "pandas", "click", "rich", "pyDatalog"}
        print(sorted(heavy & set(sys.modules)))
        sys.exit(7)
        """,
        status=7,
    )
    assert done.stdout == "[]\n"
