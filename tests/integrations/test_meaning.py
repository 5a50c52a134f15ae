"""Each relation of the original means, in our language, what it meant there."""

from pathlib import Path
from typing import Any

import pytest

from tests.integrations.logs import Record, api, call, constant, entry, imported, invariant, tensor, variable, verdict

OUTER, INNER = api("m.outer"), api("m.inner")


def change(attr: str = "grad", **values: Any) -> Record:
    return {"param_type": "VarTypeParam", "var_type": "torch.nn.Parameter", "attr_name": attr} | values


def side(name: str, path: Any, is_input: bool, index: int | None = 0) -> Record:
    fields = {"name": name, "index": index, "additional_path": path, "is_input": is_input}
    return {"param_type": "InputOutputParam", "type": "torch.Tensor", "api_name": "m.f"} | fields


CONTAIN = invariant("APIContainRelation", OUTER, INNER)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (call("m.outer", 1, 9, call("m.mid", 2, 8, call("m.inner", 3, 4))), "held"),
        ([*call("m.outer", 1, 9), *call("m.inner", 10, 11)], "violated"),
        ([*call("m.outer", 1, 9, call("m.inner", 2, 3)), *call("m.outer", 10, 11)], "violated"),
        (call("m.outer", 1, 9, call("m.inner", 2, 3, raises="X")), "violated"),
        (call("m.outer", 1, 9, call("m.inner", 2, 3, thread_id=8)), "violated"),
        ([entry("m.outer", 1), *call("m.other", 2, 3)], "not triggered"),
        (call("m.other", 2, 3), "not triggered"),
    ],
)
def test_contained_calls(tmp_path: Path, records: list[Record], expected: str) -> None:
    facts, _ = imported(tmp_path, records)
    assert verdict(tmp_path, facts, CONTAIN) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kwargs": {"p": {"float": 0.5}, "more": {"int": 1}}}, "held"),
        ({"kwargs": {"p": {"float": 0.1}}}, "violated"),
        ({"kwargs": {"p": {"int": 0}}}, "violated"),
        ({"kwargs": {}}, "violated"),
        ({"args": {"0": {"str": "x"}, "1": {"float": 0.5}}}, "held"),
        ({"args": {"0": {"float": 0.1}}}, "violated"),
    ],
)
def test_contained_calls_with_arguments(tmp_path: Path, given: Record, expected: str) -> None:
    facts, _ = imported(tmp_path, call("m.outer", 1, 9, call("m.inner", 2, 3, **given)))
    child = api("m.inner", arguments={"args": {"p": {"float": 0.5}}, "func_name": "m.inner"})
    assert verdict(tmp_path, facts, invariant("APIContainRelation", OUTER, child)) == expected


def test_positions_get_their_names_from_installed_sources(tmp_path: Path) -> None:
    function = "json.encoder.JSONEncoder.encode"
    child = api(function, arguments={"args": {"o": {"int": 1}}, "func_name": function})
    for number, (given, expected) in enumerate(
        [({"0": {"j.J": {}}, "1": {"int": 1}}, "held"), ({"0": {"int": 1}, "1": {"int": 2}}, "violated")]
    ):
        folder = tmp_path / str(number)
        facts, _ = imported(folder, call("m.outer", 1, 9, call(function, 2, 3, args=given)))
        assert verdict(folder, facts, invariant("APIContainRelation", OUTER, child)) == expected


def test_a_tensor_among_the_arguments_needs_only_what_is_asked(tmp_path: Path) -> None:
    facts, _ = imported(tmp_path, call("m.outer", 1, 9, call("m.inner", 2, 3, kwargs={"x": tensor(ndim=2)})))
    for ndim, expected in ((2, "held"), (3, "violated")):
        child = api("m.inner", arguments={"args": {"x": {"torch.Tensor": {"ndim": ndim}}}, "func_name": "m.inner"})
        assert verdict(tmp_path, facts, invariant("APIContainRelation", OUTER, child)) == expected
    anything = api("m.inner", arguments=None)
    assert verdict(tmp_path, facts, invariant("APIContainRelation", OUTER, anything)) == "held"


