"""When one law says all that another says: theta-subsumption of their texts.

Law A implies law B when every example of B is one of A, and what A expects of it is at least what B expects:

    A.when θ  ⊆ B.when        θ maps the variables of A to the terms of B
    B.expect τ ⊆ A.expect θ   τ maps what only B's `expect` speaks of

and A's precondition asks no more than B's, and A's verdict is final no later.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from traincheck.dsl.substitute import Bound, renamed, substituted
from traincheck.dsl.syntax import (
    Anything,
    Atom,
    Condition,
    Feature,
    Formula,
    Invariant,
    Name,
    Template,
    Term,
    Value,
)
from traincheck.dsl.walk import atoms_of
from traincheck.schema import RELATIONS

_WINDOWS = ("call", "step", "epoch", "run")  # each ends within the next

Mapped = Mapping[str, Bound]


@dataclass(frozen=True)
class Said:
    """What an invariant says: its template's conditions with the arguments in place."""

    template: Template
    invariant: Invariant
    when: Sequence[Formula]
    expect: Sequence[Formula]
    asked: frozenset[str]  # relations that `when` names
    promised: frozenset[str]  # relations that `expect` names

    @classmethod
    def of(cls, template: Template, invariant: Invariant) -> "Said":
        """The conditions of this invariant of this template."""
        arguments: Mapped = dict(invariant.arguments)
        when = [substituted(formula, arguments) for formula in template.when]
        expect = [substituted(formula, arguments) for formula in template.expect]
        expect.sort(key=lambda formula: not isinstance(formula, Atom))  # atoms bind what the others compare
        return cls(template, invariant, when, expect, _relations(when), _relations(expect))


def implies(strong: Said, weak: Said) -> bool:
    """Whether a run that breaks `weak` breaks `strong` as well, as far as their texts tell."""
    if not strong.asked <= weak.asked or not weak.promised <= strong.promised | weak.asked:
        return False
    fixed = {name: Name(name) for name in _names(weak.when)}
    for theta in _matches([renamed(formula, _apart) for formula in strong.when], weak.when, {}):
        if _no_later(strong, weak, theta) and _asks_no_more(strong, weak, theta):
            promised = (substituted(renamed(formula, _apart), theta) for formula in strong.expect)
            if next(_matches(weak.expect, [*weak.when, *promised], fixed), None) is not None:
                return True
    return False


def _no_later(strong: Said, weak: Said, theta: Mapped) -> bool:
    mine, other = strong.template.within, weak.template.within
    if mine.kind != other.kind:
        return _WINDOWS.index(mine.kind) < _WINDOWS.index(other.kind)
    return mine.name is None or theta.get(_apart(mine.name)) == Name(str(other.name))


def _asks_no_more(strong: Said, weak: Said, theta: Mapped) -> bool:
    """Whether every example that meets the weak law's precondition meets the strong one's."""
    if not strong.invariant.precondition:
        return True
    mine = [{_condition(c, theta) for c in conjunction} for conjunction in strong.invariant.precondition]
    other = [{_condition(c, {}) for c in conjunction} for conjunction in weak.invariant.precondition]
    return bool(other) and all(any(less <= more for less in mine) for more in other)


def _condition(condition: Condition, theta: Mapped) -> tuple[object, ...]:
    def side(part: Feature | Value | None) -> object:
        if not isinstance(part, Feature):
            return part
        mapped = theta.get(_apart(part.name), Name(part.name))
        return (mapped.text if isinstance(mapped, Name) else mapped, part.key)

    return condition.op, side(condition.left), side(condition.right)


def _matches(patterns: Sequence[Formula], targets: Sequence[Formula], found: Mapped) -> Iterator[Mapped]:
    """Every way to map the variables of all patterns so that each is among the targets."""
    if not patterns:
        yield found
        return
    first, *rest = patterns
    for target in targets:
        for more in _match(first, target, found):
            yield from _matches(rest, targets, more)


def _match(pattern: Formula, target: Formula, found: Mapped) -> Iterator[Mapped]:
    """An atom may leave columns open that the target names; whatever else there is must be the same."""
    if isinstance(pattern, Atom) and isinstance(target, Atom):
        theirs = _columns(target)
        mapped: Mapped | None = found if pattern.relation == target.relation else None
        for column, term in _columns(pattern).items():
            mapped = None if mapped is None or column not in theirs else _bind(term, theirs[column], mapped)
        if mapped is not None:
            yield mapped
    elif not isinstance(pattern, Atom) and substituted(pattern, found) == target:
        yield found


def _columns(atom: Atom) -> dict[int, Term]:
    """The terms of an atom by position, those that may be anything left out."""
    named = [(RELATIONS[atom.relation].index(column), term) for column, term in atom.named]
    slots = (*enumerate(atom.positional), *named)
    return {position: term for position, term in slots if not isinstance(term, Anything)}


def _bind(pattern: Term, target: Term, found: Mapped) -> Mapped | None:
    assert not isinstance(target, Anything)
    if isinstance(pattern, Name):
        known = found.get(pattern.text)
        return {**found, pattern.text: target} if known is None else found if known == target else None
    return found if pattern == target else None


def _names(formulas: Sequence[Formula]) -> set[str]:
    return {term.text for atom, _ in atoms_of(formulas) for term in _columns(atom).values() if isinstance(term, Name)}


def _relations(formulas: Sequence[Formula]) -> frozenset[str]:
    return frozenset(atom.relation for atom, _ in atoms_of(formulas))


def _apart(name: str) -> str:
    """A name that no rule text can hold."""
    return f"{name}'"
