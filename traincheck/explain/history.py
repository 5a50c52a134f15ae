"""How often a law held before it was first violated, asked for several laws at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import pyarrow as pa

from traincheck.check.law import Law
from traincheck.check.locate import Locator
from traincheck.check.program import law_program
from traincheck.check.verdict import Violation
from traincheck.datalog.engine import engine_named
from traincheck.datalog.plan import plan
from traincheck.dsl.checker import Checked
from traincheck.dsl.program import lowering_of, program_of
from traincheck.schema import RELATIONS

__all__ = ["held_before"]


def held_before(checked: Checked, facts: Mapping[str, pa.Table], violations: Sequence[Violation]) -> dict[str, int]:
    """For each violated law that has something to expect: how many examples came before the first that broke it."""
    lowering = lowering_of(checked)
    groups: dict[str, list[Law]] = defaultdict(list)
    for violation in violations:
        if violation.law.template.expect:
            groups[violation.law.template.name].append(violation.law)
    if not groups:
        return {}
    programs = [law_program(laws, checked.sorts(laws[0].template), lowering) for laws in groups.values()]
    whole = program_of(
        checked,
        lowering,
        (rule for program in programs for rule in program.rules),
        **{name: types for program in programs for name, types in program.types.items()},
    )
    goals = [program.predicate(stem) for program in programs for stem in ("applicable", "violated")]
    base = {name: facts[name] for name in plan(whole, goals).base if name in RELATIONS}
    for program in programs:
        base |= program.tables
    answers = engine_named("duckdb").solve(whole, base, goals)
    locator = Locator(facts)
    counts: dict[str, int] = {}
    for program in programs:
        applicable, violated = (answers[program.predicate(stem)] for stem in ("applicable", "violated"))
        counts |= locator.before(program, applicable, violated)
    return counts
