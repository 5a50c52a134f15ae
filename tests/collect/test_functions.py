"""The user's own functions: recorded as calls, transparent to steps and stages, and given up where they are useless."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.collect.running import collect, collect_command, environment, rows, write_script
from traincheck.facts import Facts, load_facts
from traincheck.facts.growing import GrowingTrace

LOOP = """
from pathlib import Path
from torch.utils.data import DataLoader, TensorDataset

class Writer(Net):
    def trim(self, x):
        return x[:, -2:]
    @torch.no_grad()
    def generate(self, prompt, most=3):
        kept = self.trim(prompt)
        return [self(torch.ones(16, 4)).argmax(1) for _ in range(most)]
    @staticmethod
    def name():
        return "writer"
    @property
    def width(self):
        return 8
    def __len__(self):
        return 8

class Longer(Writer):
    def trim(self, x):
        return super().trim(x)

def plus(a, b):
    return a + b

def numbers():
    yield 1

def step(model, optimizer, index=0, *, scale=1.0):
    optimizer.zero_grad()
    loss = loss_of(model) * scale
    loss.backward()
    optimizer.step()
    for _ in range(60):
        plus(1, 2)
    return {"loss": loss.item(), "index": index}

def evaluate(model):
    model.eval()
    with torch.no_grad():
        loss_of(model)
    model.train()

def epoch(model, optimizer):
    for index in range(3):
        step(model, optimizer, index, scale=2.0)

def collate(samples):
    return torch.stack([x for x, in samples])

def main():
    model = Longer()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        epoch(model, optimizer)
        evaluate(model)
        model.generate(torch.ones(2, 5))
    list(numbers()), len(model), model.width, model.name()
    print(list(DataLoader(TensorDataset(torch.ones(6, 2)), 2, collate_fn=collate, num_workers=1))[0].shape)

main()
"""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    collect(folder, LOOP)
    return folder / "trace"


@pytest.fixture(scope="module")
def facts(trace: Path) -> Facts:
    return load_facts(trace)


def inside(facts: Facts, outer: int) -> set[str]:
    """The APIs of what a call contains, without their modules."""
    apis = {row["id"]: row["api"] for row in rows(facts, "call")}
    found = {row["inner"] for row in rows(facts, "contains", outer=outer)}
    return {".".join(apis[inner].split(".")[-2:]) for inner in found if inner in apis}


def test_functions_are_calls_with_bound_arguments(facts: Facts) -> None:
    steps = rows(facts, "call", api="train.step")
    assert [row["step"] for row in sorted(steps, key=lambda row: row["enter"])] == [0, 1, 2, 3, 4, 5]
    assert {row["site"] for row in steps} == {"train.py:71"}
    last = max(steps, key=lambda row: row["enter"])["id"]
    values = {row["name"]: row["value"] for row in rows(facts, "arg", call=last)}
    assert {name: values[name] for name in ("index", "scale")} == {"index": "2", "scale": "2.0"}
    assert {row["name"]: row["value"] for row in rows(facts, "result", call=last)}["index"] == "2"
    assert {"SGD.zero_grad", "train.loss_of", "Longer.forward", "Tensor.backward", "SGD.step"} <= inside(facts, last)


def test_methods_are_named_after_the_object_and_generalise(facts: Facts) -> None:
    (first, _) = sorted(rows(facts, "call", api="train.Longer.generate"), key=lambda row: row["enter"])
    assert first["stage"] == "eval"
    assert {"Longer.trim", "Longer.forward"} <= inside(facts, first["id"])
    assert {row["value"] for row in rows(facts, "context", call=first["id"], key="training")} == {"true"}
    assert "train.Writer.trim" in {row["super"] for row in rows(facts, "subclass", sub="train.Longer.trim")}
    assert len(rows(facts, "call", api="train.Longer.trim")) == 2  # a method that calls the one it overrides is one
    sizes = {(row["role"], row["name"], row["axis"]): row["size"] for row in rows(facts, "dimension", call=first["id"])}
    assert sizes["arg", "prompt", 0] == 2.0
    assert sizes["arg", "prompt", -1] == 5.0
    assert sizes["result", "", 0] == 3.0


def test_steps_and_stages_are_as_without_functions(facts: Facts) -> None:
    forwards = rows(facts, "call", api="train.Longer.forward")
    by_step = Counter((row["step"], row["stage"]) for row in forwards)
    assert by_step == {
        **{(step, "train"): 1 for step in range(6)}, (3, "eval"): 4, (6, "eval"): 4
    }  # fmt: skip
    evaluations = sorted(rows(facts, "call", api="train.evaluate"), key=lambda row: row["enter"])
    assert [row["step"] for row in evaluations] == [3, 6]  # each begins a step, and belongs to it
    assert {"Longer.eval", "Longer.forward", "Longer.train"} <= inside(facts, evaluations[1]["id"])


def test_what_is_no_call_is_not_there(facts: Facts) -> None:
    apis = {row["api"] for row in rows(facts, "call")}
    absent = ("main", "epoch", "plus", "numbers", "Longer.width", "Longer.__len__", "Longer.__init__")
    assert apis.isdisjoint({f"train.{name}" for name in absent})
    assert {row["api"] for row in rows(facts, "unrecorded")} == {"train.epoch", "train.plus"}
    parents = {row["parent"] for row in rows(facts, "call", api="train.step")}
    assert parents == {None}  # the epoch around it is nobody's parent


def test_processes_that_load_data_are_watched_too(facts: Facts) -> None:
    (worker,) = rows(facts, "process", role="worker")
    fetched = rows(facts, "call", process=worker["id"], api="train.collate")
    assert len(fetched) == 3
    parents = {row["id"]: row["api"] for row in rows(facts, "call", process=worker["id"])}
    assert {parents[row["parent"]] for row in fetched} == {"torch.utils.data.dataloader.DataLoader.fetch"}


@pytest.mark.parametrize("most_events", [1, 1000])
def test_batches_of_steps_hold_the_same_calls(trace: Path, facts: Facts, most_events: int) -> None:
    growing, found = GrowingTrace(trace), []
    growing.poll()
    while (batch := growing.take(most_events)) is not None:
        found.append(batch)
    assert len(found) > (3 if most_events == 1 else 0)
    found.append(growing.last())
    for relation, columns in {"call": ("id", "parent", "step"), "contains": ("outer", "inner")}.items():
        parts = [row for batch in found for row in batch[relation].to_pylist()]
        once = {tuple(row[column] for column in columns) for row in parts}
        assert once == {tuple(row[column] for column in columns) for row in rows(facts, relation)}
        assert len(once) == len(parts)


HELPERS = """
import warnings
from torch.nn.functional import relu

