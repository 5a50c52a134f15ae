"""What a person reads first: the sentence, what is known of the things named, the story, the history."""

import pytest

from tests.made_facts import BACKWARD, STEP, ZERO_GRAD, MadeFacts, loop
from traincheck.check.checker import Checker
from traincheck.check.law import laws_of
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules
from traincheck.explain import explain_violations

LAWS = """
invariant precedes(First: "zero_grad", Then: "backward") "zero_grad first"
invariant count_per_step(Doer: "optimizer_step", Times: 1) "one step"
invariant updates_each(Doer: "optimizer_step", Kind: "parameter", Attr: "data") "moves"
invariant changes_only_in(Kind: "parameter", Attr: "grad", Doer: "optimizer_step") "who writes"
invariant trains(Kind: "parameter") "held"
"""


@pytest.fixture(scope="module")
def explain(tmp_path_factory):
    path = tmp_path_factory.mktemp("laws") / "laws.rules"
    path.write_text(LAWS)
    checked = load_rules([path])
    checker = Checker(checked, laws_of(checked, []), engine_named("duckdb"))

    def run(facts):
        violations, _ = checker.check(facts)
        found = explain_violations(checked, facts, violations)
        return {explanation.title: explanation for explanation in found.values()}

    return run


def frozen(break_from=0, steps=3):
    """An optimizer that is built on line 50 and, from one step on, moves nothing; its two parameters are frozen."""
    facts = MadeFacts()
    model, optimizer = facts.id(), facts.id()
    facts.add("object", id=optimizer, type="torch.optim.sgd.SGD", process=0, rank=0)
    facts.call("torch.optim.sgd.SGD.__init__", 0, receiver=optimizer, site="train.py:50")
    held = [facts.id(), facts.id()]
    for number, name in zip(held, ("head.weight", "head.bias"), strict=True):
        facts.add("variable", id=number, name=name, kind="parameter", owner=model, rank=0, requires_grad="false")
        facts.add("holds", optimizer=optimizer, group=0, variable=number)
    norm = facts.call("torch.nn.modules.batchnorm.BatchNorm2d.forward", 0)
    facts.update(norm, facts.id(), "data", "zero", "nonzero", 0)
    for step in range(steps):
        facts.add("step", id=facts.id(), rank=0, process=0, step=step, enter=0, exit=0, closed="true")
        for number in held:
            place = {"attr": "grad", "rank": 0, "step": step, "point": "before_step", "class": "none"}
            facts.add("state", variable=number, **place)
        moved = facts.call(STEP, step, receiver=optimizer, site="train.py:61")
        for number in held if step < break_from else ():
            facts.update(moved, number, "data", "nonzero", "nonzero", step)
    return facts.tables()


def test_a_frozen_head_is_explained_to_someone_who_never_saw_the_script(explain):
    proof = explain(frozen())["moves"]
    text = "\n".join(proof.lines())
    assert proof.what == f"in step 0, '{STEP}' called from train.py:61 made no change of the data of 'head.weight'"
    assert f"'{STEP}' in step 0 changed nothing" in text
    assert "the 'torch.optim.sgd.SGD' was built at train.py:50" in text
    assert "holds 'head.weight', 'head.bias'; none of them requires a gradient, none of them has one" in text
    assert "parameter 'head.weight' has requires_grad false" in text
    assert "has no gradient before the optimizer step of step 0" in text
    assert "held by a 'torch.optim.sgd.SGD' built at train.py:50" in text
    assert "never held before in this trace" in text


def test_helpers_that_carry_no_news_are_left_out_of_the_story(explain):
    proof = explain(frozen())["moves"]
    because = next(told for told in proof.story if told.text == "because:")
    lines = [line.strip() for line in because.lines()]
    assert lines[1] == f"'{STEP}' is an 'optimizer_step', in step 0, called from train.py:61"
    assert not any(word in line for line in lines for word in ("inner", "concept(", "subclass", "responsible"))


def test_how_often_it_held_before_is_counted(explain):
    assert "held 4 times before in this trace" in explain(frozen(break_from=2))["moves"].lines()


@pytest.mark.parametrize(
    ("fault", "title", "what"),
    [
        ({"zero_grad": False}, "zero_grad first", f"'{BACKWARD}' called from train.py:1 has no 'zero_grad' before it"),
        ({"double_step": True}, "one step", "step 0 of rank 0 has 2 times an 'optimizer_step', expected 1"),
        ({}, "who writes", "the change of grad of 'fc.weight' is not inside an 'optimizer_step'"),
    ],
)
def test_the_first_sentence_says_who_lacks_what(explain, fault, title, what):
    assert explain(loop(**fault))[title].what.endswith(what)


def test_a_variable_no_optimizer_holds_is_told_so(explain):
    facts = MadeFacts()
    number = facts.id()
    facts.add("variable", id=number, name="w", kind="parameter", rank=0, requires_grad="true")
    facts.add("holds", optimizer=facts.id(), group=0, variable=facts.id())
    facts.add("step", id=facts.id(), rank=0, process=0, step=0, enter=0, exit=0, closed="true")
    facts.add("state", variable=number, attr="data", rank=0, step=0, point="after_step", **{"class": "nonzero"})
    facts.call(ZERO_GRAD, 0)
    proof = explain(facts.tables())["held"]
    assert proof.what == "in step 0, 'w' is held by no optimizer"
    assert "    held by no optimizer" in proof.lines()
