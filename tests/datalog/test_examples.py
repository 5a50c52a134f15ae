"""Small programs with known answers, on both engines."""

import pyarrow as pa
import pytest

from tests.datalog.programs import atom, tables
from traincheck.datalog.engine import engine_named
from traincheck.datalog.program import Arithmetic, Comparison, Constant, Count, Negation, Program, Rule, Variable

EDGE = {"edge": ("int", "int")}
X, Y, N = Variable("X"), Variable("Y"), Variable("N")


@pytest.fixture(params=["duckdb", "pydatalog"])
def solve(request):
    engine = engine_named(request.param)

    def run(rules, facts, goal, base):
        answers = engine.solve(Program(tuple(rules), base), tables(facts, base), [goal])
        return sorted(tuple(row.values()) for row in answers[goal].to_pylist())

    return run


PATH = [
    Rule(atom("path", "X", "Y"), (atom("edge", "X", "Y"),)),
    Rule(atom("path", "X", "Z"), (atom("edge", "X", "Y"), atom("path", "Y", "Z"))),
]
DOUBLE_PATH = [PATH[0], Rule(atom("path", "X", "Z"), (atom("path", "X", "Y"), atom("path", "Y", "Z")))]


@pytest.mark.parametrize("rules", [PATH, DOUBLE_PATH], ids=["linear", "doubly recursive"])
def test_transitive_closure_of_a_cycle_with_a_tail(solve, rules):
    found = solve(rules, {"edge": [(1, 2), (2, 3), (3, 1), (3, 4)]}, "path", EDGE)
    assert found == sorted((a, b) for a in (1, 2, 3) for b in (1, 2, 3, 4))


def test_negation_over_a_cyclic_closure(solve):
    rules = [
        *DOUBLE_PATH,
        Rule(atom("apart", "X", "Y"), (atom("node", "X"), atom("node", "Y"), Negation(atom("path", "X", "Y")))),
    ]
    facts = {"edge": [(1, 2), (2, 1), (3, 3), (3, 1)], "node": [(1,), (2,), (3,)]}
    assert solve(rules, facts, "apart", {**EDGE, "node": ("int",)}) == [(1, 3), (2, 3)]


def test_same_generation(solve):
    rules = [
        Rule(atom("same", "X", "X"), (atom("edge", "_", "X"),)),
        Rule(atom("same", "X", "Y"), (atom("edge", "A", "X"), atom("same", "A", "B"), atom("edge", "B", "Y"))),
        Rule(atom("same", "X", "Y"), (atom("edge", "A", "X"), atom("edge", "A", "Y"))),
    ]
    found = solve(rules, {"edge": [(0, 1), (0, 2), (1, 3), (2, 4)]}, "same", EDGE)
    assert found == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (3, 4), (4, 3), (4, 4)]


def test_mutual_recursion(solve):
    rules = [
        Rule(atom("even", 0), ()),
        Rule(atom("odd", "Y"), (atom("even", "X"), atom("edge", "X", "Y"))),
        Rule(atom("even", "Y"), (atom("odd", "X"), atom("edge", "X", "Y"))),
    ]
    assert solve(rules, {"edge": [(i, i + 1) for i in range(9)]}, "even", EDGE) == [(0,), (2,), (4,), (6,), (8,)]


def test_empty_answers_keep_their_types(solve):
    assert solve(PATH, {"edge": []}, "path", EDGE) == []
    for name in ("duckdb", "pydatalog"):
        table = engine_named(name).solve(Program(tuple(PATH), EDGE), {}, ["path"])["path"]
        assert table.schema.types == [pa.int64(), pa.int64()]
        assert table.column_names == ["c0", "c1"]


def test_a_relation_that_was_not_given_is_empty(solve):
    assert solve([Rule(atom("p", 1), (Negation(atom("edge", "_", "_")),))], {}, "p", EDGE) == [(1,)]


def test_a_predicate_that_can_hold_nothing(solve):
    assert solve([Rule(atom("p", "X"), (atom("p", "X"),))], {}, "p", {}) == []


def test_counts_include_zero(solve):
    count = Count((Y,), (atom("edge", "X", "Y"), Comparison(">", Y, X)), N)
    rules = [Rule(atom("later", "X", "N"), (atom("node", "X"), count))]
    facts = {"edge": [(1, 2), (1, 3), (2, 1)], "node": [(1,), (2,), (3,)]}
    assert solve(rules, facts, "later", {**EDGE, "node": ("int",)}) == [(1, 2), (2, 0), (3, 0)]


def test_a_count_of_everything_when_there_is_nothing(solve):
    assert solve([Rule(atom("p", "N"), (Count((X,), (atom("edge", "X", "_"),), N),))], {}, "p", EDGE) == [(0,)]


def test_two_counts_may_use_the_same_local_name(solve):
    counts = (
        Count((Y,), (atom("edge", "X", "Y"),), N),
        Count((Y,), (atom("edge", "Y", "X"),), Variable("M")),
    )
    rules = [Rule(atom("p", "X", "N", "M"), (atom("edge", "X", "_"), *counts))]
    assert solve(rules, {"edge": [(1, 2), (1, 3), (2, 3)]}, "p", EDGE) == [(1, 2, 0), (2, 1, 1)]


