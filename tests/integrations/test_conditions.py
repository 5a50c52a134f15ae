"""Preconditions keep their meaning, however they are nested and inverted."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traincheck.dsl.syntax import Condition, Feature, Value
from traincheck.facts.plain import plain
from traincheck.integrations.orderlab.conditions import Unsupported, precondition

KEYS = ("a", "b", "c")
VALUES = (0, 1, 1.0, True, "1", None, "x")

clauses = st.builds(
    lambda kind, key, values: {
        "type": kind,
        "prop_name": key,
        "additional_path": "None",
        "prop_dtype": "None",
        "values": values,
    },
    st.sampled_from(["constant", "consistent", "unequal", "exist"]),
    st.sampled_from(KEYS),
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=2),
)
alternatives = st.one_of(
    st.just({"clauses": "Unconditional"}),
    st.builds(lambda found: {"clauses": found}, st.lists(clauses, min_size=1, max_size=3)),
)
groups = st.builds(
    lambda inverted, found: {"inverted": inverted, "preconditions": found},
    st.booleans(),
    st.lists(alternatives, min_size=1, max_size=3),
)
records = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=3)


def clause_holds(clause: dict[str, Any], example: list[dict[str, Any]]) -> bool:
    """A clause as the description of the format says it."""
    key = clause["prop_name"]
    if not all(key in record for record in example):
        return False
    seen = {plain(record[key]) for record in example}
    match clause["type"]:
        case "constant":
            return len(seen) == 1 and seen <= {plain(value) for value in clause["values"]}
        case "consistent":
            return len(seen) == 1
        case "unequal":
            return len(seen) == len(example)
        case _:
            return True


def group_holds(group: dict[str, Any], example: list[dict[str, Any]]) -> bool:
    held = any(
        item["clauses"] == "Unconditional" or all(clause_holds(clause, example) for clause in item["clauses"])
        for item in group["preconditions"]
    )
    return held != group["inverted"]


def condition_holds(condition: Condition, example: dict[str, dict[str, Any]]) -> bool:
    """A condition as docs and checker say it: `!=` holds for what is absent."""
    left = example[condition.left.name].get(condition.left.key)
    match condition.op, condition.right:
        case "exists", _:
            return left is not None
        case "absent", _:
            return left is None
        case op, Value(value=value):
            return (left == value) == (op == "==")
        case op, Feature(name=name, key=key):
            other = example[name].get(key)
            return (left is not None and left == other) == (op == "==")
    raise AssertionError(condition)


@given(groups, st.lists(records, min_size=1, max_size=2))
def test_a_precondition_means_what_it_meant(group: dict[str, Any], example: list[dict[str, Any]]) -> None:
    names = ["R", "Q"][: len(example)]
    ours = {
        name: {key: plain(value) for key, value in record.items()} for name, record in zip(names, example, strict=True)
    }
    expected = group_holds(group, example)
    try:
        found, left_out = precondition({"g": group}, {"g": names})
    except Unsupported:
        assert not expected
        return
    assert not left_out
    held = not found or any(all(condition_holds(item, ours) for item in conjunction) for conjunction in found)
    assert held == expected


def clause(**fields: Any) -> dict[str, Any]:
    return {
        "type": "constant",
        "prop_name": "k",
        "additional_path": "None",
        "prop_dtype": "str",
        "values": ["v"],
    } | fields


def one(*found: dict[str, Any], inverted: bool = False) -> dict[str, Any]:
    return {"g": {"inverted": inverted, "preconditions": [{"clauses": list(found)}]}}


@pytest.mark.parametrize(
    ("name", "path", "key"),
    [
        ("meta_vars.context_managers.m.autocast", ["enabled"], "meta_vars.context_managers.m.autocast.enabled"),
        ("meta_vars.context_managers.m.autocast.enabled", ["enabled"], "meta_vars.context_managers.m.autocast.enabled"),
        ("attributes._ML_DAIKON_data_ID", "None", "attributes._TRAINCHECK_data_ID"),
        ("meta_vars.stage", None, "meta_vars.stage"),
    ],
)
def test_names_of_properties(name: str, path: Any, key: str) -> None:
    found, _ = precondition(one(clause(prop_name=name, additional_path=path)), {"g": ["R"]})
    assert found == ((Condition("==", Feature("R", key), Value("v")),),)


def test_whole_numbers_are_whole_however_they_are_written() -> None:
    (found,), _ = precondition(one(clause(values=[128.0])), {"g": ["R"]})
    assert found[0].right == Value("128")


def test_numbers_flags_and_words_stay_apart() -> None:
    assert [plain(value) for value in (1, 1.0, True, "1", "true", "none", None, "")] == [
        "1", "1", "true", '"1"', '"true"', '"none"', "none", '""',
    ]  # fmt: skip


def test_inverted_alternatives_become_one_conjunction() -> None:
    group = {
        "inverted": True,
        "preconditions": [
            {"clauses": [clause(prop_name="step", values=[0])]},
            {"clauses": [clause(values=["a", "b"])]},
        ],
    }
    found, _ = precondition({"g": group}, {"g": ["R"]})
    assert {(item.op, item.right.value) for item in found[0]} == {("!=", "0"), ("!=", "a"), ("!=", "b")}
    assert len(found) == 1


def test_what_can_never_hold_is_told() -> None:
    with pytest.raises(Unsupported, match="never hold"):
        precondition({"g": {"inverted": True, "preconditions": [{"clauses": "Unconditional"}]}}, {"g": ["R"]})


def test_a_group_on_other_records_is_named() -> None:
    found, left_out = precondition({**one(clause()), "other": one(clause())["g"]}, {"g": ["R"]})
    assert len(found) == 1
    assert left_out == ["other"]


@pytest.mark.parametrize("broken", [None, "Failed", {"g": {}}, {"g": None}, one(clause(type="new"))])
def test_what_is_not_understood_is_told(broken: Any) -> None:
    with pytest.raises(Unsupported):
        precondition(broken, {"g": ["R"]})
