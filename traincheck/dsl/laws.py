"""Checks of templates, rules and invariants."""

import re
from collections.abc import Iterable, Mapping

from traincheck.dsl.declare import did_you_mean, listing
from traincheck.dsl.features import identities_of
from traincheck.dsl.predicates import predicate_sorts
from traincheck.dsl.report import Problems
from traincheck.dsl.safety import bound_by, check_locals, check_safety
from traincheck.dsl.scope import Scope
from traincheck.dsl.signature import Signatures
from traincheck.dsl.sorts import describe, describe_literal, literal_type, sort_of_variable
from traincheck.dsl.syntax import Condition, Feature, Invariant, Rule, Template, Within
from traincheck.schema import IDENTITY_SORTS, SORTS

GIVEN_SORTS = ("call", "variable", "window", "record")
LEARNABLE_SORTS = tuple(sort for sort in SORTS if sort not in IDENTITY_SORTS)
_GIVEN_ADVICE = "'given' takes calls, variables and windows (the ids of steps)"
_WINDOWS = {"call": "call", "step": "step"}
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def scope_of(law: Template | Rule, signatures: Signatures, problems: Problems) -> Scope:
    """The variables of a template or rule with their sorts, parameters first."""
    scope = Scope(signatures, problems)
    if isinstance(law, Template):
        for parameter in law.parameters:
            if parameter.sort in LEARNABLE_SORTS:
                scope.declare(parameter.name, frozenset({parameter.sort}), parameter.position)
        scope.read((*law.when, *law.expect, *law.propose))
    else:
        scope.read((*law.when, *law.expect))
    return scope


def check_template(template: Template, signatures: Signatures, problems: Problems) -> None:
    """Report what is wrong with a template."""
    parameters = frozenset(parameter.name for parameter in template.parameters)
    _check_parameters(template, problems)
    scope = scope_of(template, signatures, problems)
    for formulas in (template.when, template.expect, template.propose):
        scope.check(formulas)
    found = check_safety(template.when, frozenset(), problems)  # examples come from 'when' alone
    bound = check_safety(template.expect, found | parameters, problems)
    proposed = check_safety(template.propose, bound, problems)
    check_locals([(template.when, found), (template.expect, bound), (template.propose, proposed)], problems)
    bindable = bound_by((*template.when, *template.expect, *template.propose))
    for parameter in template.parameters:
        if parameter.name not in bindable:
            what = f"nothing in the template binds parameter '{parameter.name}'"
            problems.add(what, parameter.position, "use it in an atom of 'when', 'expect' or 'propose'")
    _check_text(template, "title", template.title, parameters | bound, problems)
    _check_text(template, "next", template.next, parameters, problems)
    _check_within(template, template.within, scope, signatures, problems)
    _check_given(template, scope, problems)
    for name in template.transitive:
        if name not in parameters:
            at = template.places.get(f"transitive {name}", template.position)
            advice = did_you_mean(name, sorted(parameters)) or "'transitive' relates two parameters"
            problems.add(f"'{name}' is no parameter of '{template.name}'", at, advice)


def check_rule(rule: Rule, signatures: Signatures, problems: Problems) -> None:
    """Report what is wrong with a rule."""
    scope = scope_of(rule, signatures, problems)
    scope.check(rule.when)
    scope.check(rule.expect)
    found = check_safety(rule.when, frozenset(), problems)
    bound = check_safety(rule.expect, found, problems)
    check_locals([(rule.when, found), (rule.expect, bound)], problems)
    _check_text(rule, "title", rule.title, bound, problems)
    _check_text(rule, "next", rule.next, (), problems)
    if rule.within is not None:
        _check_within(rule, rule.within, scope, signatures, problems)
    _check_given(rule, scope, problems)


def check_invariant(
    invariant: Invariant, templates: Mapping[str, Template], signatures: Signatures, problems: Problems
) -> None:
    """Report what is wrong with an invariant."""
    template = templates.get(invariant.template)
    if template is None:
        advice = (
            did_you_mean(invariant.template, list(templates)) or "pass the file with the template too: --rules FILE"
        )
        problems.add(f"no template '{invariant.template}'", invariant.position, advice)
        return
    _check_arguments(invariant, template, problems)
    _check_precondition(invariant, template, signatures, problems)
    evidence = invariant.evidence
    if evidence is not None:
        for measure in ("runs", "examples"):
            if getattr(evidence, measure) < 1:
                problems.add(f"evidence '{measure}' is at least 1", evidence.position)
        if evidence.exceptions < 0:
            problems.add("evidence 'exceptions' is at least 0", evidence.position)
        for measure in ("confidence", "false_alarms"):
            if not 0.0 <= getattr(evidence, measure) <= 1.0:
                problems.add(f"evidence '{measure}' is a number from 0 to 1", evidence.position)


