"""The offline check: every law against every trace, in one Datalog program per trace."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from traincheck.check.coverage import Coverage, coverage_of
from traincheck.check.law import Law, unique
from traincheck.check.program import law_program
from traincheck.check.sighting import sightings, undecidable
from traincheck.check.verdict import Report, Violation
from traincheck.datalog.engine import Engine
from traincheck.datalog.plan import plan
from traincheck.dsl.checker import Checked
from traincheck.dsl.program import lowering_of, program_of
from traincheck.facts import Facts, load_facts
from traincheck.schema import RELATIONS


class Checker:
    """Laws compiled once, to be checked against any number of traces."""

    def __init__(self, checked: Checked, laws: Mapping[str, Sequence[Law]], engine: Engine) -> None:
        """`laws` is grouped by template; `checked` is the library they were written against."""
        lowering = lowering_of(checked)
        self._programs = [
            law_program(unique(group), checked.sorts(group[0].template), lowering) for group in laws.values() if group
        ]
        self._program = program_of(
            checked,
            lowering,
            (rule for program in self._programs for rule in program.rules),
            **{name: types for program in self._programs for name, types in program.types.items()},
        )
        self._goals = [program.predicate(stem) for program in self._programs for stem in ("violated", "triggered")]
        self._solve = engine.prepare(self._program, self._goals)
        self._relations = [name for name in plan(self._program, self._goals).base if name in RELATIONS]

    @property
    def laws(self) -> list[Law]:
        """All laws, without repetitions."""
        return [law for program in self._programs for law in program.laws]

    def size(self, facts: Mapping[str, pa.Table]) -> int:
        """How many facts of this trace are in the relations that the laws read."""
        return sum(facts[name].num_rows for name in self._relations)

    def check(self, facts: Mapping[str, pa.Table]) -> tuple[list[Violation], set[str]]:
        """The violations in one trace's facts, and the ids of all laws that were triggered."""
        base = {name: facts[name] for name in self._relations}
        for program in self._programs:
            base |= program.tables
        answers = self._solve(base)
        violations: list[Violation] = []
        triggered: set[str] = set()
        for program in self._programs:
            numbers = answers[program.predicate("triggered")].column(0).to_pylist()
            triggered |= {program.laws[number].id for number in numbers}
            violated = answers[program.predicate("violated")]
            violations += [sighting.violation() for sighting in sightings(program, violated, facts)]
        return violations, triggered - undecidable(self.laws, facts)

    def examine(self, trace: Path) -> "Examined":
        """See `Examiner`; the whole trace at once."""
        facts = load_facts(trace)
        violations, triggered = self.check(facts)
        coverage = coverage_of(str(trace), facts)
        return Examined(violations, triggered, self.size(facts), coverage, facts.warnings, lambda: facts)


@dataclass(frozen=True)
class Examined:
    """What was found in one trace; `facts` makes all of its facts."""

    violations: Sequence[Violation]
    triggered: set[str]
    size: int
    coverage: Coverage
    warnings: Sequence[str]
    facts: Callable[[], Facts]


class Examiner(Protocol):
    """Something that checks whole traces."""

    @property
    def laws(self) -> list[Law]:
        """All laws, without repetitions."""

    def examine(self, trace: Path) -> Examined:
        """Check one trace."""


def check_traces(
    examiner: Examiner,
    traces: Sequence[Path],
    sources: Sequence[str],
    on_violations: Callable[[Facts, Sequence[Violation]], None] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Check several traces into one report; a law violated in any of them is violated.

    `on_violations` gets the violations of a trace that no earlier one had, with its facts.
    """
    started = time.perf_counter()
    report = Report([str(trace) for trace in traces], list(sources))
    triggered: set[str] = set()
    broken: dict[str, Violation] = {}
    for trace in traces:
        progress(f"checking {trace}")
        found = examiner.examine(trace)
        report.warnings += found.warnings
        triggered |= found.triggered
        new = {violation.law.id: violation for violation in found.violations if violation.law.id not in broken}
        broken |= new
        if new and on_violations is not None:
            on_violations(found.facts(), list(new.values()))
        report.facts += found.size
        report.coverage.append(found.coverage)
    report.settle(examiner.laws, broken.values(), triggered)
    report.seconds = time.perf_counter() - started
    return report
