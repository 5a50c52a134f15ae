"""Which hypotheses are worth keeping, and the reason for every one that is not."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import networkx as nx

from traincheck.dsl.syntax import Condition, Evidence, Feature, Invariant, Value
from traincheck.infer.hypothesis import Hypothesis, estimated_rate
from traincheck.infer.precondition import Clause, Conjunction


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The least evidence an invariant may stand on."""

    examples: int = 3
    runs: int = 2


@dataclass(frozen=True, slots=True)
class Dropped:
    """A hypothesis that did not survive, and why."""

    hypothesis: Hypothesis
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A hypothesis that survived, as it will be written."""

    hypothesis: Hypothesis
    invariant: Invariant


def judge(hypothesis: Hypothesis, thresholds: Thresholds) -> Kept | Dropped:
    """Learn the precondition and weigh the evidence."""
    precondition = hypothesis.learn(hypothesis.runs)
    if precondition is None:
        return Dropped(hypothesis, "no precondition separates its positive from its negative examples")
    runs, examples = hypothesis.support(precondition)
    needed_runs = min(thresholds.runs, len(hypothesis.runs))
    if runs < needed_runs:
        return Dropped(hypothesis, f"seen in {runs} of {len(hypothesis.runs)} runs, {needed_runs} are needed")
    needed = _examples_needed(hypothesis, thresholds)
    if examples < needed:
        return Dropped(hypothesis, f"only {examples} examples, {needed} are needed")
    failures, folds = hypothesis.false_alarms()
    if failures:
        return Dropped(hypothesis, f"learned without one run it is violated by that run ({failures} of {folds})")
    if len(hypothesis.runs) > 1 and not folds:
        return Dropped(hypothesis, "no run could confirm what the others teach")
    return Kept(hypothesis, _invariant(hypothesis, precondition, runs, examples, estimated_rate(failures, folds)))


def _examples_needed(hypothesis: Hypothesis, thresholds: Thresholds) -> int:
    """A law of the whole run has an example a run: two runs say as much of it as there is to say."""
    if hypothesis.grounding.template.within.kind == "run":
        return min(thresholds.examples, max(2, min(thresholds.runs, len(hypothesis.runs))))
    return thresholds.examples


def drop_implied(kept: Sequence[Kept]) -> tuple[list[Kept], list[Dropped]]:
    """Per template with a transitive pair of parameters: drop what two other survivors imply."""
    survivors: list[Kept] = []
    dropped: list[Dropped] = []
    groups: dict[tuple[str, object], list[Kept]] = defaultdict(list)
    for item in kept:
        template = item.hypothesis.grounding.template
        if template.transitive:
            groups[(template.name, item.invariant.precondition)].append(item)
        else:
            survivors.append(item)
    for members in groups.values():
        stay = _reduced(members)
        survivors += [item for item in members if item in stay]
        dropped += [
            Dropped(i.hypothesis, "implied by two others through transitivity") for i in members if i not in stay
        ]
    return survivors, dropped


def _reduced(members: Sequence[Kept]) -> list[Kept]:
    """Members whose edge stays in the transitive reduction; those on a cycle all stay."""
    first, second = members[0].hypothesis.grounding.template.transitive
    edges = {}
    for item in members:
        arguments = item.hypothesis.arguments
        edges[(arguments[first], arguments[second])] = item
    graph = nx.DiGraph(edges.keys())
    condensed = nx.condensation(graph)
    component = condensed.graph["mapping"]
    reduced = nx.transitive_reduction(condensed)
    return [
        item
        for (a, b), item in edges.items()
        if component[a] == component[b] or reduced.has_edge(component[a], component[b])
    ]


def _invariant(
    hypothesis: Hypothesis, precondition: Sequence[Conjunction], runs: int, examples: int, rate: float
) -> Invariant:
    template = hypothesis.grounding.template
    arguments = hypothesis.arguments
    return Invariant(
        template=template.name,
        arguments=tuple((name, Value(value)) for name, value in arguments.items()),
        title=fill(template.title, arguments.items()) + _in_words(precondition),
        precondition=tuple(tuple(_condition(clause) for clause in conjunction) for conjunction in precondition),
        evidence=Evidence(runs, examples, round((examples + 1) / (examples + 2), 3), rate),
        severity=template.severity,
    )


def _in_words(precondition: Sequence[Conjunction]) -> str:
    """A precondition as the end of a title, such as ", when stage is eval"."""
    if not precondition:
        return ""
    return ", when " + " or ".join(" and ".join(map(_clause_in_words, clauses)) for clauses in precondition)


def _clause_in_words(clause: Clause) -> str:
    verb = "is" if clause.op == "==" else "is not"
    if clause.other is None:
        return f"{clause.key} {verb} {clause.value}"
    return f"{clause.key} {verb} the same for both"


def fill(title: str, arguments: Iterable[tuple[str, object]]) -> str:
    """A template's title with the parameters' values in place of `{Name}`."""
    for name, value in arguments:
        title = title.replace("{" + name + "}", str(value))
    return title


def _condition(clause: Clause) -> Condition:
    left = Feature(clause.variable, clause.key)
    if clause.other is not None:
        return Condition(clause.op, left, Feature(clause.other, clause.key))
    assert clause.value is not None
    return Condition(clause.op, left, Value(clause.value))
