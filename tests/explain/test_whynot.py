"""Why a law was not triggered, in hand-made facts."""

from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.made_facts import MadeFacts, loop
from traincheck.check.law import laws_of
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules
from traincheck.explain.whynot import why_not

LAWS = """
invariant precedes(First: "zero_grad", Then: "clip") "clip"
invariant updates_each(Doer: "optimizer_step", Kind: "buffer", Attr: "data") "buffers"
invariant precedes(First: "zero_grad", Then: "backward") "eval"
  if D.stage == "eval"
invariant precedes(First: "zero_grad", Then: "optimizer_step") "plain"
rule never_here "never" never state(V, attr: "grad", class: "nonfinite")
"""

Ask = Callable[[str, Mapping[str, pa.Table]], list[str]]


@pytest.fixture(scope="module", params=["duckdb", "columns"])
def ask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    path = tmp_path_factory.mktemp("laws") / "laws.rules"
    path.write_text(LAWS)
    checked = load_rules([path])
    rules = [checked.rules["never_here"]]
    laws = {law.invariant.title: law for group in laws_of(checked, rules).values() for law in group}
    engine = engine_named(request.param)

    def asked(title: str, facts: Mapping[str, pa.Table]) -> list[str]:
        return [line.strip() for told in why_not(checked, laws[title], facts, engine) for line in told.lines()]

    return asked


def test_a_condition_that_no_fact_matches_is_named(ask: Ask) -> None:
    lines = ask("clip", loop())
    assert "with First 'zero_grad', Then 'clip'" in lines
    assert "[missing] does(D, Then): the trace has no such fact" in lines
    assert any(line.startswith("[not reached] call(D,") for line in lines)


def test_conditions_that_only_fail_together_are_told_apart(ask: Ask) -> None:
    facts = MadeFacts()
    facts.add("variable", id=10**9, name="running_mean", kind="buffer", rank=0)
    tables = dict(loop())
    tables["variable"] = pa.concat_tables([tables["variable"], facts.tables()["variable"]])
    lines = ask("buffers", tables)
    assert "[fails] variable(V, kind: Kind): never together with what stands above" in lines


def test_a_precondition_that_nothing_meets_is_told(ask: Ask) -> None:
    lines = ask("eval", loop())
    assert "its precondition holds for none of 4 examples:" in lines
    assert lines[-1] == 'D.stage == "eval"'


def test_what_has_not_ended_is_told(ask: Ask) -> None:
    facts = dict(loop())
    steps = facts["step"]
    closed = pc.replace_with_mask(steps["closed"], pa.array([True] * steps.num_rows), "false")
    facts["step"] = steps.set_column(steps.column_names.index("closed"), "closed", closed)
    assert ask("plain", facts)[-1] == "no example is decided: the step of S has not ended in this trace"


def test_a_law_that_was_triggered_is_said_to_be_so(ask: Ask) -> None:
    assert ask("plain", loop())[-1] == "it was triggered, by 4 examples"


def test_a_rule_that_says_never_lacks_facts(ask: Ask) -> None:
    assert ask("never", loop())[-1].startswith("[missing] state(V,")
