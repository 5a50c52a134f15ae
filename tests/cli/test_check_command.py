"""`traincheck check`: exit statuses, formats, and where the report goes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell, Tiny


def document(shell: Shell, *arguments: object) -> dict[str, Any]:
    _, out, _ = shell("check", *arguments, "--format", "json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(out, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def test_nothing_violated_is_0(shell: Shell, tiny: Tiny) -> None:
    status, out, err = shell("check", tiny.clean, tiny.other, "-i", tiny.invariants)
    assert (status, err) == (0, "")
    assert out.startswith("0 violated, ")


def test_a_violation_is_1_and_named_with_its_place(shell: Shell, tiny: Tiny) -> None:
    status, out, err = shell("check", tiny.no_step, "-i", tiny.invariants)
    assert (status, err) == (1, "")
    assert "each 'backward' is followed by a 'optimizer_step' in the same step" in out
    assert "first at step 0" in out
    assert "called from tiny.py:23" in out


def test_nothing_checked_is_3_and_never_looks_like_passed(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    never_triggered = tmp_path / "other.rules"
    never_triggered.write_text('invariant count_per_step(Doer: "scheduler_step", Times: 1) "once"\n')
    status, out, _ = shell("check", tiny.no_step, "-i", never_triggered)
    assert status == 3
    assert "nothing was checked" in out


@pytest.mark.parametrize("text", ["", 'version "1.0"\n', "# nothing yet\n"])
def test_a_file_without_laws_is_3(shell: Shell, tiny: Tiny, tmp_path: Path, text: str) -> None:
    (tmp_path / "none.rules").write_text(text)
    assert shell("check", tiny.clean, "-i", tmp_path / "none.rules")[0] == 3


def test_fail_on_sets_the_least_severity_that_fails(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    warning = tmp_path / "warning.rules"
    warning.write_text('rule calls "there are calls" severity warning\n  never call(C)\n')
    assert shell("check", tiny.clean, "-i", warning)[0] == 1
    assert shell("check", tiny.clean, "-i", warning, "--fail-on", "error")[0] == 0
    warning.write_text(warning.read_text().replace("severity warning", "severity note"))
    assert shell("check", tiny.clean, "-i", warning)[0] == 0
    assert shell("check", tiny.clean, "-i", warning, "--fail-on", "note")[0] == 1


def test_json_keeps_its_contract(shell: Shell, tiny: Tiny) -> None:
    found = document(shell, tiny.no_step, "-i", tiny.invariants)
    assert found["schema_version"] == 1
    assert found["traces"] == [str(tiny.no_step)]
    assert found["invariants"] == [str(tiny.invariants)]
    summary = found["summary"]
    assert set(summary) >= {"checked", "held", "violated", "not_triggered", "facts", "seconds"}
    assert summary["checked"] == summary["held"] + summary["violated"]
    assert summary["violated"] == len(found["violations"]) > 0
    for violation in found["violations"]:
        assert set(violation) >= {
            "invariant", "template", "title", "severity", "confidence", "params", "count", "steps", "first",
        }  # fmt: skip
        assert set(violation["first"]) >= {"rank", "step", "api", "variable", "site", "time"}
        assert violation["severity"] in ("error", "warning", "note")


def test_explain_adds_the_proof(shell: Shell, tiny: Tiny) -> None:
    status, out, err = shell("check", tiny.no_step, "-i", tiny.invariants, "--explain")
    assert (status, err) == (1, "")
    assert "tiny.py:23" in out
    assert "optimizer_step" in out
    found = document(shell, tiny.no_step, "-i", tiny.invariants, "--explain")
    assert all(violation["explanation"] for violation in found["violations"])


def test_both_engines_find_the_same(shell: Shell, tiny: Tiny) -> None:
    fast = document(shell, tiny.no_step, "-i", tiny.invariants)
    reference = document(shell, tiny.no_step, "-i", tiny.invariants, "--engine", "pydatalog")
    assert fast["violations"] == reference["violations"]


def test_the_report_can_go_to_a_file(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    report = tmp_path / "new folder" / "report.txt"
    status, out, _ = shell("check", tiny.no_step, "-i", tiny.invariants, "--output", report)
    assert (status, out) == (1, "")
    assert "optimizer_step" in report.read_text()


def test_a_failed_check_leaves_the_old_report(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("old\n")
    shell.refuses("check", tmp_path / "gone", "-i", tiny.invariants, "--output", report)
    assert report.read_text() == "old\n"


def test_a_place_that_cannot_be_written_is_told_before_the_work(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "report.txt"):
        said = shell.refuses("check", tmp_path / "gone", "--rules", "torch/loop", "--output", place)
        assert said.startswith(f"{place}: cannot write here: ")


def test_names_with_odd_characters(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    odd = tmp_path / "a 'b' \"c\" ünï"
    odd.mkdir()
    (odd / "--law.rules").write_text(tiny.invariants.read_text())
    (odd / "trace").symlink_to(tiny.clean)
    found = document(shell, odd / "trace", "-i", odd / "--law.rules")
    assert found["traces"] == [str(odd / "trace")]
    assert found["summary"]["checked"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trace"],
        ["trace", "-i"],
        ["trace", "-i", "x", "--format", "xml"],
        ["trace", "-i", "x", "--fail-on", "never"],
        ["trace", "-i", "x", "--engine", "prolog"],
        ["trace", "-i", "x", "--no-such-option"],
    ],
)
def test_usage_errors_are_2(shell: Shell, arguments: list[str]) -> None:
    status, out, err = shell("check", *arguments)
    assert (status, out) == (2, "")
    assert err
    assert "Traceback" not in err
