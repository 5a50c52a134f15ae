"""Every relation of the schema, from traces that real processes wrote."""

from pathlib import Path

import pyarrow as pa
import pytest

from tests.collect.running import collect, rows
from traincheck.errors import TraceError
from traincheck.facts import Facts, load_facts
from traincheck.schema import RELATIONS
from traincheck.trace import Manifest, ProcessWriter

ARROW = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}

SCRIPT = """
model = Net()
model.twin = model.head
groups = [{"params": model.body.parameters()}, {"params": model.head.parameters(), "lr": 0.5}]
optimizer = torch.optim.SGD(groups, lr=0.1)
for p in model.norm.parameters():
    p.requires_grad = False
for _ in range(2):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(model)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        model.head.bias += 1
old, model.head = model.head, nn.Linear(8, 2)
loss_of(model).backward()
model.norm.weight.requires_grad_()
F.dropout(torch.ones(2), p=0.25, training=False)
loss_of(model)
"""


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return collect(tmp_path_factory.mktemp("facts"), SCRIPT)


def test_tables_have_exactly_the_schema(facts: Facts) -> None:
    assert list(facts) == list(RELATIONS)
    for name, relation in RELATIONS.items():
        assert facts[name].schema.names == [column.name for column in relation.columns]
        assert [field.type for field in facts[name].schema] == [ARROW[column.type] for column in relation.columns]
        assert facts[name] is facts.table(name)
    assert facts.warnings == []
    with pytest.raises(KeyError):
        facts.table("nothing")


def test_ids_are_unique_across_kinds(facts: Facts) -> None:
    ids = [row["id"] for name in ("call", "variable", "update", "object", "step") for row in rows(facts, name)]
    assert len(ids) == len(set(ids))
    calls = {row["id"] for row in rows(facts, "call")}
    assert all(row["parent"] is None or row["parent"] in calls for row in rows(facts, "call"))
    variables = {row["id"] for row in rows(facts, "variable")}
    assert {row["variable"] for name in ("holds", "update", "state") for row in rows(facts, name)} <= variables


def test_variables_have_their_names_kinds_and_ties(facts: Facts) -> None:
    found = rows(facts, "variable")
    by_id = {row["id"]: row for row in found}
    names = [row["name"] for row in found]
    assert names.count("head.weight") == 2  # the one the optimizer was given, and the one that replaced it
    buffers = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert {row["name"] for row in found if row["kind"] == "buffer"} == buffers
    assert {row["kind"] for row in found} == {"buffer", "parameter"}
    ties = {(row["name"], by_id[row["ties"]]["name"]) for row in found if row["ties"] is not None}
    assert ("twin.weight", "head.weight") in ties
    assert {row["requires_grad"] for row in found if row["name"].startswith("body")} == {"true"}


def test_what_the_optimizer_holds_stays_what_it_was_given(facts: Facts) -> None:
    names = {row["id"]: row["name"] for row in rows(facts, "variable")}
    held = {(row["group"], names[row["variable"]]) for row in rows(facts, "holds")}
    assert {(0, "body.weight"), (0, "body.bias"), (1, "head.weight"), (1, "head.bias")} <= held
    heads = [row["id"] for row in rows(facts, "variable", name="head.weight")]
    assert len({row["variable"] for row in rows(facts, "holds")} & set(heads)) == 1
    rates = {(row["group"], row["number"]) for row in rows(facts, "hyperparameter", name="lr")}
    assert rates == {(0, 0.1), (1, 0.5)}


def test_writes_outside_any_call_are_seen(facts: Facts) -> None:
    names = {row["id"]: row["name"] for row in rows(facts, "variable")}
    outside = {(names[row["variable"]], row["attr"]) for row in rows(facts, "update", call=None)}
    assert ("head.bias", "data") in outside
    changed = rows(facts, "update", attr="requires_grad")
    flags = {(names[row["variable"]], row["before"], row["after"]) for row in changed}
    assert ("norm.weight", "true", "false") in flags
    assert ("norm.weight", "false", "true") in flags


def test_arguments_results_and_contexts(facts: Facts) -> None:
    (dropout,) = rows(facts, "call", api="torch.nn.functional.dropout")
    found = {row["name"]: (row["value"], row["class"]) for row in rows(facts, "arg", call=dropout["id"])}
    assert found["training"] == ("false", "false")
    assert found["p"] == ("0.25", "nonzero")
    linear = rows(facts, "call", api="torch.nn.functional.linear")[0]
    shapes = {row["name"]: (row["dtype"], row["shape"]) for row in rows(facts, "arg", call=linear["id"])}
    assert shapes["weight"] == ("float32", "[8, 4]")
    (result,) = rows(facts, "result", call=linear["id"])
    assert (result["name"], result["dtype"], result["shape"]) == ("", "bfloat16", "[16, 8]")
    context = {row["key"]: row["value"] for row in rows(facts, "context", call=linear["id"])}
    assert context == {"grad_mode": "true", "autocast": "bfloat16", "training": "true"}


def test_apis_generalise(facts: Facts) -> None:
    supers = {row["super"] for row in rows(facts, "subclass", sub="torch.optim.sgd.SGD.step")}
    assert supers == {"torch.optim.sgd.SGD.step", "torch.optim.optimizer.Optimizer.step"}
    supers = {row["super"] for row in rows(facts, "subclass", sub="train.Net.forward")}
    assert "torch.nn.modules.module.Module.forward" in supers


def test_losses_and_rates_are_metrics(facts: Facts) -> None:
    assert len(rows(facts, "metric", name="loss")) == 3
    assert [row["value"] for row in rows(facts, "metric", name="lr.1")] == [0.5, 0.5]


def test_a_trace_without_events_says_so(tmp_path: Path) -> None:
    Manifest().write(tmp_path)
    with pytest.raises(TraceError, match="no events"):
        load_facts(tmp_path)


def test_a_rank_that_is_no_number_is_rank_0(tmp_path: Path) -> None:
    Manifest().write(tmp_path)
    writer = ProcessWriter(tmp_path / "process-1-1")
    writer["process"].write_rows([("rank", "the first"), ("world", "9" * 9), ("pid", "\N{SUPERSCRIPT TWO}")])
    writer.close()
    (process,) = rows(load_facts(tmp_path), "process")
    assert (process["rank"], process["world"], process["pid"]) == (0, 999_999_999, None)
