"""Verdicts: held, violated and not triggered, the same from both engines."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from tests.made_facts import loop
from traincheck.check.checker import Checker
from traincheck.check.law import laws_of, rules_in
from traincheck.datalog.engine import ENGINES, engine_named
from traincheck.dsl.load import load_rules

LAWS = """
invariant precedes(First: "zero_grad", Then: "backward") "zero_grad first"
invariant count_per_step(Doer: "optimizer_step", Times: 1) "one step"
invariant updates_each(Doer: "optimizer_step", Kind: "parameter", Attr: "data") "moves"
  if V.requires_grad == "true"
invariant precedes(First: "clip", Then: "lr_scheduler_step") "never here"
invariant updates_each(Doer: "optimizer_step", Kind: "parameter", Attr: "grad") "only if frozen"
  if V.requires_grad == "false" or C.stage == "eval", exists C.autocast

rule no_nonfinite_update "updates are finite" severity error
  never update(U, V, attr: "data", after: "nonfinite", step: S)
"""


@pytest.fixture(params=ENGINES)
def checker(request: pytest.FixtureRequest, tmp_path: Path) -> Checker:
    path = tmp_path / "laws.rules"
    path.write_text(LAWS)
    checked = load_rules([path])
    return Checker(checked, laws_of(checked, rules_in(checked, [str(path)])), engine_named(request.param))


def verdicts(checker: Checker, facts: Mapping[str, pa.Table]) -> tuple[dict[str, int], set[str]]:
    violations, triggered = checker.check(facts)
    titles = {law.id: law.invariant.title for law in checker.laws}
    broken = {v.law.invariant.title: v.count for v in violations}
    return broken, {titles[law_id] for law_id in triggered} - set(broken)


def test_a_healthy_loop_holds(checker: Checker) -> None:
    broken, held = verdicts(checker, loop())
    assert broken == {}
    assert held == {"zero_grad first", "one step", "moves", "updates are finite"}


def test_each_fault_breaks_its_own_law(checker: Checker) -> None:
    assert verdicts(checker, loop(zero_grad=False))[0] == {"zero_grad first": 4}
    assert verdicts(checker, loop(moves=False))[0] == {"moves": 4}
    assert verdicts(checker, loop(double_step=True))[0] == {"one step": 4}


def test_the_first_place_is_told(checker: Checker) -> None:
    (violation,), _ = checker.check(loop(zero_grad=False))
    assert violation.first.step == 0
    assert violation.first.api == "torch.Tensor.backward"
    assert violation.first.site == "train.py:1"
    assert violation.steps == [0, 1, 2, 3]
