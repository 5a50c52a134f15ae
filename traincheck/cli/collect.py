"""`traincheck collect`: run a training script and record what it does."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, Self

import click

from traincheck.collect.needs import Needs
from traincheck.collect.settings import Settings
from traincheck.errors import UsageError
from traincheck.trace.place import prepare_output

__all__ = ["command"]


class Collected:
    """A training process with the collector inside; while it is entered, signals are the process's to answer."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        self._before: list[tuple[signal.Signals, Any]] = []

    def __enter__(self) -> Self:
        # the child gets the terminal's interrupts itself; what is sent to us alone is passed on
        answers: dict[signal.Signals, Any] = {signal.SIGINT: signal.SIG_IGN}
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            answers[each] = lambda number, _: self._child.send_signal(number)
        self._before = [(number, signal.signal(number, answer)) for number, answer in answers.items()]
        return self

    def __exit__(self, *_: object) -> None:
        self._child.wait()
        for number, answer in self._before:
            signal.signal(number, answer)

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._child.pid

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._child.poll()

    def status(self) -> int:
        """Wait for its end; its exit status, 128 + n for signal n."""
        status = self._child.wait()
        return 128 - status if status < 0 else status


def start_collected(
    settings: Settings, program: list[str], variables: Mapping[str, str] = MappingProxyType({})
) -> Collected:
    """Start Python on `program` with the collector inside."""
    environment = _prepare(settings, variables)
    return Collected(subprocess.Popen([sys.executable, *program], env=environment))


def become_collected(settings: Settings, program: list[str]) -> NoReturn:
    """Let this process be Python on `program` with the collector inside: signals and exit status are that program's."""
    environment = _prepare(settings, {})
    os.execve(sys.executable, [sys.executable, *program], environment)


def _prepare(settings: Settings, variables: Mapping[str, str]) -> dict[str, str]:
    """Begin the trace; the environment that starts the collector."""
    settings.trace.mkdir(parents=True, exist_ok=True)
    settings.manifest().write(settings.trace)
    environment = {**os.environ, **variables}
    settings.export(environment)
    return environment


api_option = click.option(
    "--api", "apis", multiple=True, metavar="GLOB",
    help="record these functions and methods too, such as 'train.generate' or 'torch.Tensor.item'; repeatable",
)  # fmt: skip


def needs_for(sources: Sequence[str]) -> Needs:
    """What the given files and packs of rules speak of; everything when none is given."""
    if not sources:
        return Needs()
    from traincheck.check.law import rules_in
    from traincheck.collect.select import needs_of
    from traincheck.dsl.load import load_rules

    checked = load_rules(tuple(sources))
    return needs_of(checked, rules_in(checked, sources))


class PythonLike(click.Command):
    """Ends our options where Python ends its own: at the script, or behind `-m MODULE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        valued = {name for option in self.params if isinstance(option, click.Option) for name in option.opts}
        place = 0
        while place < len(args) and args[place].startswith("-") and args[place] != "--":
            if args[place].startswith("-m"):
                end = place + (2 if args[place] == "-m" else 1)  # -mMODULE is one word
                args = [*args[:end], *(["--"] if end < len(args) else []), *args[end:]]
                break
            place += 2 if args[place] in valued else 1
        return super().parse_args(ctx, args)


class Share(click.ParamType[float]):
    """A share of something: `2%` or `0.02`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share as a number between 0 and 1."""
        text = str(value)
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = math.nan
        if not 0 < share < 1:
            self.fail(f"'{text}' is no share between 0 and 1; write 2% or 0.02", param, ctx)
        return share


@click.command(
    "collect",
    cls=PythonLike,
    context_settings={"allow_interspersed_args": False},
    short_help="Run a training script and record what it does.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("traincheck-trace"),
    show_default=True,
    help="folder for the trace; an older trace there is replaced",
)
@click.option(
    "-i", "--invariants", multiple=True, metavar="FILE", help="record only what these invariants need; repeatable"
)
@click.option("--rules", multiple=True, metavar="FILE", help="record what these rules need; repeatable")
@api_option
@click.option(
    "--every", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="record one step in N"
)
@click.option(
    "--warmup",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="record the first N steps in any case",
)
@click.option(
    "--budget",
    type=Share(),
    metavar="SHARE",
    help="record so many steps that it takes at most this share of the time",
)
@click.option("-m", "module", metavar="MODULE", help="run a module, as python -m does")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT [ARGS]...")
def command(
    output: Path,
    invariants: tuple[str, ...],
    rules: tuple[str, ...],
    apis: tuple[str, ...],
    every: int,
    warmup: int,
    budget: float | None,
    module: str | None,
    program: tuple[str, ...],
) -> None:
    """Run SCRIPT with its ARGS in a fresh Python and record what training does, without edits to the script."""
    if module is None and not program:
        raise UsageError("no script to run", next_step="traincheck collect [-o TRACE] SCRIPT [ARGS]...")
    if module is None and not Path(program[0]).is_file():
        raise UsageError("no such script", where=program[0], next_step="name a Python file, or use -m MODULE")
    if not all(apis):
        raise UsageError("--api names nothing", next_step="name a function, or write a pattern such as 'train.*'")
    needs = needs_for((*rules, *invariants)).asking(apis)
    prepare_output(output)
    settings = Settings(
        trace=output.resolve(), needs=needs, every=every, warmup=warmup, budget=budget or 0.0, cwd=str(Path.cwd())
    )
    become_collected(settings, [*(["-m", module] if module else []), *program])
