"""The report for a terminal: verdict first, then each violation with its proof folded under it."""

from collections.abc import Iterator, Sequence

from traincheck.check.findings import findings
from traincheck.check.verdict import Place, Report, Violation

_MOST_STEPS = 5
_MOST_APIS = 3


def as_text(report: Report, explanations: dict[str, Sequence[str]] | None = None) -> str:
    """The report as lines; `explanations` maps a law's id to the lines of its explanation."""
    return "\n".join(_lines(report, explanations or {})) + "\n"


def _lines(report: Report, explanations: dict[str, Sequence[str]]) -> Iterator[str]:
    found = findings(report.violations)
    for finding in found:
        headline = finding.headline
        yield from _violation(headline, explanations.get(headline.law.id, ()))
        if finding.others:
            yield "  with it:"
            yield from (f"    {_folded(violation)}" for violation in finding.others)
        yield ""
    if found:
        yield f"{len(found)} finding{'s' if len(found) > 1 else ''}; the first is the one to read"
    total = report.checked + len(report.not_triggered)
    yield (
        f"{len(report.violations)} violated, {len(report.held)} held, {len(report.not_triggered)} not triggered "
        f"of {total} invariants; {report.facts} facts in {report.seconds:.1f} s"
    )
    if not report.checked:
        yield "nothing was checked: no invariant speaks of what this trace contains"


def _violation(violation: Violation, explanation: Sequence[str]) -> Iterator[str]:
    law = violation.law
    yield f"{law.invariant.severity}: {law.invariant.title} [{law.id}]"
    yield f"  first at {_place(violation.first)}"
    times = "once" if violation.count == 1 else f"{violation.count} times"
    steps = ", ".join(str(step) for step in violation.steps[:_MOST_STEPS])
    more = ", ..." if len(violation.steps) > _MOST_STEPS else ""
    yield f"  violated {times}" + (f", in step {steps}{more}" if violation.steps else "")
    for concept, apis in law.concepts.items():
        more = f" or {len(apis) - _MOST_APIS} others" if len(apis) > _MOST_APIS else ""
        yield f"  '{concept}' is {' or '.join(apis[:_MOST_APIS])}{more}"
    yield from (f"  {line}" for line in explanation)


def _folded(violation: Violation) -> str:
    law = violation.law
    step = "" if violation.first.step is None else f" from step {violation.first.step}"
    return f"{law.invariant.severity}: {law.invariant.title}{step} [{law.id}]"


def _place(place: Place) -> str:
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
    return ", ".join(parts) or "the run as a whole"
