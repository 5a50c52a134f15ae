"""`traincheck diff` and `traincheck explain`."""

import json
from pathlib import Path

from tests.cli.conftest import Shell, Tiny


def test_two_seeds_part_and_a_run_agrees_with_itself(shell: Shell, tiny: Tiny) -> None:
    status, out, err = shell("diff", tiny.clean, tiny.clean)
    assert (status, err) == (0, "")
    assert out.startswith("the runs agree in all ")
    status, out, err = shell("diff", tiny.clean, tiny.other)
    assert (status, err) == (1, "")
    assert "the runs part in step 0 on rank 0" in out


def test_a_missing_optimizer_step_is_where_the_runs_part(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    status, out, _ = shell("diff", tiny.clean, tiny.no_step, "--format", "json")
    document = json.loads(out)
    assert (status, document["same"]) == (1, False)
    assert document["first"][0]["path"][-1].endswith("SGD.step")
    assert document["first"][0]["present"] == [True, False]
    assert shell("diff", tiny.clean, tiny.no_step, "--output", tmp_path / "said.txt")[:2] == (1, "")
    assert "call of 'torch.optim.sgd.SGD.step'" in (tmp_path / "said.txt").read_text()


def test_a_violation_is_explained_out_of_a_report(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    shell("check", tiny.no_step, "-i", tiny.invariants, "--explain", "--format", "json", "--output", report)
    violations = json.loads(report.read_text())["violations"]
    status, out, err = shell("explain", report)
    assert (status, err) == (0, "")
    assert out.startswith(f"{violations[0]['severity']}: {violations[0]['title']} [{violations[0]['invariant']}]\n")
    assert "\n  because:\n" in out
    assert out.splitlines()[-1].startswith("  next: ")
    assert shell("explain", report, violations[0]["invariant"][:-3])[1] == out
    assert "no violation 'zzz' in this report" in shell.refuses("explain", report, "zzz")


def test_a_report_without_proofs_says_so(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    shell("check", tiny.no_step, "-i", tiny.invariants, "--format", "json", "--output", report)
    assert "no proof in this report" in shell("explain", report)[1]


def test_what_is_no_report_is_refused(shell: Shell, tmp_path: Path) -> None:
    other, broken = tmp_path / "other.json", tmp_path / "broken.json"
    other.write_text("[]")
    broken.write_text("{")
    assert "not a report of traincheck check" in shell.refuses("explain", other)
    assert "not a JSON report" in shell.refuses("explain", broken)
    assert "cannot read: No such file" in shell.refuses("explain", tmp_path / "missing.json")


def test_a_rule_has_a_page(shell: Shell) -> None:
    status, out, _ = shell("explain", "precedes-0123abcd")
    assert status == 0
    assert out.startswith("precedes: template, warning\n")
    order = [
        "Known false positives",
        "next: call '{First}' before '{Then}'",
        "parameters: First (concept)",
        "template ",
    ]
    places = [out.index(part) for part in order]
    assert places == sorted(places)
    assert shell("explain", "does")[1] == shell("rules", "show", "does")[1]
    assert "no rule, template" in shell.refuses("explain", "nothing_like_it")


def test_a_damaged_report_is_refused(shell: Shell, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    for violations in ([1], [{}], [{"invariant": "a", "title": "t", "severity": "error"}]):
        report.write_text(json.dumps({"schema_version": 1, "violations": violations}))
        assert "a damaged report" in shell.refuses("explain", report)
