"""Of gradients no more is read than what is asked of their changes takes, and what is asked is told right."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from tests.collect.running import collect, rows
from traincheck.collect.buffers import Buffers
from traincheck.collect.calls.objects import Objects
from traincheck.collect.compiled import NATIVE, PURE
from traincheck.collect.needs import Needs
from traincheck.collect.values.fingerprint import fingerprint
from traincheck.collect.variables.changes import Changes
from traincheck.collect.variables.discovery import Modules
from traincheck.collect.variables.variables import Variables
from traincheck.facts import Facts
from traincheck.trace.layout import FAMILIES

BACKWARD = "torch.autograd.backward"
ZERO_GRAD = "torch.optim.sgd.SGD.zero_grad"
CLIP = "torch.nn.utils.clip_grad_norm_"

MODEL = """
class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.randn(50_000)) for _ in range(2))
        self.small = nn.Parameter(torch.randn(3))
    def forward(self, both=True):
        loss = (self.first * torch.randn(50_000)).sum() + (self.small * torch.randn(3)).sum()
        return loss + (self.second * torch.randn(50_000)).sum() if both else loss

model = Pair()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
"""

ACCUMULATION = (
    MODEL
    + """
for step in range(9):
    optimizer.zero_grad()
    model().backward()
    model(step < 6).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
"""
)

BACKWARD_CHANGES = 'updates_each(Doer: "backward", Kind: "parameter", Attr: "grad")'
ZERO_GRAD_CLEARS = 'updates_some(Doer: "zero_grad", Kind: "parameter", Attr: "grad", Before: "nonzero", After: "none")'
CLIP_CHANGES = 'updates_some(Doer: "clip", Kind: "parameter", Attr: "grad", Before: "nonzero", After: "nonzero")'
STATE = 'state_is(Kind: "parameter", Attr: "grad", Point: "before_step", Class: "nonzero")'


@pytest.fixture(params=["compiled", "python"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setenv(PURE, "1")


def selective(folder: Path, body: str, *invariants: str) -> Facts:
    """Facts of a collection of what some invariants need."""
    folder.mkdir()
    rules = folder / "some.rules"
    evidence = '"a law"\n  evidence runs 2, examples 9, confidence 0.9, false_alarms 0.1\n'
    rules.write_text("".join(f"invariant {each}\n  {evidence}" for each in invariants))
    return collect(folder, body, options=("-i", str(rules)))


def changed(facts: Facts) -> list[tuple[str, frozenset[str]]]:
    """Of each call of ours, in order, which gradients it has changed; of no call those that are nobody's."""
    names = {row["id"]: row["name"] for row in rows(facts, "variable")}
    updates = rows(facts, "update", attr="grad")
    calls = [(row["id"], row["api"]) for row in rows(facts, "call") if row["api"] in (BACKWARD, ZERO_GRAD, CLIP)]
    others = {row["call"] for row in updates} - {call for call, _ in calls}
    return [
        (api, frozenset(names[row["variable"]] for row in updates if row["call"] == call))
        for call, api in [*sorted(calls), *((call, "elsewhere") for call in others)]
    ]


@pytest.mark.usefixtures("_way")
def test_what_a_backward_leaves_out_is_told_from_the_second_time_on(tmp_path: Path) -> None:
    every = frozenset({"first", "second", "small"})
    found = changed(selective(tmp_path / "some", ACCUMULATION, BACKWARD_CHANGES, ZERO_GRAD_CLEARS, STATE))
    backwards = [names for api, names in found if api == BACKWARD]
    assert len(backwards) == 18
    assert set(backwards[0::2]) == set(backwards[1:12:2]) == {every}
    assert set(backwards[15::2]) == {every - {"second"}}
    assert [names for api, names in found if api == ZERO_GRAD] == [frozenset(), *[every] * 8]
    assert [names for api, names in found if api in (CLIP, "elsewhere")] == [frozenset()] * 9


@pytest.mark.usefixtures("_way")
def test_states_are_those_of_a_collection_of_everything(tmp_path: Path) -> None:
    def states(facts: Facts) -> list[object]:
        names = {row["id"]: row["name"] for row in rows(facts, "variable")}
        return sorted(
            (names[row["variable"]], *[row[key] for key in ("step", "point", "class", "norm", "fingerprint")])
            for row in rows(facts, "state", attr="grad")
        )

    some = states(selective(tmp_path / "some", ACCUMULATION, BACKWARD_CHANGES, STATE))
    (tmp_path / "all").mkdir()
    assert len(some) == 27
    assert some == states(collect(tmp_path / "all", ACCUMULATION))


