"""Checkpoints: every tensor that is saved or loaded, beside what the model holds at that moment."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.collect.running import collect, environment, rows, run, write_script
from traincheck.facts import Facts, load_facts

SAVES = """
import copy
model = Net()
model.register_buffer("mask", torch.ones(2), persistent=False)
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
average = copy.deepcopy(model)
first = model.state_dict()
for step in range(2):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
    if step == 0:
        best = copy.deepcopy(model.state_dict())
torch.save({"model": model.state_dict(), "averages": [average.state_dict()],
            "optimizer": optimizer.state_dict(), "epoch": 1}, "nested.pt")
part = {"module." + name: tensor.half() for name, tensor in model.state_dict().items() if "head" in name}
torch.save(part, "part.pt")
torch.save(model.head.state_dict(), "head.pt")
torch.save(first, "first.pt")
torch.save(best, "best.pt")
torch.save({"nobody's": torch.zeros(3)}, "other.pt")
"""

STATE = [
    "body.weight", "body.bias", "norm.weight", "norm.bias", "head.weight", "head.bias",
    "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
]  # fmt: skip


@pytest.fixture(scope="module")
def saves(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return collect(tmp_path_factory.mktemp("saves"), SAVES)


def of_call(facts: Facts, relation: str, index: int, api: str = "torch.save") -> list[dict[str, Any]]:
    """The rows of the `index`-th call of `api`, from 0."""
    calls = sorted(rows(facts, "call", api=api), key=lambda row: row["enter"])
    return rows(facts, relation, call=calls[index]["id"])


def test_a_nested_checkpoint_stands_beside_the_model(saves: Facts) -> None:
    names = {row["id"]: row["name"] for row in rows(saves, "variable")}
    stored = [row for row in of_call(saves, "stored", 0) if row["place"] == "model"]
    live = [row for row in of_call(saves, "live", 0) if row["place"] == "model"]
    assert {row["name"]: names[row["variable"]] for row in stored} == {name: name for name in STATE}
    now = {row["name"]: row["fingerprint"] for row in live}
    assert {row["name"]: row["fingerprint"] for row in stored} == now
    assert {row["owner"] for row in stored} == {row["owner"] for row in live}
    assert now.keys() == set(STATE)
    assert {row["moves"] for row in live if row["kind"] == "parameter"} == {"true"}
    assert {row["kind"] for row in live if "running" in row["name"]} == {"buffer"}


def test_who_gave_a_state_out_owns_it(saves: Facts) -> None:
    by_place = {place: {row["owner"] for row in of_call(saves, "live", 0) if row["place"] == place}
                for place in ("model", "averages.0")}  # fmt: skip
    assert by_place["model"] != by_place["averages.0"]
    stored = [row for row in of_call(saves, "stored", 0) if row["place"] == "averages.0"]
    assert {row["owner"] for row in stored} == by_place["averages.0"]
    assert {row["variable"] for row in stored} == {None}  # the average is no model that trains


def test_what_is_nobodys_has_no_owner(saves: Facts) -> None:
    free = [row for row in of_call(saves, "stored", 0) if row["owner"] is None]
    assert {row["place"] for row in free} == {"."}
    assert {row["name"].rpartition(".")[2] for row in free} == {"step", "exp_avg", "exp_avg_sq"}
    (other,) = of_call(saves, "stored", 5)
    assert (other["owner"], other["class"], other["shape"]) == (None, "zero", "[3]")
    assert of_call(saves, "live", 5) == []


def test_a_part_under_a_wrappers_name_is_compared_with_the_whole(saves: Facts) -> None:
    stored, live = of_call(saves, "stored", 1), of_call(saves, "live", 1)
    assert {(row["name"], row["dtype"]) for row in stored} == {("head.weight", "float16"), ("head.bias", "float16")}
    assert {row["name"] for row in live} == set(STATE)


def test_the_state_of_a_submodule_is_its_own(saves: Facts) -> None:
    types = {row["id"]: row["type"] for row in rows(saves, "object")}
    live = of_call(saves, "live", 2)
    assert {row["name"] for row in live} == {"weight", "bias"}
    assert {types[row["owner"]] for row in live} == {"torch.nn.modules.linear.Linear"}
    names = {row["id"]: row["name"] for row in rows(saves, "variable")}
    assert {names[row["variable"]] for row in live} == {"head.weight", "head.bias"}


def test_a_state_dict_that_was_kept_is_outdated_when_it_is_saved(saves: Facts) -> None:
    assert {row["outdated"] for row in of_call(saves, "stored", 0)} == {"false"}
    kept = of_call(saves, "stored", 3)
    assert {row["outdated"] for row in kept if "running" not in row["name"]} >= {"true"}
    taken = min(row["taken"] for row in kept)
    first_step = min(row["enter"] for row in rows(saves, "call", api="torch.optim.adam.Adam.step"))
    assert taken < first_step


def test_a_copy_of_a_state_that_the_model_has_left_is_earlier(saves: Facts) -> None:
    flags = [{row["earlier"] for row in of_call(saves, "stored", index) if row["owner"]} for index in range(5)]
    assert flags == [{"false"}, {"false"}, {"false"}, {"false"}, {"true"}]
    assert {row["outdated"] for row in of_call(saves, "stored", 4)} == {"false"}


def test_loading_is_compared_by_name(tmp_path: Path) -> None:
    facts = collect(
        tmp_path,
        """
        model, other = Net(), Net()
        torch.save(model.state_dict(), "model.pt")
        other.load_state_dict(torch.load("model.pt"))
        wrapped = {"module." + name: tensor for name, tensor in torch.load("model.pt").items()}
        print(len(other.load_state_dict(wrapped, strict=False).unexpected_keys))
        """,
    )
    api = "train.Net.load_state_dict"
    given = {row["name"]: row["fingerprint"] for row in of_call(facts, "stored", 0, api)}
    assert given == {row["name"]: row["fingerprint"] for row in of_call(facts, "live", 0, api)}
    assert set(given) == set(STATE)
    unfit = of_call(facts, "stored", 1, api)
    assert {row["owner"] for row in unfit} == {None}
    assert {row["name"] for row in unfit} == {f"module.{name}" for name in STATE}
    assert {row["name"] for row in of_call(facts, "live", 1, api)} == set(STATE)
    assert len(rows(facts, "call", api="torch.load")) == 2


def test_a_failed_load_leaves_no_values(tmp_path: Path) -> None:
    facts = collect(
        tmp_path,
        """
        model = Net()
        try:
            model.load_state_dict({"nothing": torch.ones(1)})
        except RuntimeError:
            pass
        model.load_state_dict(model.state_dict())
        """,
    )
    api = "train.Net.load_state_dict"
    assert rows(facts, "call", api=api)[0]["outcome"] == "raised"
    assert (len(of_call(facts, "stored", 0, api)), len(of_call(facts, "live", 0, api))) == (1, 0)
    assert len(of_call(facts, "live", 1, api)) == len(STATE)


def test_safetensors_is_watched_once_it_is_imported(tmp_path: Path) -> None:
    facts = collect(
        tmp_path,
        """
        model = Net()
        assert "safetensors" not in sys.modules
        from safetensors.torch import load_file, save_model
        save_model(model, "model.safetensors")
        model.load_state_dict(load_file("model.safetensors"))
        """,
    )
    assert {row["name"] for row in of_call(facts, "stored", 0, "safetensors.torch.save_file")} == set(STATE)
    assert len(rows(facts, "call", api="safetensors.torch.load_file")) == 1


TRAINING = """
import hashlib, io
model = nn.Sequential(Net(), nn.Dropout(0.5))
optimizer = torch.optim.AdamW(model.parameters())
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
digest = hashlib.sha256()
for step in range(4):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
    scheduler.step()
    file = io.BytesIO()
    torch.save({"m": model.state_dict(), "o": optimizer.state_dict(), "s": scheduler.state_dict(), "n": step}, file)
    digest.update(file.getvalue())
    state = torch.load(io.BytesIO(file.getvalue()))
    model.load_state_dict(state["m"])
    optimizer.load_state_dict(state["o"])
    scheduler.load_state_dict(state["s"])
