"""Compiled regions stay whole: no breaks and no compilations because of us, and their calls seen at the boundary."""

import subprocess
import sys
from pathlib import Path

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
