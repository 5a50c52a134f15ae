"""However a trace is cut into batches and its ranks interleave, the verdicts are those of the offline check."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collect.running import COLLECT, environment
from traincheck.check.checker import Checker
from traincheck.check.incremental import Incremental
from traincheck.check.law import laws_of, rules_in
from traincheck.datalog.engine import engine_named
from traincheck.dsl.checker import Checked
from traincheck.dsl.load import load_rules
from traincheck.facts import load_facts
from traincheck.facts.growing import GrowingTrace
from traincheck.facts.pending import settled
from traincheck.trace import ProcessWriter, TraceReader
from traincheck.trace.layout import FAMILIES, MARK_END

TINY = Path(__file__).parents[1] / "scripts" / "tiny.py"
LINEAR = "torch.nn.modules.linear.Linear.forward"
EXAMPLES = int(os.environ.get("TRAINCHECK_EXAMPLES", "12"))

LAWS = f"""
invariant precedes(First: "zero_grad", Then: "backward") "zero_grad first"
invariant precedes(First: "lr_scheduler_step", Then: "backward") "not so" if D.position == "later"
invariant follows(First: "backward", Then: "optimizer_step") "followed"
invariant count_per_step(Doer: "zero_grad", Times: 2) "never twice" if W.position == "later"
invariant contains_call(Outer: "{LINEAR}", Inner: "torch.nn.functional.linear") "calls"
invariant contains_call(Outer: "{LINEAR}", Inner: "torch.nn.functional.relu") "does not call"
invariant context_is(Doer: "forward", Key: "training", Setting: "false") "eval only"
invariant updates_some(Doer: "backward", Kind: "parameter", Attr: "grad", Before: "none", After: "nonzero") "fills"
invariant updates_each(Doer: "optimizer_step", Kind: "parameter", Attr: "data") "moves" if V.requires_grad == "true"
invariant changes_only_in(Kind: "parameter", Attr: "data", Doer: "backward") "written elsewhere"
invariant result_dtype(Api: "torch.nn.functional.linear", Dtype: "torch.float16") "half"
invariant distinct_across_ranks(Api: "{LINEAR}", Argument: "input") "each its own"
invariant equal_across_ranks(Api: "torch.nn.functional.cross_entropy", Argument: "input") "the same class"
  if C.position == "later"
invariant used_after_built(Built: "optimizer_init", Used: "optimizer_step") "used"
invariant used_after_built(Built: "optimizer_init", Used: "lr_scheduler_step") "never used" if C.stage == "init"
invariant flag_is(Kind: "parameter", Flag: "false") "frozen"
invariant trains(Kind: "parameter") "held"
invariant state_is(Kind: "parameter", Attr: "grad", Point: "before_step", Class: "zero") "zero"
invariant replicas_agree(Kind: "parameter", Attr: "data") "agree" if V.dtype == W.dtype
"""


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks, one of which forgets to clear its gradients."""
    folder = tmp_path_factory.mktemp("ranks")
    for rank, options in enumerate([["--steps", "5"], ["--steps", "5", "--seed", "1", "--fault", "no_zero_grad"]]):
        where = {**environment(), "RANK": str(rank), "WORLD_SIZE": "2"}
        command = [*COLLECT, "-o", str(folder / str(rank)), str(TINY), *options]
        subprocess.run(command, env=where, timeout=120, check=True, capture_output=True)
    for process in (folder / "1").glob("process-*"):
        process.rename(folder / "0" / process.name)
    return folder / "0"


