"""The JSON report, schema_version 1: the contract that other programs build on."""

from dataclasses import asdict
from typing import Any

from traincheck.check.verdict import Report, Violation

SCHEMA_VERSION = 1


def as_json(report: Report, explanations: dict[str, Any] | None = None) -> dict[str, Any]:
    """The report as plain data; `explanations` maps a law's id to its explanation tree."""
    return {
        "schema_version": SCHEMA_VERSION,
        "traces": report.traces,
        "invariants": report.sources,
        "summary": {
            "checked": report.checked,
            "held": len(report.held),
            "violated": len(report.violations),
            "not_triggered": len(report.not_triggered),
            "facts": report.facts,
            "seconds": round(report.seconds, 3),
        },
        "violations": [_violation(violation, explanations or {}) for violation in report.violations],
    }


def _violation(violation: Violation, explanations: dict[str, Any]) -> dict[str, Any]:
    law = violation.law
    evidence = law.invariant.evidence
    document = {
        "invariant": law.id,
        "template": law.template.name,
        "title": law.invariant.title,
        "severity": law.invariant.severity,
        "confidence": evidence.confidence if evidence is not None else 1.0,
        "params": law.arguments,
        "concepts": {concept: list(apis) for concept, apis in law.concepts.items()},
        "count": violation.count,
        "steps": list(violation.steps),
        "first": asdict(violation.first),
    }
    if law.id in explanations:
        document["explanation"] = explanations[law.id]
    return document
