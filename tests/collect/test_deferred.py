"""Sweeps whose results come later, as of tensors on a GPU: what is found is what reading the memory finds."""

import ctypes
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

from traincheck.collect import compiled
from traincheck.collect.buffers import Buffers, Names
from traincheck.collect.calls.objects import Objects
from traincheck.collect.device import addresses, readings, staging
from traincheck.collect.device import deferred as deferring
from traincheck.collect.device.deferred import Deferred
from traincheck.collect.needs import Needs
from traincheck.collect.values import blocks
from traincheck.collect.values.fingerprint import NO_GRADIENT, fingerprint
from traincheck.collect.values.measures import CELL, Measures
from traincheck.collect.variables.changes import Changes
from traincheck.collect.variables.discovery import Modules
from traincheck.collect.variables.variables import Variables
from traincheck.trace.layout import FAMILIES, LINK_HASHED

pytestmark = pytest.mark.skipif(compiled.NATIVE is None, reason="the compiled part was not built, or is switched off")

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.bool,
]  # fmt: skip
SIZES = st.sampled_from([(), (0,), (1,), (3, 5), (511,), (512,), (513,), (1024,), (2, 1025), (4096,), (5000,)])
SPECIAL = st.sampled_from([None, 0.0, -0.0, math.nan, math.inf, -math.inf])
TENSORS = st.lists(st.tuples(st.sampled_from(DTYPES), SIZES, SPECIAL, st.booleans()), min_size=1, max_size=8)


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def made(dtype: torch.dtype, shape: tuple[int, ...], special: float | None, transposed: bool, seed: int) -> Any:
    """A tensor of numbers around zero, with a value planted at its end, or filled with zero."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 50
    if special == 0.0:
        values.fill_(special)
    elif special is not None and values.numel():
        values.view(-1)[-1] = special
    if not (dtype.is_floating_point or dtype.is_complex):
        values = values.nan_to_num(0.0, 7.0, 7.0).abs()
    tensor = values.to(dtype)
    return tensor.t() if transposed and tensor.ndim == 2 else tensor


def cells_of(deferred: Deferred, sweeps: list[list[Any]], ranged: bool) -> list[Any]:
    """The cells of sweeps that are measured together."""
    pending = [deferred.sweep(tensors, range(len(tensors)), ranged) for tensors in sweeps]
    deferred.measure(wait=True)
    assert all(each.arrived for each in pending)
    return [np.frombuffer(each.cells(), CELL) for each in pending]


def assert_same(measures: Measures, cells: Any, tensors: list[Any], ranged: bool) -> None:
    """That cells are what is found in tensors one by one."""
    prints = [NO_GRADIENT if tensor is None else fingerprint(tensor) for tensor in tensors]
    expected = measures.cells(tensors, prints, range(len(tensors)))
    measures.measure(expected, tensors, [None] * len(tensors), ranged, False)
    assert len(cells) == len(tensors)
    for name in ("position", "print", "class", "nonfinite", "minimum", "maximum"):
        np.testing.assert_array_equal(cells[name], expected[name], name)
    np.testing.assert_allclose(cells["norm"], expected["norm"], rtol=1e-5)


class Kernels:
    """What the kernels do, which run on a GPU only, in memory of the host."""

    ALIGNED = 16

    @staticmethod
    def read(
        addresses: Any, rows: Any, dtype: Any, keys: Any, room: Any, amounts: Any, start: int, ranged: bool
    ) -> None:
        assert amounts.data_ptr() == room.data_ptr()
        assert not len(rows) or all(each.data_ptr() for each in (addresses, rows, keys, room))
        for row, (entry, number, left) in enumerate(rows.tolist()):
            address, size = int(addresses[entry]) + number * blocks.BLOCK, min(left * dtype.itemsize, blocks.BLOCK)
            assert address % Kernels.ALIGNED == 0
            words = torch.zeros((1, blocks.WORDS), dtype=torch.int64)
            ctypes.memmove(words.data_ptr(), address, size)
            layout = blocks.Layout([size], np.array([[0, number, left]]), words.device)
            room[start + row] = blocks.measure(words, dtype, layout, ranged)[0]

    @staticmethod
    def total(room: Any, amounts: Any, starts: Any) -> Any:
        bounds = itertools.pairwise(starts.tolist())
        none = np.array([[0, 0, 0, *np.array([0.0, math.inf, math.inf]).view(np.int64)]])
        found = [np.concatenate([none, room[begin:end].numpy()]) for begin, end in bounds]
        return torch.from_numpy(np.concatenate([blocks.combined(each, np.array([0])) for each in found]))


WAYS = [(device, way) for device in DEVICES for way in ("read", "copied")]


def take(way: str, patch: pytest.MonkeyPatch) -> None:
    """Have values read where they are, or copied first."""
    if way == "copied":
        patch.setattr(deferring, "kernels_for", lambda *_: None)
    elif torch.cuda.is_available():
        assert readings.kernels_for(torch.device("cuda", 0), torch.float32, False) is not None
    else:
        patch.setattr(deferring, "kernels_for", of_the_host)


@pytest.fixture(params=WAYS, ids="-".join)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The type of a device, whose values are taken in one of the ways."""
    device, way = request.param
    take(way, monkeypatch)
    return str(device)


