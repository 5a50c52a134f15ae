"""One line for each violation, in the form that editors and grep understand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from traincheck.check.verdict import Report
from traincheck.errors import one_line
from traincheck.report.sites import in_order

if TYPE_CHECKING:
    from traincheck.explain import Explanation

__all__ = ["render"]


def render(report: Report, explanations: Mapping[str, Explanation]) -> str:
    """`file:line: severity: title [id]`; the trace's path where no source line is known."""
    lines = []
    for violation in in_order(report):
        invariant = violation.law.invariant
        place = violation.first.site or ", ".join(report.traces)
        lines.append(one_line(f"{place}: {invariant.severity}: {invariant.title} [{violation.law.id}]"))
    return "".join(f"{line}\n" for line in lines)
