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
from traincheck.dsl.safety import bound_by
from traincheck.dsl.syntax import Compare, CountOf, Not, Template


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
    bound = bound_by(template.when)
    when_names = [name for name in names_in(template.when) if name in bound]
    spoken_of = {*names_in(template.expect), *template.given}
    if template.within.name is not None:
        spoken_of.add(template.within.name)
    if not template.expect:  # `never`: every grounding is a violation, told apart by all that it names
        spoken_of.update(when_names)
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
    template = grounding.template
    head = Atom(grounding.example, variables(grounding.when_parameters + grounding.key))
    return Rule(head, (*lowering.body(template.when), *_closing(template)))


def is_final(template: Template) -> bool:
    """Whether what `when` finds is judged as soon as it is there: nothing that comes later can change it.

    So it is where `when` asks for facts only, and `expect` compares what they say, or is `never`.
    """
    facts_only = not any(isinstance(formula, Not | CountOf) for formula in template.when)
    return facts_only and all(isinstance(formula, Compare) for formula in template.expect)


def _closing(template: Template) -> tuple[Literal, ...]:
    return () if is_final(template) else (closing_literal(template.within),)


def positive_rule(grounding: Grounding, lowering: Lowering, *limits: Literal) -> Rule:
    """`positive(P..., E...) :- when, closed, expect, limits.`"""
    template = grounding.template
    head = Atom(grounding.positive, variables(grounding.parameters + grounding.key))
    body = (*lowering.body(template.when), *_closing(template), *lowering.body(template.expect), *limits)
    return Rule(head, body)


def mining_limits(grounding: Grounding, lowering: Lowering) -> tuple[Literal, ...]:
    """`propose`, where mining needs it to bind a parameter that `expect` only counts or denies."""
    template = grounding.template
    bound = bound_by((*template.when, *template.expect))
    return lowering.body(template.propose) if set(grounding.parameters) - bound else ()


def candidate_rule(grounding: Grounding, lowering: Lowering) -> Rule:
    """`candidate(P...) :- positive(P..., _...), propose.`"""
    free = tuple(lowering.fresh() for _ in grounding.key)
    seen = Atom(grounding.positive, (*variables(grounding.parameters), *free))
    head = Atom(grounding.candidate, variables(grounding.parameters))
    return Rule(head, (seen, *lowering.body(grounding.template.propose)))
