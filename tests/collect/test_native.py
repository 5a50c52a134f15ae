"""The part of the collector that is written in C records, reads and compares what the one in Python does."""

import math
import shutil
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collect.running import collect, collect_command, environment, rows, run, write_script
from traincheck.collect import compiled
from traincheck.collect.buffers import Buffers
from traincheck.collect.calls.objects import Objects
from traincheck.collect.needs import Needs
from traincheck.collect.values import fingerprint
from traincheck.collect.variables import changes, variables
from traincheck.collect.variables.discovery import Modules
from traincheck.collect.variables.replay import AFTER_STEP, BEFORE_STEP
from traincheck.collect.variables.variables import Variables
from traincheck.facts import Facts
from traincheck.trace.layout import FAMILIES

pytestmark = pytest.mark.skipif(compiled.NATIVE is None, reason="the compiled part was not built, or is switched off")

SCRIPT = """
import warnings

class Odd(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.tied = inner.head
        self.words = nn.Embedding(5, 4)
        self.register_buffer("nothing", torch.empty(0))
    def forward(self, x, *more, scale=1.0, **named):
        names = [str(key) for key in named]
        y = self.inner(F.dropout(x, p=0.1, training=self.training) * scale + self.words(torch.tensor([1, 2]))[0])
        return (y, {"names": names, "more": len(more)}) if more else y

def helper(first, *rest, key=None, **others):
    return first

def fails(x):
    raise ValueError("as it should")

net = Odd(Net())
optimizer = torch.optim.Adam([{"params": net.inner.parameters()}, {"params": net.words.parameters(), "lr": 0.01}])
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(torch.randn(24, 4), torch.randint(0, 2, (24,))), batch_size=8, shuffle=True
)
for epoch in range(3):
    net.train()
    for x, y in loader:
        optimizer.zero_grad(set_to_none=epoch != 1)
        out, extra = net(x, "more", scale=2.0, first=1, second=(1, 2.0, "three", None))
        helper(x, 1, 2, key=3), helper(x, key="k", another=True), helper(x, another=1)
        loss = F.cross_entropy(out, y) + 0.0 * F.gelu(F.conv1d(x[:, None], torch.ones(1, 1, 2), padding=1)).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        try:
            fails(x)
        except ValueError:
            pass
        optimizer.step()
    scheduler.step()
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        net(x)
    if epoch == 1:
        net.inner.body.bias.requires_grad_(False)
        net.inner.body.weight.data[0] = float("nan")
"""

RELATIONS = (
    "call", "contains", "arg", "result", "dimension", "raised", "context", "update", "state", "variable", "holds",
    "step", "adjustment", "metric",
)  # fmt: skip
FREE = {"time", "process", "pid", "tensor"}
"""Columns that differ from run to run."""