def scale(x):
    return x * 2

def warn():
    warnings.warn("look out", stacklevel=2)

def fails():
    raise ValueError("as it should")
"""

ASKED = """
from colorsys import rgb_to_hsv
from helpers import fails, scale, warn

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for index in range(2):
    for _ in range(70):
        scale(torch.ones(1))
    rgb_to_hsv(1, 1, 1)
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
warn()
try:
    fails()
except ValueError as error:
    print(error, [frame.name for frame in __import__("traceback").extract_tb(error.__traceback__)][-1])
"""


def asked(folder: Path, *options: str) -> tuple[str, Counter[str]]:
    """What the script wrote to standard error, and how often each API was called."""
    (folder / "helpers.py").write_text(HELPERS)
    script = write_script(folder, ASKED)
    done = subprocess.run(
        collect_command(folder, script, options=options),
        capture_output=True, text=True, cwd=folder, env=environment(), timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout == "as it should fails\n"
    return done.stderr, Counter(row["api"] for row in rows(load_facts(folder / "trace"), "call"))


def test_names_that_were_imported_before_are_followed(tmp_path: Path) -> None:
    errors, counted = asked(tmp_path)
    assert "helpers.scale" not in counted  # a little helper
    assert counted["train.loss_of"] == 2
    assert counted["helpers.fails"] == 1
    assert "train.py:37: UserWarning: look out" in errors  # what looks at its callers does not see us


def test_what_is_asked_for_is_never_given_up(tmp_path: Path) -> None:
    rules = tmp_path / "few.rules"
    rules.write_text('rule never_so "no" never call(_, api: "*.__init__"), call(_, api: "torch.Tensor.nothing")\n')
    options = ["--rules", str(rules), "--api", "helpers.sc*", "--api", "colorsys.rgb_to_hsv", "--api", "train.batch"]
    _, counted = asked(tmp_path, *options)
    assert counted["helpers.scale"] == 140
    assert counted["colorsys.rgb_to_hsv"] == 2
    assert counted["train.batch"] == 2
    assert counted["train.loss_of"] == counted["helpers.fails"] == 0
    assert counted["train.Net.__init__"] == 0  # what rules ask of all constructors is about those of torch
    assert counted["torch.optim.sgd.SGD.__init__"] == 1


def test_a_function_that_nothing_calls_is_recorded(tmp_path: Path) -> None:
    """What Python itself calls at its end has no frame below it."""
    facts = collect(
        tmp_path,
        """
        import atexit
        def farewell():
            print("done")
        atexit.register(farewell)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss_of(model).backward()
        optimizer.step()
        """,
    )
    assert [row["outcome"] for row in rows(facts, "process")] == ["ended"]


def test_what_is_passed_by_other_names_is_not_taken_for_the_same(tmp_path: Path) -> None:
    facts = collect(
        tmp_path,
        """
        def options(first, **others):
            return first
        loss_of(Net()).backward()
        options(1, low=2), options(1, high=2)
        """,
    )
    calls = {row["id"] for row in rows(facts, "call", api="train.options")}
    named = [row["name"] for row in rows(facts, "arg") if row["call"] in calls and row["name"] != "first"]
    assert sorted(named) == ["high", "low"]


def test_modules_that_are_replaced_or_taken_away(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def before():\n    return 1\n", encoding="utf-8")
    (tmp_path / "other.py").write_text("def after():\n    return 2\n", encoding="utf-8")
    facts = collect(
        tmp_path,
        """
        import sys, types, helper
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        def step():
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
        step()
        helper.before()
        sys.modules["helper"] = None
        step(), step()
        other = types.ModuleType("helper")
        other.__file__ = "other.py"
        exec(compile(open("other.py").read(), "other.py", "exec"), other.__dict__)
        other.__dict__.update({f"padding{number}": 0 for number in range(len(helper.__dict__) - len(other.__dict__))})
        sys.modules["helper"] = other
        step(), step()
        other.after()
        """,
    )
    counted = Counter(row["api"] for row in rows(facts, "call"))
    assert counted["helper.before"] == counted["helper.after"] == 1
    assert counted["train.step"] == 4  # the first of five had begun before anything was followed
    assert [row["outcome"] for row in rows(facts, "process")] == ["ended"]
