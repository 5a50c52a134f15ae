"""Files of invariants: what is kept, and what is told when it is not."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.integrations.logs import Record, api, call, constant, invariant, templates, write_log
from traincheck.cli import cli
from traincheck.dsl.parse import parse_text
from traincheck.dsl.syntax import Invariant
from traincheck.errors import UsageError
from traincheck.integrations.orderlab import Imported, import_invariants

GOOD = invariant("APIContainRelation", api("a.f"), api("b.g"))


def imported(folder: Path, *items: Record | str) -> Imported:
    lines = [item if isinstance(item, str) else json.dumps(item) for item in items]
    source = folder / "invariants.json"
    source.write_text("\n".join(lines))
    return import_invariants(source, templates())


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("{torn", "not JSON"),
        ("[1]", "not an invariant"),
        (GOOD | {"relation": "NewRelation"}, "relations of type 'NewRelation' are not known"),
        (GOOD | {"precondition": "Failed"}, "a hypothesis that failed"),
        ({"failed_reason": "Precondition not found", "invariant": GOOD}, "Precondition not found"),
        (GOOD | {"params": None}, "parameters are not a list"),
        (GOOD | {"params": [api("a.f")]}, "parameters of these kinds"),
        (GOOD | {"params": [api("a.f"), {"param_type": "NewParam"}]}, "cannot contain a 'NewParam'"),
        (invariant("FunctionCoverRelation", api("a.f")), "needs two functions"),
        (invariant("ConsistentOutputRelation", api("a.f"), {"param_type": "VarTypeParam"}), "which value"),
        (invariant("APIContainRelation", api("a.f"), api("b.g"), clauses=[{"type": "new", "prop_name": "k"}]), "'new'"),
    ],
)
def test_what_cannot_be_kept_is_told_with_its_line(tmp_path: Path, item: Record | str, reason: str) -> None:
    found = imported(tmp_path, GOOD, item, GOOD)
    assert (found.read - found.kept, len(found.file.declarations)) in ((1, 2), (0, 2))
    (line,) = found.left_out
    assert line.startswith(f"{tmp_path / 'invariants.json'}:2: ")
    assert reason in line


ON_VARIABLES = {"inverted": False, "preconditions": [{"clauses": [constant("k", 1)]}]}


@pytest.mark.parametrize(
    ("item", "note"),
    [
        (invariant("APIContainRelation", api("a.f", exception="X"), api("b.g")), "exception of the outer function"),
        (invariant("FunctionLeadRelation", api("a.f"), api("b.g", arguments={"args": {}})), "arguments of the"),
        (GOOD | {"precondition": GOOD["precondition"] | {"var_events": ON_VARIABLES}}, "condition on var_events"),
    ],
)
def test_what_is_kept_in_part_is_told(tmp_path: Path, item: Record, note: str) -> None:
    found = imported(tmp_path, item)
    assert found.kept == 1
    assert note in found.notes[0]


def test_a_list_of_functions_becomes_an_invariant_for_each_pair(tmp_path: Path) -> None:
    found = imported(tmp_path, invariant("FunctionLeadRelation", api("a.f"), api("b.g"), api("c.h")))
    pairs = [tuple(value.value for _, value in item.arguments) for item in found.file.declarations]
    assert pairs == [("a.f", "b.g"), ("b.g", "c.h")]


def test_counts_of_examples_are_kept(tmp_path: Path) -> None:
    known, unknown = imported(tmp_path, GOOD, GOOD | {"num_positive_examples": None}).file.declarations
    assert isinstance(known, Invariant) and known.evidence is not None and known.evidence.examples == 3
    assert isinstance(unknown, Invariant) and unknown.evidence is None


def test_demands_are_the_same_in_every_file(tmp_path: Path) -> None:
    arguments = {"args": {"p": {"float": 0.0}, "q": {"str": "x" * 200}}, "func_name": "b.g"}
    item = invariant("APIContainRelation", api("a.f"), api("b.g", arguments=arguments))
    arguments["args"] = dict(reversed(arguments["args"].items()))
    other = invariant("APIContainRelation", api("a.f"), api("b.g", arguments=arguments))
    first, second = (imported(tmp_path, each).file.declarations[-1] for each in (item, other))
    assert first == second


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        import_invariants(tmp_path / "nothing.json", templates())


def test_the_commands(tmp_path: Path) -> None:
    runner = CliRunner()
    log = write_log(tmp_path / "trace_API_1_7.log", [*call("a.f", 1, 4, call("b.g", 2, 3)), *call("a.f", 5, 6)])
    log.write_text(log.read_text() + "torn")
    source = write_log(tmp_path / "invariants.json", [GOOD, {"relation": "Other"}])
    trace, rules = str(tmp_path / "trace"), str(tmp_path / "out.rules")
    result = runner.invoke(cli, ["import", "trace", str(log), "-o", trace])
    assert result.exit_code == 0
    assert f"{log}:7: not a record" in result.stderr
    assert "6 records of 1 processes" in result.stderr
    result = runner.invoke(cli, ["import", "invariants", str(source), "-o", rules])
    assert result.exit_code == 0
    assert "left out" in result.stderr and "1 of 2 invariants" in result.stderr
    assert len(parse_text(Path(rules).read_text()).declarations) == 1
    result = runner.invoke(cli, ["check", trace, "-i", rules, "--format", "json"], standalone_mode=False)
    assert result.return_value == 1
    report = json.loads(result.stdout)
    assert report["violations"][0]["first"]["step"] == 0
    assert report["violations"][0]["count"] == 1
