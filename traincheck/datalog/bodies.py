"""The order in which a rule's body is evaluated, and with it the safety check.

Positive atoms come first, then whatever their variables make possible: bindings by `==`, tests, counts, and
negations last. A body that leaves a literal without values for its variables is unsafe. Every engine
evaluates the steps made here, so none can order a body differently.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

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
from traincheck.errors import RuleError

__all__ = [
    "Bind",
    "CountStep",
    "Step",
    "bound_by",
    "literal_variables",
    "operand_variables",
    "schedule",
    "schedule_rule",
    "step_variables",
    "term_variables",
]


@dataclass(frozen=True, slots=True)
class Bind:
    """`variable == operand` where nothing else binds the variable."""

    variable: str
    operand: Operand


@dataclass(frozen=True, slots=True)
class CountStep:
    """A count: `groups` are bound outside its body, `binds` says that the result is not bound elsewhere."""

    counted: tuple[str, ...]
    groups: tuple[str, ...]
    body: tuple["Step", ...]
    result: str
    binds: bool


Step = Atom | Bind | Comparison | CountStep | Negation


def operand_variables(operand: Operand) -> Iterator[str]:
    """Names of the variables in an operand, repeated as they occur."""
    if isinstance(operand, Variable):
        yield operand.name
    elif isinstance(operand, Arithmetic):
        yield from operand_variables(operand.left)
        yield from operand_variables(operand.right)


def term_variables(terms: Iterable[Term]) -> Iterator[str]:
    """Names of the variables among terms, repeated as they occur."""
    return (term.name for term in terms if isinstance(term, Variable))


def literal_variables(literal: Literal) -> Iterator[str]:
    """Names of every variable in a literal, the local ones of a count included."""
    if isinstance(literal, Atom):
        yield from term_variables(literal.terms)
    elif isinstance(literal, Negation):
        yield from term_variables(literal.atom.terms)
    elif isinstance(literal, Comparison):
        yield from operand_variables(literal.left)
        yield from operand_variables(literal.right)
    else:
        yield from term_variables(literal.counted)
        yield literal.result.name
        for inner in literal.body:
            yield from literal_variables(inner)


def step_variables(step: Step) -> set[str]:
    """The variables that a step shares with the steps beside it: a count's are its groups and its result."""
    if isinstance(step, CountStep):
        return {*step.groups, step.result}
    if isinstance(step, Bind):
        return {step.variable, *operand_variables(step.operand)}
    return set(literal_variables(step))


def schedule_rule(rule: Rule) -> tuple[Step, ...]:
    """The steps of a rule's body; RuleError when the head or a literal uses a variable that nothing binds."""
    what = f"the rule for '{rule.head.predicate}'"
    if any(isinstance(term, Wildcard) for term in rule.head.terms):
        raise RuleError(f"{what} has an unnamed column in its head")
    steps = schedule(rule.body, frozenset(), set(term_variables(rule.head.terms)), what)
    unbound = [name for name in term_variables(rule.head.terms) if name not in bound_by(steps)]
    if unbound:
        raise RuleError(f"{what} is unsafe: nothing binds {_quoted(unbound)} of its head")
    return steps


def bound_by(steps: Iterable[Step]) -> set[str]:
    """The variables that the steps bind."""
    bound: set[str] = set()
    for step in steps:
        if isinstance(step, Atom):
            bound.update(term_variables(step.terms))
        elif isinstance(step, Bind):
            bound.add(step.variable)
        elif isinstance(step, CountStep):
            bound.add(step.result)
    return bound


def schedule(
    body: Sequence[Literal], outer: frozenset[str], visible: Iterable[str] = (), what: str = "the query"
) -> tuple[Step, ...]:
    """Order a body whose `outer` variables have values already.

    `visible` names the variables that occur beside the body (a head's); those group its counts.
    """
    in_scope = {*outer, *visible}
    for literal in body:
        in_scope |= {literal.result.name} if isinstance(literal, Count) else set(literal_variables(literal))
    atoms = [literal for literal in body if isinstance(literal, Atom)]
    results = {literal.result.name for literal in body if isinstance(literal, Count)}
    bound = set(outer).union(*(term_variables(atom.terms) for atom in atoms))
    steps: list[Step] = list(atoms)
    pending = [literal for literal in body if not isinstance(literal, Atom)]
    pending.sort(key=_urgency)
    while pending:
        for literal in pending:
            step = _ready(literal, bound, results, in_scope, what)
            if step is not None:
                break
        else:
            raise RuleError(f"{what} is unsafe: nothing binds {_quoted(_missing(pending, bound, in_scope))}")
        steps.append(step)
        bound |= bound_by([step])
        pending.remove(literal)
    return tuple(steps)


def _urgency(literal: Literal) -> int:
    return 0 if isinstance(literal, Comparison) else 1 if isinstance(literal, Count) else 2


def _ready(literal: Literal, bound: set[str], results: set[str], in_scope: set[str], what: str) -> Step | None:
    """The step that evaluates `literal` now, or None while it lacks values."""
    if isinstance(literal, Comparison):
        return _ready_comparison(literal, bound, results)
    if isinstance(literal, Count):
        inside = {name for inner in literal.body for name in literal_variables(inner)}
        inside |= set(term_variables(literal.counted))
        groups = inside & in_scope
        if not groups <= bound:
            return None
        counted = tuple(variable.name for variable in literal.counted)
        steps = schedule(literal.body, frozenset(groups), (), what)
        unbound = set(counted) - groups - bound_by(steps)
        if unbound:
            raise RuleError(f"{what} is unsafe: nothing binds {_quoted(unbound)} of a count")
        result = literal.result.name
        return CountStep(counted, tuple(sorted(groups)), steps, result, binds=result not in bound)
    if isinstance(literal, Negation) and set(term_variables(literal.atom.terms)) <= bound:
        return literal
    return None


def _ready_comparison(literal: Comparison, bound: set[str], results: set[str]) -> Step | None:
    if literal.op == "glob" and not (isinstance(literal.right, Constant) and isinstance(literal.right.value, str)):
        raise RuleError("a glob's pattern must be a text constant")
    if set(literal_variables(literal)) <= bound:
        return literal
    if literal.op != "==":
        return None
    for target, source in ((literal.left, literal.right), (literal.right, literal.left)):
        if isinstance(target, Variable) and target.name not in bound | results:  # noqa: SIM102
            if set(operand_variables(source)) <= bound:
                return Bind(target.name, source)
    return None


def _missing(pending: Iterable[Literal], bound: set[str], in_scope: set[str]) -> set[str]:
    names = {name for literal in pending for name in literal_variables(literal)}
    return (names & in_scope) - bound or names - bound


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))
