"""`traincheck run`: training and its checker together, each in a process of its own."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from traincheck.check.follow import Follower
from traincheck.check.incremental import Incremental
from traincheck.check.law import laws_of, rules_in
from traincheck.cli.choosing import Choice, choosing_options
from traincheck.cli.collect import PythonLike, api_option, start_collected
from traincheck.cli.common import fail_on_option, warn
from traincheck.cli.live import Teller
from traincheck.cli.outcome import deliver, fails, status_of
from traincheck.collect.brake import VARIABLE, Word, write_word
from traincheck.collect.select import needs_of
from traincheck.collect.settings import Settings
from traincheck.dsl.load import load_rules
from traincheck.errors import UsageError
from traincheck.report import FORMATS
from traincheck.trace.place import prepare_output

__all__ = ["command"]


@click.command(
    "run",
    cls=PythonLike,
    context_settings={"allow_interspersed_args": False},
    short_help="Run a training script and check it while it runs.",
)
@click.option("-i", "--invariants", "sources", multiple=True, metavar="FILE", help="invariants and rules to check")
@click.option("--rules", "rule_paths", multiple=True, metavar="FILE|DIR|PACK", help="rules to check beside them")
@click.option(
    "--on-violation",
    type=click.Choice(["log", "stop"]),
    default="log",
    show_default=True,
    help="stop ends the training after the step; it then waits for the checker at each step",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("traincheck-trace"),
    show_default=True,
    help="folder for the trace; an older trace there is replaced",
)
@api_option
@click.option("--explain", is_flag=True, help="prove each violation and show what came nearest to holding")
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@fail_on_option
@click.option("-m", "module", metavar="MODULE", help="run a module, as python -m does")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT [ARGS]...")
@choosing_options
def command(
    sources: tuple[str, ...],
    rule_paths: tuple[str, ...],
    on_violation: str,
    output: Path,
    apis: tuple[str, ...],
    explain: bool,
    format_: str,
    fail_on: str,
    module: str | None,
    program: tuple[str, ...],
    choice: Choice,
) -> int:
    """Run SCRIPT with its ARGS in a fresh Python, and check what training does while it does it.

    Each violation is told on standard error when its step has ended, and the report follows at the end. The exit
    status is the script's own when it fails, else that of 'traincheck check'.
    """
    _refuse_nonsense((*sources, *rule_paths), module, program)
    named = (*sources, *rule_paths)
    checked = load_rules(named)
    rules = rules_in(checked, named)
    incremental = Incremental(checked, choice.laws(laws_of(checked, rules)))
    prepare_output(output)
    trace = output.resolve()
    settings = Settings(trace=trace, needs=needs_of(checked, rules).asking(apis), cwd=str(Path.cwd()))
    teller = Teller(checked, choice, explain)
    stopper = _Stopper(trace, teller, fail_on)
    stops = on_violation == "stop"
    started = start_collected(
        settings, [*(["-m", module] if module else []), *program], {VARIABLE: "1"} if stops else {}
    )
    with started as training:
        if stops:
            stopper(0)
        follower = Follower(
            trace, incremental, named, told=teller, checked=stopper if stops else _nothing,
            over=lambda: training.poll() is not None, main=training.pid, brisk=stops,
        )  # fmt: skip
        follower.run()
        report = follower.finish()
        status = training.status()
    for line in report.warnings:
        warn(line)
    choice.settle(report)
    deliver(report, teller.explanations, format_, None)
    return status or status_of(report, fail_on)


def _refuse_nonsense(named: Sequence[str], module: str | None, program: Sequence[str]) -> None:
    if not named:
        raise UsageError("there is nothing to check against", next_step="add -i FILE or --rules PACK")
    if module is None and not program:
        raise UsageError("no script to run", next_step="traincheck run -i FILE SCRIPT [ARGS]...")
    if module is None and not Path(program[0]).is_file():
        raise UsageError("no such script", where=program[0], next_step="name a Python file, or use -m MODULE")


def _nothing(_step: int) -> None:
    pass


class _Stopper:
    """Passes on to the training processes what has been checked, and where they are to stop."""

    def __init__(self, trace: Path, teller: Teller, fail_on: str) -> None:
        self._trace = trace
        self._teller = teller
        self._fail_on = fail_on
        self._stop: int | None = None

    def __call__(self, step: int) -> None:
        """Everything before `step` has been checked."""
        if self._stop is None and fails(self._teller.told, self._fail_on):
            self._stop = step + 1
        write_word(self._trace, Word(step, self._stop, os.getpid()))
