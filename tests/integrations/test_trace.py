"""Recorded logs become traces, with every quirk of the format."""

import json
import tracemalloc
from pathlib import Path

import pytest

from tests.integrations.logs import call, entry, exit_, imported, rows, tensor, variable, write_log
from traincheck.errors import TraceError, UsageError
from traincheck.facts import load_facts
from traincheck.integrations.orderlab import import_trace
from traincheck.integrations.orderlab.files import find_logs


def test_calls_are_paired_and_nested(tmp_path: Path) -> None:
    inner = call("b.g", 12, 13, raises="<class 'KeyError'>")
    facts, summary = imported(tmp_path, [*call("a.f", 10, 20, inner), entry("c.h", 30)])
    assert summary.records == 5
    assert rows(facts, "call", "api", "outcome") == [("a.f", "returned"), ("b.g", "raised"), ("c.h", None)]
    parents = {row["id"]: row["parent"] for row in facts["call"].to_pylist()}
    assert sum(parent is not None for parent in parents.values()) == 1
    assert facts["contains"].num_rows == 1
    assert rows(facts, "raised", "type", "message") == [("<class 'KeyError'>", "no")]


def test_arguments_and_results(tmp_path: Path) -> None:
    given = {"0": {"net.Net": {}}, "1": tensor(shape=[4, 2]), "2": {"float": 0.5}}
    records = call(
        "net.Net.forward", 1, 2, args=given, kwargs={"flag": {"bool": True}}, is_bound_method=True, obj_id=99,
        returns=[tensor(dtype="torch.float16"), {"int": 3}],
    )  # fmt: skip
    facts, _ = imported(tmp_path, records)
    assert rows(facts, "arg", "name", "value", "class", "dtype", "shape") == [
        ("1", None, None, "float32", "[4, 2]"),
        ("2", "0.5", "nonzero", None, None),
        ("flag", "true", "true", None, None),
    ]
    assert rows(facts, "result", "name", "value", "dtype") == [("0", None, "float16"), ("1", "3", None)]
    assert rows(facts, "object", "type") == [("net.Net",)]
    parts = rows(facts, "part", "role", "place", "key", "value")
    assert ("input", "0", "shape.1", "2") in parts
    assert ("output", "0", "dtype", "torch.float16") in parts
    assert ("positional", "0", "net.Net", "") in parts
    assert ("keyword", "flag", "bool", "true") in parts


@pytest.mark.parametrize("returned", ["a string", 3, None, [], [1, "x"], {}, [[{"int": 1}]], {"list": [{"int": 1}]}])
def test_odd_results_do_no_harm(tmp_path: Path, returned: object) -> None:
    facts, summary = imported(tmp_path, call("a.f", 1, 2, returns=returned))
    assert summary.warnings == []
    assert rows(facts, "call", "outcome") == [("returned",)]
    assert facts["part"].num_rows == 0


def test_entry_and_exit_may_disagree_about_the_receiver(tmp_path: Path) -> None:
    records = call("a.A.f", 1, 2, is_bound_method=True, obj_id=5)
    records[-1] |= {"is_bound_method": False, "obj_id": None}
    facts, _ = imported(tmp_path, records)
    assert facts["object"].num_rows == 1


def test_both_prefixes_mean_the_same(tmp_path: Path) -> None:
    old = variable("w", 1, 5, attributes={"_ML_DAIKON_data_ID": 11})
    new = variable("v", 2, 5, attributes={"_TRAINCHECK_data_ID": 12})
    facts, _ = imported(tmp_path, [old, new], "trace_VAR_1_7.log")
    found = [value for key, value in rows(facts, "property", "key", "value") if key.endswith("data_ID")]
    assert found == ["11", "12"]
    assert {key for key, _ in rows(facts, "property", "key", "value") if "data_ID" in key} == {
        "attributes._TRAINCHECK_data_ID"
    }


