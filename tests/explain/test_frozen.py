"""A real run with its head frozen, explained: what someone who never saw the script must be told."""

import pytest

from tests.collect.running import PRELUDE, collect, rows
from traincheck.check.checker import Checker
from traincheck.check.findings import findings
from traincheck.check.law import laws_of, rules_in
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules
from traincheck.explain import Explanation, explain_violations
from traincheck.facts import Facts

FROZEN = """
model = Net()
for module in (model.body, model.head):
    module.requires_grad_(False)
optimizer = torch.optim.Adam(model.head.parameters())
for _ in range(2):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()
"""
STEP = "torch.optim.adam.Adam.step"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return collect(tmp_path_factory.mktemp("frozen"), FROZEN)


@pytest.fixture(scope="module")
def headline(facts: Facts, tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    path = tmp_path_factory.mktemp("laws") / "laws.rules"
    path.write_text('invariant updates_each(Doer: "optimizer_step", Kind: "parameter", Attr: "data") "moves"\n')
    checked = load_rules([path])
    checker = Checker(checked, laws_of(checked, rules_in(checked, [str(path)])), engine_named("columns"))
    violations, _ = checker.check(facts)
    first = findings(violations)[0].headline
    return explain_violations(checked, facts, violations)[first.law.id]


def line(text: str) -> int:
    """The line of the script that starts with `text`."""
    return next(number for number, line in enumerate((PRELUDE + FROZEN).splitlines(), 1) if line.strip() == text)


def test_frozen_parameters_have_no_gradient_before_the_step(facts: Facts) -> None:
    states = rows(facts, "state", attr="grad", point="before_step", step=0)
    frozen = {row["id"] for row in rows(facts, "variable", requires_grad="false", kind="parameter")}
    assert len(frozen) == 4
    assert {row["class"] for row in states if row["variable"] in frozen} == {"none"}


def test_the_explanation_names_the_step_the_parameters_and_where_the_optimizer_was_built(
    headline: Explanation,
) -> None:
    built, stepped = line("optimizer = torch.optim.Adam(model.head.parameters())"), line("optimizer.step()")
    assert f"'{STEP}' called from train.py:{stepped} made no change of the data of 'head.weight'" in headline.what
    text = "\n".join(headline.lines())
    assert f"'{STEP}' in step 0 changed nothing" in text
    assert f"the 'torch.optim.adam.Adam' was built at train.py:{built}" in text
    assert "holds 'head.weight', 'head.bias'; none of them requires a gradient, none of them has one" in text
    assert "parameter 'head.weight' has requires_grad false" in text
    assert "has no gradient before the optimizer step of step 0" in text


def test_the_story_is_short_enough_to_read(headline: Explanation) -> None:
    assert len(headline.lines()) < 25
