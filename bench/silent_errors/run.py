#!/usr/bin/env python3
"""Learn from healthy runs of each case, check other healthy runs and the faulty one, and print what was found.

    python bench/silent_errors/run.py [--case NAME]... [--full] [--rules FILE]... [--jobs N] [--work DIR]
                                      [--json FILE] [--markdown FILE]

It speaks to TrainCheck only through its command line and its JSON report. A case is found when a violation of severity
warning or above names one of the case's words, by a law that holds on the healthy runs; "packs" says whether the
shipped rules of torch find it without any reference run. Exit status 0 when everything was found and nothing false.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COUNTED = ("error", "warning")
HEADER = (
    "case", "fidelity", "the original", "found", "step", "fault at", "rank", "findings", "rule", "packs", "false",
)  # fmt: skip


@dataclass
class Row:
    """What is known of one case."""

    id: str
    fidelity: str
    original: str
    at: int | None
    found: bool = False
    step: int | None = None
    rank: int | None = None
    findings: int = 0
    template: str = ""
    title: str = ""
    packs: bool = False
    pack_rule: str = ""
    pack_step: int | None = None
    pack_findings: int = 0
    all_titles: list[str] = field(default_factory=list)
    pack_titles: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    invariants: int = 0
    seconds: float = 0.0
    error: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        found = f"failed: {self.error}" if self.error else "yes" if self.found else "NO"
        numbers = (self.step, self.at, self.rank)
        step, at, rank = ("-" if number is None else str(number) for number in numbers)
        packs = self.pack_rule if self.packs else "-"
        return (
            self.id, self.fidelity, self.original, found, step, at, rank, str(self.findings), self.template or "-",
            packs, str(len(self.false)),
        )  # fmt: skip


class Failed(Exception):
    """A command did not do what it should."""


class Case:
    """One case, run in a folder of its own."""

    def __init__(self, spec: dict[str, Any], work: Path, args: argparse.Namespace) -> None:
        self.spec = spec
        self.work = work / spec["id"]
        self.exe = args.exe.split()
        self.full = args.full
        self.packs: list[str] = args.pack
        self.rules = [part for name in args.rules for part in ("--rules", name)]
        self.timeout = args.timeout
        self.script = str(HERE / "cases" / spec["script"])
        self.learned = self.work / "learned.rules"
        self.noisy: set[str] = set()

    def run(self) -> Row:
        """Learn, check, judge."""
        spec = self.spec
        row = Row(spec["id"], spec["fidelity"], spec["original"], spec.get("at"))
        start = time.perf_counter()
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        try:
            self._learn(row)
            for index, extra in enumerate(spec["healthy"]):
                for report in self._target(f"healthy-{index}", extra, 0):
                    row.false += [_named(violation) for violation in _counted(report)]
                    self.noisy |= {violation["invariant"] for violation in _counted(report)}
            self._judge(row, *self._target("fault", [*spec["references"][0], "--fault"], spec.get("exit", 0)))
        except Failed as failure:
            row.error = str(failure)
        row.seconds = round(time.perf_counter() - start, 1)
        return row

    def _learn(self, row: Row) -> None:
        references = [self.work / f"reference-{index}" for index in range(len(self.spec["references"]))]
        for trace, extra in zip(references, self.spec["references"], strict=True):
            self._call(["collect", "-o", trace, self.script, *extra])
        self._call(["infer", *references, *self.rules, "-o", self.learned])
        row.invariants = sum(line.startswith("invariant ") for line in self.learned.read_text().splitlines())

    def _target(self, name: str, extra: Sequence[str], status: int) -> list[dict[str, Any]]:
        """The reports on one run: by what was learned, and by the packs."""
        trace = self.work / name
        packs = [part for pack in self.packs for part in ("--rules", pack)]
        selective = [] if self.full else ["--invariants", self.learned, *self.rules, *packs]
        self._call(["collect", "-o", trace, *selective, self.script, *extra], (status,))
        reports = [self._check(trace, f"{name}-learned", ["-i", self.learned, *self.rules])]
        return [*reports, self._check(trace, f"{name}-packs", packs) if packs else {"violations": []}]

    def _check(self, trace: Path, name: str, laws: Sequence[object]) -> dict[str, Any]:
        report = self.work / f"{name}.json"
        self._call(["check", trace, *laws, "--format", "json", "--output", report], (0, 1, 3))
        document: dict[str, Any] = json.loads(report.read_text())
        return document

    def _call(self, arguments: Sequence[object], ok: Sequence[int] = (0,)) -> None:
        command = [*self.exe, *map(str, arguments)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self.timeout, check=False, env=environment
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{arguments[0]} took more than {self.timeout} s") from None
        with (self.work / "log").open("a") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}exit {done.returncode}\n\n")
        if done.returncode not in ok:
            raise Failed(f"{arguments[0]} exited with {done.returncode}, see {self.work / 'log'}")

    def _judge(self, row: Row, learned: dict[str, Any], packs: dict[str, Any]) -> None:
        violations, headlines = _counted(learned), _headlines(learned)
        row.findings = len(headlines)
        row.all_titles = [_named(violation) for violation in violations]
        relevant = [violation for violation in violations if self._relevant(violation)]
        row.rank = next((n for n, headline in enumerate(headlines, 1) if headline in relevant), None)
        if relevant:
            row.found = True
            row.template, row.title = relevant[0]["template"], relevant[0]["title"]
            row.step = _earliest(relevant)
        row.pack_titles = [_named(violation) for violation in _counted(packs)]
        row.pack_findings = len(_headlines(packs))
        shipped = [violation for violation in _counted(packs) if self._relevant(violation)]
        if shipped:
            row.packs = True
            row.pack_rule, row.pack_step = shipped[0]["template"], _earliest(shipped)

    def _relevant(self, violation: dict[str, Any]) -> bool:
        if violation["invariant"] in self.noisy:
            return False
        first = violation["first"]
        parts = [violation["title"], violation["template"], violation["params"], violation.get("concepts")]
        text = json.dumps([*parts, first.get("api"), first.get("variable")]).lower()
        return any(word.lower() in text for word in self.spec["words"])


def _counted(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [violation for violation in report["violations"] if violation["severity"] in COUNTED]


def _headlines(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The first violation of each finding."""
    first = {finding["headline"] for finding in report.get("findings", ())}
    return [violation for violation in _counted(report) if violation["invariant"] in first]


