"""Steps, stages and updates of real loops, collected from real processes."""

from collections import Counter
from pathlib import Path

import pytest

from tests.collect.running import apis_by_step, collect, rows
from traincheck.facts import Facts

PLAIN = """
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
for _ in range(3):
    model.train()
    optimizer.zero_grad()
    loss_of(model).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    model.eval()
    with torch.no_grad():
        loss_of(model)
"""

LOOP = ["train", "zero_grad", "forward", "cross_entropy", "backward", "clip_grad_norm_", "step", "step"]
EVALUATION = ["eval", "forward", "cross_entropy"]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return collect(tmp_path_factory.mktemp("plain"), PLAIN)


def test_a_plain_loop(facts: Facts) -> None:
    steps = apis_by_step(facts)
    assert steps[0][-len(LOOP) :] == LOOP  # what is built and initialised comes before
    assert steps[1] == steps[2] == EVALUATION + LOOP
    assert steps[3] == EVALUATION
    assert [row["closed"] for row in rows(facts, "step")] == ["true"] * 4
    by_stage = Counter(row["stage"] for row in rows(facts, "call", api="train.Net.forward"))
    assert by_stage == {"train": 3, "eval": 3}


def test_updates_belong_to_the_innermost_call(facts: Facts) -> None:
    apis = {row["id"]: row["api"] for row in rows(facts, "call")}
    names = {row["id"]: row["name"] for row in rows(facts, "variable")}
    seen = {
        (names[row["variable"]], row["attr"], apis[row["call"]], row["before"], row["after"])
        for row in rows(facts, "update", step=1)
    }
    assert ("body.weight", "data", "torch.optim.sgd.SGD.step", "nonzero", "nonzero") in seen
    assert ("body.weight", "grad", "torch.optim.sgd.SGD.zero_grad", "nonzero", "none") in seen
    assert ("body.weight", "grad", "torch.autograd.backward", "none", "nonzero") in seen
    assert ("norm.running_mean", "data", "torch.nn.modules.batchnorm.BatchNorm1d.forward", "nonzero", "nonzero") in seen
    contained = {(row["outer"], row["inner"]) for row in rows(facts, "contains")}
    for row in rows(facts, "update", step=1):
        assert (row["call"], row["id"]) in contained


def test_states_are_taken_once_a_step(facts: Facts) -> None:
    counted = Counter((row["variable"], row["attr"], row["point"], row["step"]) for row in rows(facts, "state"))
    assert set(counted.values()) == {1}
    names = {row["id"]: row["name"] for row in rows(facts, "variable")}
    assert {names[variable] for variable, attr, point, _ in counted if (attr, point) == ("grad", "before_step")} == {
        "body.weight", "body.bias", "norm.weight", "norm.bias", "head.weight", "head.bias"
    }  # fmt: skip
    assert {"norm.running_mean", "head.bias"} <= {names[v] for v, attr, _, _ in counted if attr == "data"}
    assert all(row["class"] is not None for row in rows(facts, "state"))


def test_a_parameter_without_gradient_has_the_state_none(tmp_path: Path) -> None:
    script = """
model = Net()
model.head.weight.requires_grad_(False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(2):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
"""
    facts = collect(tmp_path, script)
    names = {row["id"]: row["name"] for row in rows(facts, "variable")}
    grads = {(names[r["variable"]], r["class"]) for r in rows(facts, "state") if r["attr"] == "grad"}
    assert ("head.weight", "none") in grads
    assert ("body.weight", "nonzero") in grads


SHAPES = {
    "skipped scaler step": (
        """
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for index in range(4):
    optimizer.zero_grad()
    loss = loss_of(model)
    scaler.scale(loss * float("inf") if index == 1 else loss).backward()
    scaler.step(optimizer)
    scaler.update()
""",
        4,
    ),
    "closure": (
        """
model = Net()
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
def closure():
    optimizer.zero_grad()
    loss = loss_of(model)
    loss.backward()
    return loss
for _ in range(3):
    optimizer.step(closure)
""",
        3,
    ),
    "two optimizers": (
        """
one, two = Net(), Net()
first, second = torch.optim.Adam(one.parameters()), torch.optim.Adam(two.parameters())
for _ in range(3):
    for model, optimizer in ((one, first), (two, second)):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
""",
        3,
    ),
    "a user's optimizer, with a wrapper that steps it": (
        """
class Plain(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p -= 0.1 * p.grad
model = Net()
optimizer = Plain(model.parameters())
for _ in range(3):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
""",
        3,
    ),
    "no step ever": ("model = Net()\nfor _ in range(3):\n    loss_of(model).backward()\n", 1),
}


