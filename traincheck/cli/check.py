"""`traincheck check`: check traces against invariants."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from traincheck.check.checker import Checker, check_traces
from traincheck.check.law import Law, laws_of, rules_in
from traincheck.check.verdict import Report, Violation
from traincheck.cli.choosing import Choice, choosing_options
from traincheck.cli.common import checking_engine_option, progress, rules_option, traces_argument, warn
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import is_translation, load_rules
from traincheck.errors import UsageError
from traincheck.facts import Facts
from traincheck.files import require_writable, write_whole
from traincheck.report import FORMATS, render

if TYPE_CHECKING:
    from traincheck.explain import Explanation

_LEVELS = ("note", "warning", "error")

EXIT_HELD, EXIT_VIOLATED, EXIT_NOTHING_CHECKED = 0, 1, 3


@click.command("check")
@traces_argument
@click.option("-i", "--invariants", "sources", multiple=True, metavar="FILE", help="invariants and rules to check")
@rules_option
@click.option("--explain", is_flag=True, help="prove each violation and show what came nearest to holding")
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="write the report here instead of to standard output")
@click.option(
    "--fail-on",
    type=click.Choice(_LEVELS),
    default="warning",
    show_default=True,
    help="least severity that exits with 1",
)
@checking_engine_option
@choosing_options
def command(
    traces: tuple[Path, ...],
    sources: tuple[str, ...],
    rule_paths: tuple[str, ...],
    explain: bool,
    format_: str,
    output: Path | None,
    fail_on: str,
    engine: str | None,
    choice: Choice,
) -> int:
    """Check TRACE… against invariants and say where each run first left the path."""
    if not sources and not rule_paths:
        raise UsageError("there is nothing to check against", next_step="add -i FILE or --rules PACK")
    if output is not None:
        require_writable(output)
    named = (*sources, *rule_paths)
    checked = load_rules(named)
    laws = choice.laws(laws_of(checked, rules_in(checked, named)))
    checker = Checker(checked, laws, engine_named(engine or _best_engine(laws)))
    explanations: dict[str, Explanation] = {}

    def prove(facts: Facts, violations: Sequence[Violation]) -> None:
        from traincheck.explain import explain_violations  # loads the reference engine, which only this needs

        explanations.update(explain_violations(checked, facts, choice.new(violations)))

    hooks = {"on_violations": prove} if explain else {}
    report = check_traces(checker, traces, named, progress=progress, **hooks)
    for line in report.warnings:
        warn(line)
    choice.settle(report)
    _deliver(report, explanations, format_, output)
    return _status(report, fail_on)


def _deliver(report: Report, explanations: Mapping[str, Explanation], format_: str, output: Path | None) -> None:
    """Write the report where it is wanted; on a terminal the text is a tree."""
    if output is not None:
        write_whole(output, render(format_, report, explanations))
    elif format_ == "text" and sys.stdout.isatty():
        from rich.console import Console

        from traincheck.report.terminal import print_report

        print_report(report, explanations, Console(highlight=False))
    else:
        click.echo(render(format_, report, explanations), nl=False)


def _status(report: Report, fail_on: str) -> int:
    if any(_LEVELS.index(v.law.invariant.severity) >= _LEVELS.index(fail_on) for v in report.violations):
        return EXIT_VIOLATED
    return EXIT_HELD if report.checked else EXIT_NOTHING_CHECKED


def _best_engine(laws: Mapping[str, Sequence[Law]]) -> str:
    """Imported invariants may pair everything with everything, which wants an engine that filters early and spills."""
    translated = any(is_translation(law.template) for group in laws.values() for law in group[:1])
    return "duckdb" if translated else "columns"
