"""Tensors of every kind: half precision, sparse, quantised, lazy, without memory; each followed as far as it goes."""

from pathlib import Path

import pytest

from tests.collect.running import collect
from traincheck.collect.compiled import PURE
from traincheck.facts import Facts

SCRIPT = """
import warnings

warnings.simplefilter("ignore")

class Kinds(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4, sparse=True)
        self.late = nn.LazyLinear(1)
        self.conv = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
        self.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.brain = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
        self.short = nn.Parameter(torch.ones(3, dtype=torch.float16))
        self.long = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.transposed = nn.Parameter(torch.ones(2, 3).t())
        self.empty = nn.Parameter(torch.empty(0, 3))
        self.nowhere = nn.Parameter(torch.empty(2, device="meta"))
        self.register_buffer("eighth", torch.ones(3).to(torch.float8_e4m3fn))
        self.register_buffer("entries", torch.eye(3).to_sparse())
        self.register_buffer("rows", torch.eye(3).to_sparse_csr())
        self.register_buffer("expanded", torch.ones(1).expand(4))
        self.register_buffer("quantised", torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
    def forward(self, words, image):
        self.count += 1
        self.eighth.copy_(self.eighth.float() * 1.5)
        total = self.late(self.words(words)).mean() + self.conv(image).mean()
        for parameter in (self.brain, self.short, self.long, self.transposed):
            total = total + (parameter.float() ** 2).sum()
        return total + (self.phase * self.phase.conj()).real.sum()

model = Kinds()
words, image = torch.tensor([1, 2, 1]), torch.ones(1, 3, 2, 2)
model(words, image)
optimizer = torch.optim.SGD([each for each in model.parameters() if not each.is_meta], lr=0.1)
for step in range(3):
    optimizer.zero_grad()
    model(words, image).backward()
    optimizer.step()
"""
TRAINED = [
    "brain", "conv.bias", "conv.weight", "late.bias", "late.weight", "long", "phase", "short", "transposed",
    "words.weight",
]  # fmt: skip


@pytest.fixture(scope="module", params=["compiled", "python"])
def facts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            patch.setenv(PURE, "1")
        return collect(tmp_path_factory.mktemp(request.param), SCRIPT)


def updated(facts: Facts, attr: str, after: str) -> list[str]:
    """Names of what got another value of some class in the second step."""
    names = {row["id"]: row["name"] for row in facts.table("variable").to_pylist()}
    return sorted(
        names[row["variable"]]
        for row in facts.table("update").to_pylist()
        if (row["attr"], row["after"], row["step"]) == (attr, after, 1)
    )


def test_values_of_every_kind_are_seen_to_change(facts: Facts) -> None:
    assert updated(facts, "data", "nonzero") == sorted([*TRAINED, "count", "eighth"])


def test_gradients_of_every_kind_are_seen_to_come_and_go(facts: Facts) -> None:
    assert updated(facts, "grad", "nonzero") == TRAINED
    assert updated(facts, "grad", "none") == TRAINED


def test_norms_are_taken_where_there_is_one(facts: Facts) -> None:
    names = {row["id"]: row["name"] for row in facts.table("variable").to_pylist()}
    norms = {
        names[row["variable"]]: row["norm"]
        for row in facts.table("state").to_pylist()
        if (row["attr"], row["point"], row["step"]) == ("grad", "before_step", 1)
    }
    assert norms["brain"] == pytest.approx(norms["long"], rel=1e-2)
    assert norms["short"] == pytest.approx(norms["long"], rel=1e-2)
    assert norms["words.weight"] is norms["phase"] is None


def test_a_lazy_module_is_known_by_the_shapes_it_gets(facts: Facts) -> None:
    shapes = {row["name"]: row["shape"] for row in facts.table("variable").to_pylist()}
    assert (shapes["late.weight"], shapes["late.bias"]) == ("[1, 4]", "[1]")
    held = {row["variable"] for row in facts.table("holds").to_pylist()}
    late = {row["id"] for row in facts.table("variable").to_pylist() if row["name"].startswith("late.")}
    assert late <= held


def test_an_optimizer_built_before_a_lazy_module_is_known_to_hold_what_it_becomes(tmp_path: Path) -> None:
    body = """
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    """
    facts = collect(tmp_path, body)
    held = {row["variable"] for row in facts.table("holds").to_pylist()}
    names = {row["name"] for row in facts.table("variable").to_pylist() if row["id"] in held}
    assert names == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_a_sparse_buffer_may_change_in_a_forward(tmp_path: Path) -> None:
    body = """
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.register_buffer("entries", torch.eye(2).to_sparse())
        def forward(self, x):
            self.entries.mul_(2)
            return (self.weight * x).sum()
    model = Sparse()
    with torch.no_grad():
        model(torch.ones(2))
    for step in range(2):
        model(torch.ones(2)).backward()
    """
    facts = collect(tmp_path, body)
    names = {row["id"]: row["name"] for row in facts.table("variable").to_pylist()}
    assert "entries" in {names[row["variable"]] for row in facts.table("update").to_pylist()}


@pytest.mark.parametrize("pure", ["", "1"], ids=["compiled", "python"])
def test_what_transforms_of_functions_put_in_place_of_tensors_is_left_alone(
    pure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False), nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x,)).sum()
    x = torch.randn(5, 4, 3)
    for step in range(4):
        parameters = {name: each.detach() for name, each in model.named_parameters()}
        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
        torch.func.vmap(model)(x)
        torch.func.jvp(model, (x[0],), (x[1],))
        optimizer.zero_grad()
        for name, parameter in model.named_parameters():
            parameter.grad = each[name].mean(0)
        optimizer.step()
    """
    monkeypatch.setenv(PURE, pure)
    facts = collect(tmp_path, body)
    assert facts.table("process").to_pylist()[0]["outcome"] == "ended"
    changed = {row["variable"] for row in facts.table("update").to_pylist() if row["attr"] == "data"}
    named = {row["id"] for row in facts.table("variable").to_pylist() if row["name"] == "2.weight"}
    assert changed & named
