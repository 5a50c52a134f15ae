"""`traincheck infer`: learn invariants from known-good runs."""

from collections.abc import Sequence
from pathlib import Path

import click

from traincheck.cli.common import engine_option, progress, rules_option, traces_argument
from traincheck.datalog.engine import engine_named
from traincheck.dsl.checker import Checked
from traincheck.dsl.load import load_rules
from traincheck.dsl.printer import print_file
from traincheck.dsl.syntax import RuleFile, Template
from traincheck.errors import UsageError
from traincheck.files import write_whole
from traincheck.infer.learn import learn
from traincheck.infer.selection import Dropped, Thresholds, fill

LANGUAGE_VERSION = "1.0"


@click.command("infer")
@traces_argument
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="the invariants file to write")
@rules_option
@click.option("--template", "template_names", multiple=True, metavar="NAME", help="mine only these templates")
@engine_option
@click.option("--min-examples", type=click.IntRange(1), default=3, show_default=True)
@click.option("--min-runs", type=click.IntRange(1), default=2, show_default=True, help="runs that must show it")
@click.option("--why-not", is_flag=True, help="tell why each hypothesis was dropped, on standard output")
def command(
    traces: tuple[Path, ...],
    output: Path,
    rule_paths: tuple[str, ...],
    template_names: tuple[str, ...],
    engine: str,
    min_examples: int,
    min_runs: int,
    why_not: bool,
) -> int:
    """Learn from TRACE… (known-good runs) the invariants that hold in all of them."""
    checked = load_rules(rule_paths)
    templates = _chosen(checked, template_names)
    learned = learn(
        traces, checked, templates, engine_named(engine), Thresholds(min_examples, min_runs), progress=progress
    )
    declarations = tuple(item.invariant for item in learned.kept)
    write_whole(output, print_file(RuleFile(declarations, LANGUAGE_VERSION)))
    if why_not:
        for line in sorted(_reason(item) for item in learned.dropped):
            click.echo(line)
    click.echo(
        f"{output}: {len(learned.kept)} invariants from {len(traces)} runs, {len(learned.dropped)} hypotheses dropped",
        err=True,
    )
    return 0


def _chosen(checked: Checked, names: Sequence[str]) -> list[Template]:
    unknown = [name for name in names if name not in checked.templates]
    if unknown:
        raise UsageError(f"there is no template '{unknown[0]}'", next_step="traincheck rules list")
    return [template for name, template in checked.templates.items() if not names or name in names]


def _reason(dropped: Dropped) -> str:
    hypothesis = dropped.hypothesis
    template = hypothesis.grounding.template
    return f"{template.name}: {fill(template.title, hypothesis.arguments.items())}: {dropped.reason}"