@pytest.mark.parametrize(("raised", "expected"), [("KeyError", "held"), ("ValueError", "violated")])
def test_contained_exceptions(tmp_path: Path, raised: str, expected: str) -> None:
    facts, _ = imported(tmp_path, call("m.outer", 1, 9, call("m.inner", 2, 3, raises=raised)))
    assert (
        verdict(tmp_path, facts, invariant("APIContainRelation", OUTER, api("m.inner", exception="KeyError")))
        == expected
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "held"),
        ({"pre_value": "non_zero", "post_value": None}, "held"),
        ({"pre_value": -5, "post_value": None}, "held"),
        ({"pre_value": -5.0}, "held"),
        ({"pre_value": "below_zero"}, "held"),
        ({"pre_value": "non_positive", "post_value": "non_positive"}, "held"),
        ({"pre_value": "anything", "post_value": "anything"}, "held"),
        ({"pre_value": "non_none"}, "held"),
        ({"pre_value": "above_zero"}, "violated"),
        ({"pre_value": "non_negative"}, "violated"),
        ({"pre_value": None}, "violated"),
        ({"post_value": "non_none"}, "violated"),
        ({"post_value": "non_zero"}, "violated"),
        ({"pre_value": "<NA>"}, "violated"),
        ({"pre_value": -6}, "violated"),
    ],
)
def test_contained_changes(tmp_path: Path, values: Record, expected: str) -> None:
    inside = [variable("w", 5, 1, thread_id=8)]
    before = variable("w", 0, 1, attributes={"grad": -5})
    facts, _ = imported(tmp_path, [before, *call("m.outer", 1, 9, inside)])
    assert verdict(tmp_path, facts, invariant("APIContainRelation", OUTER, change(**values))) == expected


def test_contained_changes_of_one_name(tmp_path: Path) -> None:
    facts, _ = imported(tmp_path, [variable("w", 0, 1), *call("m.outer", 1, 9, [variable("w", 5, 2)])])
    for name, expected in (("w", "held"), ("v", "violated")):
        named = change("data") | {"param_type": "VarNameParam", "var_name": name}
        assert verdict(tmp_path, facts, invariant("APIContainRelation", OUTER, named)) == expected


@pytest.mark.parametrize(
    ("order", "cover", "lead"),
    [
        ("ABAB", "held", "held"),
        ("AB", "held", "held"),
        ("B", "violated", "not triggered"),
        ("ABB", "violated", "held"),
        ("AAB", "held", "violated"),
        ("ABA", "held", "held"),
        ("A", "not triggered", "violated"),
        ("", "not triggered", "not triggered"),
    ],
)
def test_what_comes_before_and_after(tmp_path: Path, order: str, cover: str, lead: str) -> None:
    records = [*call("m.x", 0, 1), *(r for n, c in enumerate(order, 1) for r in call(f"m.{c}", n * 10, n * 10 + 1))]
    facts, _ = imported(tmp_path, records)
    pair = (api("m.A"), api("m.B"))
    for relation, expected in (("FunctionCoverRelation", cover), ("FunctionLeadRelation", lead)):
        assert verdict(tmp_path, facts, invariant(relation, *pair)) == expected


def test_other_threads_do_not_cover(tmp_path: Path) -> None:
    facts, _ = imported(tmp_path, [*call("m.A", 1, 2), *call("m.B", 3, 4, thread_id=8)])
    assert verdict(tmp_path, facts, invariant("FunctionCoverRelation", api("m.A"), api("m.B"))) == "violated"


