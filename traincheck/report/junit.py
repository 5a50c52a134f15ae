"""JUnit XML, for services that show test results: each invariant is a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from traincheck.check.law import Law
from traincheck.check.verdict import Report
from traincheck.errors import one_line
from traincheck.report.sites import in_order, split_site
from traincheck.report.text import shown_place

if TYPE_CHECKING:
    from traincheck.explain import Explanation

__all__ = ["render"]


def render(report: Report, explanations: Mapping[str, Explanation]) -> str:
    """A suite with a failed test for each violation, passed ones for what held, skipped ones for the rest."""
    total = report.checked + len(report.not_triggered)
    counts = {"tests": total, "failures": len(report.violations), "skipped": len(report.not_triggered)}
    attributes = {name: str(number) for name, number in counts.items()} | {"errors": "0"}
    attributes["time"] = f"{report.seconds:.3f}"
    root = ET.Element("testsuites", attributes)
    suite = ET.SubElement(root, "testsuite", {"name": _clean(" ".join(report.traces)), **attributes})
    for violation in in_order(report):
        case = _case(suite, violation.law, violation.first.site)
        title = _clean(violation.law.invariant.title)
        failure = ET.SubElement(case, "failure", {"type": violation.law.invariant.severity, "message": title})
        lines = [f"first at {shown_place(violation.first)}"]
        if (explanation := explanations.get(violation.law.id)) is not None:
            lines = [one_line(explanation.what), *lines, *explanation.lines()]
        if violation.law.next:
            lines.append(f"next: {violation.law.next}")
        failure.text = _clean("\n".join(lines))
    for law in [violation.law for violation in report.known] + report.held:
        _case(suite, law, None)
    for law in report.not_triggered:
        ET.SubElement(_case(suite, law, None), "skipped", {"message": "not triggered by this trace"})
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _case(suite: ET.Element, law: Law, site: str | None) -> ET.Element:
    attributes = {"classname": law.template.name, "name": _clean(f"{law.invariant.title} [{law.id}]")}
    if (place := split_site(site)) is not None:
        attributes |= {"file": _clean(place[0]), "line": str(place[1])}
    return ET.SubElement(suite, "testcase", attributes)


def _clean(text: str) -> str:
    """The text with escapes for the characters that nobody can see, some of which XML cannot hold."""
    return "\n".join(map(one_line, text.split("\n")))