def test_hashes_and_ids_are_exact(tmp_path: Path) -> None:
    big, low = 2**63 - 1, -(2**63)
    first = variable("w", 1, big, attributes={"grad": 9007199254740993, "_ML_DAIKON_data_ID": 9007199254740993})
    facts, _ = imported(tmp_path, [first, variable("w", 2, low)], "trace_VAR_1_7.log")
    assert rows(facts, "span", "attr", "value", "before")[:3] == [
        ("data", str(low), str(big)),
        ("data", str(big), None),
        ("dtype", "torch.float32", None),
    ]
    assert ("grad", "9007199254740993", None) in rows(facts, "span", "attr", "value", "before")
    assert ("attributes._TRAINCHECK_data_ID", "9007199254740993") in rows(facts, "property", "key", "value")
    assert [fingerprint for (fingerprint,) in rows(facts, "state", "fingerprint")] == ["8000000000000000", None]


def test_null_is_there_and_missing_is_not(tmp_path: Path) -> None:
    first = variable("w", 1, 1, attributes={"grad": None, "note": None, "_ML_DAIKON_grad_ID": None})
    second = variable("w", 2, 1)
    del second["attributes"]["grad"]
    facts, _ = imported(tmp_path, [first, second], "trace_VAR_1_7.log")
    by_record = {record: set() for (record,) in rows(facts, "record", "id")}
    for record, key, value in rows(facts, "property", "record", "key", "value"):
        by_record[record].add((key, value))
    earlier, later = (by_record[record] for record in sorted(by_record))
    assert ("attributes.note", "none") in earlier
    assert ("attributes._TRAINCHECK_grad_ID", "none") in earlier
    assert not any(key in ("attributes.note", "attributes._TRAINCHECK_grad_ID") for key, _ in later)
    (grad,) = [row for row in facts["span"].to_pylist() if row["attr"] == "grad"]
    assert (grad["value"], grad["last"]) == ("none", min(by_record))


def test_a_value_that_was_away_goes_on(tmp_path: Path) -> None:
    snapshots = [variable("w", time, 1, attributes={"extra": 3}) for time in (1, 2, 3)]
    del snapshots[1]["attributes"]["extra"]
    facts, _ = imported(tmp_path, [*snapshots, variable("w", 4, 1, attributes={"extra": 4})], "trace_VAR_1_7.log")
    extra = [row for row in facts["span"].to_pylist() if row["attr"] == "extra"]
    assert [(row["value"], row["begin"], row["end"]) for row in extra] == [("3", 1, 4), ("4", 4, 4)]


def test_lines_written_twice_count_once(tmp_path: Path) -> None:
    records = [*call("a.f", 1, 4), variable("w", 2, 1)]
    facts, summary = imported(tmp_path, [*records, *records])
    assert (summary.records, summary.duplicates) == (3, 3)
    assert (facts["call"].num_rows, facts["record"].num_rows) == (1, 2)


