"""Witness queries give every variable of a body back."""

import pytest

from tests.datalog.programs import atom, tables
from traincheck.datalog.program import Comparison, Count, Negation, Program, Rule, Variable
from traincheck.datalog.witness import Prover, witnesses
from traincheck.errors import RuleError

BASE = {"edge": ("int", "int"), "name": ("int", "str")}
FACTS = tables({"edge": [(1, 2), (2, 3), (3, None)], "name": [(1, "one"), (2, "two"), (2, None)]}, BASE)
PATH = Program(
    (
        Rule(atom("path", "X", "Y"), (atom("edge", "X", "Y"),)),
        Rule(atom("path", "X", "Z"), (atom("path", "X", "Y"), atom("edge", "Y", "Z"))),
    ),
    BASE,
)
X, Y, N = Variable("X"), Variable("Y"), Variable("N")


def test_all_variables_of_a_body():
    body = [atom("edge", "X", "Y"), atom("name", "X", "S"), Comparison("<", X, Y)]
    assert witnesses(body, {}, FACTS, program=Program((), BASE)) == [
        {"S": "one", "X": 1, "Y": 2},
        {"S": "two", "X": 2, "Y": 3},
    ]


def test_bound_variables_derived_predicates_and_the_limit():
    prover = Prover(FACTS, PATH)
    assert prover.witnesses([atom("path", "X", "Y")], {"X": 1, "Unused": 5}) == [{"X": 1, "Y": 2}, {"X": 1, "Y": 3}]
    assert prover.witnesses([atom("path", "X", "Y")], {"X": 1}, limit=1) == [{"X": 1, "Y": 2}]
    assert prover.witnesses([atom("path", "X", "Y")], {"X": 1, "Y": 3}) == [{"X": 1, "Y": 3}]
    assert prover.witnesses([atom("path", "X", "Y")], {"X": 3}) == []


def test_counts_and_negations():
    prover = Prover(FACTS, PATH)
    count = Count((Y,), (atom("path", "X", "Y"),), N)
    assert prover.witnesses([count], {"X": 1}) == [{"X": 1, "N": 2}]
    assert prover.witnesses([count], {"X": 9}) == [{"X": 9, "N": 0}]
    assert prover.witnesses([Negation(atom("edge", "X", "_"))], {"X": 9}) == [{"X": 9}]
    assert prover.witnesses([Negation(atom("edge", "X", "_"))], {"X": 3}) == []


def test_a_body_without_variables_has_one_witness_or_none():
    prover = Prover(FACTS, PATH)
    assert prover.witnesses([atom("path", 1, 3)]) == [{}]
    assert prover.witnesses([atom("path", 3, 1)]) == []


def test_an_unsafe_body_is_refused():
    with pytest.raises(RuleError, match="'Y'"):
        Prover(FACTS, PATH).witnesses([Comparison("<", X, Y)], {"X": 1})


def test_whole_rows_of_an_atom():
    prover = Prover(FACTS, PATH)
    assert prover.facts(atom("name", "X", "_"), {"X": 2}) == [(2, "two"), (2, None)]
    assert prover.facts(atom("name", "X", "S"), {"X": 2}) == [(2, "two")]
    assert prover.facts(atom("edge", "X", "X")) == []
    assert prover.facts(atom("path", 1, "Y")) == [(1, 2), (1, 3)]
