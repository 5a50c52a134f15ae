"""`traincheck infer`: learn invariants from known-good runs."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from traincheck.cli.common import engine_option, persona_option, progress, rules_option, say, traces_argument, warn
from traincheck.datalog.engine import engine_named
from traincheck.dsl.checker import Checked
from traincheck.dsl.declare import PERSONAS, suits
from traincheck.dsl.features import choices_of
from traincheck.dsl.load import load_rules, rule_files
from traincheck.dsl.parse import LANGUAGE_VERSION
from traincheck.dsl.printer import print_file
from traincheck.dsl.syntax import Persona, RuleFile, Template
from traincheck.errors import UsageError
from traincheck.files import require_writable, write_whole
from traincheck.infer.evidence import Run, digests_of, distinct, dump, evidence_path, load
from traincheck.infer.hypothesis import Hypothesis
from traincheck.infer.learn import Learned, learn, observe
from traincheck.infer.selection import Thresholds
from traincheck.infer.wording import counted, fill

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
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="how unlikely it must be that chance alone makes it hold",
)
@click.option(
    "--max-exceptions",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="how many examples may break what nothing separates exactly, at most 1 % of them; it is then only noted",
)
@persona_option
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
    min_confidence: float,
    max_exceptions: int,
    persona: Persona,
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
    digests = digests_of(checked, templates)
    runs = load(evidence_path(update), digests) if update is not None else []

    def read(trace: Path) -> Run:
        progress(f"reading {trace}")
        return observe(trace, checked, templates, engine_named(engine), warn)

    with ThreadPoolExecutor(jobs) as pool:  # threads: the engines do their work outside the interpreter's lock
        runs += pool.map(read, traces)
    runs = distinct(runs)
    thresholds = Thresholds(min_examples, min_runs, min_confidence, max_exceptions)
    learned = learn(runs, templates, thresholds, progress, choices_of(checked.defines))
    written = [item for item in learned.kept if suits(item.invariant, persona)]
    write_whole(target, print_file(RuleFile(tuple(item.invariant for item in written), LANGUAGE_VERSION)))
    write_whole(evidence_path(target), dump(runs, digests))
    if why_not:
        for line in sorted(_reasons(learned, persona)):
            say(line)
    say(
        f"{target}: {counted(len(written), 'invariant')} ({_by_persona(learned, persona)}) from "
        f"{counted(len(runs), 'run')}, {counted(len(learned.dropped), 'hypothesis', 'hypotheses')} dropped",
        err=True,
    )
    if not written:
        warn("nothing was learned: --why-not tells why; more or longer runs give more evidence")
    return 0


def _by_persona(learned: Learned, persona: Persona) -> str:
    """`12 regular, 3 pedantic left out`."""
    parts = []
    for one in PERSONAS:
        of_it = [item for item in learned.kept if item.invariant.persona == one]
        left_out = " left out" if of_it and not suits(of_it[0].invariant, persona) else ""
        parts.append(f"{len(of_it)} {one}{left_out}")
    return ", ".join(parts)


def _chosen(checked: Checked, names: Sequence[str], rule_paths: Sequence[str]) -> list[Template]:
    """The templates of these names; else the standard ones and those of the rules that the user names."""
    unknown = [name for name in names if name not in checked.templates]
    if unknown:
        raise UsageError(f"there is no template '{unknown[0]}'", next_step="traincheck rules list")
    if names:
        return [checked.templates[name] for name in dict.fromkeys(names)]
    files = {file.resolve() for path in (_STANDARD, *rule_paths) for file in rule_files(path)}
    return [template for template in checked.templates.values() if Path(template.position.file).resolve() in files]


def _reasons(learned: Learned, persona: Persona) -> Iterator[str]:
    """A line for each hypothesis that is not in the file."""
    for dropped in learned.dropped:
        yield _line(dropped.hypothesis, dropped.reason)
    for item in learned.kept:
        if not suits(item.invariant, persona):
            yield _line(item.hypothesis, f"{item.invariant.persona}: --persona {item.invariant.persona} writes it")


def _line(hypothesis: Hypothesis, reason: str) -> str:
    template = hypothesis.grounding.template
    return f"{template.name}: {fill(template.title, hypothesis.arguments.items())}: {reason}"
