"""A checked program: its rules with ordered bodies, grouped into strata, with every column's type."""

from collections.abc import Sequence
from dataclasses import dataclass

from traincheck.datalog.bodies import Step, schedule_rule
from traincheck.datalog.columns import ColumnTypes, infer_columns
from traincheck.datalog.program import Atom, Program, Rule
from traincheck.datalog.stratify import body_predicates, stratify
from traincheck.errors import RuleError

__all__ = ["PlannedRule", "PlannedStratum", "plan"]


@dataclass(frozen=True, slots=True)
class PlannedRule:
    """One rule and the steps of its body in evaluation order."""

    head: Atom
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class PlannedStratum:
    """The rules of mutually recursive predicates, or of one predicate that is not recursive."""

    predicates: tuple[str, ...]
    rules: tuple[PlannedRule, ...]
    recursive: bool

    def of(self, predicate: str) -> list[PlannedRule]:
        """The rules whose head is `predicate`."""
        return [rule for rule in self.rules if rule.head.predicate == predicate]

    def recursive_steps(self, rule: PlannedRule) -> list[tuple[int, str]]:
        """Positions and predicates of the atoms in the rule's body that belong to this stratum."""
        return [
            (position, step.predicate)
            for position, step in enumerate(rule.steps)
            if isinstance(step, Atom) and step.predicate in self.predicates
        ]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the goals need, in evaluation order; `columns` covers base relations too."""

    strata: tuple[PlannedStratum, ...]
    columns: ColumnTypes
    base: tuple[str, ...]


def plan(program: Program, goals: Sequence[str] | None = None) -> Plan:
    """Check the whole program and plan the part that `goals` need (all of it when None).

    Raises RuleError for unknown predicates or goals, unsafe rules, type clashes and recursion through a
    negation or a count.
    """
    derived = {rule.head.predicate for rule in program.rules}
    _check_names(program, derived, goals or ())
    bodies: list[tuple[Rule, tuple[Step, ...]]] = [(rule, schedule_rule(rule)) for rule in program.rules]
    columns = infer_columns(program.base, bodies)
    strata = []
    used = {goal for goal in goals or () if goal not in derived}
    for stratum in stratify(program, goals):
        rules = [(rule, steps) for rule, steps in bodies if rule.head.predicate in stratum.predicates]
        for rule, _ in rules:
            used |= {name for name, _ in body_predicates(rule.body)} - derived
        planned = tuple(PlannedRule(rule.head, steps) for rule, steps in rules)
        strata.append(PlannedStratum(tuple(sorted(stratum.predicates)), planned, stratum.recursive))
    return Plan(tuple(strata), columns, tuple(sorted(used)))


def _check_names(program: Program, derived: set[str], goals: Sequence[str]) -> None:
    for name in sorted(derived & set(program.base)):
        raise RuleError(f"'{name}' is a base relation and cannot be a rule's head")
    known = derived | set(program.base)
    for rule in program.rules:
        for name, _ in body_predicates(rule.body):
            if name not in known:
                raise RuleError(f"the rule for '{rule.head.predicate}' uses '{name}', which nothing defines")
    for goal in goals:
        if goal not in known:
            raise RuleError(f"there is no predicate '{goal}' to ask for")
