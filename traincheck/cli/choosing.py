"""`--select`, `--ignore`, `--persona` and baselines: which laws are asked, and which violations are known already."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from traincheck.check.baseline import Baseline, baseline_of, quieten, read_baseline, written
from traincheck.check.choose import choose
from traincheck.check.law import Law
from traincheck.check.verdict import Report, Violation
from traincheck.cli.common import persona_option, warn
from traincheck.dsl.syntax import Persona
from traincheck.files import require_writable, write_whole

Command = TypeVar("Command", bound=Callable[..., Any])

_PATTERN = "ID|TEMPLATE|GLOB"


@dataclass(frozen=True)
class Choice:
    """What the user chose; made of the options that `choosing_options` adds to a command."""

    select: Sequence[str]
    ignore: Sequence[str]
    persona: Persona
    baseline: Baseline
    write_to: Path | None
    left_out: set[str] = field(default_factory=set)  # ids of the laws that were not chosen

    def laws(self, laws: Mapping[str, Sequence[Law]]) -> Mapping[str, Sequence[Law]]:
        """The chosen laws; a pattern of `--ignore` that matches none is told on standard error."""
        chosen, unmatched = choose(laws, self.select, self.ignore, self.persona)
        for pattern in unmatched:
            warn(f"--ignore '{pattern}' matches no invariant")
        if laws and not chosen and not self.select and not self.ignore:
            warn("all of these invariants are pedantic: --persona pedantic checks them")
        kept = {law.id for group in chosen.values() for law in group}
        self.left_out.update(law.id for group in laws.values() for law in group if law.id not in kept)
        return chosen

    def new(self, violations: Sequence[Violation]) -> list[Violation]:
        """The violations that are not known; none when all of them are about to be accepted."""
        return [violation for violation in violations if self.write_to is None and not self.baseline.knows(violation)]

    def settle(self, report: Report) -> None:
        """Keep quiet about what is known, after writing the new baseline if one is asked for."""
        baseline = self.baseline
        if self.write_to is not None:
            baseline = baseline_of(report.violations)
            write_whole(self.write_to, written(baseline))
        gone = quieten(report, baseline)
        for entry in gone:
            if entry.invariant not in self.left_out:  # else it is not gone, only not asked
                warn(f"the baseline knows a violation that is gone: {entry.title} [{entry.invariant}]")


def choosing_options(command: Command) -> Command:
    """Add the options to a command; it gets them as one `choice`."""

    def chosen(
        *args: Any,
        select: Sequence[str],
        ignore: Sequence[str],
        persona: Persona,
        baseline: Path | None,
        to: Path | None,
        **rest: Any,
    ) -> Any:
        if to is not None:
            require_writable(to)
        known = Baseline() if baseline is None else read_baseline(baseline)
        return command(*args, choice=Choice(_split(select), _split(ignore), persona, known, to), **rest)

    path = click.Path(path_type=Path)
    decorated: Any = chosen
    for option in (
        click.option("--write-baseline", "to", type=path, metavar="FILE", help="accept what is violated now: write it"),
        click.option("--baseline", type=path, metavar="FILE", help="keep quiet about the violations in this file"),
        persona_option,
        click.option("--ignore", multiple=True, metavar=_PATTERN, help="leave these out; commas separate several"),
        click.option("--select", multiple=True, metavar=_PATTERN, help="check only these; commas separate several"),
    ):
        decorated = option(decorated)
    decorated.__doc__ = command.__doc__
    decorated.__name__ = command.__name__
    result: Command = decorated
    return result


def _split(patterns: Sequence[str]) -> list[str]:
    return [part.strip() for pattern in patterns for part in pattern.split(",") if part.strip()]