def contents(facts: Facts) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the relations, without what differs from run to run; norms to six places.

    Fingerprints are numbered as they come, for the two take them in ways of their own.
    """
    numbers: dict[Any, str] = {None: "none"}
    return {
        name: [
            tuple(
                numbers.setdefault(value, str(len(numbers))) if key == "fingerprint" else _rounded(value)
                for key, value in row.items()
                if key not in FREE
            )
            for row in sorted(facts.table(name).to_pylist(), key=_without_fingerprint)
        ]
        for name in RELATIONS
    }


def _without_fingerprint(row: dict[str, Any]) -> list[str]:
    return [_rounded(value) for key, value in row.items() if key not in {*FREE, "fingerprint"}]


def _rounded(value: Any) -> str:
    return f"{value + 0.0:.5g}" if isinstance(value, float) else str(value)  # of zeros either may be the least


@pytest.mark.parametrize(
    "options",
    [(), ("--api", "train.helper", "--api", "train.fails"), ("--every", "3"), ("--rules", "torch")],
    ids=["full", "asked", "sampled", "selective"],
)
def test_both_record_the_same(options: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compiled", "python"):
        (tmp_path / name).mkdir()
    native = contents(collect(tmp_path / "compiled", SCRIPT, options=options))
    monkeypatch.setenv(compiled.PURE, "1")
    python = contents(collect(tmp_path / "python", SCRIPT, options=options))
    assert len(native["call"]) > 100
    for name in RELATIONS:
        assert native[name] == python[name]


def test_sites_and_contexts_are_those_of_each_call(tmp_path: Path) -> None:
    """Both are remembered from call to call, sites by a few places that many lines share."""
    lines = [f"    F.relu(x)  # {number}" for number in range(40)]
    body = "\n".join(
        [
            "from traincheck.collect.install import running_monitor",
            "x = torch.ones(2)",
            "for turn in range(3):",
            *lines,
            "    if turn == 1:",
            "        running_monitor().contexts.add('worker', '7')",
        ]
    )
    facts = collect(tmp_path, body)
    script = (tmp_path / "train.py").read_text(encoding="utf-8").splitlines()
    expected = [f"train.py:{script.index(line) + 1}" for line in lines]
    calls = sorted(rows(facts, "call", api="torch.nn.functional.relu"), key=lambda row: row["enter"])
    assert [row["site"] for row in calls] == 3 * expected
    workers = {row["call"] for row in rows(facts, "context", key="worker")}
    assert [row["id"] in workers for row in calls] == [False] * 80 + [True] * 40


def test_a_traceback_shows_none_of_our_frames(tmp_path: Path) -> None:
    body = """
    class Wrong(nn.Module):
        def forward(self, x):
            return F.cross_entropy(x, "no target")
    Wrong()(torch.ones(1, 2))
    """
    done = run(tmp_path, body, status=1)
    assert "in forward" in done.stderr and "cross_entropy" in done.stderr
    assert "traincheck" not in done.stderr


@pytest.mark.parametrize(
    "place",
    [
        "summaries.Summaries._new_set",
        "calls.Calls.leave_raised",
        "sites.Sites._intern_site",
        "contexts.Contexts._add",
    ],
)
def test_a_failure_below_the_compiled_part_stops_collection_and_nothing_else(place: str, tmp_path: Path) -> None:
    module, _, method = place.split(".")
    body = f"""
    from traincheck.collect.calls import {module}
    def broken(*args):
        raise ValueError("planted")
    model = Net()
    model(batch()[0])
    {place.rpartition(".")[0]}.{method} = broken
    try:
        with torch.inference_mode():
            F.cross_entropy(model(torch.ones(3, 4)), "no target")
    except TypeError as error:
        print("still", type(error).__name__)
    print(float(model(torch.ones(3, 4)).sum()) is not None)
    """
    script = write_script(tmp_path, textwrap.dedent(body))
    done = subprocess.run(
        collect_command(tmp_path, script), capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False
    )
    assert (done.returncode, done.stdout) == (0, "still TypeError\nTrue\n")
    assert done.stderr.count("collection stopped after an internal error") == 1
    assert done.stderr.count("ValueError: planted") == 1


_VALUES = st.lists(
    st.sampled_from([0.0, -0.0, 1.0, -2.5, 3e-5, 1e30, -1e-30, math.inf, -math.inf, math.nan]), max_size=20
)
_DTYPES = st.sampled_from(
    [
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int8,
        torch.uint16,
        torch.bool,
        torch.complex64,
    ]
)
_EVENTS = st.one_of(
    st.tuples(st.just("values"), st.integers(0, 2), _VALUES),
    st.tuples(st.just("buffer"), _DTYPES, _VALUES),
    st.tuples(st.just("grad"), st.integers(0, 2), st.none() | st.just("strided") | st.just("sparse") | _VALUES),
    st.tuples(st.just("frozen"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("replaced"), st.integers(0, 2), st.none()),
    st.tuples(st.just("tied"), st.integers(0, 2), st.none()),
    st.tuples(st.just("forget"), st.none(), st.none()),
)


class Pool(torch.nn.Module):
    """Three parameters and a buffer, to which anything may happen."""

    def __init__(self) -> None:
        super().__init__()
        for index in range(3):
            setattr(self, f"p{index}", torch.nn.Parameter(torch.full((2, 3), float(index))))
        self.register_buffer("state", torch.arange(3))

    def happens(self, kind: str, what: Any, value: Any) -> None:
        """One event."""
        if kind == "values":
            getattr(self, f"p{what}").data = torch.tensor(value, dtype=torch.float32)
        elif kind == "buffer":
            whole = what in (torch.int64, torch.int8, torch.uint16)
            numbers = [abs(int(each)) % 100 if math.isfinite(each) else 0 for each in value] if whole else value
            self.state = torch.tensor(numbers, dtype=what)
        elif kind == "grad":
            parameter = getattr(self, f"p{what}")
            parameter.grad = None if value is None else self._gradient(parameter.data, value)
        elif kind == "frozen":
            getattr(self, f"p{what}").requires_grad_(value)
        elif kind == "replaced":
            setattr(self, f"p{what}", torch.nn.Parameter(torch.ones(2)))
        elif kind == "tied":
            self.tied = getattr(self, f"p{what}")

    @staticmethod
    def _gradient(data: torch.Tensor, value: Any) -> torch.Tensor:
        if value == "sparse" and data.ndim:
            return torch.ones_like(data).to_sparse()
        if isinstance(value, str):
            return torch.ones(*data.shape, 2)[..., 0]
        return torch.full_like(data, value[0] if value else 0.0)


class Watching:
    """The sweeps of one collector over a model: compiled, in Python, or as of tensors on a GPU."""

    def __init__(self, model: Pool, ranged: bool, native: bool, deferred: bool = False) -> None:
        self._buffers = Buffers()
        self._variables = Variables(self._buffers, Objects(self._buffers), Modules())
        needs = Needs(updates=("*",), states=("*",), points=("*",), ranges=ranged)
        self._changes = changes.Changes(self._buffers, self._variables, needs, {})
        if not native:
            self._changes._direct, self._changes._compiled = {}, None
        for column in (self._variables.table.data, self._variables.table.grad):
            column.deferred = deferred
        self.model = model

    def look(self, call: int, forget: bool) -> None:
        """Sweep everything, as around a step."""
        if forget:
            self._changes.forget()
        self._variables.called(self.model)
        self._changes.buffers(call, self.model._buffers.values())
        self._changes.both(True, call, call + 1)
        self._changes.states(BEFORE_STEP, call + 2, 1, frozenset())
        self._changes.states(AFTER_STEP, call + 2, 1, frozenset())
        self._changes.end_step()

    def rows(self, family: str) -> list[tuple[Any, ...]]:
        """What was seen."""
        self._changes.wait()
        self._changes.write()
        drained = self._buffers.drain()
        variables, rows = (np.frombuffer(drained[name], FAMILIES[name].packed).copy() for name in ("variables", family))
        rows["variable"] = np.searchsorted(variables["id"], rows["variable"])  # numbers say no more than an order
        if family == "updates":
            rows["id"] = np.argsort(rows["id"])
        return [tuple(_rounded(self._within(value)) for value in row) for row in rows.tolist()]

    @staticmethod
    def _within(value: Any) -> Any:
        """A number; one for all whose squares overflow or vanish: their norm depends on the order of a sum."""
        if not isinstance(value, float) or math.isnan(value) or 1e-18 < abs(value) < 1e18:
            return value
        return math.copysign(math.inf, value) if abs(value) > 1.0 else 0.0


@pytest.mark.parametrize("family", ["updates", "states"])
@settings(deadline=None)
@given(events=st.lists(_EVENTS, max_size=12), ranged=st.booleans())
def test_sweeps_are_the_same(family: str, events: list[tuple[str, Any, Any]], ranged: bool) -> None:
    model = Pool()
    native, python = Watching(model, ranged, True), Watching(model, ranged, False)
    deferred = Watching(model, ranged, False, True)
    for number, event in enumerate([("nothing", None, None), *events]):
        model.happens(*event)
        for watching in (native, python, deferred):
            watching.look(10 * number, event[0] == "forget")
    rows = native.rows(family)
    assert rows == python.rows(family)
    assert rows == deferred.rows(family)


def test_the_compiled_part_reads_copies_of_what_is_not_contiguous_on_the_host() -> None:
    watching = Watching(Pool(), True, True)
    watching.look(0, False)
    assert watching._changes._mirrored == set()
    watching.model.p0.data = torch.ones(3, 2).t()
    watching.look(10, False)
    assert watching._changes._mirrored == {"data"}
    assert watching._changes._unfit == set()


def test_half_precision_is_read_alike_where_denormals_are_taken_for_zero() -> None:
    tiny = torch.full((3,), 3e-5, dtype=torch.float16)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not")
    try:
        native, python = (Watching(Pool(), True, compiled) for compiled in (True, False))
        for watching in (native, python):
            watching.model.p0.data = tiny.clone()
            watching.look(0, False)
        assert native.rows("states") == python.rows("states")
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("pure", ["", "1"])
def test_threads_that_train_side_by_side_end_collection_and_nothing_else(pure: str, tmp_path: Path) -> None:
    body = """
    import threading
    def train():
        model = nn.Sequential(nn.Linear(300, 300), nn.BatchNorm1d(300), nn.Linear(300, 300))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(40):
            optimizer.zero_grad()
            model(torch.ones(4, 300)).sum().backward()
            optimizer.step()
    threads = [threading.Thread(target=train) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("trained")
    """
    script = write_script(tmp_path, textwrap.dedent(body))
    done = subprocess.run(
        collect_command(tmp_path, script),
        capture_output=True, text=True, cwd=tmp_path, env={**environment(), compiled.PURE: pure}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert done.stderr.count("RuntimeError: two threads of this process train") == 1


def test_low_addresses_are_told_from_offsets_into_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LOW", 1 << 63)  # as where the heap lies low
    model, flat = Pool(), torch.ones(100_000)
    model.p0.data = flat[50:60]
    watching = Watching(model, True, True)
    watching.look(0, False)
    assert watching._changes._mirrored == set()
    flat.untyped_storage().resize_(0)
    watching.look(10, False)
    assert watching._changes._unfit == {"data"}


def test_a_reader_sees_what_a_fingerprint_sees_wherever_memory_goes() -> None:
    reader = fingerprint.Reader()
    first, second = torch.arange(6.0), torch.arange(4)
    assert reader([first, second]) == [fingerprint.fingerprint(first), fingerprint.fingerprint(second)]
    assert reader.small[1] is None
    assert reader.small[0] is not None and reader.small[0].tolist() == first.tolist()
    first[2] = math.nan
    assert reader([first, second]) == [fingerprint.fingerprint(first), fingerprint.fingerprint(second)]
    first.data = torch.ones(3, 3)
    assert reader([first, second])[0] == fingerprint.fingerprint(first)
    mixed = [first.t(), first[:, 1], torch.eye(2).to_sparse(), torch.empty(2, device="meta"), torch.empty(0)]
    assert reader(mixed) == [fingerprint.fingerprint(tensor) for tensor in mixed]
    assert reader([first]) == [fingerprint.fingerprint(first)]
    assert reader([]) == []


def test_a_structure_changes_with_every_member() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    parts = [weakref.ref(part) for part in model.modules()]

    def now() -> tuple[object, object]:
        return compiled.NATIVE.structure(variables._TABLES, parts), variables._members(parts)

    seen = [now()]
    assert now() == seen[0]
    replacements: list[Any] = [
        lambda: setattr(model[0], "weight", torch.nn.Parameter(torch.ones(2, 2))),
        lambda: setattr(model[0], "bias", None),
        lambda: model[1].register_buffer("more", torch.ones(1)),
        lambda: model[1]._buffers.__setitem__("other", model[1]._buffers.pop("more")),
        lambda: model.__setitem__(1, torch.nn.Identity()),
    ]
    kept = list(model.modules()), list(model.parameters())
    for replace in replacements:
        replace()
        seen.append(now())
    assert kept
    assert len({native for native, _ in seen}) == len({str(python) for _, python in seen}) == len(seen)


def test_what_was_compiled_for_other_code_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_INTERFACE", -1)
    assert compiled._load() is None


def test_without_a_compiler_the_package_is_built_all_the_same(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    project = Path(shutil.copytree(root, tmp_path / "project", ignore=shutil.ignore_patterns(".*", "_native.*")))
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    environment = {"CC": "no-such-compiler", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=project, env=environment, check=True
    )
    assert "The compiled part was not built, Python will do its work" in done.stdout + done.stderr
    assert "py3-none-any.whl" in done.stdout
