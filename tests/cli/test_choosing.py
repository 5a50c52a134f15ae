"""`--select`, `--ignore`, `--baseline` and `--write-baseline` of `traincheck check`."""

import json
from pathlib import Path

from tests.cli.conftest import Shell, Tiny


def ids(out: str) -> set[str]:
    return {line.rpartition("[")[2].rstrip("]") for line in out.splitlines()}


def test_select_takes_ids_templates_and_globs(shell: Shell, tiny: Tiny) -> None:
    check = ("check", tiny.no_step, "-i", tiny.invariants, "--format", "concise")
    every = ids(shell(*check)[1])
    one = sorted(every)[0]
    template = one.rpartition("-")[0]
    assert ids(shell(*check, "--select", one)[1]) == {one}
    of_template = {name for name in every if name.startswith(f"{template}-")}
    assert ids(shell(*check, "--select", template)[1]) == of_template
    assert ids(shell(*check, "--ignore", f"{template}*")[1]) == every - of_template


def test_a_selection_that_matches_nothing_is_refused(shell: Shell, tiny: Tiny) -> None:
    message = shell.refuses("check", tiny.no_step, "-i", tiny.invariants, "--select", "folows")
    assert message == "--select 'folows' matches no invariant (next: did you mean 'follows'?)"


def test_an_ignore_that_matches_nothing_is_told(shell: Shell, tiny: Tiny) -> None:
    status, _, err = shell("check", tiny.no_step, "-i", tiny.invariants, "--ignore", "nothing-*")
    assert status == 1
    assert err == "traincheck: warning: --ignore 'nothing-*' matches no invariant\n"


def test_what_the_baseline_knows_stays_quiet(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    baseline = tmp_path / "known.json"
    check = ("check", tiny.no_step, "-i", tiny.invariants)
    violated = json.loads(shell(*check, "--format", "json")[1])["summary"]["violated"]
    status, out, err = shell(*check, "--write-baseline", baseline)
    assert (status, err) == (0, "")
    assert out.startswith(f"0 violated, {violated} known, ")
    assert shell(*check, "--baseline", baseline)[0] == 0
    document = json.loads(baseline.read_text())
    gone = document["violations"].pop(0)
    baseline.write_text(json.dumps(document))
    status, out, err = shell(*check, "--baseline", baseline)
    assert (status, err) == (1, "")
    assert f"[{gone['invariant']}]" in out
    assert "\n1 violated, " in out


def test_a_known_violation_that_is_gone_is_told_but_not_one_that_is_not_asked(
    shell: Shell, tiny: Tiny, tmp_path: Path
) -> None:
    baseline = tmp_path / "known.json"
    shell("check", tiny.no_step, "-i", tiny.invariants, "--write-baseline", baseline)
    known = [entry["invariant"] for entry in json.loads(baseline.read_text())["violations"]]
    status, _, err = shell("check", tiny.clean, "-i", tiny.invariants, "--baseline", baseline)
    assert status == 0
    assert [line.rpartition("[")[2].rstrip("]") for line in err.splitlines()] == known
    _, _, err = shell("check", tiny.clean, "-i", tiny.invariants, "--baseline", baseline, "--ignore", ",".join(known))
    assert err == ""


def test_a_baseline_that_is_none_is_refused(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    check = ("check", tiny.no_step, "-i", tiny.invariants, "--baseline")
    bad, newer = tmp_path / "bad.json", tmp_path / "newer.json"
    bad.write_text('{"violations": 3}')
    newer.write_text('{"schema_version": 99}')
    assert "not a baseline" in shell.refuses(*check, bad)
    assert "version 99" in shell.refuses(*check, newer)
    assert "cannot read: No such file" in shell.refuses(*check, tmp_path / "missing.json")


def test_why_not_tells_which_condition_has_no_fact(shell: Shell, tiny: Tiny) -> None:
    check = ("check", tiny.clean, "-i", tiny.invariants, "--rules", "torch")
    status, out, err = shell(*check, "--why-not", "clip_before_step")
    assert (status, err) == (0, "")
    assert '[missing] does(K, "clip"): the trace has no such fact' in out
    assert "no invariant 'clip_before' among those to check" in shell.refuses(*check, "--why-not", "clip_before")


PEDANTIC = """
rule no_step "an optimizer steps" persona pedantic
  never  call(_, api: "torch.optim.*.step")
"""


def test_what_only_the_pedantic_want_to_know_is_asked_for(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    rules = tmp_path / "mine.rules"
    rules.write_text(PEDANTIC)
    check = ("check", tiny.clean, "--rules", rules, "--format", "concise")
    assert shell(*check) == (
        3, "", "traincheck: warning: all of these invariants are pedantic: --persona pedantic checks them\n"
    )  # fmt: skip
    for asked in (("--persona", "pedantic"), ("--select", "no_step")):
        status, out, err = shell(*check, *asked)
        assert (status, ids(out), err) == (1, {"no_step"}, "")


def test_the_baseline_does_not_miss_what_a_persona_is_not_asked(shell: Shell, tiny: Tiny, tmp_path: Path) -> None:
    rules, baseline = tmp_path / "mine.rules", tmp_path / "known.json"
    rules.write_text(PEDANTIC)
    check = ("check", tiny.clean, "--rules", rules, "-i", tiny.invariants)
    assert shell(*check, "--persona", "pedantic", "--write-baseline", baseline)[0] == 0
    status, _, err = shell(*check, "--baseline", baseline)
    assert (status, err) == (0, "")
