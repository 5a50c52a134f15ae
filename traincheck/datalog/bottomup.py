"""Strata evaluated bottom up for the reference engine: each predicate is complete before it is negated or counted."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from traincheck.datalog.bodies import CountStep, Step
from traincheck.datalog.plan import PlannedRule, PlannedStratum, plan
from traincheck.datalog.program import Atom, Constant, Negation, Program, Variable
from traincheck.datalog.store import BaseRelation, DerivedRelation, Interner, Relation, Row, View
from traincheck.schema import ColumnType

__all__ = ["BodyAsker", "Materialiser"]


class BodyAsker(Protocol):
    """What answers one body: see `pydatalog_engine.Asker`."""

    interner: Interner

    def ask(self, steps: Sequence[Step], views: Mapping[int, View], wanted: Sequence[str]) -> list[Row]:
        """Distinct values of `wanted` for which the steps hold."""


class Materialiser:
    """Derives a program's predicates over base facts, each when it is first asked for."""

    def __init__(self, program: Program, facts: Mapping[str, pa.Table], asker: BodyAsker) -> None:
        self._program = program
        self._facts = facts
        self._asker = asker
        self._relations: dict[str, Relation] = {}
        self._views: dict[Atom, View] = {}
        self.columns: dict[str, tuple[ColumnType, ...]] = {}

    def complete(self, goals: Sequence[str]) -> None:
        """Check the program and derive everything that the goals need; nothing to do when that has happened."""
        if all(goal in self._relations for goal in goals):
            return
        planned = plan(self._program, goals)
        self.columns.update(planned.columns)
        for name in planned.base:
            if name not in self._relations:
                types = planned.columns[name]
                self._relations[name] = BaseRelation(self._facts.get(name), types, self._asker.interner)
        for stratum in planned.strata:
            if stratum.predicates[0] not in self._relations:
                self._derive(stratum)

    def relation(self, predicate: str) -> Relation:
        """The facts of a predicate that was completed."""
        return self._relations[predicate]

    def _derive(self, stratum: PlannedStratum) -> None:
        for predicate in stratum.predicates:
            self._relations[predicate] = DerivedRelation(len(self.columns[predicate]))
        if stratum.recursive:
            self._iterate(stratum)
        else:
            for rule in stratum.rules:
                self._derived(rule.head.predicate).add(self._heads(rule, {}))

    def answers(self, predicate: str) -> list[tuple[int | None, ...]]:
        """The distinct rows of a predicate; of one without terms, one empty row when it holds."""
        relation = self._relations[predicate]
        arity = len(self.columns[predicate])
        if not arity:
            return [()] if len(relation) else []
        return list(dict.fromkeys(zip(*(relation.column(position) for position in range(arity)), strict=True)))

    def _derived(self, predicate: str) -> DerivedRelation:
        relation = self._relations[predicate]
        assert isinstance(relation, DerivedRelation)
        return relation

    def _iterate(self, stratum: PlannedStratum) -> None:
        """Semi-naive iteration.

        # all(X...)  :- base case.
        # next(X...) :- body with one recursive atom read from recent.
        # recent := next minus all, all := all and recent, until every recent is empty
        """
        recent: dict[str, list[Row]] = {predicate: [] for predicate in stratum.predicates}
        for rule in stratum.rules:
            if not stratum.recursive_steps(rule):
                recent[rule.head.predicate] += self._heads(rule, {})
        arities = {predicate: len(self.columns[predicate]) for predicate in stratum.predicates}
        deltas: dict[str, DerivedRelation] = {}
        while any(recent.values()):
            for predicate, rows in recent.items():
                deltas[predicate] = DerivedRelation(arities[predicate], self._derived(predicate).add(rows))
            recent = {predicate: [] for predicate in stratum.predicates}
            for rule in stratum.rules:
                for position, used in stratum.recursive_steps(rule):
                    if len(deltas[used]):
                        atom = rule.steps[position]
                        assert isinstance(atom, Atom)
                        view = View(deltas[used], atom, self._asker.interner)
                        recent[rule.head.predicate] += self._heads(rule, {position: view})

    def _heads(self, rule: PlannedRule, replaced: Mapping[int, View]) -> list[Row]:
        """The head's rows; the atoms at `replaced` positions read those views instead of their own relations."""
        wanted = tuple(dict.fromkeys(term.name for term in rule.head.terms if isinstance(term, Variable)))
        places = {name: place for place, name in enumerate(wanted)}
        template = [
            self._asker.interner[term.value] if isinstance(term, Constant) else None for term in rule.head.terms
        ]
        sources = [places.get(term.name) if isinstance(term, Variable) else None for term in rule.head.terms]
        return [
            tuple(
                row[source] if source is not None else fixed  # type: ignore[misc]
                for source, fixed in zip(sources, template, strict=True)
            )
            for row in self.bindings(rule.steps, wanted, replaced)
        ]

    def bindings(self, steps: Sequence[Step], wanted: Sequence[str], replaced: Mapping[int, View]) -> list[Row]:
        """The distinct values of the `wanted` variables for which the steps hold.

        Atoms at `replaced` positions read those views. Counts become atoms over what they counted.
        """
        plain: list[Step] = []
        views: dict[int, View] = {}
        for position, step in enumerate(steps):
            if isinstance(step, CountStep):
                atom, counts = self._counted(step, plain, views)
                plain.append(atom)
                views[position] = View(counts, atom, self._asker.interner)
                continue
            plain.append(step)
            if isinstance(step, Atom | Negation):
                atom = step.atom if isinstance(step, Negation) else step
                views[position] = replaced[position] if position in replaced else self._view(atom)
        return self._asker.ask(plain, views, wanted)

    def _counted(self, count: CountStep, before: Sequence[Step], views: Mapping[int, View]) -> tuple[Atom, Relation]:
        """How many distinct values each group has, zero included.

        # seed(Groups...)         :- the steps before the count.
        # found(Groups..., Xs...) :- seed(Groups...), the count's body.
        # counts(Groups..., N)    :- seed(Groups...), N = |{Xs : found(Groups..., Xs)}|.
        """
        groups = tuple(Variable(name) for name in count.groups)
        seeds = self._asker.ask(before, views, count.groups)
        seed = DerivedRelation(len(groups), seeds)
        atom = Atom("seed", groups)
        counted = tuple(name for name in count.counted if name not in count.groups)
        found = self.bindings(
            (atom, *count.body), (*count.groups, *counted), {0: View(seed, atom, self._asker.interner)}
        )
        numbers = dict.fromkeys(seeds, 0)
        for row in found:
            numbers[row[: len(groups)]] += 1
        rows = ((*group, self._asker.interner[number]) for group, number in numbers.items())
        return Atom("counts", (*groups, Variable(count.result))), DerivedRelation(len(groups) + 1, rows)

    def _view(self, atom: Atom) -> View:
        """One view for each way in which rules use a relation."""
        if atom not in self._views:
            self._views[atom] = View(self._relations[atom.predicate], atom, self._asker.interner)
        return self._views[atom]
