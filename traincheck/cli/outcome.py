"""How the checking commands end: where the report goes, and what the exit status says."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from traincheck.check.verdict import Report, Violation
from traincheck.cli.common import LEVELS
from traincheck.files import write_whole
from traincheck.report import render

if TYPE_CHECKING:
    from traincheck.explain import Explanation

__all__ = ["EXIT_HELD", "EXIT_NOTHING_CHECKED", "EXIT_VIOLATED", "deliver", "fails", "status_of"]

EXIT_HELD, EXIT_VIOLATED, EXIT_NOTHING_CHECKED = 0, 1, 3


def deliver(report: Report, explanations: Mapping[str, Explanation], format_: str, output: Path | None) -> None:
    """Write the report where it is wanted; on a terminal the text is a tree."""
    if output is not None:
        write_whole(output, render(format_, report, explanations))
    elif format_ == "text" and sys.stdout.isatty():
        from rich.console import Console

        from traincheck.report.terminal import print_report

        print_report(report, explanations, Console(highlight=False))
    else:
        click.echo(render(format_, report, explanations), nl=False)


def fails(violations: Iterable[Violation], fail_on: str) -> bool:
    """Whether one of them is at least as severe as `fail_on`."""
    return any(LEVELS.index(v.law.invariant.severity) >= LEVELS.index(fail_on) for v in violations)


def status_of(report: Report, fail_on: str) -> int:
    """The exit status of a check."""
    if fails(report.violations, fail_on):
        return EXIT_VIOLATED
    return EXIT_HELD if report.checked else EXIT_NOTHING_CHECKED
