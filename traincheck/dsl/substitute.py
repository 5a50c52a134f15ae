"""Formulas with other terms in place of their variables."""

from collections.abc import Callable, Mapping

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

Bound = Name | Value


def substituted(formula: Formula, terms: Mapping[str, Bound]) -> Formula:
    """The formula with these terms in place of these variables; what a count counts keeps its name."""
    return _formula(formula, lambda name: terms.get(name.text, name))


def renamed(formula: Formula, rename: Callable[[str], str]) -> Formula:
    """The formula with every variable renamed."""
    return _formula(formula, lambda name: Name(rename(name.text)))


def _formula(formula: Formula, change: Callable[[Name], Bound]) -> Formula:
    match formula:
        case Atom():
            return _atom(formula, change)
        case Not(atom=atom):
            return Not(_atom(atom, change))
        case Compare(op=op, left=left, right=right):
            return Compare(op, _expression(left, change), _expression(right, change))
        case CountOf(counted=counted, body=body, op=op, bound=bound):
            names = tuple(new if isinstance(new := change(name), Name) else name for name in counted)
            return CountOf(names, tuple(_formula(part, change) for part in body), op, _expression(bound, change))


def _atom(atom: Atom, change: Callable[[Name], Bound]) -> Atom:
    positional = tuple(_term(term, change) for term in atom.positional)
    return Atom(atom.relation, positional, tuple((column, _term(term, change)) for column, term in atom.named))


def _term(term: Term, change: Callable[[Name], Bound]) -> Term:
    return term if isinstance(term, Value | Anything) else change(term)


def _expression(expression: Expression, change: Callable[[Name], Bound]) -> Expression:
    match expression:
        case Name():
            return change(expression)
        case Calculation(op=op, left=left, right=right):
            return Calculation(op, _expression(left, change), _expression(right, change))
        case Value():
            return expression
