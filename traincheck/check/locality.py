"""Which predicates and laws can be decided from the facts of some steps alone.

A trace falls into steps, and an event (a call, an update, a state...) belongs to one of them, with all that hangs on
it. Literals that share a variable for a call, an update or a step therefore speak of one step: they are *tied*. What
has all its events tied together is decided within a step; what names no event is known throughout.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import networkx as nx

from traincheck.datalog.program import Atom, Count, Literal, Negation, Rule, Variable
from traincheck.dsl.checker import Checked
from traincheck.dsl.ground import is_final
from traincheck.dsl.lower import Lowering, closing_literal
from traincheck.dsl.syntax import Template
from traincheck.schema import RELATIONS

__all__ = ["EVENTS", "TYING_SORTS", "Kind", "Locality"]

TYING_SORTS = frozenset({"step", "call", "update", "window", "record", "span", "parts"})

EVENTS = frozenset(
    {
        "step", "call", "contains", "arg", "result", "dimension", "raised", "context", "update", "state", "metric",
        "ordinal", "exchange", "stored", "live", "adjustment", "record", "property", "part", "span",
    }
)  # fmt: skip
"""The relations that grow with every step; the others hold what there is to train and with what."""


class Kind(Enum):
    """How a predicate can be kept up to date while steps come and go."""

    LASTING = "names no event"
    TIED = "its events belong to one step, which its tying columns name"
    KNOWN = "follows from the events of one step, and stays true"
    SCATTERED = "relates events of different steps"


@dataclass(frozen=True)
class _Use:
    """A literal that names events, and the variables that tie it to others."""

    literal: Literal
    ties: frozenset[str]


class Locality:
    """The kinds of all predicates of a library."""

    def __init__(self, checked: Checked, lowering: Lowering) -> None:
        self._lowering = lowering
        self._kinds: dict[str, Kind] = {name: Kind.TIED if name in EVENTS else Kind.LASTING for name in RELATIONS}
        self._tying: dict[str, frozenset[int]] = {
            name: frozenset(place for place, column in enumerate(relation.columns) if column.sort in TYING_SORTS)
            for name, relation in RELATIONS.items()
        }
        rules: dict[str, list[Rule]] = {}
        for define in checked.defines:
            rules.setdefault(define.head.relation, []).append(lowering.rule(define))
        self.rules: Mapping[str, Sequence[Rule]] = rules
        self._sorts = checked.predicate_sorts
        for component in _dependencies_first(rules):
            self._classify(component)

    def kind(self, predicate: str) -> Kind:
        """The kind of a predicate; what a library does not know, such as a table of laws, is lasting."""
        return self._kinds.get(predicate, Kind.LASTING)

    def ties(self, literal: Literal) -> frozenset[str]:
        """The variables by which a literal that names events is tied to others."""
        return frozenset(name for use in self._uses([literal]) for name in use.ties)

    def decided_in_a_step(self, template: Template) -> bool:
        """Whether the examples of a template, and whether they hold, follow from the facts of one step each."""
        body = [*self._lowering.body(template.when), *self._lowering.body(template.expect)]
        if not is_final(template):
            if template.within.kind not in ("call", "step"):
                return False
            body.append(closing_literal(template.within))
        uses = list(self._uses(body))
        if any(self.kind(name) is Kind.SCATTERED for name in _predicates(body)):
            return False
        return bool(uses) and len(_groups(uses)) == 1

    def groups(self, literals: Sequence[Literal]) -> list[list[Literal]]:
        """The positive literals that name events of one step, for each of the steps that a body speaks of."""
        uses = list(self._uses([literal for literal in literals if isinstance(literal, Atom)]))
        return [[use.literal for use in group] for group in _groups(uses)]

    def _classify(self, names: Iterable[str]) -> None:
        members = sorted(names)
        if len(members) > 1 or any(name in _used_by(self.rules[name]) for name in members):
            lasting = all(
                self.kind(used) is Kind.LASTING
                for name in members
                for used in _used_by(self.rules[name]) - set(members)
            )
            self._kinds |= dict.fromkeys(members, Kind.LASTING if lasting else Kind.SCATTERED)
            return
        (name,) = members
        kinds, tying = set(), frozenset(range(len(self._sorts[name])))
        for rule in self.rules[name]:
            kind, places = self._classify_rule(rule)
            kinds.add(kind)
            tying &= places
        if kinds <= {Kind.LASTING}:
            self._kinds[name] = Kind.LASTING
        elif kinds == {Kind.TIED} and tying:
            self._kinds[name], self._tying[name] = Kind.TIED, tying
        else:
            known = kinds <= {Kind.KNOWN, Kind.LASTING}
            self._kinds[name] = Kind.KNOWN if known else Kind.SCATTERED

    def _classify_rule(self, rule: Rule) -> tuple[Kind, frozenset[int]]:
        if any(self.kind(name) is Kind.SCATTERED for name in _predicates(rule.body)):
            return Kind.SCATTERED, frozenset()
        uses = list(self._uses(rule.body))
        if not uses:
            return Kind.LASTING, frozenset()
        groups = _groups(uses)
        if len(groups) > 1:
            return Kind.SCATTERED, frozenset()
        tied = frozenset(name for use in uses for name in use.ties)
        sorts = self._sorts[rule.head.predicate]
        places = frozenset(
            place
            for place, term in enumerate(rule.head.terms)
            if isinstance(term, Variable) and term.name in tied and sorts[place] in TYING_SORTS
        )
        if places:
            return Kind.TIED, places
        positive = all(isinstance(use.literal, Atom) for use in uses)
        return (Kind.KNOWN if positive else Kind.SCATTERED), frozenset()

    def _uses(self, body: Iterable[Literal]) -> Iterator[_Use]:
        for literal in body:
            if isinstance(literal, Count):
                yield from self._uses(literal.body)
            elif isinstance(literal, Atom | Negation):
                atom = literal.atom if isinstance(literal, Negation) else literal
                if self.kind(atom.predicate) is Kind.TIED:
                    tying = self._tying[atom.predicate]
                    ties = frozenset(
                        term.name
                        for place, term in enumerate(atom.terms)
                        if place in tying and isinstance(term, Variable)
                    )
                    yield _Use(literal, ties)


def _groups(uses: Sequence[_Use]) -> list[list[_Use]]:
    graph = nx.Graph()
    for number, use in enumerate(uses):
        graph.add_node(number)
        graph.add_edges_from((number, name) for name in use.ties)
    found = [sorted(node for node in part if isinstance(node, int)) for part in nx.connected_components(graph)]
    return [[uses[number] for number in numbers] for numbers in sorted(found)]


def _predicates(body: Iterable[Literal]) -> Iterator[str]:
    for literal in body:
        if isinstance(literal, Atom):
            yield literal.predicate
        elif isinstance(literal, Negation):
            yield literal.atom.predicate
        elif isinstance(literal, Count):
            yield from _predicates(literal.body)


def _used_by(rules: Iterable[Rule]) -> set[str]:
    return {name for rule in rules for name in _predicates(rule.body)}


def _dependencies_first(rules: Mapping[str, Sequence[Rule]]) -> Iterator[set[str]]:
    graph = nx.DiGraph()
    graph.add_nodes_from(rules)
    graph.add_edges_from((name, used) for name in rules for used in _used_by(rules[name]) if used in rules)
    condensed = nx.condensation(graph)
    for component in reversed(list(nx.topological_sort(condensed))):
        yield condensed.nodes[component]["members"]
