"""Records as the original TrainCheck writes them, made by hand, and traces imported from them."""

import json
from collections.abc import Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from traincheck.check.checker import Checker
from traincheck.check.law import laws_of
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules
from traincheck.dsl.printer import print_file
from traincheck.dsl.syntax import Template
from traincheck.facts import Facts, load_facts
from traincheck.integrations.orderlab import Summary, import_invariants, import_trace
from traincheck.library import library_folder

Record = dict[str, Any]

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "orderlab"
needs_recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded traces are not beside the checkout")

_numbers = count(1)


def entry(function: str, time: int, call: str = "", **fields: Any) -> Record:
    """The start of a call."""
    record = {
        "func_call_id": call or f"{function}_{time}",
        "thread_id": 7,
        "process_id": 1,
        "meta_vars": {"step": 0},
        "type": "function_call (pre)",
        "function": function,
        "is_bound_method": False,
        "obj_id": None,
        "args": {},
        "kwargs": {},
        "time": time,
    }
    return record | fields


def exit_(function: str, time: int, call: str, **fields: Any) -> Record:
    """The end of a call."""
    record = {
        "func_call_id": call,
        "thread_id": 7,
        "process_id": 1,
        "meta_vars": {"step": 0},
        "type": "function_call (post)",
        "function": function,
        "is_bound_method": False,
        "obj_id": None,
        "return_values": {"NoneType": None},
        "time": time,
    }
    return record | fields


def call(function: str, start: int, end: int, inside: list[Record] | None = None, **fields: Any) -> list[Record]:
    """A whole call around others; `returns` and `raises` say how it ends, the other fields belong to its start."""
    ident = f"{next(_numbers):032x}_{start}"
    ends: Record = {}
    if "returns" in fields:
        ends["return_values"] = fields.pop("returns")
    if "raises" in fields:
        ends = {"type": "function_call (post) (exception)", "exception": fields.pop("raises"), "exception_msg": "no"}
    shared = {name: fields[name] for name in ("process_id", "thread_id", "meta_vars") if name in fields}
    return [entry(function, start, ident, **fields), *(inside or []), exit_(function, end, ident, **ends, **shared)]


def variable(name: str, time: int, data: Any, **fields: Any) -> Record:
    """A snapshot of a parameter; `attributes` are added to what every parameter has."""
    attributes = {"data": data, "grad": None, "dtype": "torch.float32", "shape": [2, 2], "ndim": 2, "nbytes": 16}
    record = {
        "var_name": name,
        "var_type": "torch.nn.Parameter",
        "process_id": 1,
        "thread_id": 7,
        "meta_vars": {"step": 0},
        "type": "state_change",
        "attributes": attributes | fields.pop("attributes", {}),
        "time": time,
    }
    return record | fields


def tensor(**attributes: Any) -> Record:
    """A tensor among arguments or results."""
    return {"torch.Tensor": {"dtype": "torch.float32", "shape": [4, 2], "ndim": 2, "itemsize": 4} | attributes}


def write_log(path: Path, records: list[Record]) -> Path:
    """A log of these records, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def imported(folder: Path, records: list[Record], name: str = "trace_API_1_7.log") -> tuple[Facts, Summary]:
    """The facts of a trace imported from these records."""
    log = write_log(folder / "logs" / name, records).parent
    summary = import_trace(log, folder / "trace", jobs=1)
    return load_facts(folder / "trace"), summary


def rows(facts: Facts, relation: str, *columns: str) -> list[tuple[Any, ...]]:
    """The named columns of a relation, sorted."""
    found = facts[relation].select(list(columns)).to_pylist()
    return sorted((tuple(row.values()) for row in found), key=str)


def invariant(relation: str, *params: Record, clauses: Any = "Unconditional", group: str = "") -> Record:
    """An invariant of the original, with one group of one alternative."""
    groups = {
        "APIContainRelation": "parent_func_call_pre",
        "ConsistencyRelation": "var",
        "DistinctArgumentRelation": "distinct_arg",
        "FunctionCoverRelation": "func_cover",
        "FunctionLeadRelation": "func_lead",
    }
    name = group or groups.get(relation, "pre_event")
    return {
        "text_description": "anything",
        "relation": relation,
        "params": list(params),
        "precondition": {name: {"inverted": False, "preconditions": [{"clauses": clauses}]}},
        "num_positive_examples": 3,
        "num_negative_examples": 0,
    }


def api(name: str, **fields: Any) -> Record:
    """An APIParam."""
    return {"param_type": "APIParam", "api_full_name": name} | fields


def constant(name: str, *values: Any, path: Any = "None") -> Record:
    """A clause of type constant."""
    return {"type": "constant", "prop_name": name, "additional_path": path, "prop_dtype": "str", "values": list(values)}


@cache
def templates() -> Mapping[str, Template]:
    """The templates of the shipped library."""
    return load_rules(()).templates


def verdict(folder: Path, facts: Facts, *invariants: Record) -> str:
    """What a check of these invariants says: held, violated or not triggered."""
    source = write_log(folder / "invariants.json", list(invariants))
    found = import_invariants(source, templates())
    assert not found.left_out, found.left_out
    rules = folder / "invariants.rules"
    rules.write_text(print_file(found.file))
    return checked_verdict(rules, facts)


def checked_verdict(rules: Path, facts: Facts) -> str:
    """What a check of a rule file's invariants says."""
    library = library_folder("rules")
    needed = [library / "windows.rules", library / "features.rules", library / "orderlab"]
    checked = load_rules([*needed, rules], with_standard=False)
    violations, triggered = Checker(checked, laws_of(checked, ()), engine_named("duckdb")).check(facts)
    return "violated" if violations else "held" if triggered else "not triggered"
