"""The examples of the shipped rules, on both engines; and what an example may leave unsaid."""

from pathlib import Path

import pytest

from tests.dsl.test_language_docs import GOOD
from traincheck.check.examples import missing, run_examples
from traincheck.check.scene import tables_of
from traincheck.datalog.engine import ENGINES, engine_named
from traincheck.dsl.load import is_translation, load_rules
from traincheck.dsl.parse import parse_text
from traincheck.dsl.syntax import Atom, Example, Setting

LIBRARY = load_rules([])
LAWS = sorted({example.law for example in LIBRARY.examples})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("law", LAWS)
def test_shipped_examples_come_out_as_they_say(law: str, engine: str) -> None:
    examples = [example for example in LIBRARY.examples if example.law == law]
    found = {outcome.example.title: outcome.found for outcome in run_examples(LIBRARY, examples, engine_named(engine))}
    assert found == {example.title: example.verdict for example in examples}


@pytest.mark.parametrize("engine", ENGINES)
def test_examples_of_the_documentation_come_out_as_they_say(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "language.rules"
    path.write_text(GOOD)
    checked = load_rules([path])
    examples = [example for example in checked.examples if example.position.file == str(path)]
    outcomes = list(run_examples(checked, examples, engine_named(engine)))
    assert [outcome.example.title for outcome in outcomes if not outcome.ok] == []
    assert outcomes


def test_every_shipped_law_is_shown_held_and_violated() -> None:
    templates = [template for template in LIBRARY.templates.values() if not is_translation(template)]
    assert missing([*templates, *LIBRARY.rules.values()], LIBRARY.examples) == []


def test_every_shipped_law_is_explained() -> None:
    """What it says, an example, when it cries wolf, and what to do about it."""
    templates = [template for template in LIBRARY.templates.values() if not is_translation(template)]
    for law in (*templates, *LIBRARY.rules.values()):
        assert law.about.startswith("Says "), law.name
        assert "\nExample: " in law.about, law.name
        assert "\nKnown false positives: " in law.about, law.name
        assert law.title, law.name
        assert law.next, law.name


@pytest.mark.parametrize("engine", ENGINES)
def test_another_verdict_than_expected_is_noticed(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "a.rules"
    path.write_text(
        'rule quiet "nothing is called" never call(_)\n'
        'example quiet held "wrong" facts call(1)\n'
        'example quiet violated "wrong too"\n'
        'example quiet untriggered "right"\n'
    )
    checked = load_rules([path], with_standard=False)
    outcomes = list(run_examples(checked, checked.examples, engine_named(engine)))
    assert [(outcome.found, outcome.ok) for outcome in outcomes] == [
        ("violated", False), ("untriggered", False), ("untriggered", True),
    ]  # fmt: skip


def facts(text: str) -> tuple[Atom, ...]:
    (setting,) = parse_text(f'setting s "t" facts {text}').declarations
    assert isinstance(setting, Setting)
    return setting.facts


def rows(text: str, relation: str, *columns: str) -> list[tuple[object, ...]]:
    table = tables_of(facts(text))[relation].select(columns)
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def test_events_happen_as_written_and_children_inside() -> None:
    text = "call(1), call(2, parent: 1), update(3, call: 2), call(4), call(5, parent: 1)"
    assert rows(text, "call", "id", "enter", "exit") == [(1, 0, 6), (2, 1, 3), (4, 7, 8), (5, 4, 5)]
    assert rows(text, "update", "id", "at") == [(3, 2)]
    assert set(rows(text, "contains", "outer", "inner")) == {(1, 2), (2, 3), (1, 3), (1, 5)}


def test_processes_ranks_and_steps_follow_from_what_is_said() -> None:
    text = "call(1, rank: 1, step: 3), call(2, parent: 1), update(3, call: 2), call(4), variable(7, rank: 1), state(7)"
    assert rows(text, "process", "id", "rank", "world", "role") == [(0, 0, 2, "main"), (1, 1, 2, "main")]
    assert rows(text, "call", "id", "process", "rank", "step") == [(1, 1, 1, 3), (2, 1, 1, 3), (4, 0, 0, 0)]
    assert rows(text, "update", "process", "step") == [(1, 3)]
    assert rows(text, "state", "rank", "step") == [(1, 0)]
    assert rows(text, "step", "process", "step", "closed") == [(0, 0, "true"), (1, 0, "true"), (1, 3, "true")]


def test_stated_processes_are_the_only_ones() -> None:
    text = 'process(7, rank: 1), process(8, rank: 1, role: "worker"), call(1, rank: 1), call(2, process: 8, step: _)'
    assert rows(text, "process", "id", "rank", "world") == [(7, 1, 1), (8, 1, 1)]
    assert rows(text, "call", "process", "rank", "step") == [(7, 1, 0), (8, 1, None)]


def test_what_is_said_wins_and_a_blank_is_absent() -> None:
    text = 'call(1, exit: _), call(2, stage: "eval", enter: 50, exit: 60), step(step: 0, closed: false)'
    assert rows(text, "call", "exit", "outcome", "stage") == [(None, None, "train"), (60, "returned", "eval")]
    assert rows(text, "step", "step", "closed", "enter", "exit") == [(0, "false", 0, 61)]


def test_calls_of_one_api_are_counted_and_the_call_graph_is_known() -> None:
    text = 'call(1, api: "a"), call(api: "b", parent: 1), call(2, api: "a"), call(api: "b", parent: 2)'
    text += ', call(3, api: "a", rank: 1)'
    assert sorted(index for (index,) in rows(text, "ordinal", "index")) == [0, 0, 0, 1, 1]
    assert rows(text, "invokes", "outer", "inner") == [("a", "b")]


def test_an_example_without_facts_is_an_empty_run() -> None:
    example = Example("law", (), "held", "nothing")
    tables = tables_of(example.facts)
    assert tables["process"].num_rows == 1
    assert tables["step"].num_rows == tables["call"].num_rows == 0
