"""Explanations of violations in made facts: the proof, the marks, the near miss, the text."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tests.made_facts import BACKWARD, STEP, MadeFacts, loop
from traincheck.check.checker import Checker
from traincheck.check.law import laws_of
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules
from traincheck.explain import Explanation, explain_violation
from traincheck.explain.window import Window

LAWS = """
invariant precedes(First: "zero_grad", Then: "backward") "zero_grad first"
invariant precedes(First: "optimizer_step", Then: "zero_grad") "step before zero_grad"
invariant count_per_step(Doer: "optimizer_step", Times: 1) "one step"
invariant updates_each(Doer: "optimizer_step", Kind: "parameter", Attr: "data") "moves"
  if V.requires_grad == "true"
  evidence runs 3, examples 120, confidence 0.97, false_alarms 0.01
invariant changes_only_in(Kind: "parameter", Attr: "grad", Doer: "optimizer_step") "who writes"
invariant flag_is(Kind: "parameter", Flag: "false") "frozen"

rule no_nonzero_gradient "no gradient ever" severity error
  never update(U, V, attr: "grad", after: "nonzero", step: S)
"""


@pytest.fixture(scope="module")
def explain(tmp_path_factory):
    path: Path = tmp_path_factory.mktemp("laws") / "laws.rules"
    path.write_text(LAWS)
    checked = load_rules([path])
    checker = Checker(checked, laws_of(checked, checked.rules.values()), engine_named("duckdb"))

    def run(facts: Mapping[str, pa.Table]) -> dict[str, Explanation]:
        violations, _ = checker.check(facts)
        return {v.law.invariant.title: explain_violation(checked, facts, v) for v in violations}

    run.checked, run.checker = checked, checker
    return run


def marks(explanation: Explanation) -> list[bool | None]:
    return [node.holds for node in explanation.expect]


def test_the_proof_names_the_facts_behind_each_condition(explain):
    proof = explain(loop(moves=False))["moves"]
    does, _, responsible, variable, _ = proof.when
    assert does.kind == "derived"
    assert does.formula == 'does(C, "optimizer_step")'
    call = does.because[0].facts[0]
    assert (call.relation, call.values["api"], call.step, call.rank, call.site) == ("call", STEP, 0, 0, "train.py:1")
    assert [node.formula.split("(")[0] for node in responsible.because] == ["call", "holds"]
    assert variable.facts[0].values["name"] == "fc.weight"
    assert proof.complete


def test_the_expectation_is_marked_and_the_near_miss_tells_the_difference(explain):
    proof = explain(loop(moves=False))["moves"]
    assert marks(proof) == [False, None]
    (difference,) = proof.near_misses[0].differences[:1]
    assert {d.column for d in proof.near_misses[0].differences} == {"attr", "contains"}
    assert difference.expected == "'data'"
    assert difference.found == "'grad'"
    assert "grad of 'fc.weight' changes from none to nonzero" in proof.near_misses[0].facts[0].text


def test_what_is_there_at_the_wrong_time_is_the_near_miss(explain):
    proof = explain(loop())["step before zero_grad"]
    assert marks(proof) == [True, True, False]
    assert proof.near_misses[0].facts[0].values["api"] == STEP
    assert proof.near_misses[0].facts[0].step == 0, "the one in the example's own step"
    assert proof.near_misses[0].differences[0].column == "exit, enter"


def test_what_is_not_there_at_all_has_no_near_miss(explain):
    proof = explain(loop(zero_grad=False))["zero_grad first"]
    assert marks(proof) == [False, None, None]
    assert proof.near_misses == ()
    assert "nearest: nothing came near" in proof.lines()


def test_a_count_shows_what_was_counted(explain):
    proof = explain(loop(double_step=True))["one step"]
    assert [fact.values["api"] for fact in proof.expect[0].facts] == [STEP, STEP]
    assert proof.expect[0].note == "there are 2"
    difference = proof.near_misses[0].differences[0]
    assert (difference.column, difference.expected, difference.found) == ("count", "== 1", "2")


def test_an_equality_shows_both_values(explain):
    proof = explain(loop())["frozen"]
    difference = proof.near_misses[0].differences[0]
    assert (difference.column, difference.expected, difference.found) == ("requires_grad", "'false'", "'true'")


def test_an_event_in_another_call_is_told_with_its_path(explain):
    facts = MadeFacts()
    weight = facts.id()
    facts.add("variable", id=weight, name="w", kind="parameter", rank=0, requires_grad="true")
    facts.add("step", id=facts.id(), rank=0, process=0, step=0, enter=0, exit=0, closed="true")
    outer = facts.call("train.fit", 0)
    inner = facts.call(BACKWARD, 0, parent=outer)
    facts.add("contains", outer=outer, inner=inner)
    facts.update(inner, weight, "grad", "none", "nonzero", 0)
    facts.call(STEP, 0)
    proof = explain(facts.tables())["who writes"]
    assert proof.when[0].facts[0].path == ("train.fit", BACKWARD)
    assert any(line.strip() == "inside 'train.fit'" for line in proof.lines())


def test_a_rule_that_says_never_has_a_proof_and_nothing_to_expect(explain):
    proof = explain(loop())["no gradient ever"]
    assert proof.when[0].facts[0].values["after"] == "nonzero"
    assert proof.expect == proof.near_misses == ()
    assert not any(line.startswith(("expected", "nearest")) for line in proof.lines())


def test_precondition_evidence_and_names_are_told(explain):
    proof = explain(loop(moves=False))["moves"]
    assert [node.formula for node in proof.precondition] == ['if V.requires_grad == "true"']
    assert proof.evidence == {"runs": 3, "examples": 120, "exceptions": 0, "confidence": 0.97, "false_alarms": 0.01}
    assert "learned from 3 runs, 120 examples; confidence 0.97, estimated false alarms 0.01" in proof.lines()
    assert proof.names == {"C": f"'{STEP}'", "V": "'fc.weight'"}


def test_what_was_proven_once_is_not_written_twice(explain):
    lines = explain(loop(moves=False))["moves"].lines()
    start = lines.index("because:")
    proof = lines[start : lines.index("expected:")]
    assert len([line for line in proof if STEP in line]) == 1


@pytest.mark.parametrize("fault", [{}, {"zero_grad": False}, {"moves": False}, {"double_step": True}])
def test_every_explanation_is_json_and_shows_something_that_fails(explain, fault):
    for explanation in explain(loop(**fault)).values():
        assert json.loads(json.dumps(explanation.as_dict()))["law"] == explanation.law
        assert explanation.complete
        assert all(node.holds for node in explanation.when)
        if explanation.expect:
            assert not all(node.holds for node in explanation.expect)


def test_an_example_that_the_facts_do_not_prove_is_said_to_be_so(explain):
    facts = loop(moves=False)
    violation = next(v for v in explain.checker.check(facts)[0] if v.law.invariant.title == "moves")
    gone = replace(violation, binding={**violation.binding, "C": 10**9})
    proof = explain_violation(explain.checked, facts, gone)
    assert not proof.complete
    assert any("do not prove this" in line for line in proof.lines())


def test_only_the_neighbourhood_of_an_example_is_looked_at():
    sizes = []
    for steps in (20, 400):
        facts = loop(steps)
        calls = facts["call"].filter(pa.compute.equal(facts["call"]["step"], 10))["id"].to_pylist()
        window = Window(facts, {"call": calls[:1]})
        sizes.append({name: window[name].num_rows for name in ("call", "update", "contains", "step")})
    assert sizes[0] == sizes[1] == {"call": 9, "update": 6, "contains": 6, "step": 3}
