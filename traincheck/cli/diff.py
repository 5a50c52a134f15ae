"""`traincheck diff`: the first fact at which two runs part."""

from pathlib import Path

import click

from traincheck.check.parting import parting
from traincheck.cli.common import progress, warn
from traincheck.errors import UsageError
from traincheck.facts import load_facts
from traincheck.files import require_writable, write_whole
from traincheck.report.parting import parting_json, parting_text

EXIT_SAME, EXIT_DIFFERENT = 0, 1


@click.command("diff")
@click.argument("left", metavar="TRACE_A", type=click.Path(path_type=Path))
@click.argument("right", metavar="TRACE_B", type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="write the answer here instead of to standard output")
def command(left: Path, right: Path, format_: str, output: Path | None) -> int:
    """Say where two runs part: the first call, argument, result or state that differs, in causal order.

    Facts are aligned by rank, step and call path. Exits with 0 when the runs are the same, 1 when they differ.
    """
    if output is not None:
        require_writable(output)
    sides = []
    for trace in (left, right):
        progress(f"reading {trace}")
        facts = load_facts(trace)
        for line in facts.warnings:
            warn(line)
        sides.append(facts)
    found = parting(*sides)
    if not found.compared:
        raise UsageError(f"'{left}' and '{right}' have nothing in common", next_step="compare two runs of one script")
    text = (parting_json if format_ == "json" else parting_text)(found, str(left), str(right))
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text)
    return EXIT_SAME if found.same else EXIT_DIFFERENT
