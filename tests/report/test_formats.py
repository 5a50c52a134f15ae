"""Every format says the same: which laws are violated, where, how severely."""

import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from rich.console import Console

from tests.report.conftest import Made
from traincheck.check.verdict import Report
from traincheck.report import FORMATS, render
from traincheck.report.terminal import print_report
from traincheck.report.timeline import timeline

SCHEMA = Path(__file__).parents[1] / "data" / "sarif-2.1.0-subset.json"


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_names_every_violation(made: Made, format_: str) -> None:
    text = render(format_, made.report, made.explanations)
    for violation in made.report.violations:
        assert violation.law.id in text
    assert text.endswith("\n")


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_takes_an_empty_report(format_: str) -> None:
    assert isinstance(render(format_, Report(["t"], ["i"]), {}), str)


def test_concise_is_a_line_each_that_editors_can_follow(made: Made) -> None:
    lines = render("concise", made.report, {}).splitlines()
    assert len(lines) == len(made.report.violations)
    assert re.fullmatch(r"train\.py:1: error: moves <b>& \[updates_each-\w{8}\]", lines[0])
    assert lines[1].startswith("runs/a trace: note: one clip")


def test_text_tells_the_story_and_what_to_do_next(made: Made) -> None:
    text = render("text", made.report, made.explanations)
    order = ["error: moves", "made no change of the data of 'fc.weight'", "first at", "known:", "because:", "expected:"]
    order += ["never held before", "learned from 3 runs", "next: check requires_grad", "2 findings"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_json_has_the_story_as_a_tree(made: Made) -> None:
    document = json.loads(render("json", made.report, made.explanations))
    first = document["violations"][0]
    assert first["explanation"]["story"][0]["text"] == "known:"
    assert first["explanation"]["story"][0]["children"]
    assert first["next"].startswith("check requires_grad")
    assert [law["title"] for law in document["not_triggered"]] == ["never triggered", "not there"]
    assert document["coverage"][0]["steps"] == 4


def test_jsonl_ends_with_the_summary(made: Made) -> None:
    lines = [json.loads(line) for line in render("jsonl", made.report, {}).splitlines()]
    assert [line["type"] for line in lines] == ["violation"] * len(made.report.violations) + ["summary"]
    assert lines[-1]["violated"] == len(made.report.violations)


def test_github_annotations_stay_on_one_line(made: Made) -> None:
    lines = render("github", made.report, made.explanations).splitlines()
    assert lines[0].startswith("::error file=train.py,line=1,title=TrainCheck updates_each-")
    assert "%0Anext: " in lines[0]
    assert lines[1].startswith("::notice title=")


def test_sarif_follows_the_schema(made: Made) -> None:
    document = json.loads(render("sarif", made.report, made.explanations))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    (run,) = document["runs"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}
    assert run["artifacts"][0]["location"]["uri"] == "runs/a%20trace"
    assert [result["level"] for result in run["results"]] == ["error", "note"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_junit_counts_every_invariant(made: Made) -> None:
    suites = ET.fromstring(render("junit", made.report, made.explanations))
    cases = suites.findall("./testsuite/testcase")
    assert suites.get("tests") == str(len(cases)) == "5"
    assert len(suites.findall(".//failure")) == len(made.report.violations) == int(suites.get("failures", ""))
    assert len(suites.findall(".//skipped")) == 2


def test_html_stands_alone_and_escapes_what_it_is_given(made: Made) -> None:
    page = render("html", made.report, made.explanations)
    assert "moves &lt;b&gt;&amp;" in page
    assert "<b>&" not in page
    assert not re.search(r"""(src|href)=|@import|url\(""", page)
    assert "built-in method" not in page
    assert "prefers-color-scheme: dark" in page
    assert (
        page.index("<h1") < page.index("Findings") < page.index("When and where") < page.index("Coverage of the trace")
    )


def test_the_timeline_has_a_lane_for_each_finding_and_rank(made: Made) -> None:
    picture = timeline(made.report)
    assert picture is not None
    assert (picture.first, picture.last) == (0, 3)
    assert [lane.label for lane in picture.lanes] == ["finding 1, rank 0", "finding 2, rank 0"]
    assert picture.lanes[0].marks[0][2:] == (0, 3)


def test_html_opens_in_a_browser(made: Made, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser here")
    page = tmp_path / "report.html"
    page.write_text(render("html", made.report, made.explanations), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    done = subprocess.run([browser, *options, page.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    assert "<h1" in done.stdout
    assert done.stdout.count('class="finding ') == 2


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_a_tree_and_no_colour_on_wish(
    made: Made, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    print_report(made.report, made.explanations, Console(file=stream, force_terminal=True, width=100))
    text = stream.getvalue()
    assert "├── " in text
    assert ("\x1b[1;31m" in text) is colour
