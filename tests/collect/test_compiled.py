"""Compiled regions stay whole: no breaks and no compilations because of us, and their calls seen at the boundary."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.collect.running import collect_command, environment, rows, write_script
from traincheck.facts import load_facts

SCRIPT = """
graphs = []

def count(graph, inputs):
    graphs.append(len(graph.graph.nodes))
    return graph.forward

def scale(x):
    return F.relu(x) * 2

@torch.compile(backend=count, fullgraph=True)
def decorated(x):
    return scale(x) + 1

class Scaled(Net):
    def forward(self, x):
        return super().forward(self.shift(scale(x)))
    def shift(self, x):
        return x + 1

def speak(x):
    x = scale(x)
    print("a break of the script's own")
    return scale(x) - 1

@torch.compile(backend=count)
def update(model, optimizer):
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()

model = Scaled()
compiled = torch.compile(model, backend=count, fullgraph=True)
spoken = torch.compile(speak, backend=count)
whole = torch.compile(scale, backend=count, fullgraph=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    x, y = batch()
    F.cross_entropy(compiled(decorated(whole(spoken(x)))), y).backward()
    update(model, optimizer)
    scale(x)
print(len(graphs), sorted(graphs), sum(p.abs().sum().item() for p in model.parameters()).hex())
"""


def test_graphs_are_those_of_the_plain_run(tmp_path: Path) -> None:
    script = write_script(tmp_path, SCRIPT)
    printed = [
        subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=240, check=True
        ).stdout
        for command in ([sys.executable, str(script)], collect_command(tmp_path, script))
    ]
    assert printed[0] == printed[1]
    facts = load_facts(tmp_path / "trace")
    apis = {row["id"]: row["api"] for row in rows(facts, "call")}
    boundary = rows(facts, "call", api="torch._dynamo.eval_frame.OptimizedModule.forward")
    assert [row["step"] for row in sorted(boundary, key=lambda row: row["enter"])] == [0, 1, 2]
    assert "train.Scaled.shift" not in apis.values()  # it is inside
    assert len(rows(facts, "call", api="train.scale")) == 6  # from outside: of the function, and of what is compiled
    assert len(rows(facts, "call", api="train.decorated")) == 3
    names = {row["id"]: row["name"] for row in rows(facts, "variable")}
    changed = {(row["step"], names[row["variable"]]) for row in rows(facts, "update", attr="data")}
    assert {(step, "head.weight") for step in range(3)} <= changed


LATE = """
graphs = []

def count(graph, inputs):
    graphs.append(len(graph.graph.nodes))
    return graph.forward

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
forward = model
for index in range(40):
    if index == {at}:
        {compile}
    optimizer.zero_grad()
    x, y = batch()
    F.cross_entropy(forward(x), y).backward()
    optimizer.step()
print(len(graphs), sorted(graphs), sum(p.abs().sum().item() for p in model.parameters()).hex())
"""
COMPILING = {
    "compile": "forward = torch.compile(model, backend=count, fullgraph=True)",
    "reset": "torch._dynamo.reset(); forward = torch.compile(model, backend=count, fullgraph=True)",
    "Module.compile": "model.compile(backend=count, fullgraph=True)",
    "export": "graphs.append(len(torch.export.export(model, (batch()[0],), strict=True).graph.nodes))",
}


@pytest.mark.parametrize(
    ("how", "at"), [("compile", 30), ("reset", 0), ("reset", 30), ("Module.compile", 35), ("export", 0), ("export", 30)]
)
def test_what_is_compiled_between_steps_is_that_of_the_plain_run(tmp_path: Path, how: str, at: int) -> None:
    """Steps before the 35th are left out, and before the 30th; torch's functions have their own code then."""
    script = write_script(tmp_path, LATE.format(at=at, compile=COMPILING[how]))
    printed = [
        subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=240, check=True
        ).stdout
        for command in (
            [sys.executable, str(script)],
            collect_command(tmp_path, script, options=["--every", "35"]),
        )
    ]
    assert printed[0] == printed[1]
    facts = load_facts(tmp_path / "trace")
    assert len(rows(facts, "step")) == 40
    assert {row["step"] for row in rows(facts, "call", api="torch.optim.sgd.SGD.step")} == {0, 35}
