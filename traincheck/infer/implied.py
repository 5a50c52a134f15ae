"""Survivors that others make superfluous: what follows from them, and what says the same in other words."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import networkx as nx

from traincheck.dsl.declare import PERSONAS, SEVERITIES
from traincheck.dsl.syntax import Condition, Invariant
from traincheck.infer.implication import Said, implies
from traincheck.infer.selection import Dropped, Kept

_Precondition = Sequence[Sequence[Condition]]


def drop_implied(kept: Sequence[Kept]) -> tuple[list[Kept], list[Dropped]]:
    """The survivors that say something of their own, and the others with the reason."""
    left, transitive = _drop_transitive(kept)
    left, implied = _drop_weaker(left)
    return left, transitive + implied


def _drop_weaker(kept: Sequence[Kept]) -> tuple[list[Kept], list[Dropped]]:
    """Drop what another one implies; of those that imply each other, keep the most readable."""
    said = [Said.of(item.hypothesis.grounding.template, item.invariant) for item in kept]
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(kept)))
    for strong, item in enumerate(kept):
        for weak, other in enumerate(kept):
            if strong != weak and _may_stand_for(item.invariant, other.invariant) and implies(said[strong], said[weak]):
                graph.add_edge(strong, weak)
    condensed = nx.condensation(graph)
    dropped: dict[int, Dropped] = {}
    chosen = {
        part: min(condensed.nodes[part]["members"], key=lambda index: _readability(kept[index].invariant))
        for part in condensed
    }
    for part in nx.topological_sort(condensed):
        stronger = min(condensed.predecessors(part), default=None, key=lambda before: chosen[before])
        for index in condensed.nodes[part]["members"]:
            if stronger is not None:
                dropped[index] = _because(kept[index], "implied by", kept[chosen[stronger]])
            elif index != chosen[part]:
                dropped[index] = _because(kept[index], "says the same as", kept[chosen[part]])
    return [item for index, item in enumerate(kept) if index not in dropped], list(dropped.values())


def _may_stand_for(strong: Invariant, weak: Invariant) -> bool:
    """A law that is asked as often and taken as seriously, and that was never broken."""
    return (
        strong.evidence is not None
        and not strong.evidence.exceptions
        and SEVERITIES.index(strong.severity) <= SEVERITIES.index(weak.severity)
        and PERSONAS.index(strong.persona) <= PERSONAS.index(weak.persona)
    )


def _readability(invariant: Invariant) -> tuple[int, int, str]:
    return sum(map(len, invariant.precondition)), len(invariant.title), invariant.title


def _because(item: Kept, relation: str, other: Kept) -> Dropped:
    return Dropped(item.hypothesis, f'{relation} "{other.invariant.title}"')


def _drop_transitive(kept: Sequence[Kept]) -> tuple[list[Kept], list[Dropped]]:
    """Per template with a transitive pair of parameters: drop what two other survivors imply."""
    survivors: list[Kept] = []
    dropped: list[Dropped] = []
    groups: dict[str, list[Kept]] = defaultdict(list)
    for item in kept:
        template = item.hypothesis.grounding.template
        exact = item.invariant.evidence is not None and not item.invariant.evidence.exceptions
        if template.transitive and exact and item.invariant.persona == template.persona:
            groups[template.name].append(item)
        else:
            survivors.append(item)
    for members in groups.values():
        for precondition in dict.fromkeys(item.invariant.precondition for item in members):
            wider = [item for item in members if _asks_no_more(item.invariant.precondition, precondition)]
            stay = _reduced(wider)
            for item in members:
                if item.invariant.precondition == precondition and item in stay:
                    survivors.append(item)
                elif item.invariant.precondition == precondition:
                    dropped.append(Dropped(item.hypothesis, "implied by two others through transitivity"))
    return survivors, dropped


def _asks_no_more(wide: _Precondition, narrow: _Precondition) -> bool:
    """Whether all that meets `narrow` meets `wide`."""
    return not wide or (bool(narrow) and all(any(set(less) <= set(more) for less in wide) for more in narrow))


def _reduced(members: Iterable[Kept]) -> list[Kept]:
    """Members whose edge stays in the transitive reduction; those on a cycle all stay."""
    edges = {}
    for item in members:
        first, second = item.hypothesis.grounding.template.transitive
        arguments = item.hypothesis.arguments
        edges[(arguments[first], arguments[second])] = item
    graph = nx.DiGraph()
    graph.add_edges_from(edges)
    condensed = nx.condensation(graph)
    component = condensed.graph["mapping"]
    reduced = nx.transitive_reduction(condensed)
    return [
        item
        for (a, b), item in edges.items()
        if component[a] == component[b] or reduced.has_edge(component[a], component[b])
    ]
