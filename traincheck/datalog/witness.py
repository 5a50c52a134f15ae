"""Witness queries: the values of all variables with which a body holds. Explanations are made of these."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from traincheck.datalog.bodies import bound_by, literal_variables, schedule
from traincheck.datalog.bottomup import Materialiser
from traincheck.datalog.program import Atom, Constant, ConstantValue, Literal, Program, Variable
from traincheck.datalog.pydatalog_engine import Asker
from traincheck.datalog.store import DerivedRelation, View
from traincheck.datalog.stratify import body_predicates

__all__ = ["Binding", "Prover", "witnesses"]

Binding = dict[str, ConstantValue]


def witnesses(
    body: Sequence[Literal],
    bindings: Mapping[str, ConstantValue],
    facts: Mapping[str, pa.Table],
    limit: int | None = None,
    program: Program | None = None,
) -> list[Binding]:
    """One question to a `Prover` that is then thrown away; `program` types the base relations."""
    return Prover(facts, program or Program(())).witnesses(body, bindings, limit)


class Prover:
    """Answers witness queries over one set of facts, with the predicates that a program derives from them.

    Facts are indexed and predicates derived when a question first needs them. Safe to use from several
    threads one after the other.
    """

    def __init__(self, facts: Mapping[str, pa.Table], program: Program) -> None:
        self._program = program
        self._asker = Asker()
        self._materialiser = Materialiser(program, facts, self._asker)

    def witnesses(
        self, body: Sequence[Literal], bindings: Mapping[str, ConstantValue] | None = None, limit: int | None = None
    ) -> list[Binding]:
        """Values of every variable of the body (those inside counts excepted) with which it holds.

        Variables in `bindings` have these values; they come back with the others. At most `limit` answers, in
        a stable order. Raises RuleError when the body is unsafe or uses an unknown predicate.
        """
        given = dict(bindings or {})
        inside = {name for literal in body for name in literal_variables(literal)}
        given = {name: value for name, value in given.items() if name in inside}
        steps = schedule(body, frozenset(given))
        wanted = (*given, *sorted(bound_by(steps) - set(given)))
        with self._asker:
            self._materialiser.complete([name for name, _ in body_predicates(body)])
            interner = self._asker.interner
            seed = Atom("given", tuple(Variable(name) for name in given))
            facts = DerivedRelation(len(given), [tuple(interner[value] for value in given.values())])
            rows = self._materialiser.bindings((seed, *steps), wanted, {0: View(facts, seed, interner)})
        found = sorted(tuple(interner.values[value] for value in row) for row in rows)
        return [dict(zip(wanted, row, strict=True)) for row in found[:limit]]

    def facts(
        self, atom: Atom, bindings: Mapping[str, ConstantValue] | None = None
    ) -> list[tuple[ConstantValue | None, ...]]:
        """The whole rows, absent values as None, of the facts that match an atom under some bindings."""
        with self._asker:
            self._materialiser.complete([atom.predicate])
        interner, relation = self._asker.interner, self._materialiser.relation(atom.predicate)
        values = dict(bindings or {})
        known: dict[int, int] = {}
        free: dict[str, list[int]] = {}
        for position, term in enumerate(atom.terms):
            if isinstance(term, Constant):
                known[position] = interner[term.value]
            elif isinstance(term, Variable) and term.name in values:
                known[position] = interner[values[term.name]]
            elif isinstance(term, Variable):
                free.setdefault(term.name, []).append(position)
        columns = [relation.column(position) for position in range(len(atom.terms))]
        found: dict[tuple[ConstantValue | None, ...], None] = {}
        for number in relation.matching(known):
            row = [column[number] for column in columns]
            if all(_one_value([row[position] for position in places]) for places in free.values()):
                found[tuple(None if value is None else interner.values[value] for value in row)] = None
        return list(found)


def _one_value(values: Sequence[int | None]) -> bool:
    return None not in values and len(set(values)) == 1
