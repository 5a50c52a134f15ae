"""The rule library as Datalog: what every program of a template or an invariant builds on."""

from collections.abc import Iterable, Sequence

from traincheck.datalog.program import Atom, Program, Rule, Variable
from traincheck.dsl.checker import Checked
from traincheck.dsl.lower import BASE_TYPES, Lowering, names_in
from traincheck.dsl.safety import bound_by
from traincheck.dsl.syntax import Formula
from traincheck.schema import SORTS, ColumnType


def lowering_of(checked: Checked) -> Lowering:
    """A lowering that knows the library's derived predicates."""
    return Lowering({name: len(sorts) for name, sorts in checked.predicate_sorts.items()})


def program_of(checked: Checked, lowering: Lowering, rules: Iterable[Rule], **extra: tuple[ColumnType, ...]) -> Program:
    """The library's definitions and `rules` in one program; `extra` are further base relations."""
    library = tuple(lowering.rule(define) for define in checked.defines)
    return Program((*library, *rules), {**BASE_TYPES, **extra})


def column_types(sorts: Iterable[str]) -> tuple[ColumnType, ...]:
    """Storage types of these sorts."""
    return tuple(SORTS[sort] for sort in sorts)


def question(checked: Checked, formulas: Sequence[Formula], predicate: str) -> tuple[Program, list[str]]:
    """`predicate(X, Y, ...) :- formulas.` with all their variables in order, and those variables' names."""
    lowering = lowering_of(checked)
    bound = bound_by(formulas)
    names = [name for name in names_in(formulas) if name in bound]
    rule = Rule(Atom(predicate, tuple(Variable(name) for name in names)), lowering.body(formulas))
    return program_of(checked, lowering, [rule]), names
