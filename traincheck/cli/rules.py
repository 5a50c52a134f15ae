"""`traincheck rules`: what rules there are, what one says, whether a file of them is good and its examples true."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from traincheck.cli.common import engine_option, say
from traincheck.datalog.engine import engine_named
from traincheck.dsl import catalog
from traincheck.dsl.checker import problems
from traincheck.dsl.load import load_rules, parse_files, rule_files, standard_files
from traincheck.dsl.syntax import Example, Rule, Template

if TYPE_CHECKING:
    from traincheck.check.examples import Outcome

__all__ = ["command"]

_MORE_RULES = click.option(
    "--rules", "more", multiple=True, metavar="FILE|DIR", help="Also these rules, besides the shipped ones."
)


@click.group()
def command() -> None:
    """Show, explain and check rules."""


@command.command("list")
@_MORE_RULES
@click.option("--kind", type=click.Choice(catalog.KINDS), help="Only entries of this kind.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_rules(more: Sequence[str], kind: str | None, style: str) -> None:
    """List rules, templates, derived predicates and the relations of a trace."""
    entries = [entry for entry in catalog.entries(load_rules(more)) if kind in (None, entry.kind)]
    if style == "json":
        click.echo(json.dumps({"schema_version": 1, "rules": [entry.as_dict() for entry in entries]}, indent=2))
    else:
        for shown in catalog.KINDS:
            _print_table(shown, [entry for entry in entries if entry.kind == shown])


@command.command("show")
@click.argument("name")
@_MORE_RULES
def show_rule(name: str, more: Sequence[str]) -> None:
    """Print the rule, template, predicate or relation NAME and where it is defined."""
    click.echo(catalog.show(load_rules(more), name))


@command.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check_rules(files: Sequence[str]) -> int:
    """Check rule files (or folders of them) against the language and the shipped rules.

    Prints one line for each good file; exits with 2 when one is bad.
    """
    asked = list(dict.fromkeys(file.resolve() for path in files for file in rule_files(path)))
    library = [file for file in standard_files() if file not in asked]
    parsed, errors = parse_files([*library, *asked])
    if not errors:  # a file that does not parse would make the others lack what it defines
        errors = problems(parsed)
    for error in errors:
        click.echo(str(error), err=True)
    bad = {(error.where or "").rsplit(":", 2)[0] for error in errors}  # where is path:line:column
    for file in parsed:
        if file.path not in bad and Path(file.path).resolve() in asked:
            say(f"{file.path}: ok, {catalog.count(file)}")
    return 2 if errors else 0


@command.command("test")
@click.argument("files", nargs=-1, metavar="[FILE|DIR|PACK]...")
@engine_option
def test_rules(files: Sequence[str], engine: str) -> int:
    """Run the examples of rule files, of the shipped library unless files are named.

    Exits with 1 when a verdict is not the one expected, with 3 when there is no example at all.
    """
    # loads the engines, which only this needs
    from traincheck.check.examples import missing, run_examples
    from traincheck.cli.outcome import EXIT_HELD, EXIT_NOTHING_CHECKED, EXIT_VIOLATED

    asked = {file.resolve() for path in files for file in rule_files(path)} or set(standard_files())
    checked = load_rules(files)
    examples = [example for example in checked.examples if Path(example.position.file).resolve() in asked]
    failed = 0
    for outcome in run_examples(checked, examples, engine_named(engine)):
        failed += not outcome.ok
        click.echo(_outcome_line(outcome))
    laws: list[Template | Rule] = [*checked.templates.values(), *checked.rules.values()]
    own = [law for law in laws if Path(law.position.file).resolve() in asked]
    for law, verdicts in missing(own, checked.examples):
        click.echo(f"{_place(law)}: no example shows '{law.name}' {' or '.join(verdicts)}")
    click.echo(f"{len(examples)} example{'' if len(examples) == 1 else 's'}, {failed} failed")
    if failed:
        return EXIT_VIOLATED
    return EXIT_HELD if examples else EXIT_NOTHING_CHECKED


def _outcome_line(outcome: Outcome) -> str:
    example = outcome.example
    found = "ok" if outcome.ok else f"FAILED, expected {example.verdict}, found {outcome.found}"
    return f"{_place(example)}: {example.law} {example.verdict} '{example.title}': {found}"


def _place(declaration: Example | Template | Rule) -> str:
    return f"{declaration.position.file}:{declaration.position.line}"


def _print_table(kind: str, entries: Sequence[catalog.Entry]) -> None:
    """One kind's entries below a heading, columns as wide as their widest cell."""
    if not entries:
        return
    parameters = {"predicate": "TERMS", "relation": "COLUMNS"}.get(kind, "PARAMETERS")
    rows = [("NAME", "KIND", parameters, "TITLE")]
    rows += [(entry.name, kind, ", ".join(name for name, _ in entry.parameters), entry.title) for entry in entries]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    click.echo()
