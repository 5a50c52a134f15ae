"""`traincheck show`: what a trace holds."""

import sys
from pathlib import Path

import click

from traincheck.cli.common import warn
from traincheck.facts import load_facts
from traincheck.facts.summary import summary_of
from traincheck.files import require_writable, write_whole
from traincheck.report.summary import print_summary, summary_json, summary_text


@click.command("show")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="write the summary here instead of to standard output")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="most APIs to list; 0 for all")
def command(trace: Path, format_: str, output: Path | None, limit: int) -> int:
    """Summarise TRACE: its processes, steps, calls, variables and changes, its size, and what is missing from it."""
    if output is not None:
        require_writable(output)
    facts = load_facts(trace)
    for line in facts.warnings:
        warn(line)
    summary = summary_of(facts)
    if output is not None or format_ == "json" or not sys.stdout.isatty():
        text = (summary_json if format_ == "json" else summary_text)(summary, limit)
        if output is None:
            click.echo(text, nl=False)
        else:
            write_whole(output, text)
    else:
        from rich.console import Console

        print_summary(summary, limit, Console(highlight=False))
    if limit and len(summary.apis) > limit:
        click.echo(f"{limit} of {len(summary.apis)} APIs; --limit 0 shows all", err=True)
    return 0
