"""Invariants files and rule files that are wrong: one clear line with the place, exit status 2."""

from pathlib import Path

import pytest

from tests.cli.conftest import Shell, Tiny

GOOD = 'version "1.0"\n\ninvariant count_per_step(Doer: "backward", Times: 1) "once"\n  severity warning\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("severity", "severty"), "bad.rules:4:3: expected"),
        (GOOD.replace("severity", "severty"), "did you mean 'severity'?"),
        (GOOD.replace('"1.0"', '"9.0"'), "bad.rules:1:1: the file is written in version 9.0 of the rule language"),
        (GOOD.replace("count_per_step", "counted_by_moon"), "bad.rules:3:11: no template 'counted_by_moon'"),
        (GOOD.replace("count_per_step", "count_pre_step"), "did you mean 'count_per_step'?"),
        (GOOD.replace("Times", "Timez"), "has no parameter 'Timez' (next: did you mean 'Times'?)"),
        (GOOD.replace("1)", '"one")'), "'Times' is a whole number (integer), not text"),
        ("invariant\n", "bad.rules:1:10: expected"),
        ("\x01\x02\n", "bad.rules:1:1: "),
    ],
)
def test_a_bad_file_is_shown_with_a_caret(shell: Shell, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.rules").write_text(text)
    status, out, err = shell("check", tmp_path, "-i", tmp_path / "bad.rules")
    assert (status, out) == (2, "")
    assert message in err
    assert err.splitlines()[2].strip() == "^"
    assert "Traceback" not in err


@pytest.mark.parametrize("content", [b"\x80\x04\x95\xff garbage", "version".encode("utf-16")])
def test_a_binary_file_is_no_rule_file(shell: Shell, tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "model.pt"
    bad.write_bytes(content)
    assert "this is not a rule file: it is not UTF-8 text" in shell.refuses("check", tmp_path, "-i", bad)


def test_a_missing_file_and_an_empty_folder(shell: Shell, tmp_path: Path) -> None:
    assert "no such rule file, folder or shipped pack" in shell.refuses("check", tmp_path, "-i", tmp_path / "no.rules")
    assert "no .rules files in this folder" in shell.refuses("check", tmp_path, "-i", tmp_path)


def test_collect_asks_before_it_runs_anything(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("open('ran', 'w')\n")
    (tmp_path / "bad.rules").write_text("invariant\n")
    said = shell.refuses("collect", "-o", tmp_path / "t", "-i", tmp_path / "bad.rules", tmp_path / "train.py")
    assert "bad.rules:1:10: expected" in said
    assert not (tmp_path / "t").exists()


def test_many_mistakes_are_told_at_once(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    bad = tmp_path / "bad.rules"
    bad.write_text(tiny.invariants.read_text().replace("invariant follows(", "invariant fallows("))
    _, _, err = shell("check", tiny.clean, "-i", bad)
    assert err.count("no template 'fallows' (next: did you mean 'follows'?)") > 1
