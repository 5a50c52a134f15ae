"""Where two runs part, in hand-made facts."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from tests.made_facts import BACKWARD, STEP, MadeFacts, loop
from traincheck.check.parting import Parting, parting
from traincheck.report.parting import parting_json, parting_text

Facts = Mapping[str, pa.Table]


def run(values: tuple[str, ...] = ("0.5", "0.4", "0.3"), shift: int = 0, **also: Any) -> Facts:
    """Three steps: a forward with a nested call, a backward, a step; ids are shifted."""
    facts = MadeFacts()
    for _ in range(shift):
        facts.id()
    weight = facts.id()
    facts.add("variable", id=weight, name="w", kind="parameter", rank=0, shape=also.get("shape", "[3]"))
    for step, value in enumerate(values):
        facts.add("step", id=facts.id(), rank=0, process=0, step=step, enter=0, exit=0, closed="true")
        outer = facts.call("Model.forward", step)
        inner = facts.call("torch.nn.functional.linear", step, parent=outer, site=also.get("site", "model.py:7"))
        facts.add("arg", call=inner, name="weight", value=value, dtype="float32", fingerprint=also.get("print"))
        if step != also.get("skips"):
            facts.update(facts.call(BACKWARD, step), weight, "grad", "none", "nonzero", step)
        facts.add("metric", rank=0, step=step, name="loss", value=float(value))
    return facts.tables()


def text(found: Parting) -> str:
    return parting_text(found, "A", "B")


def test_a_run_agrees_with_itself_whatever_its_ids() -> None:
    found = parting(run(), run(shift=1000))
    assert found.same
    assert found.counts == {}
    assert text(found) == f"the runs agree in all {found.compared} facts over 3 steps\n"


def test_the_first_value_that_differs_is_told_with_its_call_path() -> None:
    found = parting(run(), run(("0.5", "9.9", "8.8")))
    assert not found.same
    assert found.first[0].path == ("Model.forward", "torch.nn.functional.linear")
    lines = text(found).splitlines()
    assert lines[0] == "the runs part in step 1 on rank 0: argument 'weight' of 'torch.nn.functional.linear'"
    assert lines[1:4] == ["  inside 'Model.forward'", "  called from model.py:7", "  value is 0.4 in 'A', 9.9 in 'B'"]
    assert found.counts == {"argument": 2, "metric": 2}


def test_a_call_that_only_one_run_makes_is_where_they_part() -> None:
    found = parting(run(), run(skips=1))
    assert text(found).startswith(f"the runs part in step 1 on rank 0: call of '{BACKWARD}'\n")
    assert "  only in 'A'" in text(found).splitlines()
    assert "  only in 'B'" in text(parting(run(skips=1), run())).splitlines()


def test_what_differs_before_the_first_step_comes_first() -> None:
    found = parting(run(), run(("1.0", "1.0", "1.0"), shape="[4]"))
    assert text(found).startswith("the runs part before the first step on rank 0: variable 'w'\n")
    assert "  shape is [3] in 'A', [4] in 'B'" in text(found)


def test_what_one_run_does_not_know_is_no_difference() -> None:
    assert parting(run(print="abc"), run()).same
    assert not parting(run(print="abc"), run(print="abd")).same


def test_a_source_line_that_moved_is_no_difference() -> None:
    assert parting(run(), run(site="model.py:9")).same


def test_a_run_that_is_longer_differs_only_in_its_length() -> None:
    found = parting(run(), run(("0.5", "0.4")))
    assert not found.same
    assert not found.first
    assert "only 2 steps are in both: 'A' has 3, 'B' has 2" in text(found)


def test_only_steps_that_both_traced_in_full_are_compared() -> None:
    sampled = dict(run(("0.5", "9.9", "0.3")))
    window = {"rank": [0, 0], "first_step": [0, 2], "last_step": [0, 2], "complete": ["true", "true"]}
    sampled["window"] = pa.table(window, schema=sampled["window"].schema)
    found = parting(run(), sampled)
    assert (found.steps, found.common, found.first) == ((3, 2), 2, [])


@pytest.mark.parametrize("fault", [{"zero_grad": False}, {"moves": False}, {"double_step": True}])
def test_every_fault_of_the_loop_parts_in_its_first_step(fault: dict[str, bool]) -> None:
    found = parting(loop(), loop(**fault))
    assert found.first[0].step == 0
    assert '"same": false' in parting_json(found, "A", "B")


def test_the_step_that_is_taken_twice_is_numbered() -> None:
    found = parting(loop(), loop(double_step=True))
    assert f"call of '{STEP}' (number 2 in this step)" in text(found)
