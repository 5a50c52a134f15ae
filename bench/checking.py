"""How fast and in how much memory a trace is checked: `python bench/checking.py 1000000 5000000`.

Generates a training run of 1,000 calls a step, then follows it with 500 invariants as `traincheck check --follow` does.
`--pydatalog N` measures the reference engine on a small trace of N facts too.
"""

import argparse
import itertools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from traincheck.check.checker import Checker
from traincheck.check.follow import Follower
from traincheck.check.incremental import Incremental
from traincheck.check.law import Law, laws_of, rules_in
from traincheck.datalog.engine import engine_named
from traincheck.dsl.checker import Checked
from traincheck.dsl.load import load_rules
from traincheck.facts import load_facts
from traincheck.facts.growing import GrowingTrace
from traincheck.trace import Manifest, ProcessWriter
from traincheck.trace.layout import FAMILIES, MARK_END, MARK_STEP

BLOCKS, LAYERS = 40, 12
FACTS_A_STEP = 10_200  # measured
STEPS_A_FLUSH = 8
LINEAR, RELU, GELU = (f"torch.nn.functional.{name}" for name in ("linear", "relu", "gelu"))
MODULE = "torch.nn.modules.module.Module.forward"
OPTIMIZER = "torch.optim.optimizer.Optimizer"
STEP, ZERO, BACKWARD = "torch.optim.sgd.SGD.step", "torch.optim.sgd.SGD.zero_grad", "torch.Tensor.backward"