@pytest.mark.usefixtures("_way")
def test_what_is_asked_of_clipping_is_told_too(tmp_path: Path) -> None:
    facts = selective(tmp_path / "some", ACCUMULATION, BACKWARD_CHANGES, CLIP_CHANGES)
    clips = [call["id"] for call in rows(facts, "call", api=CLIP)]
    found = [row for row in rows(facts, "update", attr="grad") if row["call"] in clips]
    assert len(found) == 27
    assert {(row["before"], row["after"]) for row in found} == {("nonzero", "nonzero")}


IDLE = (
    MODEL
    + """
other = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
for step in range(6):
    optimizer.zero_grad()
    model().backward()
    model().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    (0.0 * model()).backward()
    model().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    other.zero_grad()
    if step < 5:
        optimizer.step()
optimizer.zero_grad()
"""
)


@pytest.mark.usefixtures("_way")
def test_nobody_is_credited_with_what_others_have_done(tmp_path: Path) -> None:
    facts = selective(tmp_path / "some", IDLE, BACKWARD_CHANGES, ZERO_GRAD_CLEARS)
    every, none = frozenset({"first", "second", "small"}), frozenset[str]()
    found = [(api, names) for api, names in changed(facts) if api != CLIP]
    (*steps, last) = found
    assert last == (ZERO_GRAD, every)
    turn = [(BACKWARD, every), (BACKWARD, every), (BACKWARD, none), (BACKWARD, every), (ZERO_GRAD, none)]
    assert steps == [(ZERO_GRAD, none), *turn, *5 * [(ZERO_GRAD, every), *turn]]
    updates = rows(facts, "update", attr="grad")
    cleared = {row["id"] for row in rows(facts, "call", api=ZERO_GRAD)}
    kinds = Counter((row["before"], row["after"]) for row in updates if row["call"] in cleared)
    assert kinds == {("nonzero", "none"): 18}


_FROM = {"all": 0, "end": -1}
"""The first value that such an event writes to."""


@pytest.mark.skipif(NATIVE is None, reason="the compiled part was not built, or is switched off")
@settings(deadline=None)
@given(events=st.lists(st.sampled_from(["all", "end", "nothing", "looked at", "cleared"]), max_size=20))
def test_a_brief_sweep_misses_no_change_and_takes_one_gradient_for_changed_once_at_most(events: list[str]) -> None:
    buffers = Buffers()
    variables = Variables(buffers, Objects(buffers), Modules())
    changes = Changes(buffers, variables, Needs(), {})
    parameter = torch.nn.Parameter(torch.ones(5_000))
    model = torch.nn.Module()
    model.weight = parameter
    variables.called(model)
    parameter.grad = torch.ones(5_000)
    changes.grads(-1)
    changed = set[int]()
    for number, event in enumerate(["all"] * 5 + events):
        grad = parameter.grad
        if event == "looked at":  # whole, as when a step is entered
            changes.grads(number, told=False)
            continue
        if event in _FROM:
            parameter.grad = torch.ones(5_000) if grad is None else grad.clone()
            parameter.grad[_FROM[event] :] += 1
        elif event == "cleared":
            parameter.grad = None
        if parameter.grad is not grad:
            changed.add(number)
        changes.grads(number, brief=True)
    changes.write()
    updates = np.frombuffer(buffers.drain()["updates"], FAMILIES["updates"].packed)
    told = set(updates["call"].tolist()) - {-1}
    assert changed <= told
    assert len(told - changed) <= 1


class _Meddling(TorchFunctionMode):
    """Whenever anything is asked of a tensor, a gradient gets other memory, and its old one is given back."""

    def __init__(self, gradient: torch.Tensor) -> None:
        super().__init__()
        self._gradient, self._times = gradient, 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self._times += 1
        self._gradient.data = torch.full((10_000_000,), float(self._times))
        return result


def test_no_memory_is_read_that_python_code_gives_back_meanwhile() -> None:
    buffers = Buffers()
    variables = Variables(buffers, Objects(buffers), Modules())
    changes = Changes(buffers, variables, Needs(), {})
    model = torch.nn.Module()
    model.first, model.second = (torch.nn.Parameter(torch.ones(10_000_000)) for _ in range(2))
    variables.called(model)
    for parameter in model.parameters():
        parameter.grad = torch.ones(10_000_000)
    with _Meddling(model.first.grad):
        changes.grads(-1)
    seen = fingerprint(model.first.grad)
    assert changes._table.grad.prints[0] == seen
