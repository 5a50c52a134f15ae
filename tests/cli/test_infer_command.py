"""`traincheck infer`: the file it writes, what it says, and what it refuses."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, Tiny
from traincheck.dsl.parse import parse_text
from traincheck.dsl.syntax import Invariant


def test_it_writes_invariants_that_the_language_reads(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    output = tmp_path / "not there yet" / "out.rules"
    status, out, err = shell("infer", tiny.clean, tiny.other, "-o", output)
    assert (status, out) == (0, "")
    assert err.startswith(f"{output}: ")
    declarations = parse_text(output.read_text()).declarations
    assert f"{len(declarations)} invariants ({len(declarations)} regular, " in err
    assert output.read_text() == tiny.invariants.read_text()


def test_reading_side_by_side_teaches_the_same(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    output = tmp_path / "out.rules"
    status, _, _ = shell("infer", tiny.clean, tiny.other, "-o", output, "--jobs", "2")
    assert status == 0
    assert output.read_text() == tiny.invariants.read_text()


def test_one_template_and_why_not(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    output = tmp_path / "out.rules"
    status, out, _ = shell("infer", tiny.clean, tiny.other, "-o", output, "--template", "follows", "--why-not")
    assert status == 0
    declarations = parse_text(output.read_text()).declarations
    assert {item.template for item in declarations if isinstance(item, Invariant)} == {"follows"}
    assert out
    for line in out.splitlines():
        template, title, reason = line.split(": ", 2)
        assert template == "follows"
        assert title
        assert reason
    assert "implied by two others through transitivity" in out


def test_pedantic_invariants_are_counted_and_written_when_asked_for(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    rules, output = tmp_path / "mine.rules", tmp_path / "out.rules"
    rules.write_text(
        "template steps_often(Doer: concept) \"a step has '{Doer}'\" "
        "when step(W, step: S) expect does(C, Doer), call(C, step: S) within step S persona pedantic"
    )
    infer = ("infer", tiny.clean, tiny.other, "-o", output, "--rules", rules, "--template", "steps_often")
    status, out, err = shell(*infer, "--why-not")
    assert status == 0
    assert "0 invariants (0 regular, " in err
    assert " pedantic left out) from 2 runs" in err
    assert "steps_often: a step has 'zero_grad': pedantic: --persona pedantic writes it" in out.splitlines()
    assert output.read_text() == 'version "1.0"\n'
    status, out, err = shell(*infer, "--persona", "pedantic", "--why-not")
    assert "pedantic" not in out
    assert "left out" not in err
    written = [item for item in parse_text(output.read_text()).declarations if isinstance(item, Invariant)]
    assert {item.persona for item in written} == {"pedantic"}
    assert f"{len(written)} invariants (0 regular, {len(written)} pedantic) from 2 runs" in err


def test_an_update_with_another_persona_loses_nothing(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    """What is pedantic is left out of the file, not of what was learned."""
    output = tmp_path / "out.rules"
    only = ("--template", "precedes", "--template", "repeats_per_step")
    shell("infer", tiny.clean, "-o", output, *only)
    shell("infer", tiny.other, "--update", output, *only)
    assert output.read_text() == _learned(shell, tiny, tmp_path / "at-once.rules", only)


def _learned(shell: Shell, tiny: Tiny, output: Path, options: Sequence[str]) -> str:
    shell("infer", tiny.other, tiny.clean, "-o", output, *options)
    return output.read_text()


def test_confidence_that_nothing_reaches(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    output = tmp_path / "out.rules"
    only = ("--template", "follows", "--min-confidence", "1")
    status, out, err = shell("infer", tiny.clean, tiny.other, "-o", output, *only, "--why-not")
    assert status == 0
    assert ": could be chance: " in out
    assert "nothing was learned: --why-not tells why" in err


def test_an_unknown_template(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    said = shell.refuses("infer", tiny.clean, "-o", tmp_path / "x", "--template", "no\nsuch 'name'")
    assert said == "there is no template 'no\\nsuch 'name'' (next: traincheck rules list)"
    assert not (tmp_path / "x").exists()


def test_a_failure_leaves_the_old_file(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    output = tmp_path / "old.rules"
    output.write_text("# mine\n")
    shell.refuses("infer", tiny.clean, tmp_path / "gone", "-o", output)
    shell.refuses("infer", tiny.clean, "-o", output, "--template", "nope")
    assert output.read_text() == "# mine\n"
    assert [path.name for path in tmp_path.iterdir()] == ["old.rules"]


def test_a_place_that_cannot_be_written_is_told_before_the_work(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "out.rules"):
        said = shell.refuses("infer", tmp_path / "gone", "-o", place)
        assert said.startswith(f"{place}: cannot write here: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    assert "cannot write here: Permission denied" in shell.refuses("infer", tiny.clean, "-o", locked / "out.rules")


def test_it_writes_through_a_link(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "real.rules").write_text("# old\n")
    (tmp_path / "link.rules").symlink_to("real.rules")
    assert shell("infer", tiny.clean, tiny.other, "-o", tmp_path / "link.rules")[0] == 0
    assert (tmp_path / "link.rules").is_symlink()
    assert "invariant" in (tmp_path / "real.rules").read_text()


def test_the_same_run_twice_is_one_run(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    _, _, err = shell("infer", tiny.clean, tiny.clean, "-o", tmp_path / "out.rules", "--template", "follows")
    assert "from 1 run" in err


@pytest.mark.parametrize(
    "broken", ["", "{}", "[]", "3", '{"format": "traincheck evidence"}', '{"format": "traincheck evidence", "version"']
)
def test_update_refuses_torn_evidence(shell: Shell, tiny: Tiny, tmp_path: Path, broken: str) -> None:
    rules = tmp_path / "out.rules"
    rules.write_text("# kept\n")
    (tmp_path / "out.rules.evidence").write_text(broken)
    said = shell.refuses("infer", tiny.clean, "--update", rules)
    assert "this is not an evidence file" in said
    assert rules.read_text() == "# kept\n"


@pytest.mark.parametrize("arguments", [[], ["trace"], ["-o", "x"], ["t", "-o", "x", "--min-examples", "0"]])
def test_usage_errors_are_2(shell: Shell, arguments: list[str]) -> None:
    status, out, err = shell("infer", *arguments)
    assert (status, out) == (2, "")
    assert err
    assert "Traceback" not in err
