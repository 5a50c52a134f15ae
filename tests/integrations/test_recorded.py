"""The recorded traces and published invariants of the original: its verdicts, ours, and nothing lost on the way."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.integrations.logs import RECORDED, checked_verdict, needs_recorded, templates
from traincheck.check.checker import Checker
from traincheck.check.law import laws_of
from traincheck.cli import cli
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules
from traincheck.dsl.parse import parse_atoms, parse_text
from traincheck.dsl.printer import print_file
from traincheck.dsl.program import question
from traincheck.dsl.syntax import Invariant
from traincheck.facts import Facts, load_facts
from traincheck.integrations.orderlab import import_invariants, import_trace

pytestmark = needs_recorded

DRIFTED = "trace_x-jxmnop-ddp-out-of-sync"
PAIRS = {
    "trace_deepspeed-1801": "deepspeed-1801-fp16",
    DRIFTED: "pytorch-104336",
    "trace_transformers-17877": "transformers-17877",
    "trace_mmpretrain-702": "mmpretrain-702",
}
RECORDS = {"trace_deepspeed-1801": 624, DRIFTED: 8358, "trace_transformers-17877": 7842, "trace_mmpretrain-702": 4}


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("traces")
    for name, records in RECORDS.items():
        summary = import_trace(RECORDED / name, folder / name)
        assert (summary.records, summary.duplicates, summary.warnings) == (records, 0, [])
    return {name: folder / name for name in RECORDS}


def answers(facts: Facts, atoms: str) -> list[dict]:
    checked = load_rules(())
    program, names = question(checked, parse_atoms(atoms), "answer")
    answer = engine_named("duckdb").solve(program, facts, ["answer"])["answer"]
    return answer.rename_columns(names).to_pylist()


@pytest.mark.parametrize(("trace", "invariants"), PAIRS.items())
def test_original_verdicts(trace: str, invariants: str, traces: dict[str, Path], tmp_path: Path) -> None:
    rules = tmp_path / "invariants.rules"
    runner = CliRunner()
    source = RECORDED / f"invariants_{invariants}.json"
    assert runner.invoke(cli, ["import", "invariants", str(source), "-o", str(rules)]).exit_code == 0
    checked = load_rules([rules])
    checker = Checker(checked, laws_of(checked, ()), engine_named("duckdb"))
    violations, _ = checker.check(load_facts(traces[trace]))
    assert len(violations) == 1
    first = violations[0].first
    assert first.step == {"trace_deepspeed-1801": 2}.get(trace, 0)
    if trace == "trace_deepspeed-1801":
        assert first.variable == "model.module.3.mlp.dense_4h_to_h.bias"


@pytest.mark.parametrize(
    ("trace", "names", "counts", "first"),
    [
        ("trace_deepspeed-1801", 27, {2: 3, 3: 16, 4: 17}, "model.module.3.mlp.dense_4h_to_h.bias"),
        (DRIFTED, 199, dict.fromkeys(range(1, 12), 196), "model.embeddings.position_embeddings.weight"),
    ],
)
def test_sound_verdicts(
    trace: str, names: int, counts: dict[int, int], first: str, traces: dict[str, Path], tmp_path: Path
) -> None:
    facts = load_facts(traces[trace])
    compared = answers(facts, 'replicas(V, W, Name, "data", Step, X, Y)')
    assert set(Counter(row["Step"] for row in compared).values()) == {names}
    assert Counter(row["Step"] for row in answers(facts, "drifted(Name, Step)")) == counts
    rules = tmp_path / "sound.rules"
    rules.write_text('invariant replicas_hold_the_same(Kind: "parameter", Attr: "data") "replicas agree"\n')
    checked = load_rules([rules])
    ((violation,), _) = Checker(checked, laws_of(checked, ()), engine_named("duckdb")).check(facts)
    assert (violation.first.step, violation.first.variable) == (min(counts), first)
    assert violation.count == sum(counts.values())
    assert list(violation.steps) == sorted(counts)


@pytest.mark.parametrize("trace", RECORDS)
def test_inference_runs_on_imported_traces(trace: str, traces: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "inferred.rules"
    result = CliRunner().invoke(cli, ["infer", str(traces[trace]), "-o", str(output), "--min-runs", "1"])
    assert result.exit_code == 0, result.output
    inferred = [item for item in parse_text(output.read_text()).declarations if isinstance(item, Invariant)]
    assert not any(item.template.startswith("orderlab_") for item in inferred)


@pytest.mark.parametrize(
    "source", sorted(RECORDED.glob("*invariants*.json")) if RECORDED.is_dir() else [], ids=lambda p: p.name
)
def test_every_published_invariant_is_kept(source: Path, tmp_path: Path) -> None:
    lines = [line for line in source.read_text().splitlines() if line.strip()]
    found = import_invariants(source, templates())
    assert (found.read, found.kept, found.left_out) == (len(lines), len(lines), [])
    text = print_file(found.file)
    assert parse_text(text).declarations == found.file.declarations
    assert print_file(import_invariants(source, templates()).file) == text
    rules = tmp_path / "all.rules"
    rules.write_text(text)
    laws = [law for group in laws_of(load_rules([rules]), ()).values() for law in group]
    assert len(laws) == len({law.id for law in laws}) == len(lines)


def test_the_large_file_by_relation() -> None:
    found = import_invariants(RECORDED / "6_input_invariants.json", templates())
    kinds = Counter(item.template for item in found.file.declarations if isinstance(item, Invariant))
    assert kinds["orderlab_output_keeps_input"] == 935
    assert kinds["orderlab_output_is"] == 755
    assert kinds["orderlab_contains_call"] + kinds["orderlab_contains_call_with"] == 416
    assert kinds["orderlab_consistent"] + kinds["orderlab_consistent_with"] == 6


def tensors(values: list) -> list[dict]:
    found = []
    for value in values:
        kind, content = next(iter(value.items())) if isinstance(value, dict) and value else ("", None)
        if re.match(r"torch\..*Tensor", kind) or "Parameter" in kind:
            found.append(content)
    return found


def read_calls() -> list[dict]:
    """The calls of the recorded API trace with what each contains, read in the plainest way there is."""
    done, stack = [], []
    for log in sorted((RECORDED / "trace_transformers-17877").iterdir()):
        for line in log.read_text().splitlines():
            record = json.loads(line)
            if record["type"] == "function_call (pre)":
                stack.append(record | {"inside": []})
                continue
            call = stack.pop()
            assert call["func_call_id"] == record["func_call_id"]
            returned = record["return_values"]
            call["outputs"] = tensors(returned if isinstance(returned, list) else [returned])
            call["inputs"] = tensors([*call["args"].values(), *call["kwargs"].values()])
            done.append(call)
            for outer in stack:
                outer["inside"].append(call)
    return done


def plain_verdict(item: dict, calls: list[dict]) -> str | None:
    """The verdict of an unconditional invariant without arguments, by the description of its relation."""
    params = item["params"]
    api = next(param["api_full_name"] for param in params if param["param_type"] == "APIParam")
    verdicts = []
    for call in (call for call in calls if call["function"] == api):
        match item["relation"]:
            case "APIContainRelation":
                verdicts.append(any(inner["function"] == params[1]["api_full_name"] for inner in call["inside"]))
            case "ConsistentOutputRelation":
                key, value = params[1]["attr_name"], params[1]["const_value"]
                values = [tensor.get(key, "missing") for tensor in call["outputs"]]
                verdicts.append(bool(values) and all(found == value for found in values))
            case "ConsistentInputOutputRelation":
                ends = []
                for end, place in ((params[0], "inputs"), (params[2], "outputs")):
                    try:
                        value = call[place][end["index"]]
                        for step in end["additional_path"]:
                            value = value[step]
                    except (IndexError, KeyError):
                        break
                    ends.append(value)
                if len(ends) == 2:
                    verdicts.append(ends[0] == ends[1])
    return "not triggered" if not verdicts else "held" if all(verdicts) else "violated"


def test_a_plain_reading_gives_the_same_verdicts(traces: dict[str, Path], tmp_path: Path) -> None:
    calls = read_calls()
    unconditional = {"inverted": False, "preconditions": [{"clauses": "Unconditional"}]}
    chosen: dict[str, list[str]] = {"held": [], "violated": [], "not triggered": []}
    for line in (RECORDED / "6_input_invariants.json").read_text().splitlines():
        item = json.loads(line)
        simple = all(group == unconditional for group in item["precondition"].values())
        if simple and item["relation"] != "ConsistencyRelation" and not any("arguments" in p for p in item["params"]):
            chosen[plain_verdict(item, calls)].append(line)
    assert min(len(lines) for lines in chosen.values()) >= 10
    facts = load_facts(traces["trace_transformers-17877"])
    for expected in ("held", "not triggered"):
        rules = tmp_path / "some.rules"
        source = tmp_path / "some.json"
        source.write_text("\n".join(chosen[expected]))
        rules.write_text(print_file(import_invariants(source, templates()).file))
        assert checked_verdict(rules, facts) == expected
    source.write_text("\n".join(chosen["violated"]))
    rules.write_text(print_file(import_invariants(source, templates()).file))
    checked = load_rules([rules])
    violations, _ = Checker(checked, laws_of(checked, ()), engine_named("duckdb")).check(facts)
    assert len(violations) == len(chosen["violated"])