def _named(violation: dict[str, Any]) -> str:
    return f"{violation['template']}: {violation['title']} (step {violation['first'].get('step')})"


def _earliest(violations: Sequence[dict[str, Any]]) -> int | None:
    steps = [violation["first"]["step"] for violation in violations if violation["first"].get("step") is not None]
    return min(steps, default=None)


def _markdown(rows: Sequence[Row]) -> str:
    lines = [HEADER, ["---"] * len(HEADER), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _summary(rows: Sequence[Row]) -> str:
    found, packs = sum(row.found for row in rows), sum(row.packs for row in rows)
    false, first = sum(len(row.false) for row in rows), sum(row.rank == 1 for row in rows)
    return (
        f"{found} of {len(rows)} found, {packs} by packs alone, {first} with a relevant finding first, "
        f"at most {max((row.findings for row in rows), default=0)} findings, {false} false on healthy runs"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="part of a case's id; repeatable")
    parser.add_argument("--full", action="store_true", help="collect everything, not only what the rules need")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--work", type=Path, help="keep traces and reports here")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    parser.add_argument("--pack", action="append", help="rule packs to try without references (default: torch)")
    parser.add_argument("--rules", action="append", default=[], help="templates to learn from beside the standard ones")
    parser.add_argument("--exe", default=f"{Path(sys.executable).parent / 'traincheck'}", help="the program to run")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one command")
    args = parser.parse_args()
    packs = args.pack or ["torch"]
    args.pack = [pack for pack in packs if Path(pack).exists() or (HERE.parents[1] / "rules" / pack).is_dir()]
    return args


def main() -> int:
    """Run the cases and print the table."""
    args = _arguments()
    cases = tomllib.loads((HERE / "cases.toml").read_text())["case"]
    if args.case:
        cases = [case for case in cases if any(name in case["id"] for name in args.case)]
    work = args.work or Path(tempfile.mkdtemp(prefix="silent-errors-"))
    rows: list[Row] = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for row in pool.map(lambda spec: Case(spec, work, args).run(), cases):
            rows.append(row)
            print(" | ".join(row.cells()) + f" | {row.seconds:.0f} s", flush=True)
            for title in row.false:
                print(f"    false: {title}")
    print(_summary(rows))
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if args.markdown:
        args.markdown.write_text(f"{_markdown(rows)}\n{_summary(rows)}.\n")
    return int(any(row.error or not row.found or row.false for row in rows))


if __name__ == "__main__":
    sys.exit(main())
