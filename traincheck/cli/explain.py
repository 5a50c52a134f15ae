"""`traincheck explain`: a violation out of a report, or the page of a rule."""

import sys
from pathlib import Path

import click

from traincheck.cli.common import rules_option, say
from traincheck.dsl.load import load_rules
from traincheck.dsl.page import page
from traincheck.errors import UsageError


@click.command("explain")
@click.argument("subject", metavar="REPORT|RULE")
@click.argument("violation", required=False, metavar="[ID]")
@rules_option
def command(subject: str, violation: str | None, rule_paths: tuple[str, ...]) -> int:
    """Explain a violation in a JSON REPORT of `check`, the first one unless ID says which; or what RULE means.

    \b
    traincheck check TRACE -i FILE --explain --format json --output report.json
    traincheck explain report.json
    traincheck explain updates_each
    """
    if Path(subject).is_file() or subject.endswith(".json"):
        _explain_violation(Path(subject), violation)
    elif Path(subject).is_dir():
        raise UsageError(
            "a folder, not a report",
            where=subject,
            next_step="'traincheck check TRACE --explain' explains what is violated in a trace",
        )
    elif violation is not None:
        raise UsageError(f"'{subject}' is no report", next_step="an ID goes with a JSON report")
    else:
        click.echo(page(load_rules(rule_paths), subject))
    return 0


def _explain_violation(report: Path, violation: str | None) -> None:
    from traincheck.report.stored import read_report, stored_story  # loads the engine that explanations come from

    head, story = stored_story(read_report(report), violation, str(report))
    if sys.stdout.isatty():
        from rich.console import Console

        from traincheck.report.terminal import print_told

        print_told(head, story, Console(highlight=False))
        return
    say(head)
    for told in story:
        for line in told.lines(1):
            click.echo(line)
