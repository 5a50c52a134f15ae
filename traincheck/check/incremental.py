"""The same laws over what is new: facts come in batches of closed steps, and what is said of a batch is final.

Laws that are decided within a step are evaluated on each batch and what lasts; then the batch leaves memory. Of the
other laws each batch leaves only the pieces that they speak of (`pieces.py`); they are asked over all pieces, those
whose window is the run when it has ended. What is to add is the batch at hand, recent are the answers it gives, stable
are the sightings and pieces so far.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from traincheck.check.law import Law, unique
from traincheck.check.locality import EVENTS, Kind, Locality
from traincheck.check.locate import LOOKUPS
from traincheck.check.pieces import Pieces
from traincheck.check.program import LawProgram, law_program
from traincheck.check.sighting import Sighting, sightings, undecidable
from traincheck.datalog.codes import Codes
from traincheck.datalog.columns_engine import Compiled
from traincheck.datalog.program import Atom, Program, Rule
from traincheck.dsl.checker import Checked
from traincheck.dsl.ground import is_final
from traincheck.dsl.program import lowering_of, program_of
from traincheck.facts.raw import PROCESS_SHIFT
from traincheck.schema import RELATIONS, ColumnType

__all__ = ["Incremental"]

_SHARE = 0.1
"""How much of the time goes at most into asking again about laws that relate several steps."""


class Incremental:
    """Laws compiled once; `feed` takes the facts of closed steps in order, `finish` says that there are no more."""

    def __init__(self, checked: Checked, laws: Mapping[str, Sequence[Law]]) -> None:
        lowering = lowering_of(checked)
        locality = Locality(checked, lowering)
        self._programs = [
            law_program(unique(group), checked.sorts(group[0].template), lowering) for group in laws.values() if group
        ]
        local = [p for p in self._programs if locality.decided_in_a_step(p.grounding.template)]
        self._within_steps = [_Asked(program) for program in local]
        scattered = [program for program in self._programs if program not in local]
        pieces = Pieces(locality, (name for program in scattered for name in program.tables))
        remaining = [rule for program in scattered for rule in pieces.split(program.rules)]
        self._tables = {name: table for program in self._programs for name, table in program.tables.items()}
        types = {name: types for program in self._programs for name, types in program.types.items()}
        rules = [rule for asked in self._within_steps for rule in asked.rules] + pieces.rules
        known = [name for name in checked.predicate_sorts if locality.kind(name) is Kind.KNOWN]
        self._codes = Codes()
        self._kept = [*pieces.names, *sorted(pieces.known)]
        goals = [goal for asked in self._within_steps for goal in asked.goals] + self._kept
        self._inner = Compiled(program_of(checked, lowering, rules, **types), goals, self._codes, known)
        self._inner.fix(self._tables)
        kept_types: dict[str, Sequence[ColumnType]] = {name: self._inner.types(name) for name in self._kept}
        base = {**{name: tuple(c.type for c in relation.columns) for name, relation in RELATIONS.items()}, **types}
        over_pieces = Program(tuple(remaining), {**base, **kept_types})
        self._late = self._compile(over_pieces, [p for p in scattered if not _waits_for_the_end(p)])
        self._last = self._compile(over_pieces, [p for p in scattered if _waits_for_the_end(p)])
        self.restart()

    def restart(self) -> None:
        """Begin another trace."""
        self._inner.restart()
        self._stable: dict[str, list[pa.Table]] = {name: [] for name in self._kept}
        self._places: dict[str, list[pa.Table]] = {relation: [] for relation, _ in LOOKUPS.values()}
        self._lasting: dict[str, pa.Table] = {}
        self._sightings: dict[str, Sighting] = {}
        self._related: dict[str, Sighting] = {}
        self.triggered: set[str] = set()
        self._event_facts = 0
        self._spent, self._asked_at = 0.0, 0.0
        for asked in self._within_steps:
            asked.restart()

    def _compile(self, program: Program, programs: Sequence[LawProgram]) -> "tuple[Compiled, list[_Asked]] | None":
        if not programs:
            return None
        asked = [_Asked(found, whole=True) for found in programs]
        compiled = Compiled(program, [goal for one in asked for goal in one.goals], self._codes)
        compiled.fix(self._tables)
        return compiled, asked

    @property
    def laws(self) -> list[Law]:
        """All laws, without repetitions."""
        return [law for program in self._programs for law in program.laws]

    @property
    def facts(self) -> int:
        """How many facts were seen in the relations that the laws read."""
        return self._event_facts + sum(int(table.num_rows) for table in self._lasting.values())

    @property
    def sightings(self) -> list[Sighting]:
        """Everything that was violated so far."""
        return [*self._sightings.values(), *self._related.values()]

    def feed(self, facts: Mapping[str, Any]) -> list[Sighting]:
        """Take in the facts of some closed steps; the sightings of laws that were not violated before."""
        relations = [name for name in self._inner.base if name in RELATIONS]
        base = {name: facts[name] for name in relations}
        self._event_facts += sum(base[name].num_rows for name in relations if name in EVENTS)
        self._lasting = {name: facts[name] for name in self._lasting_relations()}
        answers = self._inner.run(base)
        fresh = []
        for asked in self._within_steps:
            self.triggered |= asked.triggered(answers)
            fresh += self._note(self._sightings, sightings(asked.program, asked.violated(answers), facts), add=True)
        self._keep(answers, facts)
        if self._late is not None and time.perf_counter() - self._asked_at > self._spent / _SHARE:
            fresh += self._ask(self._late)
        return fresh

    def finish(self) -> list[Sighting]:
        """The run has ended, or nothing more of it will come."""
        fresh = []
        for group in (self._late, self._last):
            if group is not None:
                fresh += self._ask(group)
        if self._lasting:
            self.triggered -= undecidable(self.laws, self._lasting)
        return fresh

    def _lasting_relations(self) -> set[str]:
        compiled = [self._inner, *(group[0] for group in (self._late, self._last) if group is not None)]
        read = {name for one in compiled for name in one.base if name in RELATIONS}
        return {name for name in (*read, "variable", "unrecorded") if name not in EVENTS}

    def _keep(self, answers: Mapping[str, pa.Table], facts: Mapping[str, Any]) -> None:
        """Move the pieces of a batch, and the places of what they name, to what is stable."""
        named = []
        for name in self._kept:
            table = answers[name]
            if name.startswith("piece"):
                self._stable[name].append(table)
                named += [column.combine_chunks() for column in table.columns if pa.types.is_integer(column.type)]
            else:
                self._stable[name] = [table]
        ids = pa.concat_arrays(named) if named else pa.array([], pa.int64())
        ids = pc.unique(ids.filter(pc.greater_equal(ids, 1 << PROCESS_SHIFT)))
        if not len(ids):
            return
        for relation, lends in LOOKUPS.values():
            if relation in EVENTS:
                table = facts[relation].select(["id", *dict.fromkeys(lends.values())])
                self._places[relation].append(table.filter(pc.is_in(table["id"], ids)))

    def _ask(self, group: "tuple[Compiled, list[_Asked]]") -> list[Sighting]:
        """Ask the laws that relate several steps, over everything kept."""
        started = time.perf_counter()
        compiled, asked = group
        kept = {name: pa.concat_tables(tables) for name, tables in self._stable.items() if tables}
        places = {name: pa.concat_tables(tables) for name, tables in self._places.items() if tables}
        answers = compiled.run({**self._lasting, **kept})
        fresh = []
        for one in asked:
            self.triggered |= one.triggered(answers)
            found = sightings(one.program, one.violated(answers), {**self._lasting, **places})
            fresh += self._note(self._related, found, add=False)
        self._asked_at = time.perf_counter()
        self._spent = self._asked_at - started
        return fresh

    def _note(self, known: dict[str, Sighting], found: Iterator[Sighting], add: bool) -> list[Sighting]:
        """Take sightings in: added to what was seen in other steps, or in place of what was seen in fewer."""
        fresh = []
        for sighting in found:
            before = known.get(sighting.law.id)
            if before is None:
                fresh.append(sighting)
            if before is not None and add:
                before.add(sighting)
            else:
                known[sighting.law.id] = sighting
        return fresh


def _waits_for_the_end(program: LawProgram) -> bool:
    template = program.grounding.template
    return template.within.kind == "run" and not is_final(template)


class _Asked:
    """The goals of one template's program, and how to read their answers.

    A `never` is triggered once there were facts of every kind that it speaks of, in whatever steps.
    """

    def __init__(self, program: LawProgram, whole: bool = False) -> None:
        self.program = program
        self.rules = list(program.rules)
        self._violated, self._triggered = (program.predicate(stem) for stem in ("violated", "triggered"))
        self._kinds: dict[str, bool] = {}
        if not program.grounding.template.expect and not whole:
            (rule,) = (rule for rule in program.rules if rule.head.predicate == self._triggered)
            self.rules.remove(rule)
            for place, literal in enumerate(rule.body[1:]):
                head = Atom(f"{self._triggered}_{place}", ())
                self._kinds[head.predicate] = False
                self.rules.append(Rule(head, (literal,)))
        self.goals = [self._violated, *(self._kinds or [self._triggered])]

    def restart(self) -> None:
        """Begin another trace."""
        self._kinds = dict.fromkeys(self._kinds, False)

    def violated(self, answers: Mapping[str, pa.Table]) -> pa.Table:
        """The violating examples."""
        return answers[self._violated]

    def triggered(self, answers: Mapping[str, pa.Table]) -> set[str]:
        """The laws that were triggered."""
        if not self._kinds:
            numbers = answers[self._triggered].column(0).to_pylist()
            return {self.program.laws[number].id for number in numbers}
        for kind in self._kinds:
            self._kinds[kind] |= bool(answers[kind].num_rows)
        return {law.id for law in self.program.laws} if all(self._kinds.values()) else set()
