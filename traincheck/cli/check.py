"""`traincheck check`: check traces against invariants."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from traincheck.check.batches import InBatches
from traincheck.check.checker import Checker, Examiner, check_traces
from traincheck.check.incremental import Incremental
from traincheck.check.law import Law, laws_of, rules_in
from traincheck.check.verdict import Report, Violation
from traincheck.cli.choosing import Choice, choosing_options
from traincheck.cli.common import checking_engine_option, fail_on_option, progress, rules_option, traces_argument, warn
from traincheck.cli.live import Teller
from traincheck.cli.outcome import EXIT_HELD, deliver, status_of
from traincheck.cli.whynot import tell_why_not
from traincheck.datalog.engine import engine_named
from traincheck.dsl.checker import Checked
from traincheck.dsl.load import is_translation, load_rules
from traincheck.errors import UsageError
from traincheck.facts import Facts
from traincheck.files import require_writable
from traincheck.report import FORMATS

if TYPE_CHECKING:
    from traincheck.explain import Explanation


@click.command("check")
@traces_argument
@click.option("-i", "--invariants", "sources", multiple=True, metavar="FILE", help="invariants and rules to check")
@rules_option
@click.option("--follow", is_flag=True, help="check one trace while it is written, and end when its run has ended")
@click.option("--explain", is_flag=True, help="prove each violation and show what came nearest to holding")
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="write the report here instead of to standard output")
@fail_on_option
@checking_engine_option
@click.option("--why-not", multiple=True, metavar="ID", help="tell only why this invariant is not triggered")
@choosing_options
def command(
    traces: tuple[Path, ...],
    sources: tuple[str, ...],
    rule_paths: tuple[str, ...],
    follow: bool,
    explain: bool,
    format_: str,
    output: Path | None,
    fail_on: str,
    engine: str | None,
    why_not: tuple[str, ...],
    choice: Choice,
) -> int:
    """Check TRACE… against invariants and say where each run first left the path."""
    if not sources and not rule_paths:
        raise UsageError("there is nothing to check against", next_step="add -i FILE or --rules PACK")
    if follow and len(traces) != 1:
        raise UsageError("only one trace can be followed", next_step="start one 'traincheck check --follow' for each")
    if output is not None:
        require_writable(output)
    named = (*sources, *rule_paths)
    checked = load_rules(named)
    laws = choice.laws(laws_of(checked, rules_in(checked, named)))
    solver = engine_named(engine or _best_engine(laws))
    if why_not:
        tell_why_not(checked, laws, traces, why_not, solver)
        return EXIT_HELD
    explanations: Mapping[str, Explanation]
    if follow:
        teller = Teller(checked, choice, explain)
        report, explanations = _follow(traces[0], Incremental(checked, laws), named, teller), teller.explanations
    else:
        examiner = InBatches(Incremental(checked, laws)) if solver.name == "columns" else Checker(checked, laws, solver)
        report, explanations = _check(checked, examiner, traces, named, explain, choice)
    for line in report.warnings:
        warn(line)
    choice.settle(report)
    deliver(report, explanations, format_, output)
    return status_of(report, fail_on)


def _check(
    checked: Checked, examiner: Examiner, traces: Sequence[Path], named: Sequence[str], explain: bool, choice: Choice
) -> tuple[Report, Mapping[str, Explanation]]:
    """Check traces that are there."""
    explanations: dict[str, Explanation] = {}

    def prove(facts: Facts, violations: Sequence[Violation]) -> None:
        from traincheck.explain import explain_violations  # loads the reference engine, which only this needs

        explanations.update(explain_violations(checked, facts, choice.new(violations)))

    hooks = {"on_violations": prove} if explain else {}
    return check_traces(examiner, traces, named, progress=progress, **hooks), explanations


def _follow(trace: Path, incremental: Incremental, named: Sequence[str], teller: Teller) -> Report:
    """Check a trace as it grows; an interrupt ends the following, not the report."""
    from traincheck.check.follow import Follower

    interrupts: list[int] = []

    def answer(number: int, _frame: object) -> None:
        interrupts.append(number)
        signal.signal(signal.SIGINT, before)  # a second one ends the command

    before = signal.signal(signal.SIGINT, answer)
    follower = Follower(trace, incremental, named, told=teller, interrupted=lambda: bool(interrupts))
    follower.run()
    return follower.finish()


def _best_engine(laws: Mapping[str, Sequence[Law]]) -> str:
    """Imported invariants may pair everything with everything, which wants an engine that filters early and spills."""
    translated = any(is_translation(law.template) for group in laws.values() for law in group[:1])
    return "duckdb" if translated else "columns"