class Library:
    """The laws, with a short repr."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.laws = laws_of(checked, rules_in(checked, ["torch"]))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    path = tmp_path_factory.mktemp("laws") / "laws.rules"
    path.write_text(LAWS)
    return Library(load_rules([path]))


def outcome(violations: Any, triggered: set[str]) -> tuple[Any, set[str]]:
    told = [(v.law.id, v.count, tuple(v.steps), v.first, tuple(v.variables), v.variable_count) for v in violations]
    return sorted(told), triggered


@pytest.fixture(scope="session")
def expected(library: Library, ranks: Path) -> tuple[Any, set[str]]:
    checker = Checker(library.checked, library.laws, engine_named("duckdb"))
    return outcome(*checker.check(load_facts(ranks)))


_BEFORE = {
    "links": "call", "raised": "call", "updates": "id", "states": "at", "metrics": "at", "objects": "id",
    "variables": "at", "holds": "at", "hyperparameters": "optimizer",
    "adjustments": "at", "stored": "call",
}  # fmt: skip


class Rewriter:
    """Writes the rows of one process anew, flush by flush, each up to some event."""

    def __init__(self, tables: Mapping[str, Any], folder: Path) -> None:
        self.rows = {name: {c: table[c].to_numpy(zero_copy_only=False) for c in table.column_names}
                     for name, table in tables.items()}  # fmt: skip
        self.rows["calls"] = settled(self.rows["calls"])
        self.last = int(max(self.rows["calls"]["exit"].max(), self.rows["marks"]["seq"].max())) + 1
        self._writer = ProcessWriter(folder)
        self._to = 0

    def flush(self, end: int) -> None:
        done = end >= self.last
        for name, rows in self.rows.items():
            chosen = self._chosen(name, rows, end, done)
            stream = self._writer[name]
            if name in ("process", "names"):
                stream.write_rows(list(zip(*(column[chosen].tolist() for column in rows.values()), strict=True)))
                continue
            table = np.zeros(int(np.count_nonzero(chosen)), [(c, np.dtype(s)) for c, s in FAMILIES[name].columns])
            for column, values in rows.items():
                table[column] = values[chosen]
            if name == "calls" and len(table):
                still_open = table["exit"] >= end
                for column in ("exit", "results", "outcome"):
                    table[column] = np.where(still_open, -1, table[column])
            if len(table):
                stream.write_packed(table.tobytes())
        self._to = end

    def close(self) -> None:
        self._writer.close()

    def _chosen(self, name: str, rows: Mapping[str, Any], end: int, done: bool) -> Any:
        if name == "calls":
            closed_now = (rows["exit"] >= self._to) & (rows["exit"] < end)
            opened_now = (rows["enter"] >= self._to) & (rows["enter"] < end)
            return closed_now | opened_now
        if name == "process":
            return (rows["key"] == "outcome") if done and self._to else (rows["key"] != "outcome") | done
        if name == "marks":
            when = np.where(rows["kind"] == MARK_END, self.last - 1, rows["seq"])
        elif name in _BEFORE:
            when = rows[_BEFORE[name]]
        else:
            return np.full(len(next(iter(rows.values()))), self._to == 0)
        return (when >= self._to) & (when < end)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_cut_gives_the_offline_verdicts(
    ranks: Path, library: Library, expected: Any, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    assert len(expected[0]) >= 10
    trace = tmp_path_factory.mktemp("grown")
    (trace / "manifest.json").write_text((ranks / "manifest.json").read_text())
    processes = [Rewriter(reader.poll(), trace / reader.name) for reader in TraceReader(ranks).processes()]
    flushes = [
        (process, end)
        for process in processes
        for end in [*sorted(data.draw(st.sets(st.integers(1, process.last - 1), max_size=8))), process.last]
    ]
    order = data.draw(st.permutations(range(len(flushes))))
    waiting = {id(process): iter([end for other, end in flushes if other is process]) for process in processes}
    incremental = Incremental(library.checked, library.laws)
    growing = GrowingTrace(trace, most_bytes=data.draw(st.sampled_from([None, 300, 4000])))
    told: list[str] = []
    try:
        for place in order:
            process = flushes[place][0]
            process.flush(next(waiting[id(process)]))
            growing.poll()
            if (batch := growing.take(data.draw(st.sampled_from([None, 1, 30])))) is not None:
                told += [sighting.law.id for sighting in incremental.feed(batch)]
    finally:
        for process in processes:
            process.close()
    while growing.poll():
        pass
    incremental.feed(growing.last())
    incremental.finish()
    found = outcome([sighting.violation() for sighting in incremental.sightings], incremental.triggered)
    assert found == expected
    assert set(told) <= {law for law, *_ in expected[0]}, "what is reported is never taken back"
    assert len(told) == len(set(told)), "once"
