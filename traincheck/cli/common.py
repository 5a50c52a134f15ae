"""Options and habits that commands share."""

import sys
from pathlib import Path

import click

from traincheck.dsl.declare import PERSONAS
from traincheck.errors import one_line

engine_option = click.option(
    "--engine",
    type=click.Choice(["duckdb", "pydatalog"]),
    default="duckdb",
    show_default=True,
    help="which Datalog engine answers; pydatalog is the reference, for small traces",
)

LEVELS = ("note", "warning", "error")

persona_option = click.option(
    "--persona",
    type=click.Choice(PERSONAS),
    default="regular",
    show_default=True,
    help="whose laws; pedantic adds those that note choices, such as sizes and periods",
)

fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(LEVELS),
    default="warning",
    show_default=True,
    help="least severity that exits with 1",
)

checking_engine_option = click.option(
    "--engine",
    type=click.Choice(["columns", "duckdb", "pydatalog"]),
    help="which Datalog engine answers; all give the same answers, pydatalog is the reference, for small traces  "
    "[default: columns; duckdb for invariants of the original]",
)

rules_option = click.option(
    "--rules",
    "rule_paths",
    multiple=True,
    metavar="FILE|DIR|PACK",
    help="rule files, folders or shipped packs to use beside the standard library",
)

traces_argument = click.argument("traces", nargs=-1, required=True, type=click.Path(path_type=Path))


def say(message: str, err: bool = False) -> None:
    """One line; names in it may hold line breaks and what controls a terminal."""
    click.echo(one_line(message), err=err)


def progress(message: str) -> None:
    """Say how far long work is, on standard error, and only to a person."""
    if sys.stderr.isatty():
        say(f"traincheck: {message}", err=True)


def warn(message: str) -> None:
    """A warning in one line on standard error."""
    say(f"traincheck: warning: {message}", err=True)
