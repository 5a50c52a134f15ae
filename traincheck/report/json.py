"""The JSON report, schema_version 1: the contract that other programs build on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from traincheck.check.findings import findings
from traincheck.check.verdict import Report, Violation
from traincheck.values import canonical

if TYPE_CHECKING:
    from traincheck.explain import Explanation

SCHEMA_VERSION = 1


def render(report: Report, explanations: Mapping[str, Explanation]) -> str:
    """The report as one JSON document."""
    return json_text(as_json(report, explanations), indent=1) + "\n"


def as_json(report: Report, explanations: Mapping[str, Explanation]) -> dict[str, Any]:
    """The report as plain data, findings and violations in the order to read them.

    `explanations` has the explanation of each law that was explained, by the law's id.
    """
    found = findings(report.violations)
    return {
        "schema_version": SCHEMA_VERSION,
        "traces": report.traces,
        "invariants": report.sources,
        "summary": summary(report),
        "known": [violation.law.id for violation in report.known],
        "coverage": [asdict(coverage) for coverage in report.coverage],
        "not_triggered": [{"invariant": law.id, "title": law.invariant.title} for law in report.not_triggered],
        "findings": [
            {"headline": finding.headline.law.id, "others": [violation.law.id for violation in finding.others]}
            for finding in found
        ],
        "violations": [
            violation_as_json(violation, explanations)
            for finding in found
            for violation in (finding.headline, *finding.others)
        ],
    }


def summary(report: Report) -> dict[str, Any]:
    """How many verdicts of each kind there are, over how many facts."""
    return {
        "checked": report.checked,
        "held": len(report.held),
        "violated": len(report.violations),
        "known": len(report.known),
        "not_triggered": len(report.not_triggered),
        "facts": report.facts,
        "seconds": round(report.seconds, 3),
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


def violation_as_json(violation: Violation, explanations: Mapping[str, Explanation]) -> dict[str, Any]:
    """One violation as plain data, with its explanation if there is one."""
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
        "variables": list(violation.variables),
        "variable_count": violation.variable_count,
        "first": asdict(violation.first),
        "next": law.next,
    }
    if law.id in explanations:
        document["explanation"] = explanations[law.id].as_dict()
    return document