def test_lists_of_functions_are_taken_pair_by_pair(tmp_path: Path) -> None:
    facts, _ = imported(tmp_path, [r for n, c in enumerate("ACB") for r in call(f"m.{c}", n * 10, n * 10 + 1)])
    chain = [api("m.A"), api("m.B"), api("m.C")]
    assert verdict(tmp_path, facts, invariant("FunctionCoverRelation", *chain)) == "violated"
    assert verdict(tmp_path, facts, invariant("FunctionCoverRelation", *chain[:2])) == "held"


@pytest.mark.parametrize(
    ("order", "cover", "lead"),
    [
        ("aABb", "held", "held"),  # lower case: calls in the stage that the precondition leaves out
        ("ABbABb", "held", "held"),
        ("ABaB", "held", "held"),
        ("ABB", "violated", "held"),
        ("AaA", "not triggered", "violated"),
        ("AbA", "not triggered", "held"),
        ("b", "not triggered", "not triggered"),
    ],
)
def test_only_calls_that_meet_the_precondition_take_part(tmp_path: Path, order: str, cover: str, lead: str) -> None:
    records = []
    for number, letter in enumerate(order):
        stage = "training" if letter.isupper() else "testing"
        records += call(f"m.{letter.upper()}", number * 10, number * 10 + 1, meta_vars={"stage": stage})
    facts, _ = imported(tmp_path, records)
    training = [constant("meta_vars.stage", "training")]
    for relation, expected in (("FunctionCoverRelation", cover), ("FunctionLeadRelation", lead)):
        assert verdict(tmp_path, facts, invariant(relation, api("m.A"), api("m.B"), clauses=training)) == expected


@pytest.mark.parametrize(
    ("returned", "key", "value", "expected"),
    [
        (tensor(), "dtype", "torch.float32", "held"),
        ([tensor(), {"int": 1}, tensor()], "dtype", "torch.float32", "held"),
        ([tensor(), tensor(dtype="torch.float16")], "dtype", "torch.float32", "violated"),
        (tensor(), "shape", [4, 2], "held"),
        (tensor(), "ndim", 2.0, "held"),
        (tensor(), "is_leaf", True, "violated"),
        ({"int": 1}, "dtype", "torch.float32", "violated"),
        ("a string", "dtype", "torch.float32", "violated"),
        ({"torch.nn.Parameter": {"dtype": "torch.float32"}}, "dtype", "torch.float32", "held"),
        (tensor(is_leaf=True), "is_leaf", 1, "violated"),
    ],
)
def test_constant_outputs(tmp_path: Path, returned: Any, key: str, value: Any, expected: str) -> None:
    facts, _ = imported(tmp_path, call("m.f", 1, 2, returns=returned))
    result = {"param_type": "VarTypeParam", "var_type": "torch.Tensor", "attr_name": key, "const_value": value}
    assert verdict(tmp_path, facts, invariant("ConsistentOutputRelation", api("m.f"), result)) == expected


def test_calls_that_raise_return_nothing(tmp_path: Path) -> None:
    facts, _ = imported(tmp_path, call("m.f", 1, 2, raises="X"))
    result = {"param_type": "VarTypeParam", "var_type": "torch.Tensor", "attr_name": "ndim", "const_value": 1}
    assert verdict(tmp_path, facts, invariant("ConsistentOutputRelation", api("m.f"), result)) == "not triggered"


@pytest.mark.parametrize(
    ("given", "returned", "expected"),
    [
        (tensor(shape=[4, 2]), tensor(shape=[2, 4]), "held"),
        (tensor(shape=[4, 2]), tensor(shape=[3, 5]), "violated"),
        (tensor(shape=[4, 2]), tensor(shape=[3]), "not triggered"),
        ({"int": 4}, tensor(), "not triggered"),
    ],
)
def test_inputs_and_outputs(tmp_path: Path, given: Record, returned: Record, expected: str) -> None:
    facts, _ = imported(tmp_path, call("m.f", 1, 2, args={"0": {"str": "x"}}, kwargs={"x": given}, returns=returned))
    params = (side("input_tensors", ["shape", 0], True), api("m.f"), side("output_tensors", ["shape", 1], False))
    assert verdict(tmp_path, facts, invariant("ConsistentInputOutputRelation", *params)) == expected


