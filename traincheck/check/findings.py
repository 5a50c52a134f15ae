"""Findings: violations of one cause under one headline, the first one to read first.

Two violations have a cause in common when they begin at most one step apart and speak of the same thing: a call,
an API, a concept, a variable or an attribute, or say the same of several names, contexts or dtypes. A finding is a
connected component of that relation.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from traincheck.check.verdict import Violation

SEVERITIES = ("error", "warning", "note")

# Parameters of these sorts say what a law is about; kinds and classes are too common to join anything.
_TELLING_SORTS = frozenset({"api", "concept", "attr", "name"})
# Laws of one template that agree in such a parameter say the same of several places: all these run without autocast.
_SHARED_SORTS = frozenset({"key", "dtype"})


@dataclass(frozen=True)
class Finding:
    """One cause: the violation to read, and those that it explains, in order."""

    headline: Violation
    others: Sequence[Violation]


def findings(violations: Sequence[Violation]) -> list[Finding]:
    """Group violations by cause; the most severe and earliest finding comes first."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(violations)))
    by_topic: dict[str, list[int]] = defaultdict(list)
    for index, violation in enumerate(violations):
        for topic in _topics(violation):
            by_topic[topic].append(index)
    for members in by_topic.values():
        ordered = sorted(members, key=lambda index: _step(violations[index]))
        for a, b in pairwise(ordered):
            if _together(violations[a], violations[b]):
                graph.add_edge(a, b)
    grouped = [sorted((violations[index] for index in part), key=_rank) for part in nx.connected_components(graph)]
    found = [Finding(group[0], group[1:]) for group in grouped]
    return sorted(found, key=lambda finding: _rank(finding.headline))


def _topics(violation: Violation) -> Iterator[str]:
    template = violation.law.template
    arguments = violation.law.arguments
    for parameter in template.parameters:
        if parameter.sort in _TELLING_SORTS:
            yield str(arguments[parameter.name])
        if parameter.sort in _SHARED_SORTS:
            yield f"template {template.name} {arguments[parameter.name]}"
    sorts = {parameter.sort for parameter in template.parameters}
    if "name" in sorts and "api" not in sorts:
        yield f"template {template.name}"
    for place in (violation.first.api, violation.first.variable):
        if place is not None:
            yield place


def _step(violation: Violation) -> float:
    """The first step; what belongs to the run as a whole goes with the beginning."""
    return -1 if violation.first.step is None else violation.first.step


def _together(a: Violation, b: Violation) -> bool:
    return None in (a.first.step, b.first.step) or abs(_step(a) - _step(b)) <= 1


def _rank(violation: Violation) -> tuple[int, float, int, float, str]:
    """Severe before mild, early before late, a named call and variable before a vague place, sure before unsure."""
    first = violation.first
    named = (first.api is not None) + (first.variable is not None)
    evidence = violation.law.invariant.evidence
    step = float("inf") if first.step is None else first.step
    confidence = evidence.confidence if evidence is not None else 1.0
    return SEVERITIES.index(violation.law.invariant.severity), step, -named, -confidence, violation.law.id
