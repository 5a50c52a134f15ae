"""What is learned from made runs, and that learning in instalments comes to the same."""

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pytest

from tests.made_facts import ZERO_GRAD, MadeFacts, loop, made_loop
from traincheck.check.checker import Checker
from traincheck.check.law import laws_of
from traincheck.datalog.engine import engine_named
from traincheck.dsl.checker import Checked
from traincheck.dsl.features import choices_of
from traincheck.dsl.load import load_rules
from traincheck.dsl.printer import print_declaration
from traincheck.errors import UsageError
from traincheck.infer.evidence import Run, digests_of, distinct, dump, load
from traincheck.infer.learn import Learned, learn, tally_facts
from traincheck.infer.selection import Thresholds

LIBRARY = load_rules([])
TEMPLATES = [
    LIBRARY.templates[name] for name in ("precedes", "follows", "count_per_step", "updates_each", "updates_some")
]
THRESHOLDS = Thresholds(examples=2, confidence=0.5, exceptions=2)  # so that much is learned
DIGESTS = digests_of(LIBRARY, TEMPLATES)


def run(name: str, facts: Mapping[str, pa.Table], engine: str = "duckdb", checked: Checked = LIBRARY) -> Run:
    return Run(name, tally_facts(facts, checked, TEMPLATES, engine_named(engine)))


def said(learned: Learned) -> tuple[list[str], list[str]]:
    """All that is learned, as it is written, and why the rest is not."""
    kept = [print_declaration(item.invariant) for item in learned.kept]
    return kept, sorted(f"{item.hypothesis.row} {item.reason}" for item in learned.dropped)


def titles(learned: Learned) -> set[str]:
    return {item.invariant.title for item in learned.kept}


def reasons(learned: Learned) -> set[str]:
    return {item.reason for item in learned.dropped}


def test_a_loop_teaches_its_order_and_counts() -> None:
    found = titles(learn([run("a", loop(4)), run("b", loop(5))], TEMPLATES))
    assert "each 'backward' has a 'zero_grad' before it in the same step" in found
    assert "each 'backward' is followed by a 'optimizer_step' in the same step" in found
    assert "a step has exactly 1 'optimizer_step'" in found
    assert "'optimizer_step' changes the data of every parameter it is responsible for" in found


def test_what_transitivity_implies_is_dropped_with_its_reason() -> None:
    learned = learn([run("a", loop(4)), run("b", loop(5))], TEMPLATES)
    assert "each 'optimizer_step' has a 'zero_grad' before it in the same step" not in titles(learned)
    assert "implied by two others through transitivity" in reasons(learned)


def test_one_run_that_disagrees_takes_a_law_away() -> None:
    learned = learn([run("a", loop(4)), run("b", loop(5)), run("c", loop(6, zero_grad=False))], TEMPLATES)
    assert not any("has a 'zero_grad' before it" in title for title in titles(learned))


def test_too_little_evidence_is_said() -> None:
    learned = learn([run("a", loop(1))], TEMPLATES)
    assert titles(learned) == set()
    assert "only 1 example, 3 are needed" in reasons(learned)


def test_every_candidate_is_kept_or_told_why_not() -> None:
    runs = [run("a", loop(4)), run("b", loop(5, double_step=True)), run("c", loop(2, zero_grad=False))]
    learned = learn(runs, TEMPLATES)
    judged = [
        (item.hypothesis.grounding.template.name, item.hypothesis.row) for item in (*learned.kept, *learned.dropped)
    ]
    candidates = {(name, row) for run in runs for name, tally in run.tallies.items() for row in tally.candidates}
    assert sorted(judged, key=str) == sorted(candidates, key=str)
    assert all(item.reason for item in learned.dropped)


def test_what_chance_explains_is_told() -> None:
    learned = learn([run("a", loop(4)), run("b", loop(5))], TEMPLATES, Thresholds(confidence=1))
    assert titles(learned) == set()
    assert any(
        reason.startswith("could be chance: 9 examples of what holds for ") and reason.endswith("1 is needed")
        for reason in reasons(learned)
    )


def test_a_rare_exception_is_told_and_makes_a_note() -> None:
    facts = loop(200)
    calls = facts["call"].to_pylist()
    spoiled = next(row["id"] for row in calls if row["api"] == ZERO_GRAD and row["step"] == 77)
    broken = dict(facts) | {"call": pa.Table.from_pylist([row for row in calls if row["id"] != spoiled])}
    runs = [run("a", broken), run("b", loop(200))]
    wanted = "each 'backward' has a 'zero_grad' before it in the same step"
    assert wanted not in titles(learn(runs, TEMPLATES))
    (kept,) = (
        item.invariant
        for item in learn(runs, TEMPLATES, Thresholds(exceptions=1)).kept
        if item.invariant.title == wanted
    )
    assert kept.evidence is not None
    assert (kept.evidence.examples, kept.evidence.exceptions, kept.severity) == (399, 1, "note")


