"""What a script does and says is the same with a collector in it: output, warnings, exit status, signals."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collect.running import collect_command, environment, write_script
from traincheck.facts import load_facts

BODIES = {
    "what is scripted": """
class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 4))
        self.scale = nn.Parameter(torch.ones(4))
    def forward(self, x):
        return F.softplus(self.parts(x)) * self.scale
scripted = torch.jit.script(Scripted())
optimizer = torch.optim.SGD(scripted.parameters(), lr=0.1)
for _ in range(2):
    optimizer.zero_grad()
    scripted(torch.ones(2, 3)).sum().backward()
    optimizer.step()
print(scripted.graph, scripted.scale)
torch.jit.script(nn.TransformerEncoderLayer(8, 2))
""",
    "what is traced": """
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU()).eval()
print(torch.jit.trace(model, torch.randn(2, 4)).inlined_graph)
print(torch.jit.trace(lambda x: F.linear(x, torch.ones(2, 4)), torch.ones(1, 4)).graph)
""",
    "operations that modes see": """
from torch.utils._python_dispatch import TorchDispatchMode
from torch._subclasses import FakeTensorMode
class Tell(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        print(function)
        return function(*args, **(kwargs or {}))
def iterate(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    model(torch.ones(2, 4)).pow(2).sum().backward()
    optimizer.step()
model = nn.Linear(4, 3)
model.weight.data = torch.randn(4, 3).t()
with FakeTensorMode():
    iterate(nn.Linear(4, 4))
with Tell():
    iterate(model)
iterate(model)
print(model.weight)
""",
    "warnings that are given once": """
import warnings
for index in range(3):
    class Own(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)
    model = nn.Linear(2, 2)
    Own(model.parameters(), lr=0.1).step()
    warnings.warn("once")
""",
    "who looks at frames, and who calls himself": """
import inspect, traceback, warnings
def caller():
    return inspect.stack()[1].function, traceback.extract_stack()[-2].name
def old(word):
    warnings.warn(word, DeprecationWarning, 2)
def depth(left):
    return depth(left - 1) + 1 if left else 0
def train():
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    old("old")
    print(caller())
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
train()
print(depth(900))
""",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_output_is_that_of_a_run_that_nobody_watches(body: str, tmp_path: Path) -> None:
    script = write_script(tmp_path, body)
    runs = [
        subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False)
        for command in ([sys.executable, str(script)], collect_command(tmp_path, script))
    ]
    plain, collected = [(run.returncode, run.stdout, run.stderr) for run in runs]
    assert collected == plain
    assert plain[0] == 0, plain[2]
    assert load_facts(tmp_path / "trace")["call"].num_rows


WAITING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests may have ignored it
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if "USR1" in sys.argv:
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
nn.Linear(1, 1)(torch.ones(1))
try:
    print("ready", flush=True)
    while True:
        time.sleep(0.1)
except KeyboardInterrupt:
    sys.exit(4)
"""


@pytest.mark.parametrize(("name", "status"), [("INT", 4), ("USR1", 7), ("HUP", -1), ("TERM", -15)])
def test_signals_are_the_scripts_to_answer(name: str, status: int, tmp_path: Path) -> None:
    script = write_script(tmp_path, WAITING)
    with subprocess.Popen(
        collect_command(tmp_path, script, name), stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
    ) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == "ready\n"
            running.send_signal(getattr(signal, f"SIG{name}"))
            assert running.wait(60) == status
        finally:
            running.kill()
