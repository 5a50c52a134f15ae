"""`traincheck query`: tables for people, JSON and CSV for programs, carets for slips."""

import csv
import io
import json

import pytest

from tests.cli.conftest import Shell, Tiny

STEPS = 'call(C, api: "*SGD.step", step: S, site: At)'


def test_a_table_has_a_column_per_variable(shell: Shell, tiny: Tiny) -> None:
    status, out, err = shell("query", tiny.clean, STEPS)
    assert (status, err) == (0, "")
    header, *rows = (line.split() for line in out.splitlines())
    assert header == ["C", "S", "At"]
    assert [row[1:] for row in rows] == [[str(step), "tiny.py:25"] for step in range(4)]


def test_json_and_csv_say_the_same(shell: Shell, tiny: Tiny) -> None:
    rows = json.loads(shell("query", tiny.clean, STEPS, "--format", "json")[1])
    assert [row["S"] for row in rows] == [0, 1, 2, 3]
    text = shell("query", tiny.clean, STEPS, "--format", "csv")[1]
    assert "\r" not in text
    assert list(csv.DictReader(io.StringIO(text))) == [{key: str(value) for key, value in row.items()} for row in rows]


def test_a_limit_is_told_on_standard_error(shell: Shell, tiny: Tiny) -> None:
    status, out, err = shell("query", tiny.clean, STEPS, "--limit", "1", "--format", "json")
    assert status == 0
    assert len(json.loads(out)) == 1
    assert err == "1 of 4 rows; --limit 0 shows all\n"
    assert len(json.loads(shell("query", tiny.clean, STEPS, "--limit", "0", "--format", "json")[1])) == 4


def test_no_answers_are_an_empty_table(shell: Shell, tiny: Tiny) -> None:
    nothing = "call(C, api: \"nothing of 'the' kind\")"
    assert shell("query", tiny.clean, nothing) == (0, "C\n", "")
    assert shell("query", tiny.clean, nothing, "--format", "json") == (0, "[]\n", "")
    assert shell("query", tiny.clean, nothing, "--format", "csv") == (0, "C\n", "")


def test_a_question_without_variables_is_answered_yes_or_no(shell: Shell, tiny: Tiny) -> None:
    assert shell("query", tiny.clean, "call(_)") == (0, "holds\ntrue\n", "")
    assert shell("query", tiny.clean, 'call(_, api: "no")', "--format", "json") == (0, '[{"holds": false}]\n', "")


@pytest.mark.parametrize(
    ("atoms", "place", "message"),
    [
        ("cal(C)", "1:1", "unknown relation 'cal' (next: did you mean 'call'?)"),
        ("call(C, ap: X)", "1:9", "'call' has no column 'ap' (next: did you mean 'api'?)"),
        ("call(C", "1:7", "expected ',' or ')', found the end of the text"),
        ("call(C,\n  step: c)", "2:9", ""),
        ("not call(C)", "1:10", "unsafe variable 'C'"),
        ('call(C), C > "x"', "1:10", "cannot compare 'C', a call, with text"),
        ("call(C); drop table x", "1:8", "separate conditions with a comma"),
    ],
)
def test_a_slip_is_shown_with_a_caret(shell: Shell, tiny: Tiny, atoms: str, place: str, message: str) -> None:
    said = shell.refuses("query", tiny.clean, atoms)
    first, line, caret = said.splitlines()
    assert first.startswith(f"<query>:{place}: ")
    assert message in first
    number, column = map(int, place.split(":"))
    assert line == "    " + (atoms.split("\n")[number - 1])
    assert caret.index("^") == 4 + column - 1


def test_no_question_at_all(shell: Shell, tiny: Tiny) -> None:
    assert shell.refuses("query", tiny.clean, "").startswith("<query>:1:1: expected a condition")


def test_values_with_line_breaks_stay_in_their_row(shell: Shell, tiny: Tiny) -> None:
    _, out, _ = shell("query", tiny.clean, 'call(C, api: "*SGD.step", step: 0), X == "two\\nlines"')
    assert len(out.splitlines()) == 2


def test_usage_errors_are_2(shell: Shell, tiny: Tiny) -> None:
    for arguments in ([], [tiny.clean], [tiny.clean, "call(C)", "more"], [tiny.clean, "call(C)", "--limit", "-1"]):
        status, out, err = shell("query", *arguments)
        assert (status, out) == (2, "")
        assert "Error: " in err
