"""The JSON report, schema_version 1: the contract that other programs build on."""

import json
import math
from dataclasses import asdict
from typing import Any

from traincheck.check.findings import findings
from traincheck.check.verdict import Report, Violation
from traincheck.values import canonical

SCHEMA_VERSION = 1


def as_json(report: Report, explanations: dict[str, Any] | None = None) -> dict[str, Any]:
    """The report as plain data, findings and violations in the order to read them.

    `explanations` maps a law's id to its explanation tree.
    """
    found = findings(report.violations)
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
        "findings": [
            {"headline": finding.headline.law.id, "others": [violation.law.id for violation in finding.others]}
            for finding in found
        ],
        "violations": [
            _violation(violation, explanations or {})
            for finding in found
            for violation in (finding.headline, *finding.others)
        ],
    }


def json_text(document: Any, indent: int | None = None) -> str:
    """The document as valid JSON: numbers that JSON lacks become the texts nan, inf and -inf."""
    return json.dumps(_finite(document), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return canonical(value)
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


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
