"""Collectives, transfers, process groups and sharding, between real gloo processes."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.collect.running import COLLECT, collect, collect_command, environment, rows, write_script
from traincheck.check.batches import InBatches
from traincheck.check.checker import check_traces
from traincheck.check.incremental import Incremental
from traincheck.check.law import laws_of, rules_in
from traincheck.dsl.load import load_rules
from traincheck.errors import TraceError
from traincheck.facts import Facts, load_facts

# `launch` runs `work` in two ranks, `alone` does so under torchrun, which starts the ranks itself.
RANKS = """
import os
from datetime import timedelta
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed import all_gather

def start(rank, store):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    work(rank)
    dist.destroy_process_group()

def launch():
    if __name__ == "__main__":
        context = mp.get_context("spawn")
        ranks = [context.Process(target=start, args=(rank, os.path.abspath("store"))) for rank in (0, 1)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        sys.exit(max(process.exitcode for process in ranks))

def alone():
    dist.init_process_group("gloo")
    work(dist.get_rank())
    dist.destroy_process_group()
"""


RULES = Path(__file__).parents[2] / "rules"


def of_rank(facts: Facts, rank: int, *endings: str) -> list[dict[str, Any]]:
    """One rank's calls that are about an exchange, in order, each with that exchange."""
    about = {row["call"]: row for row in rows(facts, "exchange")}
    calls = [{**about[row["id"]], **row} for row in rows(facts, "call", rank=rank) if row["id"] in about]
    calls = [row for row in calls if not endings or row["api"].rpartition(".")[2] in endings]
    return sorted(calls, key=lambda row: row["enter"])


def told(facts: Facts, relation: str, call: dict[str, Any], column: str) -> dict[str, Any]:
    """What the arguments or results of a call say in a column, by name; absent ones are left out."""
    return {row["name"]: row[column] for row in rows(facts, relation, call=call["id"]) if row[column] is not None}


COLLECTIVES = """
def work(rank):
    tensor = torch.arange(3.0) + rank
    dist.all_reduce(tensor)
    all_gather([torch.empty(3), torch.empty(3)], tensor * (rank + 2))
    dist.broadcast(tensor + rank, group_src=1)
    dist.reduce(tensor, 0, op=dist.ReduceOp.MAX)
    dist.scatter(tensor, [torch.ones(3), torch.zeros(3)] if rank == 0 else None)
    dist.gather(tensor, [torch.empty(3), torch.empty(3)] if rank == 0 else None)
    dist.all_to_all_single(torch.empty(4), torch.arange(4.0) + rank)
    dist.all_gather_object([None, None], {"rank": rank})
    dist.barrier()
"""
IN_ORDER = [
    "all_reduce", "all_gather", "broadcast", "reduce", "scatter", "gather", "all_to_all_single", "all_gather_object",
    "barrier",
]  # fmt: skip


def check_collectives(facts: Facts) -> None:
    assert sorted((row["rank"], row["world"]) for row in rows(facts, "process") if row["world"] == 2) == [
        (0, 2),
        (1, 2),
    ]
    ranks = [of_rank(facts, rank) for rank in (0, 1)]
    for calls in ranks:
        assert [row["api"] for row in calls] == [f"torch.distributed.{name}" for name in IN_ORDER]
        assert [row["operation"] for row in calls] == [row["api"] for row in calls]
        assert [row["number"] for row in calls] == list(range(len(IN_ORDER)))
        assert {row["channel"] for row in calls} == {"[0, 1]"}
        assert [row["peer"] for row in calls] == [None, None, 1, 0, 0, 0, None, None, None]
        assert len({row["receiver"] for row in calls}) == 1
        said = [told(facts, "arg", call, "value") for call in calls]
        assert {values["group"] for values in said} == {"[0, 1]"}
        assert (said[0]["op"], said[2]["src"], said[3]["op"], said[3]["dst"]) == ("SUM", "1", "MAX", "0")
    given = [[told(facts, "arg", call, "fingerprint") for call in calls] for calls in ranks]
    got = [[told(facts, "result", call, "fingerprint") for call in calls] for calls in ranks]
    assert given[0][0] != given[1][0]  # before the reduction they differ, after it they do not
    assert got[0][0] == got[1][0]
    assert got[0][0].keys() == {"tensor"}
    assert got[0][1] == got[1][1] == {"tensor_list.0": given[0][1]["tensor"], "tensor_list.1": given[1][1]["tensor"]}
    assert given[0][2] == {}  # only a source gives something
    assert got[0][2] == got[1][2] == given[1][2]
    assert [set(results[3]) for results in got] == [{"tensor"}, set()]  # only a destination gets something
    assert given[0][4] == {"scatter_list.0": got[0][4]["tensor"], "scatter_list.1": got[1][4]["tensor"]}
    assert got[0][5] == {"gather_list.0": given[0][5]["tensor"], "gather_list.1": given[1][5]["tensor"]}
    assert got[1][5] == given[0][7] == got[0][7] == {}
    assert {(row["channel"], row["rank"]) for row in rows(facts, "member")} == {("[0, 1]", 0), ("[0, 1]", 1)}


def test_collectives_are_facts_of_both_ranks(tmp_path: Path) -> None:
    check_collectives(collect(tmp_path, RANKS + COLLECTIVES + "launch()\n"))


ON_GPUS = """
def start_on_gpu(rank, store):
    torch.cuda.set_device(rank)
    torch.set_default_device(f"cuda:{rank}")
    dist.init_process_group("nccl", init_method=f"file://{store}", rank=rank, world_size=2)
    work(rank)
    dist.destroy_process_group()

start = start_on_gpu
"""
MAY_WAIT, MAY_NOT_WAIT = (f'    torch.cuda.set_sync_debug_mode("{mode}")\n' for mode in ("default", "error"))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="this machine does not have two GPUs")
def test_collectives_of_gpus_are_facts_of_both_ranks(tmp_path: Path) -> None:
    body = COLLECTIVES
    for beginning, mode in (("    dist.all_reduce", MAY_NOT_WAIT), ("    dist.all_gather_object", MAY_WAIT)):
        body = body.replace(beginning, mode + beginning)  # torch itself waits for the sizes of objects
    check_collectives(collect(tmp_path, RANKS + ON_GPUS + body + "launch()\n"))


