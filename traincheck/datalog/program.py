"""The one typed form of a Datalog program that every engine answers.

A predicate is positional. An absent (null) value in a base relation matches a `Wildcard` only. Answers
are sets. `==` binds a variable that nothing else binds; every other comparison needs both sides bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal as OneOf

from traincheck.schema import ColumnType

ConstantValue = int | float | str
ArithmeticOp = OneOf["+", "-", "*", "%"]
ComparisonOp = OneOf["==", "!=", "<", "<=", ">", ">=", "glob"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A logic variable, local to its rule."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A value; 1, 1.0 and "1" are three different constants."""

    value: ConstantValue


@dataclass(frozen=True, slots=True)
class Wildcard:
    """An unnamed column: matches everything, null included, and binds nothing."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A number computed from two others; only inside comparisons."""

    op: ArithmeticOp
    left: "Operand"
    right: "Operand"


Term = Variable | Constant | Wildcard
Operand = Variable | Constant | Arithmetic


@dataclass(frozen=True, slots=True)
class Atom:
    """`predicate(terms...)`."""

    predicate: str
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """No fact matches the atom; its variables are bound elsewhere in the rule, its wildcards are free."""

    atom: Atom


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left op right`; `glob` matches a string (left) against a constant pattern with `*` (right)."""

    op: ComparisonOp
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Count:
    """Binds `result` to how many distinct values of `counted` satisfy `body`, zero included.

    Variables of `body` that also occur outside it in the rule are bound there (they group the count);
    the others are local to it.
    """

    counted: tuple[Variable, ...]
    body: tuple["Literal", ...]
    result: Variable


Literal = Atom | Negation | Comparison | Count


@dataclass(frozen=True, slots=True)
class Rule:
    """`head :- body.`; the head's terms are variables and constants."""

    head: Atom
    body: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """Rules over base relations; `base` gives the column types of every base predicate the rules use."""

    rules: tuple[Rule, ...]
    base: Mapping[str, Sequence[ColumnType]] = field(default_factory=dict)