def test_absent_values_match_wildcards_only(solve):
    facts = {"edge": [(1, None), (None, 2), (None, None)]}
    assert solve([Rule(atom("p", "X"), (atom("edge", "X", "_"),))], facts, "p", EDGE) == [(1,)]
    assert solve([Rule(atom("p", "X"), (atom("edge", "X", "Y"),))], facts, "p", EDGE) == []
    assert solve([Rule(atom("p", "X"), (atom("edge", "X", "X"),))], facts, "p", EDGE) == []
    assert solve([Rule(atom("p", 7), (atom("edge", "_", "_"),))], facts, "p", EDGE) == [(7,)]


def test_a_base_relation_can_be_a_goal(solve):
    found = engine_named("duckdb").solve(Program((), EDGE), tables({"edge": [(1, None), (1, None)]}, EDGE), ["edge"])
    assert found["edge"].to_pylist() == [{"c0": 1, "c1": None}]
    assert solve([], {"edge": [(2, 1), (2, 1)]}, "edge", EDGE) == [(2, 1)]


def test_a_predicate_without_terms_has_one_row_or_none(solve):
    rules = [Rule(atom("some"), (atom("edge", "_", "_"),)), Rule(atom("none"), (Negation(atom("some")),))]
    assert solve(rules, {"edge": [(1, 1), (2, 2)]}, "some", EDGE) == [(1,)]
    assert solve(rules, {"edge": [(1, 1), (2, 2)]}, "none", EDGE) == []
    assert solve(rules, {}, "none", EDGE) == [(1,)]


@pytest.mark.parametrize("text", ["'; DROP TABLE word; --", '"', "\\", "$p0", "?", "%s", "a\0b", "X", "(1)", "*"])
def test_hostile_text_is_only_text(solve, text):
    base = {"word": ("str",), text: ("str",)}
    rules = [
        Rule(atom("p", "X"), (atom("word", "X"), Comparison("==", X, Constant(text)))),
        Rule(atom("p", "X"), (atom("word", "X"), atom(text, "X"))),
        Rule(atom(text + "?", "X"), (atom("p", "X"), Negation(atom("word", f"'{text}x'")))),
    ]
    assert solve(rules, {"word": [(text,), ("other",)], text: [("other",)]}, text + "?", base) == sorted(
        [("other",), (text,)]
    )


def test_names_that_differ_in_case_only_are_different_predicates(solve):
    rules = [Rule(atom("Edge", "X"), (atom("edge", "X", "_"),)), Rule(atom("EDGE", "X"), (atom("Edge", "X"),))]
    assert solve(rules, {"edge": [(1, 2)]}, "EDGE", EDGE) == [(1,)]


def test_floats_are_exact(solve):
    base = {"m": ("float",)}
    facts = {"m": [(0.1 + 0.2,), (0.3,), (float("nan"),)]}
    assert solve(
        [Rule(atom("p", "X"), (atom("m", "X"), atom("m", 0.3), Comparison("==", X, Constant(0.3))))], facts, "p", base
    ) == [(0.3,)]
    assert solve([Rule(atom("p", "X"), (atom("m", "X"), Comparison("<", X, Constant(0.31))))], facts, "p", base) == [
        (0.3,),
        (0.1 + 0.2,),
    ]


def test_whole_numbers_stay_whole_and_remainders_are_mathematical(solve):
    results = {("+", -7, 3): -4, ("*", -7, 3): -21, ("%", -7, 3): 2, ("%", 7, -3): -2, ("-", 2**62, 1): 2**62 - 1}
    for (op, left, right), expected in results.items():
        body = (Comparison("==", X, Arithmetic(op, Constant(left), Constant(right))),)
        assert solve([Rule(atom("p", "X"), body)], {}, "p", {}) == [(expected,)]


@pytest.mark.parametrize(("op", "left", "right"), [("+", 2**63 - 1, 1), ("*", 2**62, 2), ("%", 5, 0), ("%", 5.0, 0)])
def test_arithmetic_without_a_result_matches_nothing(solve, op, left, right):
    body = (Comparison("==", X, Arithmetic(op, Constant(left), Constant(right))),)
    assert solve([Rule(atom("p", "X"), body)], {}, "p", {}) == []


def test_a_glob_has_one_special_character(solve):
    words = [("a.b",), ("axb",), ("a_b",), ("ab",), ("[ab]",), ("a?b",), ("a%b\nc",)]
    for pattern, expected in {
        "a_b": ["a_b"],
        "a*b": ["a.b", "a?b", "a_b", "ab", "axb"],
        "[ab]": ["[ab]"],
        "a?b": ["a?b"],
        "a%*": ["a%b\nc"],
    }.items():
        body = (atom("word", "X"), Comparison("glob", X, Constant(pattern)))
        assert solve([Rule(atom("p", "X"), body)], {"word": words}, "p", {"word": ("str",)}) == [(w,) for w in expected]
