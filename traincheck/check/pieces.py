"""Laws that relate events of different steps, split in two: what is read off each step, and what is asked of it all.

Every group of literals that speaks of one step becomes a *piece*, a predicate of its own over the variables that the
rest of the rule needs:

    violated(H, C) :- hypothesis(F, T, H), does(C, F), call(C, exit: A), ...
    piece(C, F, A) :- hypothesis(F, _, _), does(C, F), call(C, exit: A).
    violated(H, C) :- hypothesis(F, T, H), piece(C, F, A), ...

Pieces are derived step by step and kept; the rules over pieces are what remains to be asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from traincheck.check.locality import Kind, Locality
from traincheck.datalog.bodies import literal_variables
from traincheck.datalog.program import Atom, Comparison, Count, Literal, Negation, Rule, Variable, Wildcard

__all__ = ["Pieces"]


class Pieces:
    """Splits rules; collects the rules of the pieces, and the predicates that the remaining rules read as facts."""

    def __init__(self, locality: Locality, tables: Iterable[str]) -> None:
        """`tables` are the predicates made of laws, by which a piece is narrowed to what some law asks."""
        self._locality = locality
        self._tables = frozenset(tables)
        self._numbers = count()
        self._done: set[str] = set()
        self.rules: list[Rule] = []
        self.known: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The predicates of all pieces."""
        return [rule.head.predicate for rule in self.rules]

    def split(self, rules: Sequence[Rule]) -> list[Rule]:
        """The rules over pieces, with those of every library predicate that they need; the first makes the examples."""
        concerned = {name: group for group in self._groups(rules[0].body) for name in _names(group)}
        return [found for rule in rules for found in self._split(rule, concerned)]

    def _split(self, rule: Rule, concerned: Mapping[str, Sequence[Literal]]) -> list[Rule]:
        needed = set(_names([rule.head]))
        body = self._body(rule.body, needed, [], concerned)
        made = [Rule(rule.head, tuple(body))]
        for predicate in {name for literal in body for name in _predicates(literal)}:
            made += self._definition(predicate, concerned)
        return made

    def _definition(self, predicate: str, concerned: Mapping[str, Sequence[Literal]]) -> list[Rule]:
        """The rules of a library predicate that a remaining rule uses."""
        if predicate in self._done or predicate not in self._locality.rules:
            return []
        self._done.add(predicate)
        if self._locality.kind(predicate) is Kind.KNOWN:
            self.known.add(predicate)
            return []
        return [found for rule in self._locality.rules[predicate] for found in self._split(rule, {})]

    def _groups(self, body: Sequence[Literal]) -> list[list[Literal]]:
        return self._locality.groups(body)

    def _body(
        self,
        body: Sequence[Literal],
        needed: set[str],
        filters: Sequence[Literal],
        concerned: Mapping[str, Sequence[Literal]],
    ) -> list[Literal]:
        groups = self._groups(body)
        grouped = [literal for group in groups for literal in group]
        rest = [literal for literal in body if not any(literal is other for other in grouped)]
        tables = [*filters, *(lit for lit in rest if isinstance(lit, Atom) and lit.predicate in self._tables)]
        found: list[Literal] = []
        for group in groups:
            inside = set(_names(group))
            tests = [lit for lit in rest if isinstance(lit, Comparison) and set(literal_variables(lit)) <= inside]
            others = [lit for lit in body if not any(lit is member for member in (*group, *tests))]
            outside = needed | set(_names(others)) | set(_names(filters))
            found.append(self._piece([*group, *tests], outside, tables, concerned))
            rest = [lit for lit in rest if not any(lit is test for test in tests)]
        around = {name: group for group in groups for name in _names(group)} or concerned
        for literal in rest:
            if isinstance(literal, Count):
                inner = self._body(literal.body, {*_names([literal]), *needed, *_names(rest)}, tables, around)
                found.append(Count(literal.counted, tuple(inner), literal.result))
            elif isinstance(literal, Negation) and self._locality.kind(literal.atom.predicate) is Kind.TIED:
                everything = set(_names([literal]))
                found.append(Negation(self._piece([literal.atom], everything, tables, around)))
            else:
                found.append(literal)
        return found

    def _piece(
        self,
        group: Sequence[Literal],
        outside: set[str],
        tables: Sequence[Literal],
        concerned: Mapping[str, Sequence[Literal]],
    ) -> Atom:
        """A new piece for a group, narrowed by the tables and by what is around it; the atom that reads it."""
        inside = list(dict.fromkeys(_names(group)))
        body = list(group)
        for name in sorted(self._ties(group)):
            body += [
                literal for literal in concerned.get(name, ()) if isinstance(literal, Atom) and literal not in body
            ]
        body += [
            Atom(table.predicate, tuple(t if t in _bound(body) else Wildcard() for t in table.terms))
            for table in tables
            if isinstance(table, Atom) and set(table.terms) & _bound(body)
        ]
        shown = tuple(Variable(name) for name in inside if name in outside)
        head = Atom(f"piece{next(self._numbers)}", shown)
        self.rules.append(Rule(head, tuple(body)))
        return head

    def _ties(self, group: Sequence[Literal]) -> set[str]:
        return {name for literal in group for name in self._locality.ties(literal)}


def _bound(body: Sequence[Literal]) -> set[object]:
    """The variables that the positive literals of a body bind."""
    return {
        term for literal in body if isinstance(literal, Atom) for term in literal.terms if isinstance(term, Variable)
    }


def _names(literals: Iterable[Literal]) -> list[str]:
    return [name for literal in literals for name in literal_variables(literal)]


def _predicates(literal: Literal) -> list[str]:
    if isinstance(literal, Atom):
        return [literal.predicate]
    if isinstance(literal, Negation):
        return [literal.atom.predicate]
    return [name for inner in literal.body for name in _predicates(inner)] if isinstance(literal, Count) else []