FORKED = """
import os
import textwrap
for body in {bodies}:
    child = os.fork()
    if not child:
        exec(compile(textwrap.dedent(body), __file__, "exec"))
        import atexit
        atexit._run_exitfuncs()
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_numbers_of_steps_and_forks(tmp_path: Path) -> None:
    facts = collect(tmp_path, FORKED.format(bodies=[body for body, _ in SHAPES.values()]))
    processes = sorted(row["id"] for row in rows(facts, "process"))
    found = {name: len(rows(facts, "step", process=process)) for name, process in zip(SHAPES, processes, strict=True)}
    assert found == {name: expected for name, (_, expected) in SHAPES.items()}


SAMPLED = """
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(9):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
"""


def test_sampled_steps_are_whole_and_the_others_nearly_empty(tmp_path: Path) -> None:
    facts = collect(tmp_path, SAMPLED, options=["--every", "4", "--warmup", "2"])
    windows = [(row["first_step"], row["last_step"]) for row in rows(facts, "window")]
    assert windows == [(0, 1), (4, 4), (8, 8)]
    assert len(rows(facts, "step")) == 9
    linear = Counter(row["step"] for row in rows(facts, "call", api="torch.nn.functional.linear"))
    assert linear == {0: 2, 1: 2, 4: 2, 8: 2}
    updates = Counter(row["step"] for row in rows(facts, "update", attr="data"))
    assert updates.keys() == {0, 1, 4, 8}
    assert updates[4] == updates[8] == updates[1]
    stepped = Counter(row["step"] for row in rows(facts, "call", api="torch.optim.sgd.SGD.step"))
    assert stepped == {0: 1, 1: 1, 4: 1, 8: 1}


EPOCHS = """
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = torch.utils.data.DataLoader(torch.randn(9, 4), batch_size=3)
for epoch in range(3):
    model.train()
    for _ in loader:
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
"""


@pytest.mark.parametrize("options", [[], ["--every", "2"], ["--every", "3"], ["--every", "4", "--warmup", "1"]])
def test_each_recorded_step_has_the_batch_that_begins_it(tmp_path: Path, options: list[str]) -> None:
    facts = collect(tmp_path, EPOCHS, options=options)
    assert len(rows(facts, "step")) == 9
    recorded = [n for row in rows(facts, "window") for n in range(row["first_step"], row["last_step"] + 1)]
    fetched = rows(facts, "call", api="torch.utils.data.dataloader.DataLoader.__next__")
    batches = Counter(row["step"] for row in fetched if row["outcome"] == "returned")
    assert {step: batches[step] for step in recorded} == dict.fromkeys(recorded, 1)
    changed = Counter(row["step"] for row in rows(facts, "update", attr="data"))
    assert set(changed) == set(recorded)
    ends = {row["step"] for row in fetched if row["outcome"] == "exhausted"}
    assert {2, 5, 8} & set(recorded) <= ends <= {2, 5, 8}


LONG = {
    "plain": """
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(48):
    optimizer.zero_grad()
    loss_of(model).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
""",
    "epochs": EPOCHS.replace("range(3)", "range(16)"),
    "two optimizers": """
one, two = Net(), Net()
first, second = torch.optim.Adam(one.parameters()), torch.optim.Adam(two.parameters())
for _ in range(48):
    for model, optimizer in ((one, first), (two, second)):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
""",
    "a critic that steps more often": """
one, two = Net(), Net()
first, second = torch.optim.Adam(one.parameters()), torch.optim.Adam(two.parameters())
for _ in range(16):
    for model, optimizer in ((one, first), (one, first), (one, first), (two, second)):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
""",
    "one of two optimizers is left out once": """
one, two = Net(), Net()
first, second = torch.optim.Adam(one.parameters()), torch.optim.Adam(two.parameters())
for index in range(48):
    for model, optimizer in ((one, first), (two, second)):
        optimizer.zero_grad()
        loss_of(model).backward()
        if optimizer is first or index != 22:
            optimizer.step()
""",
    "two steps in a row": """
model = Net()
optimizer = torch.optim.Adam(model.parameters())
for _ in range(48):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
    optimizer.step()
""",
}


@pytest.mark.parametrize("shape", LONG)
def test_a_recorded_step_is_that_step_of_a_run_that_leaves_none_out(tmp_path: Path, shape: str) -> None:
    (tmp_path / "whole").mkdir()
    whole = collect(tmp_path / "whole", LONG[shape])
    some = collect(tmp_path, LONG[shape], options=["--every", "5", "--warmup", "3"])
    assert len(rows(some, "step")) == len(rows(whole, "step")) == 48
    windows = [(row["first_step"], row["last_step"]) for row in rows(some, "window")]
    recorded = [step for first, last in windows for step in range(first, last + 1)]
    assert recorded == [0, 1, 2, *range(5, 48, 5)]
    expected, found = apis_by_step(whole), apis_by_step(some)
    assert {step: found[step] for step in recorded} == {step: expected[step] for step in recorded}
