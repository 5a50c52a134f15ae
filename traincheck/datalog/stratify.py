"""Strata of a program: groups of mutually recursive predicates in the order in which they must be complete."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import networkx as nx

from traincheck.datalog.program import Atom, Count, Literal, Negation, Program
from traincheck.errors import RuleError

__all__ = ["Stratum", "body_predicates", "stratify"]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Predicates that depend on each other; `recursive` when one depends on itself."""

    predicates: frozenset[str]
    recursive: bool


def body_predicates(body: Iterable[Literal], strict: bool = False) -> Iterator[tuple[str, bool]]:
    """Each predicate that a body uses, with whether it must be complete before (negated or counted)."""
    for literal in body:
        if isinstance(literal, Atom):
            yield literal.predicate, strict
        elif isinstance(literal, Negation):
            yield literal.atom.predicate, True
        elif isinstance(literal, Count):
            yield from body_predicates(literal.body, strict=True)


def stratify(program: Program, goals: Iterable[str] | None = None) -> list[Stratum]:
    """The strata of the derived predicates, dependencies first; only those that `goals` need when given.

    Raises RuleError, naming the predicates in the cycle, when a predicate depends on itself through a
    negation or a count.
    """
    graph = _dependencies(program)
    order = []
    derived = {rule.head.predicate for rule in program.rules}
    needed = derived if goals is None else _needed(graph, goals)
    condensed = nx.condensation(graph)
    for component in reversed(list(nx.lexicographical_topological_sort(condensed, key=_name_of(condensed)))):
        members = frozenset(condensed.nodes[component]["members"])
        _refuse_strict_cycle(graph, members)
        if members <= derived and members <= needed:
            order.append(Stratum(members, any(graph.has_edge(head, used) for head in members for used in members)))
    return order


def _dependencies(program: Program) -> nx.DiGraph:
    """An edge from each rule's head to each predicate of its body, `strict` when any use is."""
    graph = nx.DiGraph()
    for rule in program.rules:
        head = rule.head.predicate
        graph.add_node(head)
        for used, strict in body_predicates(rule.body):
            graph.add_edge(
                head, used, strict=strict or (graph.has_edge(head, used) and graph.edges[head, used]["strict"])
            )
    return graph


def _needed(graph: nx.DiGraph, goals: Iterable[str]) -> set[str]:
    needed: set[str] = set()
    for goal in goals:
        if goal in graph:
            needed |= {goal} | nx.descendants(graph, goal)
    return needed


def _name_of(condensed: nx.DiGraph) -> object:
    return lambda node: min(condensed.nodes[node]["members"])


def _refuse_strict_cycle(graph: nx.DiGraph, members: frozenset[str]) -> None:
    inside = graph.subgraph(members)
    for head, used, strict in sorted(inside.edges(data="strict")):
        if strict:
            cycle = [head, *nx.shortest_path(inside, used, head)]
            names = " -> ".join(f"'{name}'" for name in cycle)
            raise RuleError(
                f"'{head}' depends on its own negation or count: {names}",
                next_step="break the cycle: what is negated or counted must not use the rule's own head",
            )
