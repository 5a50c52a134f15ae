"""A precondition means to a check what it meant when it was learned."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.made_facts import MadeFacts
from traincheck.check.checker import Checker
from traincheck.check.law import Law
from traincheck.datalog.engine import engine_named
from traincheck.dsl.checker import Checked
from traincheck.dsl.load import load_rules
from traincheck.dsl.syntax import Condition, Feature, Invariant, Value
from traincheck.infer.learn import tally_facts
from traincheck.infer.profile import Clause, holds

# No example of it holds, so that a violation says that the precondition was met.
NEVER = """
template never_both(Api: api)
  "never"
  when    call(C, api: Api), call(D, api: "d")
  expect  not call(C, api: Api)
  within  C
  given   C, D
"""

features = st.dictionaries(st.sampled_from(["mode", "mood"]), st.sampled_from(["x", "y"]))
members = st.tuples(features, st.none() | st.sampled_from([70, 71]))
conditions = st.builds(
    Clause, st.just("C"), st.sampled_from(["mode", "mood"]), st.just("=="), st.sampled_from(["x", "y"])
) | st.builds(
    Clause,
    st.just("C"),
    st.sampled_from(["mode", "mood", "receiver", "step"]),
    st.sampled_from(["==", "!="]),
    other=st.just("D"),
)


def as_condition(clause: Clause) -> Condition:
    right = Feature(clause.other, clause.key) if clause.other is not None else Value(str(clause.value))
    return Condition(clause.op, Feature(clause.variable, clause.key), right)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    path = tmp_path_factory.mktemp("agree") / "never.rules"
    path.write_text(NEVER)
    return load_rules(["features", "windows", path], with_standard=False)


@settings(max_examples=15, deadline=None)
@given(members, members, st.integers(0, 1), st.lists(conditions, min_size=1, max_size=3, unique=True))
def test_what_a_profile_meets_a_check_applies_to(
    checked: Checked, mine: tuple, theirs: tuple, step: int, clauses: list[Clause]
) -> None:
    facts = MadeFacts()
    for api, at, (contexts, receiver) in (("c", 0, mine), ("d", step, theirs)):
        call = facts.call(api, at, receiver=receiver)
        for key, value in contexts.items():
            facts.add("context", call=call, key=key, value=value)
    tables, template = facts.tables(), checked.templates["never_both"]
    tally = tally_facts(tables, checked, [template], engine_named("duckdb"))["never_both"]
    (profile,) = tally.examples["c",]
    invariant = Invariant("never_both", (("Api", Value("c")),), "t", (tuple(map(as_condition, clauses)),))
    checker = Checker(checked, {"never_both": [Law("never_both-0", template, invariant)]}, engine_named("columns"))
    violations, _ = checker.check(tables)
    assert bool(violations) == holds((tuple(clauses),), profile)
