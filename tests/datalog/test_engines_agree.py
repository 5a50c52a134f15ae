"""Both engines and a brute-force evaluator give the same answers to random programs."""

import os

from hypothesis import HealthCheck, given, note, settings

from tests.datalog.naive import evaluate, same
from tests.datalog.programs import BASE, facts, programs, tables
from traincheck.datalog.engine import engine_named

ENGINES = [engine_named("duckdb"), engine_named("pydatalog"), engine_named("columns")]
EXAMPLES = int(os.environ.get("TRAINCHECK_EXAMPLES", "150"))


def rows(table, arity):
    if not arity:
        return {()} if table.num_rows else set()
    return {tuple(map(same, row)) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)}


@settings(max_examples=EXAMPLES, deadline=None, derandomize=False, suppress_health_check=list(HealthCheck))
@given(programs(), facts())
def test_same_answers(made, base):
    program, strata = made
    base = {**{name: [] for name in BASE}, **base}
    note(program)
    expected = evaluate(program, base, strata)
    goals = sorted({rule.head.predicate for rule in program.rules} | {"e"})
    given_facts = tables({name: found for name, found in base.items() if found})
    for engine in ENGINES:
        answers = engine.solve(program, given_facts, goals)
        for goal in goals:
            arity = next((len(rule.head.terms) for rule in program.rules if rule.head.predicate == goal), 2)
            found = rows(answers[goal], arity)
            assert found == {tuple(map(same, row)) for row in expected[goal]}, (engine.name, goal)
            if arity:
                assert answers[goal].num_rows == len(found), (engine.name, goal, "rows are distinct")