def test_torchrun_tells_ranks_their_place(tmp_path: Path) -> None:
    script = write_script(tmp_path, RANKS + COLLECTIVES + "alone()\n")
    options = ["--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    done = subprocess.run(
        [*collect_command(tmp_path, None, options=["-m", "torch.distributed.run"]), *options, str(script)],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "traincheck: collection" not in done.stderr, done.stderr
    check_collectives(load_facts(tmp_path / "trace"))


TRANSFERS = """
def work(rank):
    tensor = torch.arange(4.0) * (rank + 1)
    if rank == 0:
        dist.send(tensor, 1)
        dist.recv(tensor, 1)
    else:
        got = torch.empty(4)
        dist.recv(got, 0)
        dist.isend(got + 1, 0).wait()
    there, here = torch.ones(2) * rank, torch.empty(2)
    pair = [dist.P2POp(dist.isend, there, 1 - rank), dist.P2POp(dist.irecv, here, 1 - rank)]
    for handle in dist.batch_isend_irecv(pair):
        handle.wait()
    dist.all_reduce(tensor, async_op=True).wait()
    if rank == 0:
        dist.send(tensor, 1, tag=7)
    else:
        dist.recv(tensor, tag=7)
        assert tensor is not None
launch()
"""


def test_transfers_are_numbered_by_channel_and_arrive_as_sent(tmp_path: Path) -> None:
    facts = collect(tmp_path, RANKS + TRANSFERS)
    sent = {(c["channel"], c["number"]): c for rank in (0, 1) for c in of_rank(facts, rank, "send", "isend")}
    channels = [("0 -> 1", 0), ("0 -> 1", 1), ("0 -> 1 tag 7", 0), ("1 -> 0", 0), ("1 -> 0", 1)]
    assert sorted(sent) == channels
    arrived = {
        (call["channel"], call["number"]): found["tensor"]
        for rank in (0, 1)
        for call in of_rank(facts, rank, "recv", "wait")
        if "irecv" in call["operation"] or "recv" in call["api"]
        if (found := told(facts, "result", call, "fingerprint"))
    }
    assert arrived == {
        key: told(facts, "arg", sent[key], "fingerprint")["tensor"] for key in channels if "tag" not in key[0]
    }
    numbered = {row["call"] for row in rows(facts, "exchange")}
    (anyone,) = [call for call in rows(facts, "call", api="torch.distributed.recv") if call["id"] not in numbered]
    assert told(facts, "result", anyone, "fingerprint")  # from whom was not said, so that it has no number
    reduced = [told(facts, "result", of_rank(facts, rank, "wait")[-1], "fingerprint") for rank in (0, 1)]
    assert reduced[0] == reduced[1] != {}
    for rank in (0, 1):
        waits = of_rank(facts, rank, "wait")
        assert {row["operation"] for row in waits} >= {"torch.distributed.all_reduce", "torch.distributed.irecv"}
        (batch,) = rows(facts, "call", rank=rank, api="torch.distributed.batch_isend_irecv")
        inner = [row["api"] for row in rows(facts, "call", parent=batch["id"])]
        assert inner == ["torch.distributed.isend", "torch.distributed.irecv"]


GROUPS = """
from torch.distributed.device_mesh import init_device_mesh

def work(rank):
    twin = dist.new_group([0, 1])
    mine = [dist.new_group([0]), dist.new_group([1])][rank]
    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("data", "model"))
    for _ in range(2):
        dist.all_reduce(torch.ones(1), group=twin)
    dist.all_reduce(torch.ones(1))
    dist.all_reduce(torch.ones(1), group=mine)
    dist.all_reduce(torch.ones(1), group=mesh.get_group("model"))
launch()
"""


def test_each_group_counts_its_own(tmp_path: Path) -> None:
    facts = collect(tmp_path, RANKS + GROUPS)
    ranks = [of_rank(facts, rank, "all_reduce") for rank in (0, 1)]
    said = [[told(facts, "arg", call, "value")["group"] for call in calls] for calls in ranks]
    assert said[0] == ["[0, 1]", "[0, 1]", "[0, 1]", "[0]", "[0]"]
    assert said[1] == ["[0, 1]", "[0, 1]", "[0, 1]", "[1]", "[1]"]
    for calls in ranks:
        assert [call["number"] for call in calls] == [0, 1, 0, 0, 0]
        assert len({call["channel"] for call in calls}) == 4  # groups of the same ranks are told apart
    assert [call["channel"] for call in ranks[0][:3]] == [call["channel"] for call in ranks[1][:3]]
    assert {row["rank"] for row in rows(facts, "member", channel=ranks[0][3]["channel"])} == {0}


STEPS = """
def work(rank):
    torch.manual_seed(rank)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(6):
        optimizer.zero_grad()
        loss_of(model).backward()
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
        optimizer.step()
    total = sum(parameter.double().sum().item() for parameter in model.parameters())
    with open(f"weights-{rank}", "w") as file:
        file.write(f"{total.hex()} {torch.rand(1).item().hex()}")
launch()
"""


def test_numbers_count_what_is_not_recorded(tmp_path: Path) -> None:
    facts = collect(tmp_path, RANKS + STEPS, options=["--every", "3"])
    for rank in (0, 1):
        found = [(call["step"], call["number"]) for call in of_rank(facts, rank)]
        assert found == [(0, number) for number in range(6)] + [(3, number) for number in range(18, 24)]


def test_weights_and_random_state_are_those_of_a_run_that_nobody_watches(tmp_path: Path) -> None:
    script = write_script(tmp_path, RANKS + STEPS)
    said = []
    watched = collect_command(tmp_path, script)
    for command in (watched, [watched[0], str(script)]):
        (tmp_path / "store").unlink(missing_ok=True)
        subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment(), timeout=240, check=True)
        said.append([(tmp_path / f"weights-{rank}").read_text() for rank in (0, 1)])
    assert said[0] == said[1]


