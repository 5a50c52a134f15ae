"""`traincheck infer`: learn invariants from known-good runs."""

from collections.abc import Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from traincheck.cli.common import engine_option, progress, rules_option, traces_argument, warn
from traincheck.datalog.engine import engine_named
from traincheck.dsl.checker import Checked
from traincheck.dsl.load import load_rules, rule_files
from traincheck.dsl.parse import LANGUAGE_VERSION
from traincheck.dsl.printer import print_file
from traincheck.dsl.syntax import RuleFile, Template
from traincheck.errors import UsageError
from traincheck.files import require_writable, write_whole
from traincheck.infer.evidence import Run, distinct, dump, evidence_path, load
from traincheck.infer.learn import learn, observe
from traincheck.infer.selection import Dropped, Thresholds, fill

_STANDARD = "standard"


@click.command("infer")
@traces_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="the invariants file to write; --update's file by default"
)
@click.option(
    "--update", type=click.Path(path_type=Path), help="refine this invariants file, using the evidence kept beside it"
)
@rules_option
@click.option("--template", "template_names", multiple=True, metavar="NAME", help="mine only these templates")
@engine_option
@click.option("--min-examples", type=click.IntRange(1), default=3, show_default=True)
@click.option("--min-runs", type=click.IntRange(1), default=2, show_default=True, help="runs that must show it")
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=1, show_default=True, help="how many traces to read at once"
)
@click.option("--why-not", is_flag=True, help="tell why each hypothesis was dropped, on standard output")
def command(
    traces: tuple[Path, ...],
    output: Path | None,
    update: Path | None,
    rule_paths: tuple[str, ...],
    template_names: tuple[str, ...],
    engine: str,
    min_examples: int,
    min_runs: int,
    jobs: int,
    why_not: bool,
) -> int:
    """Learn from TRACE… (known-good runs) the invariants that hold in all of them."""
    target = output or update
    if target is None:
        raise UsageError("nowhere to write the invariants", next_step="add -o FILE")
    require_writable(target)
    checked = load_rules(rule_paths)
    templates = _chosen(checked, template_names, rule_paths)
    by_name = {template.name: template for template in templates}
    runs = load(evidence_path(update), by_name) if update is not None else []

    def read(trace: Path) -> Run:
        progress(f"reading {trace}")
        return observe(trace, checked, templates, engine_named(engine), warn)

    with ThreadPoolExecutor(jobs) as pool:  # threads: the engines do their work outside the interpreter's lock
        runs += pool.map(read, traces)
    runs = distinct(runs)
    learned = learn(runs, templates, Thresholds(min_examples, min_runs), progress)
    write_whole(target, print_file(RuleFile(tuple(item.invariant for item in learned.kept), LANGUAGE_VERSION)))
    write_whole(evidence_path(target), dump(runs, by_name))
    if why_not:
        for line in sorted(_reason(item) for item in learned.dropped):
            click.echo(line)
    click.echo(
        f"{target}: {_counted(learned.kept, 'invariant')} from {_counted(runs, 'run')}, "
        f"{_counted(learned.dropped, 'hypothesis', 'hypotheses')} dropped",
        err=True,
    )
    if not learned.kept:
        warn("nothing was learned: --why-not tells why; more or longer runs give more evidence")
    return 0


def _counted(things: Sized, one: str, many: str | None = None) -> str:
    return f"{len(things)} {one if len(things) == 1 else many or one + 's'}"


def _chosen(checked: Checked, names: Sequence[str], rule_paths: Sequence[str]) -> list[Template]:
    """The templates of these names; else the standard ones and those of the rules that the user names."""
    unknown = [name for name in names if name not in checked.templates]
    if unknown:
        raise UsageError(f"there is no template '{unknown[0]}'", next_step="traincheck rules list")
    if names:
        return [checked.templates[name] for name in dict.fromkeys(names)]
    files = {file.resolve() for path in (_STANDARD, *rule_paths) for file in rule_files(path)}
    return [template for template in checked.templates.values() if Path(template.position.file).resolve() in files]


def _reason(dropped: Dropped) -> str:
    hypothesis = dropped.hypothesis
    template = hypothesis.grounding.template
    return f"{template.name}: {fill(template.title, hypothesis.arguments.items())}: {dropped.reason}"
