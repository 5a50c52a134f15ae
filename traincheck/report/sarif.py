"""SARIF 2.1.0, for code-scanning services."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import traincheck
from traincheck.check.law import Law
from traincheck.check.verdict import Report, Violation
from traincheck.report.json import json_text
from traincheck.report.sites import in_order, split_site

if TYPE_CHECKING:
    from traincheck.explain import Explanation

__all__ = ["as_sarif", "render"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(report: Report, explanations: Mapping[str, Explanation]) -> str:
    """The report as one SARIF log."""
    return json_text(as_sarif(report, explanations), indent=1) + "\n"


def as_sarif(report: Report, explanations: Mapping[str, Explanation]) -> dict[str, Any]:
    """The log as plain data: a rule for each violated law, a result for each violation."""
    violations = list(in_order(report))
    driver = {
        "name": "TrainCheck",
        "version": traincheck.__version__,
        "rules": [_rule(violation.law) for violation in violations],
    }
    results = [_result(index, violation, explanations) for index, violation in enumerate(violations)]
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True}],
        "artifacts": [{"location": {"uri": _uri(trace)}} for trace in report.traces],
        "results": results,
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(law: Law) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "id": law.id,
        "name": law.template.name,
        "shortDescription": {"text": law.invariant.title},
        "defaultConfiguration": {"level": law.invariant.severity},
    }
    if law.template.about:
        rule["fullDescription"] = {"text": " ".join(law.template.about.split())}
    if law.next:
        rule["help"] = {"text": law.next}
    return rule


def _result(index: int, violation: Violation, explanations: Mapping[str, Explanation]) -> dict[str, Any]:
    law, first = violation.law, violation.first
    text = law.invariant.title
    if law.id in explanations:
        text += f": {explanations[law.id].what}"
    location: dict[str, Any] = {}
    if (place := split_site(first.site)) is not None:
        location["physicalLocation"] = {
            "artifactLocation": {"uri": _uri(place[0])},
            "region": {"startLine": max(1, place[1])},
        }
    if first.api is not None:
        location["logicalLocations"] = [{"fullyQualifiedName": first.api, "kind": "function"}]
    details = {"rank": first.rank, "step": first.step, "variable": first.variable, "steps": list(violation.steps)}
    return {
        "ruleId": law.id,
        "ruleIndex": index,
        "level": law.invariant.severity,
        "message": {"text": text},
        "locations": [location] if location else [],
        "partialFingerprints": {"traincheckInvariant/v1": law.id},
        "occurrenceCount": max(1, violation.count),
        "properties": {name: value for name, value in details.items() if value is not None},
    }


def _uri(path: str) -> str:
    """A path as a URI: relative ones stay relative to the repository."""
    pure = PurePath(path)
    return pure.as_uri() if pure.is_absolute() else quote(pure.as_posix())
