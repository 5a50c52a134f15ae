"""`traincheck query`: ask a trace a question in the rule language."""

import csv
import sys
from pathlib import Path

import click
import pyarrow as pa

from traincheck.cli.common import engine_option, rules_option, warn
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules
from traincheck.dsl.parse import parse_atoms
from traincheck.dsl.program import question
from traincheck.errors import one_line
from traincheck.facts import load_facts
from traincheck.report.json import json_text
from traincheck.values import canonical

_ANSWER = "answer"
_TRUTH = "holds"


@click.command("query")
@click.argument("trace", type=click.Path(path_type=Path))
@click.argument("atoms")
@rules_option
@click.option("--format", "format_", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True)
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="most rows to print; 0 for all")
@engine_option
def command(trace: Path, atoms: str, rule_paths: tuple[str, ...], format_: str, limit: int, engine: str) -> int:
    """Print every way to satisfy ATOMS in TRACE, one column per variable; without variables, whether they hold.

    \b
    traincheck query TRACE 'call(C, api: "torch.optim.*.step", step: S, site: At)'
    traincheck query TRACE 'does(C, "backward"), not contains(C, _)'
    """
    checked = load_rules(rule_paths)
    formulas = parse_atoms(atoms)
    checked.query(formulas, atoms)
    program, names = question(checked, formulas, _ANSWER)
    facts = load_facts(trace)
    for line in facts.warnings:
        warn(line)
    answer = engine_named(engine).solve(program, {name: facts[name] for name in program.base}, [_ANSWER])[_ANSWER]
    if names:
        answer = answer.rename_columns(names).sort_by([(name, "ascending") for name in names])
    else:  # without variables the question is whether it holds
        answer = pa.table({_TRUTH: [answer.num_rows > 0]})
    _print(answer.slice(0, limit) if limit else answer, format_)
    if limit and answer.num_rows > limit:
        click.echo(f"{limit} of {answer.num_rows} rows; --limit 0 shows all", err=True)
    return 0


def _print(table: pa.Table, format_: str) -> None:
    rows = table.to_pylist()
    if format_ == "json":
        click.echo(json_text(rows))
    elif format_ == "csv":
        writer = csv.DictWriter(sys.stdout, table.column_names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: canonical(value) for name, value in row.items()} for row in rows)
    else:
        _print_aligned(table.column_names, [[one_line(canonical(value)) for value in row.values()] for row in rows])


def _print_aligned(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