SHARDED = """
import warnings
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

def work(rank):
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    if sys.argv[1] == "wrapped":
        model = FullyShardedDataParallel(model, device_id=torch.device("cpu"))
    else:
        model = fully_shard(model, mesh=dist.device_mesh.init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(rank)
    for step in range(2):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
launch()
"""


@pytest.mark.parametrize(
    ("way", "built", "names"),
    [
        (
            "wrapped",
            "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel.__init__",
            {"_flat_param"},
        ),
        ("sharded", "torch.distributed.fsdp.fully_shard", {"0.weight", "0.bias", "2.weight", "2.bias"}),
    ],
)
def test_sharding(tmp_path: Path, way: str, built: str, names: set[str]) -> None:
    facts = collect(tmp_path, RANKS + SHARDED, way)
    held = {row["variable"] for row in rows(facts, "holds")}
    for rank in (0, 1):
        assert len(rows(facts, "call", rank=rank, api=built)) == 1
        known = {row["id"]: row["name"] for row in rows(facts, "variable", rank=rank) if row["id"] in held}
        assert set(known.values()) == names
        moved = {known[row["variable"]] for row in rows(facts, "update", rank=rank, attr="data", step=1)}
        assert moved == names  # what this rank holds of each parameter
        calls = of_rank(facts, rank)
        assert [(row["step"], row["number"]) for row in calls] == [(0, 0), (0, 1), (1, 2), (1, 3)]
        assert ["reduce_scatter" in row["api"] for row in calls] == [False, True, False, True]
    gathered = [[told(facts, "result", c, "fingerprint") for c in of_rank(facts, rank)[::2]] for rank in (0, 1)]
    assert gathered[0] == gathered[1]
    assert gathered[0][0] != gathered[0][1] != {}


