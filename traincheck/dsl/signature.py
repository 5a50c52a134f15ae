"""Names that an atom may use: the schema's relations and the predicates that files define."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from traincheck.dsl.declare import did_you_mean, listing
from traincheck.dsl.report import Problems
from traincheck.dsl.sorts import Sorts, column_sorts
from traincheck.dsl.syntax import Atom, Term
from traincheck.schema import RELATIONS, Relation

Column = Sorts | None  # None: nothing known yet


@dataclass
class Signatures:
    """What every relation's columns are; `derived` grows while sorts are inferred."""

    derived: dict[str, list[Column]] = field(default_factory=dict)
    templates: Collection[str] = ()

    def slots(self, atom: Atom) -> Iterator[tuple[Term, Column]]:
        """Each term of an atom with what its column holds; terms that fit no column are left out."""
        relation = RELATIONS.get(atom.relation)
        if relation is None:
            yield from zip(atom.positional, self.derived.get(atom.relation, ()), strict=False)
            return
        columns = {column.name: column_sorts(relation, column) for column in relation.columns}
        yield from zip(atom.positional, columns.values(), strict=False)
        for name, term in atom.named:
            if name in columns:
                yield term, columns[name]

    def check(self, atom: Atom, problems: Problems) -> None:
        """Report an unknown relation, an unknown column or a wrong number of terms."""
        relation = RELATIONS.get(atom.relation)
        if relation is not None:
            _check_columns(atom, relation, problems)
        elif atom.relation in self.derived:
            self._check_arity(atom, problems)
        elif atom.relation in self.templates:
            problems.add(f"'{atom.relation}' is a template, not a relation", atom.position)
        else:
            known = [*RELATIONS, *self.derived]
            advice = did_you_mean(atom.relation, known) or "relations are those of the schema and of 'define'"
            problems.add(f"unknown relation '{atom.relation}'", atom.position, advice)

    def _check_arity(self, atom: Atom, problems: Problems) -> None:
        arity = len(self.derived[atom.relation])
        if atom.named:
            what = f"'{atom.relation}' is defined by rules, its terms have no names"
            problems.add(what, atom.position, f"give its {_terms(arity)} by position")
        elif len(atom.positional) != arity:
            what = f"'{atom.relation}' takes {_terms(arity)}, not {len(atom.positional)}"
            problems.add(what, atom.position, "write _ for a term that may be anything")


def _terms(number: int) -> str:
    return "1 term" if number == 1 else f"{number} terms"


def _check_columns(atom: Atom, relation: Relation, problems: Problems) -> None:
    columns = [column.name for column in relation.columns]
    if len(atom.positional) > len(columns):
        what = f"'{relation.name}' has {len(columns)} columns, not {len(atom.positional)}"
        problems.add(what, atom.position, f"its columns are {', '.join(columns)}")
    for name, term in atom.named:
        at = atom.places.get(name, term.position)
        if name not in columns:
            advice = did_you_mean(name, columns) or f"its columns are {listing(columns)}"
            problems.add(f"'{relation.name}' has no column '{name}'", at, advice)
        elif name in columns[: len(atom.positional)]:
            what = f"column '{name}' of '{relation.name}' is given twice, by position and by name"
            problems.add(what, at, f"the columns by position are {', '.join(columns)}")


def arities(defined: Mapping[str, int]) -> dict[str, list[Column]]:
    """Columns of which nothing is known yet, for predicates of these arities."""
    return {name: [None] * arity for name, arity in defined.items()}