def test_a_malformed_line_is_a_warning_with_its_place(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "trace_VAR_1_7.log"
    log.parent.mkdir()
    good = json.dumps(variable("w", 1, 1))
    lines = [good, good[:50], "[1, 2]", '{"type": "other", "process_id": 1, "thread_id": 1, "time": 1}', "\udcff", ""]
    log.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n" + good.replace('"w"', '"v"').encode())
    summary = import_trace(log.parent, tmp_path / "trace", jobs=1)
    assert summary.records == 2
    assert [line.split(": ")[0] for line in summary.warnings] == [f"{log}:{number}" for number in (2, 3, 4, 5)]
    assert "unknown record type 'other'" in summary.warnings[2]


def test_many_malformed_lines_are_counted(tmp_path: Path) -> None:
    log = write_log(tmp_path / "logs" / "x.log", [variable("w", 1, 1)])
    log.write_text(log.read_text() + "torn\n" * 100)
    summary = import_trace(log, tmp_path / "trace", jobs=1)
    assert len(summary.warnings) == 21
    assert "80 more lines" in summary.warnings[-1]


def test_what_python_calls_a_number_is_read(tmp_path: Path) -> None:
    records = call("a.f", 1, 2, args={"0": {"float": float("nan")}, "1": {"float": float("-inf")}})
    facts, summary = imported(tmp_path, records)
    assert summary.warnings == []
    assert facts["call"].num_rows == 1


def test_files_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write_log(logs / "whatever.txt", call("a.f", 1, 2))
    write_log(
        logs / "proxy_log.json",
        [variable("w", 1, 1, mode="update", dump_loc="initing"), variable("w", 2, 1, process_id=2)],
    )
    for name in ("env_dump.txt", "instrumentation_1.log", "_traincheck_main.py"):
        (logs / name).write_text("import torch\n")
    (logs / "trace_API_9_9.log").write_text("")
    summary = import_trace(logs, tmp_path / "trace")
    assert (summary.processes, summary.records) == (2, 4)
    assert summary.warnings == [f"{logs / 'trace_API_9_9.log'}: no record in it"]
    facts = load_facts(tmp_path / "trace")
    assert ("mode", "update") in rows(facts, "property", "key", "value")
    assert ("dump_loc", "initing") in rows(facts, "property", "key", "value")


def test_changes_belong_to_the_call_around_them(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write_log(logs / "trace_API_1_7.log", call("opt.step", 10, 20))
    write_log(logs / "trace_VAR_1_8.log", [variable("w", time, time, thread_id=8) for time in (5, 15, 25)])
    import_trace(logs, tmp_path / "trace", jobs=1)
    facts = load_facts(tmp_path / "trace")
    (step,) = rows(facts, "call", "id")
    assert set(rows(facts, "update", "attr", "before", "after", "call")) == {
        ("data", "nonzero", "nonzero", None),
        ("data", "nonzero", "nonzero", *step),
    }


def test_threads_that_write_past_each_other_are_put_in_order(tmp_path: Path) -> None:
    snapshots = [variable("w", time, time) for time in (3, 1, 2)]
    facts, _ = imported(tmp_path, snapshots, "trace_VAR_1_7.log")
    assert [row[1] for row in rows(facts, "span", "attr", "value", "before") if row[0] == "data"] == ["1", "2", "3"]


def test_steps_are_kept_as_recorded(tmp_path: Path) -> None:
    steps = [-1, 0, 1, 1, 0, None]
    records = [
        variable("w", time, time, meta_vars={} if step is None else {"step": step}) for time, step in enumerate(steps)
    ]
    facts, _ = imported(tmp_path, records, "trace_VAR_1_7.log")
    by_time = sorted(rows(facts, "record", "time", "step"))
    assert [step for _, step in by_time] == [-1, 0, 1, 1, 0, -1]
    states = [row for row in facts["state"].to_pylist() if row["attr"] == "data"]
    assert [(row["step"], int(row["fingerprint"], 16)) for row in states] == [(-1, 0), (0, 1), (1, 3), (0, 4), (-1, 5)]


def test_stages_are_kept_and_filled_in(tmp_path: Path) -> None:
    records = [*call("a.f", 1, 2), *call("a.g", 3, 4, meta_vars={"step": 1, "stage": "testing"})]
    facts, _ = imported(tmp_path, records)
    assert rows(facts, "call", "api", "stage") == [("a.f", None), ("a.g", "eval")]
    assert ("meta_vars.stage", "testing") in rows(facts, "property", "key", "value")


@pytest.mark.parametrize(
    ("claims", "ranks"),
    [
        ([{"_DATA_PARALLEL_RANK": "1"}, {"_DATA_PARALLEL_RANK": "0"}], [(1, 1), (2, 0)]),
        ([{"RANK": 1}, {"RANK": 0}], [(1, 1), (2, 0)]),
        ([{"_DATA_PARALLEL_RANK": 0}, {"_DATA_PARALLEL_RANK": 0}], [(1, 0), (2, 1)]),
        ([{"RANK": 3}, {}], [(1, 0), (2, 1)]),
        ([{}, {}], [(1, 0), (2, 1)]),
    ],
)
def test_ranks_come_from_meta_variables_or_processes(tmp_path: Path, claims: list[dict], ranks: list[tuple]) -> None:
    records = [
        variable("w", time, 1, process_id=process + 1, meta_vars=claim if time else {})
        for process, claim in enumerate(claims)
        for time in (0, 1)
    ]
    facts, _ = imported(tmp_path, records)
    assert rows(facts, "process", "pid", "rank") == ranks


def test_meta_variables_with_dots_and_slashes_keep_their_names(tmp_path: Path) -> None:
    meta = {"step": 0, "torch/optim/lr_scheduler.py:__init__.step_size": 1, "nested": {"a.b": 2.0}}
    facts, _ = imported(tmp_path, call("a.f", 1, 2, meta_vars=meta))
    found = dict(rows(facts, "property", "key", "value"))
    assert found["meta_vars.torch/optim/lr_scheduler.py:__init__.step_size"] == "1"
    assert found["meta_vars.nested.a.b"] == "2"


def test_context_managers_are_active_between_enter_and_exit(tmp_path: Path) -> None:
    name = "torch.amp.autocast_mode.autocast"
    bound = {"is_bound_method": True, "obj_id": 5}
    given = {"0": {name: {}}, "1": {"str": "cuda"}}
    records = [
        *call(f"{name}.__init__", 1, 2, args=given, kwargs={"dtype": {"torch.dtype": "torch.float16"}}, **bound),
        *call("a.before", 3, 4),
        *call(f"{name}.__enter__", 5, 6, args={"0": {name: {}}}, **bound),
        *call("a.inside", 7, 8),
        *call("a.elsewhere", 8, 9, thread_id=8),
        *call(f"{name}.__exit__", 10, 11, args={"0": {name: {}}}, **bound),
        *call("a.after", 12, 13),
    ]
    facts, _ = imported(tmp_path, records)
    names = {row["id"]: row["api"] for row in facts["call"].to_pylist()}
    held = {
        (names[record].removeprefix("a."), key.removeprefix(f"meta_vars.context_managers.{name}"), value)
        for record, key, value in rows(facts, "property", "record", "key", "value")
        if "context_managers" in key and names[record].startswith("a.")
    }
    assert held == {
        ("inside", "", "active"),
        ("inside", ".device_type", "cuda"),
        ("inside", ".dtype", "torch.float16"),
        ("inside", ".enabled", "true"),
        ("inside", ".cache_enabled", "none"),
    }
    inside = {key for c, key in rows(facts, "context", "call", "key") if names[c] == "a.inside"}
    assert name in inside


def test_exits_without_entries_are_told(tmp_path: Path) -> None:
    _, summary = imported(tmp_path, [exit_("a.f", 2, "lost"), *call("a.g", 3, 4)])
    assert summary.warnings == ["process 1: 1 exits of calls whose entry is not in the log"]


def test_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such file"):
        import_trace(tmp_path / "nowhere", tmp_path / "trace")
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(TraceError, match="no records"):
        import_trace(tmp_path, tmp_path / "trace")
    log = write_log(tmp_path / "x.log", call("a.f", 1, 2))
    with pytest.raises(UsageError, match="there already"):
        import_trace(log, tmp_path)


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    def peak(repeats: int) -> int:
        log = tmp_path / f"{repeats}.log"
        with log.open("w") as file:
            for number in range(repeats):
                for record in call("a.f", number * 4, number * 4 + 1, args={"0": {"int": number}}):
                    file.write(json.dumps(record) + "\n")
                file.write(json.dumps(variable("w", number * 4 + 2, number)) + "\n")
        tracemalloc.start()
        import_trace(log, tmp_path / f"trace{repeats}", jobs=1)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    limits = ("sink._BATCH", "sink._KNOWN_WORDS", "calls._LATELY", "values._LATELY", "process._LATELY")
    with pytest.MonkeyPatch.context() as patch:
        for limit in limits:
            patch.setattr(f"traincheck.integrations.orderlab.{limit}", 256)
        assert peak(12000) < 1.3 * peak(4000)


def test_process_ids_at_the_edge_of_a_chunk_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record for number in range(20) for record in call("a.f", number * 2, number * 2 + 1, process_id=987654)]
    log = write_log(tmp_path / "x.log", records)
    for size in range(100, 120):
        monkeypatch.setattr("traincheck.integrations.orderlab.files._CHUNK", size)
        assert find_logs(log).logs[0].processes == (987654,)
