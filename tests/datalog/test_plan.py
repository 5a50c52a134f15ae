"""What is refused before anything runs, and what is not evaluated at all."""

import pytest

from tests.datalog.programs import atom, tables
from traincheck.datalog.engine import engine_named
from traincheck.datalog.plan import plan
from traincheck.datalog.program import Arithmetic, Comparison, Constant, Count, Negation, Program, Rule, Variable
from traincheck.errors import RuleError, UsageError

X, Y, N = Variable("X"), Variable("Y"), Variable("N")
BASE = {"edge": ("int", "int"), "word": ("str",), "size": ("float",)}


def check(*rules, goals=None):
    return plan(Program(rules, BASE), goals)


REFUSED = {
    "a negation on itself": (
        [
            Rule(atom("p", "X"), (atom("edge", "X", "_"), Negation(atom("q", "X")))),
            Rule(atom("q", "X"), (atom("p", "X"),)),
        ],
        "'p' -> 'q' -> 'p'",
    ),
    "a count of itself": ([Rule(atom("p", "N"), (Count((X,), (atom("p", "X"),), N),))], "'p' -> 'p'"),
    "an unbound head": ([Rule(atom("p", "X", "Y"), (atom("edge", "X", "_"),))], "nothing binds 'Y'"),
    "an unbound negation": ([Rule(atom("p", "X"), (atom("edge", "X", "_"), Negation(atom("edge", "X", "Y"))))], "'Y'"),
    "an unbound comparison": ([Rule(atom("p", "X"), (atom("edge", "X", "_"), Comparison("<", X, Y)))], "'Y'"),
    "a circular binding": ([Rule(atom("p", "X"), (Comparison("==", X, Y),))], "'X', 'Y'"),
    "an unbound count": ([Rule(atom("p", "N"), (Count((X, Y), (atom("edge", "X", "_"),), N),))], "'Y'"),
    "a wildcard in the head": ([Rule(atom("p", "_"), (atom("edge", "_", "_"),))], "unnamed column"),
    "an unknown predicate": ([Rule(atom("p", "X"), (atom("edges", "X"),))], "'edges'"),
    "a base relation as head": ([Rule(atom("word", "X"), (atom("word", "X"),))], "base relation"),
    "two arities": ([Rule(atom("p", "X"), (atom("edge", "X"),))], "has 2 columns but is used with 1"),
    "text joined with a number": ([Rule(atom("p", "X"), (atom("edge", "X", "_"), atom("word", "X")))], "int"),
    "whole joined with fractional": ([Rule(atom("p", "X"), (atom("edge", "X", "_"), atom("size", "X")))], "int"),
    "a constant of another type": ([Rule(atom("p"), (atom("edge", 1.0, "_"),))], "1.0 is float"),
    "a head of two types": ([Rule(atom("p", 1), ()), Rule(atom("p", "one"), ())], "'one' is str"),
    "text compared with a number": (
        [Rule(atom("p"), (atom("word", "X"), Comparison("<", X, Constant(1))))],
        "text with a number",
    ),
    "arithmetic on text": (
        [Rule(atom("p"), (atom("word", "X"), Comparison("==", Y, Arithmetic("+", X, Constant(1)))))],
        "needs numbers",
    ),
    "a glob that is no constant": ([Rule(atom("p"), (atom("word", "X"), Comparison("glob", X, X)))], "pattern"),
    "a type clash inside a count": (
        [Rule(atom("p", "N"), (Count((X,), (atom("edge", "X", "_"), atom("word", "X")), N),))],
        "int",
    ),
}


@pytest.mark.parametrize(("rules", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(rules, message):
    with pytest.raises(RuleError) as error:
        check(*rules)
    assert message in str(error.value)


def test_an_unknown_goal_is_refused():
    with pytest.raises(RuleError, match="'nothing'"):
        check(goals=["nothing"])


def test_an_unknown_engine_is_refused():
    with pytest.raises(UsageError, match="prolog"):
        engine_named("prolog")


def test_strata_come_in_order_and_only_those_that_are_needed():
    rules = [
        Rule(atom("top", "X"), (atom("edge", "X", "_"), Negation(atom("mid", "X")))),
        Rule(atom("mid", "X"), (atom("edge", "X", "Y"), atom("low", "Y"))),
        Rule(atom("low", "X"), (atom("mid", "X"),)),
        Rule(atom("low", "X"), (atom("edge", "_", "X"),)),
        Rule(atom("aside", "X"), (atom("word", "X"),)),
    ]
    strata = check(*rules, goals=["top"]).strata
    assert [(stratum.predicates, stratum.recursive) for stratum in strata] == [
        (("low", "mid"), True),
        (("top",), False),
    ]


@pytest.mark.parametrize("name", ["duckdb", "pydatalog"])
def test_relations_that_the_goals_do_not_need_are_not_looked_up(name):
    class Watched(dict):
        def get(self, key, default=None):
            assert key != "word"
            return super().get(key, default)

        def __getitem__(self, key):
            assert key != "word"
            return super().__getitem__(key)

    rules = (Rule(atom("p", "X"), (atom("edge", "X", "_"),)), Rule(atom("q", "X"), (atom("word", "X"),)))
    facts = Watched(tables({"edge": [(1, 2)], "word": [("a",)]}, BASE))
    assert engine_named(name).solve(Program(rules, BASE), facts, ["p"])["p"].num_rows == 1
