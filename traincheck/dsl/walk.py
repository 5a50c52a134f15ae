"""Which variables occur where in formulas."""

from collections.abc import Iterable, Iterator

from traincheck.dsl.syntax import (
    Anything,
    Atom,
    Calculation,
    Compare,
    CountOf,
    Expression,
    Formula,
    Name,
    Not,
    Term,
    Value,
)


def terms_of(atom: Atom) -> list[Term]:
    """Positional terms, then named ones."""
    return [*atom.positional, *(term for _, term in atom.named)]


def names_of_atom(atom: Atom) -> list[Name]:
    """The variables of an atom in order of appearance."""
    return [term for term in terms_of(atom) if isinstance(term, Name)]


def names_of_expression(expression: Expression | Anything) -> Iterator[Name]:
    """The variables of a calculation in order of appearance."""
    match expression:
        case Name():
            yield expression
        case Calculation(left=left, right=right):
            yield from names_of_expression(left)
            yield from names_of_expression(right)
        case Value() | Anything():
            return


def names_of(formula: Formula) -> Iterator[Name]:
    """Every occurrence of a variable in a formula, those inside a count included."""
    match formula:
        case Atom():
            yield from names_of_atom(formula)
        case Not(atom=atom):
            yield from names_of_atom(atom)
        case Compare(left=left, right=right):
            yield from names_of_expression(left)
            yield from names_of_expression(right)
        case CountOf(counted=counted, body=body, bound=bound):
            yield from counted
            yield from names_of_all(body)
            yield from names_of_expression(bound)


def names_of_all(formulas: Iterable[Formula]) -> Iterator[Name]:
    """Every occurrence of a variable in a conjunction."""
    for formula in formulas:
        yield from names_of(formula)


def atoms_of(formulas: Iterable[Formula], negative: bool = False) -> Iterator[tuple[Atom, bool]]:
    """Every atom of a conjunction, and whether it stands under a negation or a count."""
    for formula in formulas:
        match formula:
            case Atom():
                yield formula, negative
            case Not(atom=atom):
                yield atom, True
            case CountOf(body=body):
                yield from atoms_of(body, negative=True)
            case Compare():
                pass