@pytest.mark.parametrize(
    ("limit", "most", "least"), [(3, "held", "held"), (4, "held", "violated"), (2, "violated", "held")]
)
def test_thresholds(tmp_path: Path, limit: int, most: str, least: str) -> None:
    returned = tensor(_ML_DAIKON_RESPONSE_LENGTHS=[3, 9])
    facts, _ = imported(tmp_path, call("m.f", 1, 2, kwargs={"limit": {"int": limit}}, returns=returned))
    argument = side("limit", None, True, index=None)
    length = side("output_tensors", ["_ML_DAIKON_RESPONSE_LENGTHS", 0], False)
    assert verdict(tmp_path, facts, invariant("ThresholdRelation", argument, api("m.f"), length)) == most
    assert verdict(tmp_path, facts, invariant("ThresholdRelation", length, api("m.f"), argument)) == least


@pytest.mark.parametrize(
    ("first", "second", "fields", "expected"),
    [
        ({"int": 1}, {"int": 2}, {}, "held"),
        ({"int": 1}, {"int": 1}, {}, "violated"),
        ({"int": 1}, {"int": 1}, {"meta_vars": {"step": 1}}, "held"),
        ({"int": 1}, {"int": 1}, {"kwargs": {"x": {"int": 1}}}, "violated"),
        (tensor(_ML_DAIKON_data_ID=1), tensor(_ML_DAIKON_data_ID=2), {}, "held"),
        (tensor(shape=[4, 2]), tensor(shape=[2, 4]), {}, "violated"),
        ({"list": []}, {"list": []}, {}, "held"),
    ],
)
def test_distinct_arguments(tmp_path: Path, first: Record, second: Record, fields: Record, expected: str) -> None:
    records = [*call("m.f", 1, 2, args={"0": first}), *call("m.f", 3, 4, args={"0": second}, **fields)]
    facts, _ = imported(tmp_path, records)
    found = verdict(tmp_path, facts, invariant("DistinctArgumentRelation", api("m.f")))
    assert found == ("not triggered" if "meta_vars" in fields else expected)


@pytest.mark.parametrize(
    ("values", "clauses", "expected"),
    [
        ((5, 5), "Unconditional", "held"),
        ((5, 6), "Unconditional", "violated"),
        ((5, 6), [{"type": "consistent", "prop_name": "var_name", "additional_path": "None"}], "not triggered"),
        ((5, 6), [{"type": "unequal", "prop_name": "process_id", "additional_path": "None"}], "violated"),
        ((5, 6), [constant("attributes.ndim", 2.0)], "violated"),
        ((5, 6), [constant("attributes.ndim", 3.0)], "not triggered"),
        ((5, 6), [{"type": "exist", "prop_name": "attributes.nothing", "additional_path": "None"}], "not triggered"),
    ],
)
def test_consistency(tmp_path: Path, values: tuple[int, int], clauses: Any, expected: str) -> None:
    records = [
        variable(name, time, value, process_id=process)
        for time in (0, 50, 100)
        for process, (name, value) in enumerate(zip("vw", values, strict=True), 1)
    ]
    facts, _ = imported(tmp_path, records)
    pair = (change("data"), change("data"))
    assert verdict(tmp_path, facts, invariant("ConsistencyRelation", *pair, clauses=clauses)) == expected


