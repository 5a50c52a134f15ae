"""One violation at hand: its template, its example, and the facts around it, ready for questions."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from traincheck.check.verdict import Violation
from traincheck.datalog.program import Atom, ConstantValue, Literal
from traincheck.datalog.witness import Binding, Prover
from traincheck.dsl import syntax
from traincheck.dsl.checker import Checked
from traincheck.dsl.lower import Lowering
from traincheck.dsl.printer import print_formula
from traincheck.dsl.program import lowering_of, program_of
from traincheck.dsl.substitute import substituted
from traincheck.dsl.walk import atoms_of
from traincheck.explain.describe import Describer
from traincheck.explain.model import Fact
from traincheck.explain.window import Window
from traincheck.schema import RELATIONS

__all__ = ["Case"]

_MOST_FACTS = 3
_MOST_ROWS = 200_000  # of a whole trace that may be searched when the window proves nothing


class Case:
    """What all parts of an explanation work with. `facts` are those of the violation's window, where these suffice."""

    def __init__(self, checked: Checked, facts: Mapping[str, pa.Table], violation: Violation) -> None:
        self.template = violation.law.template
        self.law = violation.law
        self.binding: Binding = dict(violation.binding)
        self.sorts = checked.sorts(self.template)
        self.lowering: Lowering = lowering_of(checked)
        self._defines: dict[str, list[syntax.Define]] = {}
        for define in checked.defines:
            self._defines.setdefault(define.head.relation, []).append(define)
        self._predicate_sorts = checked.predicate_sorts
        self._program = program_of(checked, self.lowering, ())
        entities: dict[str, list[ConstantValue]] = {}
        for name, value in self.binding.items():
            entities.setdefault(self.sorts.get(name, ""), []).append(value)
        if violation.first.step is not None:
            entities.setdefault("step", []).append(violation.first.step)
        self.window = Window(facts, entities)
        self.describer = Describer(self.window)
        self.prover = Prover(self.window, self._program)
        proofs = self._proofs()
        if not proofs and sum(facts[name].num_rows for name in self._read()) <= _MOST_ROWS:
            self.prover, self.describer = Prover(facts, self._program), Describer(facts)
            proofs = self._proofs()
        self.complete = bool(proofs)  # whether the facts at hand prove `when`
        self.example: Binding = {**self.binding, **(proofs[0] if proofs else {})}

    def _proofs(self) -> list[Binding]:
        """Values of every variable of `when` for this example."""
        return self.prover.witnesses(self.lowering.body(self.template.when), self.binding, limit=1)

    def _read(self) -> list[str]:
        """The base relations that the template's conditions read, at any depth."""
        seen: set[str] = set()
        pending = [atom.relation for atom, _ in atoms_of((*self.template.when, *self.template.expect))]
        while pending:
            predicate = pending.pop()
            if predicate not in seen:
                seen.add(predicate)
                for define in self.defines(predicate):
                    pending += [atom.relation for atom, _ in atoms_of(define.body)]
        return sorted(seen & set(RELATIONS))

    def defines(self, predicate: str) -> Sequence[syntax.Define]:
        """The definitions of a derived predicate."""
        return self._defines.get(predicate, ())

    def column(self, predicate: str, position: int) -> tuple[str, str]:
        """Name and sort of a predicate's column; one of a derived predicate goes by the predicate's name."""
        if predicate in RELATIONS:
            column = RELATIONS[predicate].columns[position]
            return column.name, column.sort
        return predicate, self._predicate_sorts[predicate][position]

    def literals(self, formula: syntax.Formula) -> tuple[Literal, ...]:
        """A formula in Datalog form."""
        return self.lowering.body([formula])

    def holds(self, literals: Sequence[Literal], values: Mapping[str, ConstantValue]) -> Binding | None:
        """One way to make all literals true, or None."""
        found = self.prover.witnesses(literals, values, limit=1)
        return {**values, **found[0]} if found else None

    def facts(self, atom: Atom, values: Mapping[str, ConstantValue], most: int = _MOST_FACTS) -> tuple[Fact, ...]:
        """Facts of a base relation that match an atom, described."""
        if atom.predicate not in RELATIONS:
            return ()
        columns = [column.name for column in RELATIONS[atom.predicate].columns]
        rows = self.prover.facts(atom, values)[:most]
        return tuple(self.describer.fact(atom.predicate, dict(zip(columns, row, strict=True))) for row in rows)

    def written(self, formula: syntax.Formula, values: Mapping[str, ConstantValue] | None = None) -> str:
        """A formula as text, with values in place of their names: the law's arguments when not told others."""
        known = self.law.arguments if values is None else values
        return print_formula(substituted(formula, {name: syntax.Value(value) for name, value in known.items()}))

    def named(self, name: str, value: ConstantValue | None) -> str:
        """A variable's value in words."""
        return self.describer.name(self.sorts.get(name, ""), value)