for tensor in model.state_dict().values():
    digest.update(tensor.numpy().tobytes())
print(digest.hexdigest(), torch.rand(1).item())
"""


def test_files_and_weights_are_bit_identical(tmp_path: Path) -> None:
    script = write_script(tmp_path, TRAINING, name="plain.py")
    plain = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=120, check=True,
    )  # fmt: skip
    assert run(tmp_path, TRAINING).stdout == plain.stdout
    apis = [row["api"] for row in rows(load_facts(tmp_path / "trace"), "call")]
    for name in ("container.Sequential", "adamw.AdamW", "StepLR"):
        for method in ("state_dict", "load_state_dict"):
            assert sum(api.endswith(f"{name}.{method}") for api in apis) >= 4, (name, method)


RULES = {
    "unasked": 'rule r "r" never state(_, attr: "data", class: "nonfinite", step: S)',
    "asked": 'rule r "r" when performs(C, "save"), stored(C, class: K) expect K != "zero" within C',
}


@pytest.mark.parametrize("which", sorted(RULES))
def test_checkpoints_are_recorded_when_rules_ask_for_them(tmp_path: Path, which: str) -> None:
    needs = tmp_path / "needs.rules"
    needs.write_text(RULES[which])
    facts = collect(tmp_path, SAVES, options=["--rules", str(needs), "--every", "50"])
    assert len(rows(facts, "call", api="torch.save")) == (6 if which == "asked" else 0)
    assert bool(rows(facts, "stored")) == (which == "asked")
