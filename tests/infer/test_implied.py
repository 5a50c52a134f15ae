"""Invariants that others make superfluous are dropped, and each is told why."""

from pathlib import Path

import pytest

from tests.made_facts import MadeFacts, loop
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules
from traincheck.dsl.parse import parse_text
from traincheck.dsl.syntax import Invariant, Template
from traincheck.infer.evidence import Run
from traincheck.infer.implication import Said, implies
from traincheck.infer.learn import Learned, learn, tally_facts

LIBRARY = load_rules([])

STRONG = (
    'template strong() "s" when call(C, step: S) expect update(U, call: C, attr: "data", step: S), call(D) within C'
)


def said(text: str, condition: str = "") -> Said:
    (template,) = parse_text(text).declarations
    assert isinstance(template, Template)
    (invariant,) = parse_text(f'invariant {template.name}() "t" {condition}').declarations
    assert isinstance(invariant, Invariant)
    return Said.of(template, invariant)


@pytest.mark.parametrize(
    "weak",
    [
        STRONG,
        'template w() "w" when call(X, step: T) expect update(Y, call: X, attr: "data", step: T), call(Z) within X',
        'template w() "w" when call(C, step: S) expect update(U, call: C) within C',
        'template w() "w" when call(C, step: S, api: "a"), S > 3 expect update(U, call: C, attr: "data") within C',
        'template w() "w" when call(C, step: S) expect update(U, call: C, step: S) within step S',
        'template w() "w" when call(C, step: S) expect call(C), call(E) within run',
    ],
)
def test_what_asks_more_or_promises_less_follows(weak: str) -> None:
    assert implies(said(STRONG), said(weak))


@pytest.mark.parametrize(
    "other",
    [
        'template w() "w" when call(C) expect update(U, call: C) within C',
        'template w() "w" when call(C, step: S) expect update(U, call: C, before: "zero") within C',
        'template w() "w" when call(C, step: S) expect update(U, call: C), variable(V) within C',
        'template w() "w" when call(C, step: S) expect update(U, call: C), contains(C, U) within C',
        'template w() "w" when call(C, step: S), call(D, step: S) expect update(U, call: D), U == 3 within D',
        'template w() "w" when call(C, step: S), call(E, parent: C) expect call(E, parent: D), D != C within E',
    ],
)
def test_what_promises_something_else_does_not_follow(other: str) -> None:
    assert not implies(said(STRONG), said(other))


def test_a_wider_window_decides_later_and_implies_less() -> None:
    late = STRONG.replace("within C", "within step S")
    assert implies(said(STRONG), said(late))
    assert not implies(said(late), said(STRONG))


@pytest.mark.parametrize(
    ("strong", "weak", "follows"),
    [
        ("", 'if D.stage == "eval"', True),
        ('if C.stage == "eval"', "", False),
        ('if C.stage == "eval"', 'if D.stage == "eval", D.autocast == "none"', True),
        ('if C.stage == "eval", C.autocast == "none"', 'if D.stage == "eval"', False),
        ('if C.stage == "eval" or C.stage == "train"', 'if D.stage == "train"', True),
        ('if C.stage == "train"', 'if D.stage == "eval" or D.stage == "train"', False),
    ],
)
def test_preconditions_are_subsumed(strong: str, weak: str, follows: bool) -> None:
    wide = 'template w() "w" when call(C) expect update(U, call: C) within C given C'
    narrow = 'template n() "n" when call(D, step: S) expect update(U, call: D) within D given D'
    assert implies(said(wide, strong), said(narrow, weak)) == follows


def learned(facts: list, *templates: Template, checked: object = LIBRARY) -> Learned:
    runs = [
        Run(str(number), tally_facts(tables, checked, templates, engine_named("duckdb")))  # type: ignore[arg-type]
        for number, tables in enumerate(facts)
    ]
    return learn(runs, templates)


def test_the_weaker_of_two_laws_is_dropped_with_its_reason(tmp_path: Path) -> None:
    rules = tmp_path / "weak.rules"
    rules.write_text(
        "template moves(Doer: concept) \"'{Doer}' changes something\" "
        "when does(C, Doer) expect contains(C, U), update(U) within C\n"
        "template alters(Doer: concept) \"'{Doer}' is seen to change one thing or another\" "
        "when does(D, Doer) expect contains(D, W), update(W) within D\n"
    )
    checked = load_rules([rules])
    templates = [checked.templates[name] for name in ("alters", "moves", "updates_some")]
    found = learned([loop(4), loop(5)], *templates, checked=checked)
    assert {item.invariant.template for item in found.kept} == {"updates_some"}
    told = {item.hypothesis.row: item.reason for item in found.dropped if item.hypothesis.row == ("optimizer_step",)}
    assert told["optimizer_step",].startswith("implied by \"'optimizer_step' turns the data of some parameter")
    both = learned([loop(4), loop(5)], *templates[:2], checked=checked)
    assert {item.invariant.template for item in both.kept} == {"moves"}
    assert "says the same as \"'optimizer_step' changes something\"" in {item.reason for item in both.dropped}


def test_transitivity_reaches_into_narrower_preconditions() -> None:
    """zero_grad, forward, backward in training; an evaluation has a forward without zero_grad."""

    def run(steps: int) -> object:
        facts = MadeFacts()
        for sub, base in (("train.Net.forward", "torch.nn.modules.module.Module.forward"),):
            facts.add("subclass", sub=sub, super=base)
        for step in range(steps):
            facts.add("step", id=facts.id(), rank=0, process=0, step=step, enter=0, exit=0, closed="true")
            facts.call("torch.optim.sgd.SGD.zero_grad", step)
            facts.call("torch.nn.functional.cross_entropy", step)
            facts.call("train.Net.forward", step, stage="train")
            facts.call("torch.Tensor.backward", step)
        for step in range(steps, 2 * steps):
            facts.add("step", id=facts.id(), rank=0, process=0, step=step, enter=0, exit=0, closed="true")
            facts.call("train.Net.forward", step, stage="eval")
        return facts.tables()

    found = learned([run(6), run(7)], LIBRARY.templates["precedes"])
    kept = {item.invariant.title for item in found.kept}
    assert "each 'forward' has a 'loss' before it in the same step, when stage is train" in kept
    assert "each 'loss' has a 'zero_grad' before it in the same step" in kept
    dropped = {tuple(item.hypothesis.row): item.reason for item in found.dropped}
    assert dropped["zero_grad", "forward"] == "implied by two others through transitivity"
