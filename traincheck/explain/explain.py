"""One violation explained: proof, expectation, nearest near miss and evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from traincheck.check.findings import findings
from traincheck.check.verdict import Violation
from traincheck.datalog.program import Atom, Constant, Variable
from traincheck.dsl.checker import Checked
from traincheck.dsl.features import FEATURES, identity_name
from traincheck.dsl.printer import print_condition
from traincheck.dsl.syntax import Condition, Feature
from traincheck.explain.case import Case
from traincheck.explain.history import held_before as held_before_each
from traincheck.explain.known import known
from traincheck.explain.model import Explanation, Node
from traincheck.explain.nearmiss import near_misses
from traincheck.explain.proof import prove, weigh
from traincheck.explain.story import tell
from traincheck.explain.words import sentence

__all__ = ["explain_violation", "explain_violations"]

_UNTOLD = frozenset({"process", "thread", "seq", "time", "tensor"})  # numbers that tell a reader nothing


def explain_violations(
    checked: Checked, facts: Mapping[str, pa.Table], violations: Sequence[Violation]
) -> dict[str, Explanation]:
    """An explanation for each violation, by the law's id; headlines also tell how often the law held before."""
    headlines = [finding.headline for finding in findings(violations)]
    counts = held_before_each(checked, facts, headlines)
    return {
        violation.law.id: explain_violation(checked, facts, violation, counts.get(violation.law.id))
        for violation in violations
    }


def explain_violation(
    checked: Checked, facts: Mapping[str, pa.Table], violation: Violation, held_before: int | None = None
) -> Explanation:
    """Explain the example that `violation` holds, by witness queries over the facts around it.

    `facts` are those of the trace that it was found in; only the steps and things that the example names are
    looked at. Answers come from the reference engine. `held_before` is told as it is given.
    """
    case = Case(checked, facts, violation)
    template, invariant = case.template, violation.law.invariant
    when = prove(case, template.when, case.example) if case.complete else weigh(case, template.when, case.binding)
    expect = weigh(case, template.expect, case.example)
    misses = near_misses(case) if template.expect else ()
    evidence = invariant.evidence
    explanation = Explanation(
        law=violation.law.id,
        title=invariant.title,
        what=sentence(case, violation.first, expect, misses),
        about=template.about,
        known=known(case, facts, violation.first.step),
        names={
            name: case.named(name, value)
            for name, value in case.binding.items()
            if name not in violation.law.arguments and case.sorts.get(name) not in _UNTOLD
        },
        when=when,
        precondition=_precondition(case),
        expect=expect,
        near_misses=misses,
        evidence={}
        if evidence is None
        else {
            "runs": evidence.runs,
            "examples": evidence.examples,
            "exceptions": evidence.exceptions,
            "confidence": evidence.confidence,
            "false_alarms": evidence.false_alarms,
        },
        complete=case.complete,
        held_before=held_before,
    )
    return replace(explanation, story=tell(explanation))


def _precondition(case: Case) -> tuple[Node, ...]:
    """The conditions of the first conjunction that holds for the example."""
    for conjunction in case.law.invariant.precondition:
        if all(_met(case, condition) for condition in conjunction):
            return tuple(Node(f"if {print_condition(condition)}", "precondition", True) for condition in conjunction)
    return ()


def _met(case: Case, condition: Condition) -> bool:
    left = _feature_values(case, condition.left)
    match condition.right:
        case None:
            return bool(left) == (condition.op == "exists")
        case Feature() as right:
            same = bool(left & _feature_values(case, right))
        case value:
            same = str(value.value) in left
    return same if condition.op == "==" else not same


def _feature_values(case: Case, feature: Feature) -> set[object]:
    sort = case.sorts.get(feature.name, "")
    if sort not in FEATURES or feature.name not in case.binding:
        return set()
    thing, value, identity = Variable(feature.name), Variable("_value"), identity_name(sort, feature.key)
    atom = (
        Atom(identity, (thing, value))
        if case.defines(identity)
        else Atom(FEATURES[sort], (thing, Constant(feature.key), value))
    )
    return {witness["_value"] for witness in case.prover.witnesses([atom], case.binding)}
