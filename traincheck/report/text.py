"""The report for a terminal: each finding with its story and what it explains, the verdict last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from traincheck.check.findings import Finding, findings
from traincheck.check.verdict import Place, Report, Violation
from traincheck.errors import one_line

if TYPE_CHECKING:
    from traincheck.explain import Explanation, Told

__all__ = ["blocks", "closing", "extent", "render", "shown_place"]

_MOST_STEPS = 5
_MOST_APIS = 3

Block = tuple[str, Sequence["str | Told"]]


def render(report: Report, explanations: Mapping[str, Explanation]) -> str:
    """The report as plain lines."""
    return "\n".join(_lines(report, explanations)) + "\n"


def _lines(report: Report, explanations: Mapping[str, Explanation]) -> Iterator[str]:
    for head, parts in blocks(report, explanations):
        yield one_line(head)
        for part in parts:
            yield from [f"  {one_line(part)}"] if isinstance(part, str) else part.lines(1)
        yield ""
    yield from closing(report)


def blocks(report: Report, explanations: Mapping[str, Explanation]) -> Iterator[Block]:
    """Each finding: its headline, and what stands under it, lines and trees of lines, in the order to read them."""
    for finding in findings(report.violations):
        violation = finding.headline
        law = violation.law
        yield f"{law.invariant.severity}: {law.invariant.title} [{law.id}]", tuple(_parts(finding, explanations))


def _parts(finding: Finding, explanations: Mapping[str, Explanation]) -> Iterator[str | Told]:
    violation = finding.headline
    explanation = explanations.get(violation.law.id)
    if explanation is not None:
        yield explanation.what
    yield f"first at {shown_place(violation.first)}"
    yield extent(violation)
    if explanation is None:
        yield from _concepts(violation)
    else:
        yield from explanation.story
    if finding.others:
        yield "it explains:"
        yield from (f"  {_folded(other)}" for other in finding.others)
    if violation.law.next:
        yield f"next: {violation.law.next}"


def closing(report: Report) -> Iterator[str]:
    """How many findings and verdicts there are."""
    found = findings(report.violations)
    if found:
        yield f"{len(found)} finding{'s' if len(found) > 1 else ''}; the first is the one to read"
    known = f"{len(report.known)} known, " if report.known else ""
    total = report.checked + len(report.not_triggered)
    yield (
        f"{len(report.violations)} violated, {known}{len(report.held)} held, {len(report.not_triggered)} not triggered "
        f"of {total} invariants; {report.facts} facts in {report.seconds:.1f} s"
    )
    if not report.checked:
        reason = "no invariant speaks of what this trace contains" if total else "there is no invariant to check"
        yield f"nothing was checked: {reason}"


def extent(violation: Violation) -> str:
    """How often, in which steps, and about which variables."""
    times = "once" if violation.count == 1 else f"{violation.count} times"
    steps = ", ".join(str(step) for step in violation.steps[:_MOST_STEPS])
    more = ", ..." if len(violation.steps) > _MOST_STEPS else ""
    text = f"violated {times}" + (f", in step {steps}{more}" if violation.steps else "")
    if violation.variable_count > 1:
        names = ", ".join(f"'{name}'" for name in violation.variables)
        left = violation.variable_count - len(violation.variables)
        text += f"; on {names}" + (f" and {left} more" if left else "")
    return text


def _concepts(violation: Violation) -> Iterator[str]:
    for concept, apis in violation.law.concepts.items():
        more = f" or {len(apis) - _MOST_APIS} others" if len(apis) > _MOST_APIS else ""
        yield f"'{concept}' is {' or '.join(apis[:_MOST_APIS])}{more}"


def _folded(violation: Violation) -> str:
    law = violation.law
    step = "" if violation.first.step is None else f" from step {violation.first.step}"
    return f"{law.invariant.severity}: {law.invariant.title}{step} [{law.id}]"


def shown_place(place: Place) -> str:
    """A place in words, from the step to the source line."""
    parts = []
    if place.step is not None:
        parts.append(f"step {place.step}")
    if place.rank is not None:
        parts.append(f"rank {place.rank}")
    if place.api is not None:
        parts.append(f"in '{place.api}'")
    if place.variable is not None:
        parts.append(f"on '{place.variable}'")
    if place.site is not None:
        parts.append(f"called from {place.site}")
    return one_line(", ".join(parts)) or "the run as a whole"