def same(key: str) -> Record:
    return {"type": "consistent", "prop_name": key, "additional_path": "None"}


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ([same("attributes.ndim"), same("attributes.nbytes")], "violated"),
        ([same("attributes.ndim"), same("attributes.size")], "not triggered"),
        ([same("attributes.ndim"), same("attributes.here")], "not triggered"),
        ([same("attributes.size") | {"type": "unequal"}, same("process_id") | {"type": "unequal"}], "violated"),
        ([same("attributes.ndim") | {"type": "exist"}, same("attributes.here") | {"type": "exist"}], "not triggered"),
    ],
)
def test_each_of_several_conditions_counts(tmp_path: Path, clauses: Any, expected: str) -> None:
    records = []
    for time in (0, 100):
        records.append(variable("v", time, 1, attributes={"size": 1, "here": 1}))
        records.append(variable("w", time, 2, attributes={"size": 2}, process_id=2))
    facts, _ = imported(tmp_path, records)
    pair = (change("data"), change("data"))
    assert verdict(tmp_path, facts, invariant("ConsistencyRelation", *pair, clauses=clauses)) == expected


@pytest.mark.parametrize(("moment", "expected"), [(199, "held"), (180, "violated")])
def test_values_that_hardly_meet_in_time_are_not_compared(tmp_path: Path, moment: int, expected: str) -> None:
    """The one turns from 1 to 2 at 200, the other has been 2 since `moment`; they differ for 200 - moment."""
    first = [variable("v", 0, 1), variable("v", 200, 2), variable("v", 1000, 2)]
    second = [variable("w", 0, 1, process_id=2), variable("w", moment, 2, process_id=2)]
    facts, _ = imported(tmp_path, [*first, *second])
    pair = (change("data"), change("data"))
    assert verdict(tmp_path, facts, invariant("ConsistencyRelation", *pair)) == expected


def test_consistency_of_two_attributes(tmp_path: Path) -> None:
    records = [variable("v", time, 7, attributes={"grad": 7}) for time in (0, 100)]
    records += [variable("w", time, 7, attributes={"grad": 7}, process_id=2) for time in (0, 100)]
    facts, _ = imported(tmp_path, records)
    assert verdict(tmp_path, facts, invariant("ConsistencyRelation", change("data"), change("grad"))) == "held"
    assert verdict(tmp_path, facts, invariant("ConsistencyRelation", change("data"), change("ndim"))) == "violated"


@pytest.mark.parametrize(("stage", "expected"), [("training", "violated"), ("init", "held")])
def test_records_without_a_stage_belong_to_init(tmp_path: Path, stage: str, expected: str) -> None:
    records = [
        *call("m.outer", 1, 4, call("m.inner", 2, 3)),
        *call("m.outer", 5, 6, meta_vars={"stage": "training"}),
    ]
    facts, _ = imported(tmp_path, records)
    clauses = [constant("meta_vars.stage", stage)]
    assert verdict(tmp_path, facts, invariant("APIContainRelation", OUTER, INNER, clauses=clauses)) == expected


def test_conditions_on_a_context_manager(tmp_path: Path) -> None:
    name = "torch.amp.autocast_mode.autocast"
    bound = {"is_bound_method": True, "obj_id": 5, "args": {"0": {name: {}}}}
    half = tensor(dtype="torch.float16")
    records = [
        *call("m.f", 1, 2, returns=tensor()),
        *call(f"{name}.__init__", 3, 4, **(bound | {"kwargs": {"device_type": {"str": "cuda"}}})),
        *call(f"{name}.__enter__", 5, 6, **bound),
        *call("m.f", 7, 8, returns=half),
        *call(f"{name}.__exit__", 9, 10, **bound),
    ]
    facts, _ = imported(tmp_path, records)
    prop = f"meta_vars.context_managers.{name}"
    inside = [
        {"type": "exist", "prop_name": prop, "additional_path": "None", "prop_dtype": "None"},
        constant(prop, True, path=["enabled"]),
        constant(f"{prop}.device_type", "cuda"),
    ]
    result = {"param_type": "VarTypeParam", "var_type": "torch.Tensor", "attr_name": "dtype"}
    for dtype, expected in (("torch.float16", "held"), ("torch.float32", "violated")):
        params = (api("m.f"), result | {"const_value": dtype})
        assert verdict(tmp_path, facts, invariant("ConsistentOutputRelation", *params, clauses=inside)) == expected
