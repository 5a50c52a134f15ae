"""What is told of calls and of optimizers is the same whether it is looked up by what was seen before or found anew."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from traincheck.collect import compiled
from traincheck.collect.buffers import NULL
from traincheck.collect.calls.calls import Open, Thread, Watch
from traincheck.collect.instrument.recorder import Recorders
from traincheck.collect.monitor import Monitor
from traincheck.collect.settings import Settings
from traincheck.collect.variables.holdings import Holdings
from traincheck.trace.layout import FAMILIES

needs_compiled = pytest.mark.skipif(
    compiled.NATIVE is None, reason="the compiled part was not built, or is switched off"
)
SQUARE = torch.ones(2, 2)
VALUES: dict[str, Callable[[], Any]] = {
    "tensor": lambda: torch.ones(3, 4),
    "other shape": lambda: torch.ones(4, 3),
    "other type": lambda: torch.ones(3, 4, dtype=torch.float64),
    "whole numbers": lambda: torch.ones(3, 4, dtype=torch.int32),
    "bfloat": lambda: torch.ones(3, 4, dtype=torch.bfloat16),
    "half": lambda: torch.ones(3, 4, dtype=torch.float16),
    "truths": lambda: torch.ones(3, 4, dtype=torch.bool),
    "bytes": lambda: torch.ones(3, 4, dtype=torch.uint8),
    "float8": lambda: torch.ones(3, 4).to(torch.float8_e4m3fn),
    "other float8": lambda: torch.ones(3, 4).to(torch.float8_e5m2),
    "conjugate": lambda: torch.ones(3, 4, dtype=torch.complex64).conj(),
    "single": lambda: torch.tensor(1.0),
    "nothing": lambda: torch.empty(0, 4),
    "turned": lambda: torch.ones(4, 3).T,
    "part": lambda: torch.ones(6, 4)[::2],
    "spread": lambda: torch.ones(1, 4).expand(3, 4),
    "many dimensions": lambda: torch.ones(1, 1, 1, 1, 3, 4),
    "as many": lambda: torch.ones(1, 1, 1, 3, 4),
    "parameter": lambda: torch.nn.Parameter(torch.ones(3, 4)),
    "buffer": lambda: torch.nn.Buffer(torch.ones(3, 4)),
    "meta": lambda: torch.ones(3, 4, device="meta"),
    "sparse": lambda: torch.ones(3, 4).to_sparse(),
    "one": lambda: 1,
    "true": lambda: True,
    "real": lambda: 1.0,
    "zero": lambda: 0.0,
    "minus zero": lambda: -0.0,
    "not a number": lambda: math.nan,
    "fresh": lambda: float("12345.5"),
    "none": lambda: None,
    "text": lambda: "mean",
    "dtype": lambda: torch.float32,
    "device": lambda: torch.device("cpu"),
    "stride": lambda: (1, 1),
    "stride of truths": lambda: (True, 1),
    "stride of reals": lambda: (1.0, 1),
    "size": lambda: torch.Size((1, 1)),
    "tensors": lambda: (SQUARE, 1),
    "list": lambda: [1, 2],
    "dict": lambda: {"key": 1},
    "module": torch.nn.Identity,
}


def first(first: Any, second: Any = None, *more: Any, key: Any = None) -> Any:
    """The function that is watched."""
    return first


class Recorded:
    """Calls of `first`, recorded by the compiled part or without it."""

    def __init__(self, native: bool) -> None:
        self._monitor = Monitor(Settings(trace=Path("unused"), cwd="/"))
        watch = Watch(linked=False)
        watch.api = self._monitor.apis.function("first", first)
        recorders = Recorders(self._monitor)
        if not native:
            recorders._state = None
        self.call = recorders.swapped(first, watch)

    def rows(self) -> dict[str, Any]:
        """Sets of arguments and results by call, and what the sets are."""
        taken = self._monitor.buffers.drain()
        calls = np.frombuffer(taken["calls"], FAMILIES["calls"].packed)
        return {
            "args": calls["args"].tolist(),
            "results": calls["results"].tolist(),
            "sets": taken["valuesets"],
            "names": [name for name in taken["names"] if name[1] not in ("", "first")],
        }


@needs_compiled
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=8),
            st.none() | st.sampled_from(sorted(VALUES)),
        ),
        max_size=40,
    )
)
def test_values_are_described_alike(calls: list[tuple[list[str], str | None]]) -> None:
    native, python = Recorded(True), Recorded(False)
    kept = {name: make() for name, make in VALUES.items()}
    for names, keyword in calls * 2:
        for values in ([kept[name] for name in names], [VALUES[name]() for name in names]):
            named = {} if keyword is None else {"key": kept[keyword]}
            native.call(*values, **named)
            python.call(*values, **named)
    assert native.rows() == python.rows()


@needs_compiled
@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=80))
def test_sets_that_take_each_others_place_are_described_alike(calls: list[list[int]]) -> None:
    native, python = Recorded(True), Recorded(False)
    for shape in calls:  # more shapes than are remembered
        for _ in range(2):
            native.call(torch.empty(shape), 1)
            python.call(torch.empty(shape), 1)
    assert native.rows() == python.rows()


@needs_compiled
def test_what_functorch_wraps_is_described_alike() -> None:
    found = []
    for recorded in (Recorded(True), Recorded(False)):
        for _ in range(8):
            recorded.call(torch.ones(3))
            torch.func.vmap(recorded.call)(torch.ones(2, 3))
            torch.func.grad(lambda x, call=recorded.call: call(x).sum())(torch.ones(3))
        found.append(recorded.rows())
    assert found[0] == found[1]


def _double(group: dict[str, Any]) -> None:
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].mul_(2.0)


TENTH = 0.1
SETTINGS: dict[str, Callable[[dict[str, Any]], None]] = {
    "0.1": lambda group: group.update(lr=TENTH),
    "one": lambda group: group.update(lr=1),
    "true": lambda group: group.update(lr=True),
    "another object, 0.1": lambda group: group.update(lr=float("0.1")),
    "another object, 0.25": lambda group: group.update(lr=float("0.25")),
    "another object, half as much": lambda group: group.update(lr=group["lr"] / 2),
    "a tensor": lambda group: group.update(lr=torch.tensor(7.0)),
    "twice the tensor": _double,
}


def _plain(value: Any) -> tuple[type, Any]:
    value = value.item() if isinstance(value, torch.Tensor) else value
    return type(value), value


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(SETTINGS)), st.booleans()), max_size=30))
def test_every_change_of_a_setting_is_seen(events: list[tuple[str, bool]]) -> None:
    monitor = Monitor(Settings(trace=Path("unused"), cwd="/"))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=TENTH)
    monitor.adopt([], [optimizer])
    opened = Open()
    opened.enter = opened.parent = NULL
    opened.receiver = monitor.objects.number(optimizer)
    (group,), changes = optimizer.param_groups, 0
    for name, scheduled in events:
        before = _plain(group["lr"])
        SETTINGS[name](group)
        changes += before != _plain(group["lr"])
        if scheduled:
            monitor.settings_changed(optimizer, NULL)
        else:
            monitor.step_entered(Thread(0, None), opened, optimizer, ())
            monitor.steps.leave_optimizer()
    monitor.settings_changed(optimizer, NULL)
    assert len(monitor.buffers.drain()["adjustments"]) == changes * FAMILIES["adjustments"].packed.itemsize


def test_other_tensors_in_a_group_are_seen() -> None:
    optimizer, holdings = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1), Holdings()
    holdings.look(1, optimizer)
    group = optimizer.param_groups[0]
    for change in (
        lambda: group["params"].append(torch.nn.Parameter(torch.ones(2))),
        lambda: group.update(params=[torch.nn.Parameter(torch.ones(2)), group["params"][1]]),
        lambda: group.update(params=group["params"][:1]),
        lambda: optimizer.param_groups.append({**group, "params": []}),
    ):
        holdings[1].moved(optimizer)
        assert compiled.NATIVE is None or holdings[1].moved(optimizer) == (False, False)
        change()
        holdings[1].see_settings(optimizer)  # as when a scheduler has stepped meanwhile
        assert holdings[1].moved(optimizer)[0]


def test_an_optimizer_is_not_kept_alive() -> None:
    optimizer, holdings = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1), Holdings()
    holdings.look(1, optimizer)
    assert holdings.get(1) is not None
    del optimizer
    assert holdings.get(1) is None
