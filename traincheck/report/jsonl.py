"""One JSON object a line: each violation, then the summary; for programs that read as it comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from traincheck.check.verdict import Report, Violation
from traincheck.report.json import SCHEMA_VERSION, json_text, summary, violation_as_json
from traincheck.report.sites import in_order

if TYPE_CHECKING:
    from traincheck.explain import Explanation

__all__ = ["closing_line", "render", "violation_line"]


def render(report: Report, explanations: Mapping[str, Explanation]) -> str:
    """Every violation and the summary."""
    lines = [violation_line(violation, explanations) for violation in in_order(report)]
    return "".join(f"{line}\n" for line in [*lines, closing_line(report)])


def violation_line(violation: Violation, explanations: Mapping[str, Explanation]) -> str:
    """`{"type": "violation", ...}` with the fields of the JSON report."""
    return json_text({"type": "violation", **violation_as_json(violation, explanations)})


def closing_line(report: Report) -> str:
    """`{"type": "summary", ...}`; a reader who has seen it has seen all."""
    named = {"schema_version": SCHEMA_VERSION, "traces": report.traces, "invariants": report.sources}
    return json_text({"type": "summary", **named, **summary(report)})