def test_what_happens_every_so_many_steps_is_pedantic() -> None:
    def evaluated(steps: int) -> Mapping[str, pa.Table]:
        facts = made_loop(steps)
        facts.add("subclass", sub="train.Net.eval", super="torch.nn.modules.module.Module.eval")
        for step in range(4, steps, 5):
            facts.call("train.Net.eval", step)
        return facts.tables()

    runs = [run("a", evaluated(20)), run("b", evaluated(30))]
    learned = learn(runs, TEMPLATES, choices=choices_of(LIBRARY.defines))
    (periodic,) = (item.invariant for item in learned.kept if item.invariant.persona == "pedantic")
    assert periodic.title == "a step has exactly 1 'eval_mode', when phase is last of 5"
    assert periodic.severity == "note"


SAME = """
template same_argument(Api: api, Argument: name)
  "in a step '{Api}' is given the same {Argument}"
  when    call(C, api: Api, step: S, enter: A), arg(C, name: Argument, value: X),
          call(D, api: Api, step: S, enter: B), arg(D, name: Argument, value: Y), A < B
  expect  X == Y
  within  step S
  given   C, D
"""


def two_models(steps: int, *, mixed: bool = False) -> Mapping[str, pa.Table]:
    """Two models, each called twice in a step with an argument of its own; `mixed` exchanges one of them."""
    facts = MadeFacts()
    for step in range(steps):
        facts.add("step", id=facts.id(), rank=0, process=0, step=step, enter=0, exit=0, closed="true")
        for receiver, value in ((7, "a"), (8, "b"), (7, "a"), (8, "a" if mixed and step == 1 else "b")):
            call = facts.call("train.Net.forward", step, receiver=receiver)
            facts.add("arg", call=call, name="mode", value=value)
    return facts.tables()


def test_members_are_related_by_what_they_share(tmp_path: Path) -> None:
    rules = tmp_path / "same.rules"
    rules.write_text(SAME)
    checked = load_rules([rules])
    template = checked.templates["same_argument"]
    engine = engine_named("duckdb")
    runs = [
        Run(name, tally_facts(two_models(steps), checked, [template], engine)) for name, steps in (("a", 5), ("b", 6))
    ]
    (kept,) = learn(runs, [template]).kept
    assert (
        kept.invariant.title
        == "in a step 'train.Net.forward' is given the same mode, when receiver is the same for both"
    )
    rules.write_text(SAME + print_declaration(kept.invariant))
    checked = load_rules([rules])
    checker = Checker(checked, laws_of(checked, ()), engine)
    assert checker.check(two_models(4)) == ([], {checker.laws[0].id})
    (violation,), _ = checker.check(two_models(4, mixed=True))
    assert (violation.count, violation.steps) == (1, [1])


def test_both_engines_teach_the_same() -> None:
    for name in ("a", "b"):
        assert run(name, loop(3)) == run(name, loop(3), "pydatalog")


def test_in_instalments_and_in_any_order_it_comes_to_the_same(tmp_path: Path) -> None:
    runs = [run("a", loop(4)), run("b", loop(5, double_step=True)), run("c", loop(6, zero_grad=False))]
    at_once = said(learn(distinct(runs), TEMPLATES, THRESHOLDS))
    for first, second, third in permutations(runs):
        path = tmp_path / "learned.rules.evidence"
        path.write_text(dump([first], DIGESTS))
        path.write_text(dump([*load(path, DIGESTS), second], DIGESTS))
        assert said(learn(distinct([*load(path, DIGESTS), third, first]), TEMPLATES, THRESHOLDS)) == at_once


def test_evidence_of_another_template_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "learned.rules.evidence"
    path.write_text(dump([run("a", loop(2))], DIGESTS))
    changed = DIGESTS | {"precedes": DIGESTS["follows"]}
    with pytest.raises(UsageError, match="template 'precedes' or a definition that it uses has changed"):
        load(path, changed)


@pytest.mark.parametrize("text", ["", "not json\n", '{"format": "other"}\n'])
def test_a_broken_evidence_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "learned.rules.evidence"
    path.write_text(text)
    with pytest.raises(UsageError, match="evidence"):
        load(path, DIGESTS)