HANGING = """
import time

def work(rank):
    dist.all_reduce(torch.ones(1))
    os.write(1, b"%d\\n" % os.getpid())  # whole: print may write the end of the line apart
    if rank == 0:
        dist.all_reduce(torch.ones(1))
    else:
        dist.recv(torch.ones(1), 0)
launch()
"""


def test_a_rank_that_hangs_is_seen_in_the_collective(tmp_path: Path) -> None:
    script = write_script(tmp_path, RANKS + HANGING)
    with subprocess.Popen(
        collect_command(tmp_path, script),
        stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(), start_new_session=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        try:
            ranks = [int(running.stdout.readline()) for _ in (0, 1)]
            deadline = time.monotonic() + 120
            while len(open_calls(tmp_path / "trace")) < 2 and time.monotonic() < deadline:
                time.sleep(0.2)
            for rank in ranks:
                os.kill(rank, signal.SIGKILL)
            assert running.wait(timeout=120) != 0
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)  # or we would wait for it for ever
            raise
    found = open_calls(tmp_path / "trace")
    assert found == {(0, "[0, 1]", 1, "torch.distributed.all_reduce"), (1, "0 -> 1", 0, "torch.distributed.recv")}


def open_calls(trace: Path) -> set[tuple[int, str, int, str]]:
    """Rank, channel, number and API of the exchanges on disk that have not ended."""
    try:
        facts = load_facts(trace)
    except TraceError:
        return set()  # not there yet
    calls = [call for rank in (0, 1) for call in of_rank(facts, rank)]
    return {(c["rank"], c["channel"], c["number"], c["api"]) for c in calls if c["exit"] is None}


ODD = """
import time

def work(rank):
    torch.manual_seed(rank)
    model, halves = Net(), dist.new_group([0, 1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    own, other, kept = torch.ones(2) * rank, torch.empty(2), torch.empty(2)
    for step in range(4):
        if rank == 0 and step % 2:  # the others wait meanwhile
            with torch.no_grad():
                loss_of(model)
        dist.barrier()
        optimizer.zero_grad()
        for part in range(2):
            if rank == 0:
                dist.send(own * part, 1)
                dist.recv(kept, 1)
            else:
                dist.recv(kept, 0)
                dist.send(kept.add_(1), 0)
        loss = loss_of(model)
        loss.backward()
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad, group=halves)
        if rank == 0:
            dist.broadcast(loss.detach(), 1)
        optimizer.step()
        if rank == 1:
            dist.broadcast(loss.detach(), 1)
        shown = torch.zeros(1) if rank else loss.detach()
        dist.reduce(shown, 0)
        pieces = [torch.empty(2), torch.empty(3)]
        dist.all_gather(pieces, torch.ones(2 + rank)) if step < 0 else None
        dist.all_to_all_single(other, own)
        if rank == 0:
            dist.isend(own, 1).wait()
        else:
            dist.recv(other)
    dist.barrier()
launch()
"""


def test_odd_but_correct_ranks_break_no_law(tmp_path: Path) -> None:
    script = write_script(tmp_path, RANKS + ODD)
    for number, options in enumerate((["--rules", "torch"], ["--every", "2"])):
        (tmp_path / "store").unlink(missing_ok=True)
        trace = tmp_path / f"trace{number}"
        subprocess.run(
            [*COLLECT, "-o", str(trace), *options, str(script)],
            capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=240, check=True,
        )  # fmt: skip
        found = check(trace)
        assert not found["violated"]
        assert set(found["held"]) >= {"ranks_get_the_same_result", "what_is_received_was_sent"}


def check(trace: Path) -> dict[str, list[str]]:
    """The laws of what ranks do together that held and that were violated."""
    files = [str(RULES / "torch" / name) for name in ("collectives.rules", "waiting.rules")]
    checked = load_rules(files)
    examiner = InBatches(Incremental(checked, laws_of(checked, rules_in(checked, files))))
    report = check_traces(examiner, [trace], [])
    return {
        "held": [law.template.name for law in report.held],
        "violated": [violation.law.template.name for violation in report.violations],
    }
