"""`traincheck.watch` and `traincheck.step` record what the command records."""

import subprocess
import sys
from pathlib import Path

import pytest

import traincheck
from tests.collect.running import collect, environment, rows, write_script
from traincheck.errors import UsageError
from traincheck.facts import load_facts

PLAIN = """
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
{watch}
for _ in range(4):
    with {step}:
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
"""


def script(watch: str = "", step: str = "torch.enable_grad()") -> str:
    return "import traincheck\n" + PLAIN.format(watch=watch, step=step)


def test_the_same_facts_as_the_command(tmp_path: Path) -> None:
    plain = collect(tmp_path, script())
    path = write_script(tmp_path, script("traincheck.watch(model, optimizer, output='own')", "traincheck.step()"))
    subprocess.run([sys.executable, str(path)], cwd=tmp_path, env=environment(), timeout=120, check=True)
    own = load_facts(tmp_path / "own")
    for facts in (plain, own):
        assert {row["name"] for row in rows(facts, "variable", kind="parameter")} >= {"body.weight", "head.bias"}
        assert len(rows(facts, "holds")) == 6
    for step in range(4):
        apis = [sorted(row["api"] for row in rows(facts, "call", step=step, stage="train")) for facts in (plain, own)]
        assert apis[0] == apis[1]
        changes = [
            sorted((row["attr"], row["before"], row["after"]) for row in rows(facts, "update", step=step))
            for facts in (plain, own)
        ]
        assert changes[0] == changes[1]


def test_step_says_where_steps_begin(tmp_path: Path) -> None:
    facts = collect(tmp_path, """
        import traincheck
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            with traincheck.step():
                for _ in range(2):
                    optimizer.zero_grad()
                    loss_of(model).backward()
                    optimizer.step()
    """)  # fmt: skip
    steps = [row["step"] for row in rows(facts, "call", api="torch.optim.sgd.SGD.step")]
    assert sorted(steps) == [0, 0, 1, 1, 2, 2]


def test_outside_a_collected_run_a_step_is_nothing() -> None:
    with traincheck.step():
        pass
    with pytest.raises(UsageError, match="cannot watch a int"):
        traincheck.watch(3)
