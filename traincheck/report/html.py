"""One self-contained HTML file: verdict first, then findings with their proofs folded away. No network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from traincheck.check.findings import Finding, findings
from traincheck.check.verdict import Report, Violation
from traincheck.errors import one_line
from traincheck.report.text import extent, shown_place
from traincheck.report.timeline import timeline

if TYPE_CHECKING:
    from traincheck.explain import Explanation, Told

__all__ = ["render"]

_TEMPLATE = "page.html.jinja"
_VERDICTS = {"held": "Nothing violated", "violated": "Violated", "not triggered": "Nothing was checked"}


@dataclass(frozen=True)
class _Shown:
    """One violation as the page shows it."""

    id: str
    severity: str
    title: str
    what: str
    place: str
    extent: str
    path: tuple[str, ...]
    story: tuple[Told, ...]
    next: str
    evidence: str


def render(report: Report, explanations: Mapping[str, Explanation]) -> str:
    """The page."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_finalize
    )
    return environment.get_template(_TEMPLATE).render(_content(report, explanations)) + "\n"


def _finalize(value: object) -> object:
    """Names that hold line breaks or what turns the writing direction are shown as escapes, too."""
    return one_line(value) if type(value) is str else value


def _content(report: Report, explanations: Mapping[str, Explanation]) -> dict[str, Any]:
    found = findings(report.violations)
    return {
        "report": report,
        "verdict": _VERDICTS[report.verdict()],
        "total": report.checked + len(report.not_triggered),
        "findings": [list(_shown(finding, explanations)) for finding in found],
        "timeline": timeline(report),
        "environment": sorted({_environment(row) for one in report.coverage for row in one.processes}),
    }


def _shown(finding: Finding, explanations: Mapping[str, Explanation]) -> Iterator[_Shown]:
    for violation in (finding.headline, *finding.others):
        law, explanation = violation.law, explanations.get(violation.law.id)
        yield _Shown(
            id=law.id,
            severity=law.invariant.severity,
            title=law.invariant.title,
            what=explanation.what if explanation is not None else "",
            place=shown_place(violation.first),
            extent=extent(violation),
            path=_path(explanation),
            story=explanation.story if explanation is not None else (),
            next=law.next,
            evidence=_evidence(violation),
        )


def _path(explanation: Explanation | None) -> tuple[str, ...]:
    """The calls around the first fact of the proof that happened inside one."""
    pending = list(explanation.when) if explanation is not None else []
    while pending:
        node = pending.pop(0)
        for fact in node.facts:
            if fact.path:
                return fact.path
        pending = [*node.because, *pending]
    return ()


def _evidence(violation: Violation) -> str:
    evidence = violation.law.invariant.evidence
    if evidence is None:
        return "a law written by people"
    exceptions = f" with {evidence.exceptions} exceptions" if evidence.exceptions else ""
    return (
        f"{evidence.runs} runs, {evidence.examples} examples{exceptions}, confidence {evidence.confidence:.3g}, "
        f"estimated false alarms {evidence.false_alarms:.2g}"
    )


def _environment(row: Mapping[str, Any]) -> str:
    known = ((name, row.get(name)) for name in ("host", "python", "torch", "argv"))
    return ", ".join(f"{name} {value}" for name, value in known if value is not None)
