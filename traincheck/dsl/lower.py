"""Lowering: syntax trees become the positional Datalog form that engines answer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count

from traincheck.datalog.program import (
    Arithmetic,
    Atom,
    Comparison,
    Constant,
    Count,
    Literal,
    Negation,
    Operand,
    Rule,
    Term,
    Variable,
    Wildcard,
)
from traincheck.dsl import syntax
from traincheck.schema import RELATIONS, ColumnType

BASE_TYPES: Mapping[str, Sequence[ColumnType]] = {
    name: tuple(column.type for column in relation.columns) for name, relation in RELATIONS.items()
}


class Lowering:
    """Lowers formulas; fresh variables it makes are named `_n` and unique in one instance."""

    def __init__(self, arities: Mapping[str, int]) -> None:
        """`arities` gives the number of terms of every derived predicate."""
        self._arities = arities
        self._fresh = count()

    def defines(self, predicate: str) -> bool:
        """Whether some definition derives this predicate."""
        return predicate in self._arities

    def fresh(self) -> Variable:
        """A variable that no rule text can name."""
        return Variable(f"_{next(self._fresh)}")

    def body(self, formulas: Iterable[syntax.Formula]) -> tuple[Literal, ...]:
        """A conjunction; globs and counts become literals of their own."""
        return tuple(literal for formula in formulas for literal in self._formula(formula))

    def rule(self, define: syntax.Define) -> Rule:
        """`define head :- body.`"""
        head = Atom(define.head.relation, tuple(_head_term(term) for term in define.head.positional))
        return Rule(head, self.body(define.body))

    def _formula(self, formula: syntax.Formula) -> Iterator[Literal]:
        match formula:
            case syntax.Atom():
                yield from self._atom(formula)
            case syntax.Not(atom=atom):
                # A glob inside a negation would need a helper predicate; the checker refuses it.
                lowered = tuple(self._atom(atom))
                yield Negation(lowered[0])  # type: ignore[arg-type]
            case syntax.Compare(op=op, left=left, right=right):
                yield Comparison(op, _operand(left), _operand(right))
            case syntax.CountOf():
                result = self.fresh()
                counted = tuple(Variable(name.text) for name in formula.counted)
                yield Count(counted, self.body(formula.body), result)
                yield Comparison(formula.op, result, _operand(formula.bound))

    def _atom(self, atom: syntax.Atom) -> Iterator[Literal]:
        relation = RELATIONS.get(atom.relation)
        width = len(relation.columns) if relation is not None else self._arities[atom.relation]
        terms: list[Term] = [Wildcard()] * width
        globs: list[Literal] = []
        named = [(relation.index(column), term) for column, term in atom.named] if relation is not None else []
        for index, term in [*enumerate(atom.positional), *named]:
            if isinstance(term, syntax.Value) and isinstance(term.value, str) and "*" in term.value:
                terms[index] = matched = self.fresh()
                globs.append(Comparison("glob", matched, Constant(term.value)))
            else:
                terms[index] = _term(term)
        yield Atom(atom.relation, tuple(terms))
        yield from globs


def _term(term: syntax.Term) -> Term:
    match term:
        case syntax.Name(text=text):
            return Variable(text)
        case syntax.Value(value=value):
            return Constant(value)
        case syntax.Anything():
            return Wildcard()


def _head_term(term: syntax.Term) -> Term:
    lowered = _term(term)
    assert not isinstance(lowered, Wildcard), "the checker refuses '_' in a head"
    return lowered


def _operand(expression: syntax.Expression) -> Operand:
    match expression:
        case syntax.Name(text=text):
            return Variable(text)
        case syntax.Value(value=value):
            return Constant(value)
        case syntax.Calculation(op=op, left=left, right=right):
            return Arithmetic(op, _operand(left), _operand(right))


def names_in(formulas: Iterable[syntax.Formula]) -> list[str]:
    """Variables of a conjunction, in order of appearance."""
    found: dict[str, None] = {}
    for formula in formulas:
        for name in _formula_names(formula):
            found.setdefault(name)
    return list(found)


def _formula_names(formula: syntax.Formula) -> Iterator[str]:
    match formula:
        case syntax.Atom(positional=positional, named=named):
            for term in [*positional, *(term for _, term in named)]:
                if isinstance(term, syntax.Name):
                    yield term.text
        case syntax.Not(atom=atom):
            yield from _formula_names(atom)
        case syntax.Compare(left=left, right=right):
            yield from _expression_names(left)
            yield from _expression_names(right)
        case syntax.CountOf(body=body, bound=bound):
            yield from names_in(body)
            yield from _expression_names(bound)


def _expression_names(expression: syntax.Expression) -> Iterator[str]:
    match expression:
        case syntax.Name(text=text):
            yield text
        case syntax.Calculation(left=left, right=right):
            yield from _expression_names(left)
            yield from _expression_names(right)
        case syntax.Value():
            return


def closing_literal(within: syntax.Within) -> Atom:
    """The condition that a window can hold nothing new (rules/windows.rules)."""
    match within.kind:
        case "run":
            return Atom("closed_run", (Constant("main"),))
        case kind:
            assert within.name is not None
            return Atom(f"closed_{kind}", (Variable(within.name),))
