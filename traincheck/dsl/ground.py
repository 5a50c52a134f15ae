"""A template as Datalog: which examples it has and which of them are positive.

    example(PW..., E...)  :- when, closed.
    positive(P..., E...)  :- when, expect, closed.

P are the parameters, PW those that `when` binds, E the grounding key: the variables of `when` that
`expect`, `within` or `given` also speak of. The negative examples of a hypothesis P are the examples of
its PW less its positives, so they need never be enumerated.
"""

from dataclasses import dataclass

from traincheck.datalog.program import Atom, Literal, Rule, Variable
from traincheck.dsl.lower import Lowering, closing_literal, names_in
from traincheck.dsl.syntax import Template


@dataclass(frozen=True, slots=True)
class Grounding:
    """The names that a template's examples are made of, in the order of their columns."""

    template: Template
    parameters: tuple[str, ...]
    when_parameters: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def example(self) -> str:
        """Predicate of all examples: columns `when_parameters`, then `key`."""
        return f"example_{self.template.name}"

    @property
    def positive(self) -> str:
        """Predicate of positive examples: columns `parameters`, then `key`."""
        return f"positive_{self.template.name}"

    @property
    def candidate(self) -> str:
        """Predicate of the hypotheses worth mining: columns `parameters`."""
        return f"candidate_{self.template.name}"


def ground(template: Template) -> Grounding:
    """Split a template's names into parameters and grounding key."""
    parameters = tuple(parameter.name for parameter in template.parameters)
    when_names = names_in(template.when)
    spoken_of = {*names_in(template.expect), *template.given}
    if template.within.name is not None:
        spoken_of.add(template.within.name)
    return Grounding(
        template=template,
        parameters=parameters,
        when_parameters=tuple(name for name in parameters if name in when_names),
        key=tuple(name for name in when_names if name in spoken_of and name not in parameters),
    )


def variables(names: tuple[str, ...]) -> tuple[Variable, ...]:
    """The logic variables of these names."""
    return tuple(Variable(name) for name in names)


def example_rule(grounding: Grounding, lowering: Lowering) -> Rule:
    """`example(PW..., E...) :- when, closed.`"""
    head = Atom(grounding.example, variables(grounding.when_parameters + grounding.key))
    return Rule(head, (*lowering.body(grounding.template.when), closing_literal(grounding.template.within)))


def positive_rule(grounding: Grounding, lowering: Lowering, *limits: Literal) -> Rule:
    """`positive(P..., E...) :- when, closed, expect, limits.`"""
    template = grounding.template
    head = Atom(grounding.positive, variables(grounding.parameters + grounding.key))
    body = (*lowering.body(template.when), closing_literal(template.within), *lowering.body(template.expect), *limits)
    return Rule(head, body)


def candidate_rule(grounding: Grounding, lowering: Lowering) -> Rule:
    """`candidate(P...) :- positive(P..., _...), propose.`"""
    free = tuple(lowering.fresh() for _ in grounding.key)
    seen = Atom(grounding.positive, (*variables(grounding.parameters), *free))
    head = Atom(grounding.candidate, variables(grounding.parameters))
    return Rule(head, (seen, *lowering.body(grounding.template.propose)))
