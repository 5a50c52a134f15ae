"""Why a law was not triggered: which condition of its `when` finds nothing, alone or together with the others."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from traincheck.check.law import Law
from traincheck.check.program import LawProgram, law_program
from traincheck.datalog.engine import Engine
from traincheck.datalog.plan import plan
from traincheck.datalog.program import Atom, Rule, Wildcard
from traincheck.dsl import syntax
from traincheck.dsl.checker import Checked
from traincheck.dsl.ground import variables
from traincheck.dsl.lower import Lowering
from traincheck.dsl.printer import print_condition, print_formula
from traincheck.dsl.program import lowering_of, program_of
from traincheck.explain.model import Told
from traincheck.schema import RELATIONS

__all__ = ["why_not"]

_ALONE, _TOGETHER = "alone", "together"


def why_not(checked: Checked, law: Law, facts: Mapping[str, pa.Table], engine: Engine) -> tuple[Told, ...]:
    """The conditions of `when`, each marked, and what follows: nothing matches, is decided, or applies."""
    lowering = lowering_of(checked)
    program = law_program([law], checked.sorts(law.template), lowering)
    formulas = sorted(law.template.when, key=lambda formula: not isinstance(formula, syntax.Atom))
    asked = list(_questions(program, formulas, lowering))
    whole = program_of(checked, lowering, (*program.rules, *asked), **program.types)
    goals = [rule.head.predicate for rule in asked] + [program.predicate(stem) for stem in ("concerned", "applicable")]
    base = {name: facts[name] for name in plan(whole, goals).base if name in RELATIONS} | program.tables
    found = {goal: answer.num_rows for goal, answer in engine.solve(whole, base, goals).items()}
    return tuple(_story(program, law, formulas, found))


def _questions(program: LawProgram, formulas: Sequence[syntax.Formula], lowering: Lowering) -> Iterator[Rule]:
    """Each atom alone, and each condition with all before it; the law's arguments are bound by its hypothesis."""
    parameters = variables(program.grounding.parameters)
    hypothesis = Atom(program.predicate("hypothesis"), (*parameters, Wildcard()))
    for number, formula in enumerate(formulas):
        together = lowering.body(formulas[: number + 1])
        yield Rule(Atom(program.predicate(f"{_TOGETHER}{number}"), ()), (hypothesis, *together))
        if isinstance(formula, syntax.Atom):
            yield Rule(Atom(program.predicate(f"{_ALONE}{number}"), ()), (hypothesis, *lowering.body([formula])))


def _story(
    program: LawProgram, law: Law, formulas: Sequence[syntax.Formula], found: Mapping[str, int]
) -> Iterator[Told]:
    marked = []
    reached = True
    for number, formula in enumerate(formulas):
        alone = found.get(program.predicate(f"{_ALONE}{number}"), 1) > 0
        together = found[program.predicate(f"{_TOGETHER}{number}")] > 0
        mark, note = ("ok", "") if together else ("missing", ": the trace has no such fact")
        if not together and alone:
            mark = "fails" if reached else "not reached"
            note = ": never together with what stands above" if reached else ""
        reached = reached and together
        marked.append(Told(f"[{mark}] {print_formula(formula)}{note}"))
    if law.arguments:
        yield Told("with " + ", ".join(f"{name} {value!r}" for name, value in law.arguments.items()))
    yield Told("when:", tuple(marked))
    if reached:
        yield from _after_when(program, law, found)


def _after_when(program: LawProgram, law: Law, found: Mapping[str, int]) -> Iterator[Told]:
    """What keeps examples that exist from being asked."""
    concerned, applicable = (found[program.predicate(stem)] for stem in ("concerned", "applicable"))
    if applicable or not law.template.expect:
        yield Told(f"it was triggered, by {applicable} example{'s' if applicable != 1 else ''}")
    elif concerned:
        conditions = [
            Told(" and ".join(print_condition(condition) for condition in conjunction))
            for conjunction in law.invariant.precondition
        ]
        yield Told(f"its precondition holds for none of {concerned} examples:", tuple(conditions))
    else:
        yield Told(f"no example is decided: {_window(law.template.within)} has not ended in this trace")


def _window(within: syntax.Within) -> str:
    return "the run" if within.kind == "run" else f"the {within.kind} of {within.name}"
