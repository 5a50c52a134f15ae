"""Mistakes with checkpoints are found without any reference run, and good habits are not."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.collect.running import collect_command, environment, write_script

SCRIPT = """
import copy
faulty = "faulty" in sys.argv
model = Net()
average = copy.deepcopy(model)
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

def step():
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters()):
            old.lerp_(new, 0.1)

step()
kept = model.state_dict()
best = kept if faulty else copy.deepcopy(kept)
step()
state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
if faulty:
    state["head.weight"].zero_()
half = {name: tensor.half() for name, tensor in state.items()}
torch.save({"model": state, "average": average.state_dict(), "half": half}, "last.pt")
torch.save(best, "best.pt")
model.load_state_dict(best)
wrapped = {"module." * faulty + name: tensor for name, tensor in torch.load("best.pt").items()}
Net().load_state_dict(wrapped, strict=False)
"""

FOUND = {"checkpoint_is_one_state", "saves_what_was_kept", "loads_what_was_kept", "loading_reaches_the_model"}


@pytest.mark.parametrize(("argument", "expected"), [("faulty", FOUND), ("fine", set())])
def test_mistakes_are_found_and_good_habits_are_not(
    tmp_path: Path, shell: Shell, argument: str, expected: set[str]
) -> None:
    script = write_script(tmp_path, SCRIPT)
    command = collect_command(tmp_path, script, argument, options=["--rules", "torch"])
    subprocess.run(command, cwd=tmp_path, env=environment(), timeout=120, check=True)
    shell("check", tmp_path / "trace", "--rules", "torch", "--format", "json", "--output", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    found = {violation["invariant"]: violation["first"]["site"] for violation in report["violations"]}
    assert found.keys() == expected
    lines = SCRIPT.count("\n")
    assert all(site.startswith("train.py:") and int(site[9:]) > lines for site in found.values())
