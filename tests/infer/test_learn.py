"""What is learned from made runs, and that learning in instalments comes to the same."""

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pytest

from tests.made_facts import loop
from traincheck.datalog.engine import engine_named
from traincheck.dsl.checker import Checked
from traincheck.dsl.load import load_rules
from traincheck.errors import UsageError
from traincheck.infer.evidence import Run, digests_of, distinct, dump, load
from traincheck.infer.learn import Learned, learn, tally_facts

LIBRARY = load_rules([])
TEMPLATES = [
    LIBRARY.templates[name] for name in ("precedes", "follows", "count_per_step", "updates_each", "updates_some")
]
DIGESTS = digests_of(LIBRARY, TEMPLATES)


def run(name: str, facts: Mapping[str, pa.Table], engine: str = "duckdb", checked: Checked = LIBRARY) -> Run:
    return Run(name, tally_facts(facts, checked, TEMPLATES, engine_named(engine)))


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


def test_both_engines_teach_the_same() -> None:
    for name in ("a", "b"):
        assert run(name, loop(3)) == run(name, loop(3), "pydatalog")


def test_in_instalments_and_in_any_order_it_comes_to_the_same(tmp_path: Path) -> None:
    runs = [run("a", loop(4)), run("b", loop(5, double_step=True)), run("c", loop(6, zero_grad=False))]
    at_once = titles(learn(distinct(runs), TEMPLATES))
    for first, second, third in permutations(runs):
        path = tmp_path / "learned.rules.evidence"
        path.write_text(dump([first], DIGESTS))
        path.write_text(dump([*load(path, DIGESTS), second], DIGESTS))
        assert titles(learn(distinct([*load(path, DIGESTS), third, first]), TEMPLATES)) == at_once


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
