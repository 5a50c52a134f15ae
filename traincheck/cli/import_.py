"""`traincheck import`: bring along what the original TrainCheck recorded and inferred."""

from pathlib import Path

import click

from traincheck.cli.common import progress, say, warn
from traincheck.dsl.load import load_rules
from traincheck.dsl.printer import print_file
from traincheck.files import write_whole
from traincheck.integrations.orderlab import import_invariants, import_trace

_EXIT_NOTHING = 2


@click.group("import")
def command() -> None:
    """Read traces and invariants of the original TrainCheck (OrderLab)."""


@command.command("trace")
@click.argument("source", type=click.Path(path_type=Path), metavar="FOLDER|FILE")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="the trace to write, a new folder")
@click.option("--jobs", type=click.IntRange(1), help="how many processes of the run to read at once (default: cores)")
def trace(source: Path, output: Path, jobs: int | None) -> int:
    """Write the recorded logs in FOLDER, or one FILE of them, as a trace.

    Files are told apart by what is in them, whatever they are called. A line that is no record is a warning.
    """
    summary = import_trace(source, output, jobs, progress)
    for line in summary.warnings:
        warn(line)
    doubled = f", {summary.duplicates} of them twice" if summary.duplicates else ""
    say(f"{output}: {summary.records} records of {summary.processes} processes{doubled}", err=True)
    return 0


@command.command("invariants")
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="the rule file to write")
def invariants(source: Path, output: Path) -> int:
    """Write the invariants in FILE as a rule file; what cannot be kept is told, line by line."""
    found = import_invariants(source, load_rules(()).templates)
    write_whole(output, print_file(found.file))
    for line in found.notes:
        warn(line)
    for line in found.left_out:
        warn(f"left out: {line}")
    left_out = f"{len(found.left_out)} line{'' if len(found.left_out) == 1 else 's'} left out"
    say(f"{output}: {found.kept} of {found.read} invariants, {left_out}", err=True)
    return 0 if found.kept or not (found.read or found.left_out) else _EXIT_NOTHING
