"""What is known of modules and optimizers beside their calls: who initialises what, settings, states, overrides."""

from pathlib import Path

import pytest

from tests.collect.running import collect, rows
from traincheck.facts import Facts

SCRIPT = """
class Base(nn.Module):
    def train(self, mode=True):
        return super().train(mode)
    def _initialise(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)

class Wrapper(Base):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.apply(self._initialise)
    def forward(self, x):
        return self.inner(x)

model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
wrapped = Wrapper(model)
wrapped.apply(wrapped._initialise)
for step in range(3):
    if step == 2:
        optimizer.param_groups[0]["weight_decay"] = 0.5
    optimizer.zero_grad()
    loss_of(wrapped).backward()
    optimizer.step()
    scheduler.step()
"""


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return collect(tmp_path_factory.mktemp("objects"), SCRIPT)


def test_initialisation_inside_apply_is_linked_to_its_tensors(facts: Facts) -> None:
    calls = {row["id"] for row in rows(facts, "call", api="torch.nn.init.normal_")}
    tensors = [row["tensor"] for row in rows(facts, "arg", name="tensor") if row["call"] in calls]
    assert len(tensors) == 4  # two layers, by the constructor and by the script
    assert None not in tensors
    assert len(set(tensors)) == 2


def test_changes_of_hyperparameters_and_whose_they_are(facts: Facts) -> None:
    apis = {row["id"]: row["api"] for row in rows(facts, "call")}
    seen = [
        (row["name"], row["before"], row["after"], row["step"], apis.get(row["call"]))
        for row in sorted(rows(facts, "adjustment"), key=lambda row: row["at"])
    ]
    by_scheduler = "torch.optim.lr_scheduler.StepLR.step"
    assert seen == [
        ("lr", "0.1", "0.05", 0, by_scheduler),
        ("lr", "0.05", "0.025", 1, by_scheduler),
        ("weight_decay", "0", "0.5", 2, None),
        ("lr", "0.025", "0.0125", 2, by_scheduler),
    ]
    assert {row["value"] for row in rows(facts, "hyperparameter", name="lr")} == {"0.1"}


def test_a_method_that_a_class_overrides_is_known_uncalled(facts: Facts) -> None:
    method = "torch.nn.modules.module.Module.train"
    assert {"type": "train.Wrapper", "sub": "train.Base.train", "super": method} in rows(facts, "overrides")
    assert not [row for row in rows(facts, "overrides", super=method) if row["type"].startswith("torch.")]
    assert not [row for row in rows(facts, "call") if row["api"].endswith(".train")]


def test_an_optimizer_holds_the_names_that_its_tensors_get_later(facts: Facts) -> None:
    names = {row["id"]: row["name"] for row in rows(facts, "variable")}
    held = [names[row["variable"]] for row in rows(facts, "holds")]
    assert sorted(held) == sorted({*held})
    assert {"body.weight", "inner.body.weight", "head.bias", "inner.head.bias"} <= set(held)


def test_states_of_optimizers_are_noted_when_they_are_named(tmp_path: Path, facts: Facts) -> None:
    assert {row["attr"] for row in rows(facts, "state")} == {"data", "grad"}
    asking = tmp_path / "asking.rules"
    asking.write_text('rule r "r" never state(_, attr: "state.exp_avg", class: "nonfinite", step: S)')
    asked = collect(tmp_path, SCRIPT, options=["--rules", str(asking)])
    states = rows(asked, "state")
    assert {row["attr"] for row in states} == {"state.exp_avg"}
    assert {row["point"] for row in states} == {"after_step"}
    assert {row["step"] for row in states} == {0, 1, 2}
    assert all(row["fingerprint"] and row["norm"] >= 0 for row in states)
