"""Workflow commands of GitHub Actions: violations become annotations beside the source lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from traincheck.check.verdict import Report, Violation
from traincheck.errors import one_line
from traincheck.report.sites import in_order, split_site

if TYPE_CHECKING:
    from traincheck.explain import Explanation

__all__ = ["render"]

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def render(report: Report, explanations: Mapping[str, Explanation]) -> str:
    """One annotation for each violation."""
    return "".join(f"{_annotation(violation, explanations)}\n" for violation in in_order(report))


def _annotation(violation: Violation, explanations: Mapping[str, Explanation]) -> str:
    law = violation.law
    properties = {"title": f"TrainCheck {law.id}"}
    if (place := split_site(violation.first.site)) is not None:
        properties = {"file": place[0], "line": str(place[1]), **properties}
    lines = [law.invariant.title]
    if law.id in explanations:
        lines.append(explanations[law.id].what)
    if law.next:
        lines.append(f"next: {law.next}")
    written = ",".join(f"{name}={_escaped(one_line(value), ':,')}" for name, value in properties.items())
    message = "\n".join(map(one_line, lines))
    return f"::{_COMMANDS[law.invariant.severity]} {written}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    """Percent signs, line breaks and, in properties, their separators as percent codes."""
    text = text.replace("%", "%25")
    for char in f"\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text
