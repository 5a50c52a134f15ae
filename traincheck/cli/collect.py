"""`traincheck collect`: run a training script and record what it does."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click

from traincheck.collect.needs import Needs
from traincheck.collect.settings import Settings
from traincheck.errors import UsageError
from traincheck.trace.manifest import is_trace

__all__ = ["command"]


def prepare_output(output: Path) -> None:
    """Make an empty folder for a trace; an older trace is replaced, anything else is refused."""
    if output.exists() and not output.is_dir():
        raise UsageError("the output is a file, not a folder", where=str(output), next_step="choose another name with -o")
    if output.is_dir() and any(output.iterdir()):
        if not is_trace(output):
            raise UsageError(
                "the output folder is not empty and not a trace", where=str(output), next_step="choose another with -o"
            )
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)


def run_collected(settings: Settings, program: list[str]) -> int:
    """Run Python on `program` with the collector inside; returns its exit status, 128 + n for signal n."""
    settings.trace.mkdir(parents=True, exist_ok=True)
    settings.manifest().write(settings.trace)
    environment = dict(os.environ)
    settings.export(environment)
    with subprocess.Popen([sys.executable, *program], env=environment) as child:
        # the child gets the terminal's interrupts itself; a signal sent to us alone is passed on
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
        status = child.wait()
    return 128 - status if status < 0 else status


def needs_of(invariants: tuple[Path, ...], rules: tuple[Path, ...]) -> Needs:
    """What the given rule files speak of; everything when none is given."""
    if not invariants and not rules:
        return Needs()
    return Needs()


@click.command(
    "collect",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Run a training script and record what it does.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("traincheck-trace"), show_default=True, help="Folder for the trace; an older trace there is replaced.")
@click.option("--invariants", "-i", type=click.Path(path_type=Path), multiple=True, metavar="FILE", help="Record only what these invariants need.")
@click.option("--rules", type=click.Path(path_type=Path), multiple=True, metavar="FILE", help="Record also what these rules need.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Record one step in N.")
@click.option("--warmup", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Record the first N steps in any case.")
@click.option("-m", "module", metavar="MODULE", help="Run a module, as python -m does.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    context: click.Context, output: Path, invariants: tuple[Path, ...], rules: tuple[Path, ...], every: int, warmup: int, module: str | None, program: tuple[str, ...],
) -> int:  # fmt: skip
    """Run SCRIPT with its ARGS in a fresh Python and record what training does, without edits to the script."""
    if module is None and not program:
        raise UsageError("no script to run", next_step="traincheck collect [-o TRACE] SCRIPT [ARGS]...")
    if module is None and not Path(program[0]).is_file():
        raise UsageError("no such script", where=program[0])
    needs = needs_of(invariants, rules)
    prepare_output(output)
    settings = Settings(trace=output.resolve(), needs=needs, every=every, warmup=warmup, cwd=os.getcwd())
    status = run_collected(settings, [*(["-m", module] if module else []), *program])
    if status:
        context.exit(status)
    return status
