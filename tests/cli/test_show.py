"""`traincheck show`: what a trace holds, as tables and as JSON, and what is missing from it."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell, Tiny
from tests.collect.running import collect_command, environment, run, write_script

Copy = Callable[[Path], Path]

SCRIPT = """
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, dtype=torch.bfloat16), nn.Linear(4, 4, dtype=torch.bfloat16)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(4)
        self.first.bias.requires_grad_(False)
    def forward(self, x):
        if x.shape[0] == 1:
            raise ValueError("too small")
        return self.norm(self.second(self.first(x)).float())

model = Tied()
optimizer = torch.optim.SGD([model.first.weight], lr=0.1)
try:
    model(torch.randn(1, 4, dtype=torch.bfloat16))
except ValueError:
    pass
for step in range(7):
    optimizer.zero_grad()
    model(torch.randn(3, 4, dtype=torch.bfloat16)).square().sum().backward()
    optimizer.step()
"""


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampled")
    run(folder, SCRIPT, "--word", "two words", options=["--every", "3", "--warmup", "1"])
    return folder / "trace"


def shown(shell: Shell, trace: Path, *options: str) -> dict[str, Any]:
    status, out, _ = shell("show", trace, "--format", "json", "--limit", "0", *options)
    assert status == 0
    document: dict[str, Any] = json.loads(out)
    return document


def gaps(document: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(gap["kind"], gap["family"]) for gap in document["gaps"] if gap["kind"] != "empty"]


def test_a_whole_trace_in_json(shell: Shell, tiny: Tiny) -> None:
    document = shown(shell, tiny.clean)
    assert (document["schema_version"], document["trace"]) == (1, str(tiny.clean))
    (process,) = document["processes"]
    assert (process["rank"], process["role"], process["outcome"]) == (0, "main", "ended")
    assert process["python"] == sys.version.split()[0]
    assert process["argv"].endswith("tiny.py --seed 0")
    steps = document["steps"]
    assert (steps["count"], steps["complete"], steps["full"], steps["first"], steps["last"]) == (4, 4, 4, 0, 3)
    assert steps["by_process"][0]["windows"] == [[0, 3]]
    calls = {row["api"]: row for row in document["calls"]["by_api"]}
    assert calls["torch.optim.sgd.SGD.step"]["calls"] == 4
    assert len(calls) == document["calls"]["apis"]
    assert sum(row["calls"] for row in calls.values()) == document["calls"]["total"]
    assert sum(row["share"] for row in calls.values()) == pytest.approx(1)
    assert document["variables"] == [
        {"kind": "parameter", "variables": 2, "elements": 8, "bytes": 32, "requires_grad": 2, "held": 2, "tied": 0}
    ]
    assert {row["attr"]: row["count"] for row in document["updates"]}["data"] == 8
    assert {(row["attr"], row["point"]): row["classes"] for row in document["states"]} == {
        ("data", "after_step"): {"nonzero": 8},
        ("grad", "before_step"): {"nonzero": 8},
    }
    assert document["disk"]["bytes"] == sum(file.stat().st_size for file in tiny.clean.rglob("*") if file.is_file())
    assert document["disk"]["bytes_per_event"] == document["disk"]["bytes"] / document["disk"]["events"]
    coverage = document["coverage"]
    assert (coverage["steps_in_full"], coverage["every"], coverage["selective"]) == (1, 1, False)
    assert gaps(document) == []


def test_the_numbers_are_those_of_query(shell: Shell, sampled: Path) -> None:
    document = shown(shell, sampled)

    def count(atoms: str) -> int:
        return len(json.loads(shell("query", sampled, atoms, "--format", "json", "--limit", "0")[1]))

    assert document["calls"]["total"] == count("call(C)")
    assert document["calls"]["raised"] == count('call(C, outcome: "raised")') > 0
    assert sum(row["count"] for row in document["updates"]) == count("update(U)")
    assert sum(row["variables"] for row in document["variables"]) == count("variable(V)")
    assert sum(row["held"] for row in document["variables"]) == count("holds(_, _, V)")
    assert document["steps"]["full"] == count("step(_, step: S), window(_, A, B), S >= A, S <= B")


def test_variables_and_what_is_shared(shell: Shell, sampled: Path) -> None:
    found = {row["kind"]: row for row in shown(shell, sampled)["variables"]}
    parameters, buffers = found["parameter"], found["buffer"]
    assert (parameters["variables"], parameters["tied"], parameters["requires_grad"]) == (6, 1, 5)
    assert parameters["elements"] == 16 + 4 + 4 + 4 + 4
    assert parameters["bytes"] == 2 * (16 + 4 + 4) + 4 * (4 + 4)
    assert parameters["held"] == 2  # the weight under both its names
    assert (buffers["elements"], buffers["bytes"]) == (9, 2 * 16 + 8)


def test_steps_left_out_are_told(shell: Shell, sampled: Path) -> None:
    document = shown(shell, sampled)
    assert [step for step, _ in document["steps"]["by_process"][0]["windows"]] == [0, 3, 6]
    assert document["coverage"]["every"] == 3
    text = shell("show", sampled)[1]
    assert "3 of 7 steps in full (42.9%), as asked for: one in 3, and the first 1\n" in text
    assert "everything was asked for" in text


def test_tables_for_people(shell: Shell, sampled: Path) -> None:
    status, out, err = shell("show", sampled, "--limit", "2")
    assert status == 0
    assert err.endswith("APIs; --limit 0 shows all\n")
    assert out.startswith(f"trace '{sampled}': format 1.1, written by traincheck ")
    sections = {block.splitlines()[0]: block.splitlines()[1:] for block in out.split("\n\n")}
    assert [*sections][1:] == [
        "processes", "steps", "calls", "variables", "updates and states", "on disk", "coverage", "gaps"
    ]  # fmt: skip
    assert len(sections["calls"]) == 1 + 2
    assert sections["variables"][0].split()[:3] == ["KIND", "NUMBER", "ELEMENTS"]
    assert not any(line.endswith(" ") for line in out.splitlines())
    assert "--word two words'" in out


def test_a_selective_collection_says_what_was_asked_for(shell: Shell, tmp_path: Path) -> None:
    rules = tmp_path / "mine.rules"
    rules.write_text('rule r "r" never call(C, api: "torch.optim.*.zero_grad", step: 99)\n')
    run(tmp_path, SCRIPT, options=["--rules", str(rules)])
    document = shown(shell, tmp_path / "trace")
    assert document["coverage"]["selective"] is True
    assert document["coverage"]["asked"]["apis"] == ["torch.optim.*.zero_grad"]
    text = shell("show", tmp_path / "trace")[1]
    assert "selective, only what was asked for:\n    apis: torch.optim.*.zero_grad\n" in text
    assert "    states: none\n" in text


def test_the_answer_goes_to_a_file(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    out = shell("show", tiny.clean, "--limit", "0")[1]
    assert shell("show", tiny.clean, "--limit", "0", "--output", tmp_path / "said.txt")[:2] == (0, "")
    assert (tmp_path / "said.txt").read_text() == out
    assert "cannot write here" in shell.refuses("show", tiny.clean, "--output", tmp_path)


def test_on_a_terminal_the_tables_are_drawn(tiny: Tiny) -> None:
    command = [sys.executable, "-c", "from traincheck.cli import main; main()", "show", str(tiny.clean)]
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment() | {"TERM": "xterm"}) as process:
        os.close(slave)
        printed = bytearray()
        try:
            while chunk := os.read(master, 1 << 16):
                printed += chunk
        except OSError:  # the end of a terminal
            pass
        os.close(master)
    assert process.returncode == 0
    assert "─" in printed.decode()
    assert "torch.optim.sgd.SGD.step" in printed.decode()


def test_a_cut_stream_is_a_gap(shell: Shell, tiny: Tiny, copy: Copy) -> None:
    trace = copy(tiny.clean)
    (calls,) = trace.rglob("calls.arrow")
    calls.write_bytes(calls.read_bytes()[:-100])
    status, out, err = shell("show", trace)
    assert status == 0
    assert "did not end normally: read up to its last whole batch" in err
    assert "of a batch without its end in 'calls'" in out
    assert gaps(shown(shell, trace))[:2] == [("torn", "calls"), ("cut", "calls")]


def test_a_process_that_was_killed(shell: Shell, tmp_path: Path) -> None:
    body = """
    class Dies(nn.Module):
        def forward(self, x):
            time.sleep(3)  # until a flush has written this call, too
            os.kill(os.getpid(), 9)
    import os, time
    nn.Linear(1, 1)(torch.ones(1))
    Dies()(torch.ones(1))
    """
    script = write_script(tmp_path, body)
    done = subprocess.run(collect_command(tmp_path, script), env=environment(), timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    document = shown(shell, tmp_path / "trace")
    assert document["processes"][0]["outcome"] is None
    assert gaps(document)[:2] == [("not_ended", None), ("open_calls", None)]
    assert "1 call that never returned" in shell("show", tmp_path / "trace")[1]


def test_a_failure_of_the_monitor_is_told_by_every_reader(shell: Shell, tmp_path: Path) -> None:
    body = """
    from traincheck.collect.variables.variables import Variables
    def broken(self, *call):
        raise ValueError("planted")
    nn.Linear(1, 1)(torch.ones(1))
    Variables.called = broken
    nn.Linear(1, 1)(torch.ones(1))
    """
    script = write_script(tmp_path, body)
    done = subprocess.run(
        collect_command(tmp_path, script), env=environment(), timeout=60, check=True, capture_output=True
    )
    assert b"planted" in done.stderr
    status, out, err = shell("show", tmp_path / "trace")
    assert status == 0
    assert "stopped recording after an internal error: what it did later is absent" in err
    assert "stopped early" in out
    assert "was stopped recording by an internal error" in out


def test_an_imported_trace(shell: Shell, tmp_path: Path) -> None:
    log = tmp_path / "logs"
    log.mkdir()
    line = {
        "func_call_id": "a", "thread_id": 1, "process_id": 2, "meta_vars": {"step": 0}, "type": "function_call (pre)",
        "function": "torch.relu", "is_bound_method": False, "obj_id": None, "args": {}, "kwargs": {}, "time": 5,
    }  # fmt: skip
    after = line | {"type": "function_call (post)", "return_values": {"int": 1}, "time": 6}
    (log / "trace_API_2_1.log").write_text(f"{json.dumps(line)}\n{json.dumps(after)}\n")
    assert shell("import", "trace", log, "-o", tmp_path / "trace")[0] == 0
    document = shown(shell, tmp_path / "trace")
    assert document["calls"]["by_api"] == [{"api": "torch.relu", "calls": 1, "raised": 0, "share": 1}]
    assert document["coverage"]["selective"] is None
    assert "the trace does not say what was asked for" in shell("show", tmp_path / "trace")[1]


def test_what_is_no_trace_is_refused(shell: Shell, tmp_path: Path) -> None:
    assert "no such trace (next: traincheck collect" in shell.refuses("show", tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert "the folder is empty" in shell.refuses("show", tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    assert "not a trace but a file" in shell.refuses("show", tmp_path / "file")
    for content, message in [
        ('{"format": "traincheck-trace", "format_version": "2.0"}', "trace format 2.0 is not one this version reads"),
        ('{"format": "traincheck-trace", "format_version": "1.0"}', "the trace holds no events"),
        ('{"format": "traincheck-trace", "format_version": "1.0", "settings": [1]}', "settings are no settings"),
    ]:
        (tmp_path / "empty" / "manifest.json").write_text(content)
        assert message in shell.refuses("show", tmp_path / "empty")
