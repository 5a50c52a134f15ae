"""What steps do to gradients, whoever does it, and memory so large that it is read on several threads."""

from pathlib import Path

import pytest

from tests.collect.running import collect, run
from traincheck.collect.compiled import PURE
from traincheck.facts import Facts

STEPS = """
class Careless(torch.optim.SGD):
    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad.data.mul_(0.5)

def closure():
    loss = loss_of(model)
    loss.backward()
    for parameter in model.parameters():
        parameter.grad.data.mul_(0.5)
    return loss

model = Net()
plain, careless = torch.optim.SGD(model.parameters(), lr=0.1), Careless(model.parameters(), lr=0.1)
unscaled = torch.optim.Adam(model.parameters(), fused=True)
for optimizer in (plain, careless, unscaled):
    model.zero_grad()
    loss_of(model).backward()
    if optimizer is unscaled:
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(2.0), torch.tensor(0.0)
    optimizer.step()
plain.zero_grad()
plain.step(closure)
"""


@pytest.fixture(params=["compiled", "python"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setenv(PURE, "1")


def written_in_steps(facts: Facts) -> list[int]:
    """How many gradients each call of an optimizer's step has changed."""
    calls = [row["id"] for row in facts.table("call").to_pylist() if row["api"].endswith(".step")]
    updates = [row["call"] for row in facts.table("update").to_pylist() if row["attr"] == "grad"]
    return [updates.count(call) for call in sorted(calls)]


@pytest.mark.usefixtures("_way")
def test_what_a_step_does_to_gradients_is_seen_whoever_does_it(tmp_path: Path) -> None:
    facts = collect(tmp_path, STEPS)
    assert written_in_steps(facts) == [0, 6, 6, 6]


LARGE = """
torch.set_num_threads(2)

class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 1_000_001))
        self.brain = nn.Parameter(torch.randn(1_000_001).to(torch.bfloat16))
        self.register_buffer("numbers", torch.arange(500_003))
    def forward(self):
        return self.weight.pow(2).mean() + self.brain.float().sum()

model = Large()
optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
for place, value in ((1_500_000, 70.0), (0, -80.0), (3_000_002, float("nan"))):
    optimizer.zero_grad()
    model().backward()
    with torch.no_grad():
        model.weight.view(-1)[place] = value
        model.brain[place % 1_000_001] = value
        model.numbers[place % 500_003] = -5
    optimizer.step()

"""


@pytest.mark.usefixtures("_way")
def test_memory_read_on_several_threads_is_measured_whole(tmp_path: Path) -> None:
    facts = collect(tmp_path, LARGE)
    names = {row["id"]: row["name"] for row in facts.table("variable").to_pylist()}
    seen = {
        (names[row["variable"]], row["step"]): row
        for row in facts.table("state").to_pylist()
        if (row["attr"], row["point"]) == ("data", "after_step")
    }
    for name in ("weight", "brain"):
        first, second, third = (seen[name, step] for step in range(3))
        assert first["maximum"] == second["maximum"] == third["maximum"] == 70.0
        assert first["minimum"] > -10.0 and second["minimum"] == third["minimum"] == -80.0
        assert [row["nonfinite"] for row in (first, second, third)] == [0, 0, 1]
        assert [row["class"] for row in (first, second, third)] == ["nonzero", "nonzero", "nonfinite"]
    assert [seen["numbers", step]["minimum"] for step in range(3)] == [-5.0, -5.0, -5.0]
    changed = [row for row in facts.table("update").to_pylist() if row["attr"] == "data"]
    assert {(row["step"], names[row["variable"]]) for row in changed} == {
        (step, name) for step in range(3) for name in names.values()
    }


FORKED = """
import multiprocessing

torch.set_num_threads(2)
model = nn.Linear(1000, 1000)
(torch.randn(5_000_000) * 2).sum()

def child():
    torch.optim.SGD(model.parameters(), lr=0.1).zero_grad()
    print("the child is through", flush=True)

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(60)
sys.exit(process.exitcode)
"""


def test_a_forked_process_does_not_wait_for_threads_of_its_parent(tmp_path: Path) -> None:
    assert "the child is through" in run(tmp_path, FORKED).stdout