def of_the_host(device: torch.device, dtype: torch.dtype, ranged: bool) -> Any:
    return Kernels if blocks.has_norm(dtype) or blocks.is_whole(dtype) else None


@pytest.mark.parametrize(("device", "way"), WAYS)
@settings(deadline=None)
@given(
    rounds=st.lists(st.lists(TENSORS, min_size=1, max_size=3), min_size=1, max_size=3),
    ranged=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_what_is_found_is_what_there_was_at_the_time_of_the_sweep(
    device: str, way: str, rounds: list[list[list[tuple[Any, ...]]]], ranged: bool, seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        take(way, patch)
        look_at(device, rounds, ranged, seed)


def look_at(device: str, rounds: list[list[list[tuple[Any, ...]]]], ranged: bool, seed: int) -> None:
    """Sweep over tensors that are overwritten before they are measured."""
    measures = Measures(Names())
    deferred = Deferred(measures, ranged, itertools.count().__next__)
    for number, sweeps in enumerate([*rounds, *rounds]):  # the second time, where things lie is known
        tensors = [[made(*each, seed + number).to(device) for each in sweep] for sweep in sweeps]
        kept = [[each.clone() for each in sweep] for sweep in tensors]
        pending = [deferred.sweep([None, *sweep], range(len(sweep) + 1), ranged) for sweep in tensors]
        for sweep in tensors:
            for each in sweep:
                each.zero_()
        deferred.measure(wait=True)
        for each, sweep in zip(pending, kept, strict=True):
            assert_same(measures, np.frombuffer(each.cells(), CELL), [None, *sweep], ranged)


def test_what_has_no_room_is_measured_in_several_batches(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_LEAST", 2 * 4096)
    monkeypatch.setattr(readings, "_LEAST", 4 * 48)
    monkeypatch.setattr(readings, "_MOST", 8 * 48)
    measures = Measures(Names())
    deferred = Deferred(measures, True, itertools.count().__next__)
    for count in (3, 20, 3, 20):
        tensors: list[Any] = [torch.randn(900 + at, device=device) for at in range(count)]
        cells, again = cells_of(deferred, [tensors, tensors], True)
        assert_same(measures, cells, tensors, True)
        assert_same(measures, again, tensors, True)


def test_a_tensor_that_is_larger_than_the_room_there_is_is_read_part_by_part(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (staging, deferring):
        monkeypatch.setattr(module, "MOST", 1 << 20)
    measures = Measures(Names())
    large = torch.randn(staging.MOST // 4 * 2 + 700)
    large[-1] = math.nan
    tensors: list[Any] = [torch.ones(3), large.to(device), torch.zeros(5)]
    (cells,) = cells_of(Deferred(measures, True, itertools.count().__next__), [tensors], True)
    assert_same(measures, cells, tensors, True)


def test_a_tensor_may_begin_anywhere(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measures, deferred = Measures(Names()), Deferred(Measures(Names()), True, itertools.count().__next__)
    for copies in (readings._MAX_COPIES, 100):
        monkeypatch.setattr(readings, "_MAX_COPIES", copies)
        for dtype in (torch.float32, torch.bfloat16, torch.uint8):
            whole = made(dtype, (5000,), None, False, 3).to(device)
            apart, flat = whole.view(50, 100)[:, ::3], whole[:1].expand(700)
            for tensors in ([whole[1:3000], whole[3:20], apart], [whole[16:], flat, whole[8:9], apart, whole]):
                (cells,) = cells_of(deferred, [tensors], True)
                assert_same(measures, cells, tensors, True)


def test_what_is_known_of_many_shapes_and_addresses_is_given_up_again(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, most in ((readings, "_MAX_PLANS", 2), (addresses, "_ENTRIES", 2), (readings, "_MAX_BLOCKS", 9)):
        monkeypatch.setattr(module, name, most)
    measures, deferred = Measures(Names()), Deferred(Measures(Names()), True, itertools.count().__next__)
    whole = torch.randn(20_000, device=device)
    for seed in range(12):
        begins = [16 * at for at in range(seed % 4, 5)]
        sweeps: list[list[Any]] = [[whole[at : at + 700 * (1 + seed % 3)] for at in begins], [whole[4:], whole[seed:]]]
        for cells, tensors in zip(cells_of(deferred, sweeps, True), sweeps, strict=True):
            assert_same(measures, cells, tensors, True)


@pytest.mark.parametrize("mode", ["fake", "grad", "functionalize"])
@pytest.mark.parametrize("known", [False, True])
def test_modes_in_which_new_tensors_have_no_memory_change_nothing(device: str, mode: str, known: bool) -> None:
    measures, deferred = Measures(Names()), Deferred(Measures(Names()), True, itertools.count().__next__)
    tensors: list[Any] = [torch.randn(700, device=device), torch.ones(3, 5, device=device).t()]
    found: list[Any] = []
    if known:
        found += cells_of(deferred, [tensors], True)

    def sweep(value: Any) -> Any:
        found.extend(cells_of(deferred, [tensors, tensors], True))
        return value * 2

    if mode == "fake":
        with FakeTensorMode(allow_non_fake_inputs=True):
            sweep(1)
    else:
        transform = torch.func.grad if mode == "grad" else torch.func.functionalize
        transform(sweep)(torch.tensor(1.0))
    found += cells_of(deferred, [tensors], True)
    assert len(found) == 3 + known
    for cells in found:
        assert_same(measures, cells, tensors, True)


def test_a_tensor_of_zeros_that_has_no_memory_is_not_read(device: str) -> None:
    deferred = Deferred(Measures(Names()), False, itertools.count().__next__)
    for tensor in (torch.zeros(700, device=device), torch._efficientzerotensor((700,), device=device)):
        (cells,) = cells_of(deferred, [[tensor]], False)
    assert cells["print"] == 0


def test_a_storage_that_is_freed_is_not_read_and_is_read_again_when_it_is_back(device: str) -> None:
    measures = Measures(Names())
    deferred = Deferred(measures, False, itertools.count().__next__)
    tensor = torch.randn(700, device=device)
    size, values = tensor.untyped_storage().nbytes(), tensor.clone()
    (before,) = cells_of(deferred, [[tensor]], False)
    tensor.untyped_storage().resize_(0)
    (freed,) = cells_of(deferred, [[tensor]], False)
    tensor.untyped_storage().resize_(size)
    tensor.copy_(values)
    (after,) = cells_of(deferred, [[tensor]], False)
    assert before["print"] == after["print"] != freed["print"] == 0


def test_values_may_be_taken_within_inference_mode_and_outside_of_it(device: str) -> None:
    measures, deferred = Measures(Names()), Deferred(Measures(Names()), False, itertools.count().__next__)
    tensors: list[Any] = [torch.randn(30, device=device), torch.randn(5, device=device)]
    for mode in (True, False, True):
        with torch.inference_mode(mode):
            (cells,) = cells_of(deferred, [tensors], False)
        assert_same(measures, cells, tensors, False)


class Watched:
    """What is followed of one parameter, as if it were on a GPU."""

    def __init__(self) -> None:
        self.buffers = Buffers()
        variables = Variables(self.buffers, Objects(self.buffers), Modules())
        self.changes = Changes(self.buffers, variables, Needs(), {})
        self.table, self.layer = variables.table, torch.nn.Linear(3, 2, bias=False)
        self.table.data.deferred = self.table.grad.deferred = True
        self.changes._compiled = None  # which finds that it cannot read what is on a GPU
        self.changes._direct.clear()
        variables.called(self.layer)

    def step(self, number: int) -> None:
        """The parameter changes in a call, and a step ends."""
        with torch.no_grad():
            self.layer.weight += 1
        self.changes.data(number)
        self.changes.end_step((number, number, 0))

    def written(self) -> tuple[list[int], list[int]]:
        """The calls of the updates, and the steps of the marks, that are written by now."""
        self.changes.write()
        drained = self.buffers.drain()
        updates, marks = (np.frombuffer(drained[name], FAMILIES[name].packed) for name in ("updates", "marks"))
        return updates["call"].tolist(), marks["step"].tolist()


def test_a_step_is_not_marked_as_ended_before_what_was_in_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferring, "_PERIOD", 600.0)
    watched = Watched()
    watched.step(1)  # the first values are no update
    assert watched.written() == ([], [1])
    begun = watched.buffers.upcoming()
    for number in (2, 3):  # within the time in which copies are measured once
        watched.step(number)
    assert watched.written() == ([], [])
    assert watched.changes.upcoming() <= begun < watched.buffers.upcoming()
    watched.changes.wait()
    assert watched.changes.upcoming() == watched.buffers.upcoming()
    calls, marks = watched.written()
    assert (calls, marks) == ([2, 3], [2, 3])


def test_what_was_last_seen_is_known_to_who_waits_for_it() -> None:
    watched = Watched()
    for number in (1, 2):
        watched.step(number)
    watched.changes.data(3)
    watched.changes.settle()
    assert watched.table.data.prints == [fingerprint(watched.layer.weight)]
    assert watched.table.data.calls == [2]


def test_a_link_gets_its_fingerprint_when_it_is_known() -> None:
    watched, tensor = Watched(), torch.randn(40)
    seen = fingerprint(tensor)
    assert watched.changes.link_later(7, 8, 9, 0, tensor)
    tensor.zero_()
    watched.changes.wait()
    watched.changes.write()
    (row,) = np.frombuffer(watched.buffers.drain()["links"], FAMILIES["links"].packed).tolist()
    assert row == (7, 8, seen, 9, LINK_HASHED)


def test_gradients_are_not_read_again_where_only_counted_writes_may_come_and_none_came() -> None:
    watched = Watched()
    watched.layer.weight.grad = torch.ones(2, 3)
    deferred = watched.changes._deferred
    assert deferred is not None
    watched.changes.grads(1)
    watched.changes.wait()
    for call in (2, 3):
        watched.changes.grads(call, counted=True)
        assert deferred.awaited is None
        watched.layer.weight.grad.data += 1  # which torch does not count
    watched.changes.grads(4)
    watched.changes.wait()
    watched.layer.weight.grad += 1
    watched.changes.grads(5, counted=True)
    watched.changes.wait()
    watched.layer.weight.grad = torch.zeros(2, 3)
    watched.changes.grads(6, counted=True)
    watched.changes.wait()
    before, watched.layer.weight.grad = watched.layer.weight.grad, torch.ones(2, 3)
    watched.changes.grads(7, counted=True)
    watched.changes.wait()
    assert watched.layer.weight.grad._version == before._version
    assert watched.written()[0] == [1, 4, 5, 6, 7]


def test_buffers_that_nobody_follows_are_left_alone() -> None:
    watched = Watched()
    watched.changes.buffers(1, [torch.ones(3)])
    watched.step(2)
    watched.changes.wait()
    assert watched.written() == ([], [2])


@pytest.mark.usefixtures("device")
def test_what_a_device_that_failed_was_asked_for_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferring, "_PERIOD", 600.0)
    watched = Watched()
    for number in (1, 2):
        watched.step(number)

    def failing(*_: Any) -> None:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(staging, "measure", failing)
    monkeypatch.setattr(Kernels, "total", failing)
    watched.changes.wait()
    assert watched.written() == ([], [1, 2])
