"""The least and greatest value of a variable, and how many of its values are not finite."""

import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from tests.collect.running import collect, rows
from traincheck.cli.collect import needs_for
from traincheck.collect.needs import Needs
from traincheck.collect.values.ranges import nonfinite, ranges
from traincheck.facts import Facts, load_facts

SCRIPT = """
model = Net()
model.small = nn.Parameter(torch.tensor([-3.0, 1.5, 60000.0], dtype=torch.float16))
model.register_buffer("flags", torch.tensor([True, False]))
model.register_buffer("nothing", torch.empty(0))
optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
for step in range(4):
    optimizer.zero_grad()
    (loss_of(model) + model.small.float().sum()).backward()
    with torch.no_grad():
        model.head.bias.grad.copy_(torch.tensor([-1.0, 2.0]))
        if step == 3:
            model.head.bias.grad[0] = float("nan")
            model.body.bias[:3] = torch.tensor([float("inf"), float("nan"), float("-inf")])
    optimizer.step()
"""


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return collect(tmp_path_factory.mktemp("ranges"), SCRIPT)


def states(facts: Facts, name: str, attr: str) -> list[tuple[Any, ...]]:
    (variable,) = rows(facts, "variable", name=name)
    found = rows(facts, "state", variable=variable["id"], attr=attr)
    assert [row["step"] for row in found] == [0, 1, 2, 3]
    return [(row["class"], row["nonfinite"], row["minimum"], row["maximum"]) for row in found]


def test_a_planted_nan_and_inf_are_counted(facts: Facts) -> None:
    *before, last = states(facts, "head.bias", "grad")
    assert before == 3 * [("nonzero", 0, -1.0, 2.0)]
    assert last == ("nonfinite", 1, 2.0, 2.0)  # a NaN is neither the least nor the greatest
    bias = states(facts, "body.bias", "data")
    assert [row[:2] for row in bias] == [*3 * [("nonzero", 0)], ("nonfinite", 3)]
    assert bias[3][2:] == (-math.inf, math.inf)
    assert -1 < bias[0][2] < bias[0][3] < 1


def test_halves_flags_integers_and_what_is_empty(facts: Facts) -> None:
    # the norm of these halves overflows, the values do not
    assert states(facts, "small", "data")[0] == ("nonzero", 0, -3.0, 60000.0)
    assert states(facts, "small", "grad")[0] == ("nonzero", 0, 1.0, 1.0)
    assert states(facts, "flags", "data")[0] == ("nonzero", 0, 0.0, 1.0)
    assert states(facts, "nothing", "data")[0][1:] == (0, None, None)
    assert [row[1:] for row in states(facts, "norm.num_batches_tracked", "data")] == [
        (0, float(count), float(count)) for count in (1, 2, 3, 4)
    ]


def of(*tensors: torch.Tensor) -> list[tuple[float, float]]:
    return ranges(list(tensors))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int8, torch.int64]
)
def test_every_dtype_has_its_range(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[3, -5, 7], [1, 0, 2]], dtype=dtype)
    assert of(tensor, tensor.t()[1:], tensor[1:]) == [(-5.0, 7.0), (-5.0, 7.0), (0.0, 2.0)]
    assert of(tensor.repeat(99, 99)) == [(-5.0, 7.0)]


def test_dtypes_that_torch_cannot_compare_and_tensors_without_a_range() -> None:
    counts, eighths = torch.tensor([2, 1], dtype=torch.uint16), torch.tensor([0.5, -2.0]).to(torch.float8_e5m2)
    assert of(counts, eighths, counts) == [(1.0, 2.0), (-2.0, 0.5), (1.0, 2.0)]
    without = [
        torch.empty(0), torch.ones(2, dtype=torch.complex64), torch.empty(2, device="meta"),
        torch.ones(2).to_sparse(), torch.full((2,), math.nan),
    ]  # fmt: skip
    assert all(math.isnan(number) for pair in of(*without) for number in pair)
    assert all(math.isnan(number) for number in of(torch.full((2,), math.nan))[0])


def test_infinities_and_nan_are_not_finite() -> None:
    assert nonfinite(torch.tensor([1.0, math.nan, math.inf, -math.inf], requires_grad=True)) == 3
    assert nonfinite(torch.tensor([60000.0, 60000.0], dtype=torch.float16)) == 0


def test_a_collection_takes_ranges_when_rules_speak_of_them(tmp_path: Path) -> None:
    def needs(atom: str) -> Needs:
        path = tmp_path / "mine.rules"
        path.write_text(f'rule r "r" never {atom}\n')
        return needs_for([str(path)])

    assert Needs().ranges
    assert needs('state(V, attr: "data", maximum: M), M > 100').ranges
    assert needs("state(V, A, R, S, P, C, F, N, L), L < 0").ranges
    assert not needs('state(V, attr: "data", class: "nonfinite")').ranges


def test_without_ranges_what_is_not_finite_is_still_counted(tmp_path: Path) -> None:
    rules = tmp_path / "mine.rules"
    rules.write_text('rule r "r" never state(V, attr: "data", nonfinite: N), N > 0\n')
    facts = collect(tmp_path, SCRIPT, options=["--rules", str(rules)])
    bias = states(facts, "body.bias", "data")
    assert [row[1:] for row in bias] == [*3 * [(0, None, None)], (3, None, None)]


def test_a_trace_of_before_there_were_ranges_is_read(facts: Facts, tmp_path: Path) -> None:
    trace = Path(shutil.copytree(facts.path, tmp_path / "old"))
    (stream,) = trace.rglob("states.arrow")
    with pa.ipc.open_stream(str(stream)) as new:
        table = new.read_all().drop_columns(["minimum", "maximum"])
    with pa.ipc.new_stream(str(stream), table.schema) as old:
        old.write_table(table)
    found = states(load_facts(trace), "head.bias", "grad")
    assert [row[1:] for row in found] == [*3 * [(0, None, None)], (1, None, None)]