class Step:
    """The rows of one step, with events counted from zero."""

    def __init__(self) -> None:
        self.words: dict[str, int] = {}
        self.calls: list[tuple[int, ...]] = []
        self.updates: list[tuple[int, ...]] = []
        self.states: list[tuple[float, ...]] = []
        self._seq = itertools.count()
        self._parents = [-1]
        self._fill()
        self.length = next(self._seq)

    def word(self, text: str) -> int:
        return self.words.setdefault(text, len(self.words))

    def call(self, api: str, inside: "list[str] | None" = None, updates: str = "", receiver: int = -1) -> None:
        enter = next(self._seq)
        self._parents.append(enter)
        for name in inside or ():
            self.call(name)
        if updates:
            for block in range(BLOCKS):
                before, after = ("none", "nonzero") if updates == "grad" else ("nonzero", "nonzero")
                row = (updates, before, after)
                self.updates.append((next(self._seq), block + 1, enter, *(self.word(text) for text in row)))
        self._parents.pop()
        leave = next(self._seq)
        sets = self.word(api) % 8
        self.calls.append(
            (enter, leave, self._parents[-1], enter, receiver, self.word(api), self.word("train.py:7"), 0, 0,
             sets, sets, 1, 0)
        )  # fmt: skip

    def _fill(self) -> None:
        self.call(ZERO, receiver=1000)
        enter = next(self._seq)
        self._parents.append(enter)
        for block in range(BLOCKS):
            inner = [f"net.Layer{block}.forward", LINEAR, RELU] * (LAYERS // 3) + [GELU] * 2 + [f"net.f{block}"] * 10
            self.call(f"net.Block{block}.forward", inner)
        self._parents.pop()
        self.calls.append((enter, next(self._seq), -1, enter, -1, self.word("net.Net.forward"), 0, 0, 0, 1, 1, 1, 0))
        self.call(BACKWARD, updates="grad")
        self.call(STEP, updates="data", receiver=1000)
        for block, (attr, point) in itertools.product(range(BLOCKS), [("grad", 0), ("data", 1)]):
            at = next(self._seq)
            self.states.append((block + 1, at, at, 1.0, self.word(attr), self.word("nonzero"), 0, point, 1, -1.0, 1.0))


def generate(folder: Path, steps: int) -> None:
    """Write a trace of that many steps."""
    folder.mkdir()
    Manifest().write(folder)
    step = Step()
    words = step.word
    for text in ("parameter", "float32", "[64, 64]", "cpu", "input", "weight", "nonzero", "training", "true", "Tensor"):
        words(text)
    writer = ProcessWriter(folder / "process-1-1")
    concepts = [(STEP, f"{OPTIMIZER}.step"), (ZERO, f"{OPTIMIZER}.zero_grad")]
    concepts += [(f"net.{kind}{b}.forward", MODULE) for kind in ("Block", "Layer") for b in range(BLOCKS)]
    _write(writer, "subclasses", [(words(sub), words(base)) for sub, base in concepts])
    described = [("role", "main"), ("rank", "0"), ("world", "1"), ("pid", "1"), ("host", "nowhere")]
    _write(writer, "contextsets", [(0, words("training"), words("true")), (0, words("grad_mode"), words("true"))])
    value = [words(text) for text in ("Tensor", "nonzero", "nonzero")]
    rest = [words(text) for text in ("float32", "[64, 64]", "cpu")]
    names = [words("input"), words("weight")]
    _write(writer, "valuesets", [(s, name, *value, 1.0, *rest) for s in range(8) for name in names])
    variable = [words("parameter"), -1, *rest, 1, -1, 0]
    _write(writer, "variables", [(b + 1, words(f"block{b}.weight"), *variable) for b in range(BLOCKS)])
    _write(writer, "holds", [(1000, 0, b + 1, 0) for b in range(BLOCKS)])
    writer["process"].write_rows(described)
    writer["names"].write_rows([(number, text) for text, number in step.words.items()])
    rows = {name: _table(name, getattr(step, name)) for name in ("calls", "updates", "states")}
    rows["marks"] = _table("marks", [(0, 0, MARK_STEP)])
    for first in range(0, steps, STEPS_A_FLUSH):
        for name, table in rows.items():
            writer[name].write_packed(_shifted(name, table, step.length, first, min(steps, first + STEPS_A_FLUSH)))
    writer["process"].write_rows([("outcome", "ended")])
    _write(writer, "marks", [(steps * step.length + 10_000, -1, MARK_END)])
    writer.close()


_SEQS = {"calls": ("enter", "exit", "parent", "time"), "updates": ("id", "call"), "states": ("at",), "marks": ("seq",)}


def _shifted(name: str, table: np.ndarray, length: int, first: int, end: int) -> bytes:
    """The rows of several steps; events begin at 10,000, above the ids of what lasts."""
    count = end - first
    tiled = np.tile(table, count)
    offset = np.repeat(np.arange(first, end) * length + 10_000, len(table))
    for column in _SEQS[name]:
        tiled[column] = np.where(tiled[column] == -1, -1, tiled[column] + offset)
    if name == "marks":
        tiled["step"] = np.arange(first, end)
    if name == "states":
        tiled["fingerprint"] = tiled["at"]
    return tiled.tobytes()


def _table(name: str, rows: list[tuple[float, ...]]) -> np.ndarray:
    return np.array(rows, [(column, np.dtype(storage)) for column, storage in FAMILIES[name].columns])


def _write(writer: ProcessWriter, name: str, rows: list[tuple[float, ...]]) -> None:
    writer[name].write_packed(_table(name, rows).tobytes())


def invariants() -> Iterator[str]:
    """The invariants; with the shipped laws they are over 500."""
    yield from (f'contains_call(Outer: "net.Block{b}.forward", Inner: "{i}")' for b in range(BLOCKS)
                for i in (LINEAR, RELU, GELU, f"net.f{b}", f"net.Layer{b}.forward"))  # fmt: skip
    apis = [
        LINEAR,
        RELU,
        GELU,
        *(f"net.f{b}" for b in range(BLOCKS)),
        *(f"net.Layer{b}.forward" for b in range(BLOCKS)),
    ]
    yield from (f'result_dtype(Api: "{api}", Dtype: "float32") "" if C.stage == "train"' for api in apis[:60])
    yield from (f'argument_is(Api: "{api}", Argument: "input", Setting: "nonzero")' for api in apis[:60])
    yield from (f'result_keeps_dtype(Api: "{api}", Argument: "input")' for api in apis[:60])
    yield from (f'result_keeps_shape(Api: "{api}", Argument: "input")' for api in apis[:60])
    loop = ["zero_grad", "forward", "backward", "optimizer_step"]
    for first, then in itertools.permutations(loop, 2):
        yield f'precedes(First: "{first}", Then: "{then}") "" if D.position == "later"'
        yield f'follows(First: "{first}", Then: "{then}")'
    yield from (f'count_per_step(Doer: "{doer}", Times: 1)' for doer in loop)
    yield from (f'context_is(Doer: "{doer}", Key: "training", Setting: "true")' for doer in loop)
    for doer, attr in itertools.product(loop, ("grad", "data")):
        yield f'updates_each(Doer: "{doer}", Kind: "parameter", Attr: "{attr}") "" if V.requires_grad == "true"'
        yield f'changes_only_in(Kind: "parameter", Attr: "{attr}", Doer: "{doer}")'
        yield f'updates_some(Doer: "{doer}", Kind: "parameter", Attr: "{attr}", Before: "none", After: "nonzero")'
    yield from (f'state_is(Kind: "parameter", Attr: "{a}", Point: "{p}", Class: "nonzero")'
                for a in ("grad", "data") for p in ("before_step", "after_step"))  # fmt: skip
    yield from ('replicas_agree(Kind: "parameter", Attr: "data")', 'trains(Kind: "parameter")')
    yield from ('flag_is(Kind: "parameter", Flag: "true")', 'used_after_built(Built: "zero_grad", Used: "forward")')


def laws(folder: Path) -> tuple[Checked, dict[str, list[Law]]]:
    """The invariants, and the shipped laws of PyTorch training."""
    path = folder / "laws.rules"
    texts = [text if text.find('""') >= 0 else f'{text} ""' for text in invariants()]
    path.write_text("\n".join("invariant " + text.replace('""', f'"law {n}"', 1) for n, text in enumerate(texts)))
    checked = load_rules([path])
    grouped = laws_of(checked, rules_in(checked, ["torch"]))
    return checked, grouped


def measure(folder: Path, trace: Path) -> None:
    """Follow a trace and print what it took."""
    checked, grouped = laws(folder)
    started = time.perf_counter()
    follower = Follower(trace, Incremental(checked, grouped), [])
    follower.run()
    report = follower.finish()
    spent = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    asked = report.checked + len(report.not_triggered)
    print(
        f"followed: {report.facts:,} facts, {asked} invariants ({len(report.violations)} violated): "
        f"{spent:.1f} s, {report.facts / spent:,.0f} facts/s, peak memory {peak:.0f} MiB",
        flush=True,
    )


def measure_steps(folder: Path, trace: Path) -> None:
    """Check a trace step by step, as it comes while training is slower than the checker; print what a step took."""
    checked, grouped = laws(folder)
    incremental, growing = Incremental(checked, grouped), GrowingTrace(trace)
    growing.poll()
    spent = []
    started = time.perf_counter()
    while (batch := growing.take(1)) is not None:
        incremental.feed(batch)
        spent.append(time.perf_counter() - started)
        started = time.perf_counter()
    median, worst = 1000 * float(np.median(spent)), 1000 * max(spent)
    print(f"step by step: {len(spent)} steps of {incremental.facts // len(spent):,} facts: {median:.0f} ms a step, "
          f"{worst:.0f} ms at worst", flush=True)  # fmt: skip


def measure_offline(folder: Path, trace: Path, engine: str) -> None:
    """Check a whole trace with one engine and print what it took."""
    checked, grouped = laws(folder)
    checker = Checker(checked, grouped, engine_named(engine))
    started = time.perf_counter()
    facts = load_facts(trace)
    violations, _ = checker.check(facts)
    spent, size = time.perf_counter() - started, checker.size(facts)
    print(
        f"{engine}: {size:,} facts ({len(violations)} violated): {spent:.1f} s, {size / spent:,.0f} facts/s", flush=True
    )


def _apart(function: object, *arguments: object) -> None:
    """In a process of its own, so that its peak memory is its own."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)  # type: ignore[arg-type]
    process.start()
    process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("facts", type=int, nargs="*", default=[1_000_000], help="sizes of the traces to generate")
    parser.add_argument("--pydatalog", type=int, metavar="N", help="measure every engine offline on N facts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in options.facts:
            _apart(generate, folder / str(size), -(-size // FACTS_A_STEP))
            _apart(measure, folder, folder / str(size))
        _apart(generate, folder / "steps", 30)
        _apart(measure_steps, folder, folder / "steps")
        if options.pydatalog:
            _apart(generate, folder / "small", -(-options.pydatalog // FACTS_A_STEP))
            for engine in ("columns", "duckdb", "pydatalog"):
                _apart(measure_offline, folder, folder / "small", engine)


if __name__ == "__main__":
    main()