def _check_precondition(invariant: Invariant, template: Template, signatures: Signatures, problems: Problems) -> None:
    conditions = [condition for conjunction in invariant.precondition for condition in conjunction]
    if not conditions:
        return
    scope = scope_of(template, signatures, Problems())
    identities = identities_of(predicate_sorts(signatures))
    for condition in conditions:
        named: list[str | None] = []  # the sort of the identity that a side names, if it names one
        for side in (condition.left, condition.right):
            if not isinstance(side, Feature):
                named.append(None)
            elif side.name in template.given:
                named.append(identities[sort_of_variable(scope.sorts[side.name])].get(side.key))
            else:
                what = f"a condition speaks of '{side.name}', which '{template.name}' does not give"
                known = f"gives {listing(template.given)}" if template.given else "has no section 'given'"
                problems.add(what, side.position, f"'{template.name}' {known}")
        if len(named) == 2 and named[0] != named[1]:
            _report_identity(condition, problems)


def _report_identity(condition: Condition, problems: Problems) -> None:
    """One side names an identity, and the other none or one of another sort."""
    key = condition.left.key
    what = f"'{condition.left.name}.{key}' cannot be compared with this"
    problems.add(what, condition.position, f"an identity is compared with another of its kind, such as D.{key}")


def _check_parameters(template: Template, problems: Problems) -> None:
    seen: set[str] = set()
    for parameter in template.parameters:
        if parameter.name in seen:
            problems.add(f"parameter '{parameter.name}' is declared twice", parameter.position)
        seen.add(parameter.name)
        if parameter.sort not in SORTS:
            advice = did_you_mean(parameter.sort, LEARNABLE_SORTS) or f"sorts are {', '.join(LEARNABLE_SORTS)}"
            problems.add(f"unknown sort '{parameter.sort}'", parameter.position, advice)
        elif parameter.sort in IDENTITY_SORTS:
            what = f"a parameter cannot be a {parameter.sort}: it means something in one run only"
            problems.add(what, parameter.position, f"sorts to learn from are {', '.join(LEARNABLE_SORTS)}")


def _check_text(law: Template | Rule, part: str, text: str, known: Iterable[str], problems: Problems) -> None:
    names = sorted(known)
    for name in _PLACEHOLDER.findall(text):
        if name not in names:
            advice = did_you_mean(name, names) or f"names to use are {', '.join(names) or 'none'}"
            at = law.places.get(part, law.position)
            problems.add(f"the {part} speaks of '{{{name}}}', which '{law.name}' does not have", at, advice)


def _check_within(
    law: Template | Rule, within: Within, scope: Scope, signatures: Signatures, problems: Problems
) -> None:
    if within.kind == "epoch" and "closed_epoch" not in signatures.derived:
        problems.add("nothing says when an epoch ends", within.position, "define closed_epoch(E)")
    if within.name is None:
        return
    if within.name not in bound_by(law.when):
        what = f"'within' speaks of '{within.name}', which 'when' does not bind"
        problems.add(what, within.position, "name a variable of an atom in 'when'")
        return
    sorts = scope.sorts.get(within.name)
    wanted = _WINDOWS.get(within.kind)
    if sorts is not None and wanted is not None and wanted not in sorts:
        what = f"'{within.name}' is {describe(sorts)}, 'within' needs a {wanted}"
        as_step = f"write 'within step {within.name}'" if sorts == {"step"} else None
        problems.add(what, within.position, as_step or "windows are a call, 'step S', 'epoch E' or 'run'")


def _check_given(template: Template | Rule, scope: Scope, problems: Problems) -> None:
    in_when = bound_by(template.when)
    for name in template.given:
        at = template.places.get(f"given {name}", template.position)
        sorts = scope.sorts.get(name, frozenset())
        if name not in in_when:
            problems.add(
                f"'given' speaks of '{name}', which 'when' does not bind", at, "name a variable of an atom in 'when'"
            )
        elif sorts and not sorts & set(GIVEN_SORTS):
            problems.add(f"'{name}' is {describe(sorts)}, which has no properties", at, _GIVEN_ADVICE)


def _check_arguments(invariant: Invariant, template: Template, problems: Problems) -> None:
    sorts = {parameter.name: parameter.sort for parameter in template.parameters}
    given: set[str] = set()
    for name, value in invariant.arguments:
        if name not in sorts:
            advice = did_you_mean(name, list(sorts)) or f"its parameters are {', '.join(sorts)}"
            problems.add(f"'{template.name}' has no parameter '{name}'", value.position, advice)
        elif name in given:
            problems.add(f"parameter '{name}' is given twice", value.position)
        elif sorts[name] in SORTS and literal_type(value) != SORTS[sorts[name]]:
            what = f"'{name}' is {describe(frozenset({sorts[name]}))}, not {describe_literal(value)}"
            problems.add(what, value.position)
        given.add(name)
    missing = [name for name in sorts if name not in given]
    if missing:
        what = f"'{template.name}' also needs {listing(missing)}"
        problems.add(what, invariant.position, "every parameter gets a value")
