"""A hypothesis and what every reference run says of it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from traincheck.dsl.ground import Grounding
from traincheck.infer.precondition import choices, separate
from traincheck.infer.profile import Conjunction, Profile, holds
from traincheck.infer.tally import Row, Tally, negatives

# Exceptions are noise only where they are this rare among the examples.
_NOISE = 0.01

_WORD = re.compile(r"[A-Za-z_]+")

# Two decimals of an estimate from a handful of runs are all that means anything.
_HALF = 0.5


@dataclass(frozen=True)
class Evidence:
    """What one run says: its positive and negative examples by profile."""

    positives: Counter[Profile]
    negatives: Counter[Profile]

    def support(self, precondition: Sequence[Conjunction]) -> tuple[int, int]:
        """How many examples under the precondition are positive, and how many are exceptions."""
        held, exceptions = (
            sum(number for profile, number in counts.items() if holds(precondition, profile))
            for counts in (self.positives, self.negatives)
        )
        return held, exceptions


@dataclass
class Hypothesis:
    """A template with its parameters filled in, and the evidence of each run."""

    grounding: Grounding
    row: Row
    runs: Sequence[Evidence]

    @property
    def arguments(self) -> dict[str, int | float | str]:
        """Parameter values by name."""
        return dict(zip(self.grounding.parameters, self.row, strict=True))

    def learn(self, runs: Sequence[Evidence], exceptions: int = 0) -> tuple[Conjunction, ...] | None:
        """The precondition that separates the examples of these runs; None when nothing does.

        At most `exceptions` negative examples may be left where no exact one is.
        """
        positives = sum((run.positives for run in runs), Counter[Profile]())
        negatives = sum((run.negatives for run in runs), Counter[Profile]())
        return separate(positives, negatives, self._about, bound(positives.total(), exceptions))

    def rate(self) -> float:
        """The share of its examples that hold, by Laplace's rule of succession; what a precondition must improve on."""
        held = sum(run.positives.total() for run in self.runs)
        return (held + 1) / (held + sum(run.negatives.total() for run in self.runs) + 2)

    def choices(self, precondition: Sequence[Conjunction]) -> int:
        """How many preconditions as long as this one there were to choose from."""
        profiles = (profile for run in self.runs for counts in (run.positives, run.negatives) for profile in counts)
        length = sum(map(len, precondition))
        return choices(profiles, self._about) ** length if length else 1

    def false_alarms(self, exceptions: int = 0) -> tuple[int, int]:
        """Leave one run out: how often the rest teaches a law that the run left out breaks, of how many.

        A run breaks a law when it has more exceptions to it than learning would pass over.
        """
        failures = folds = 0
        for index, left_out in enumerate(self.runs):
            others = [run for position, run in enumerate(self.runs) if position != index]
            if not any(run.positives for run in others):
                continue
            precondition = self.learn(others, exceptions)
            if precondition is None:
                continue
            held, broken = left_out.support(precondition)
            if held or broken:
                folds += 1
                failures += broken > bound(held, exceptions)
        return failures, folds

    @property
    def _about(self) -> list[str]:
        """What it speaks of: its arguments, and the words of its title."""
        return [*map(str, self.row), *_WORD.findall(self.grounding.template.title)]


def bound(examples: int, exceptions: int) -> int:
    """How many of so many examples may be exceptions, if `exceptions` are the most."""
    return min(exceptions, int(examples * _NOISE))


def hypotheses_of(grounding: Grounding, tallies: Sequence[Tally], rows: Sequence[Row]) -> list[Hypothesis]:
    """One hypothesis per row, with the evidence of every run."""
    positions = [grounding.parameters.index(name) for name in grounding.when_parameters]
    found = []
    for row in rows:
        when_row = tuple(row[position] for position in positions)
        runs = [Evidence(tally.positives.get(row, Counter()), negatives(tally, when_row, row)) for tally in tallies]
        found.append(Hypothesis(grounding, row, runs))
    return found


def estimated_rate(failures: int, folds: int) -> float:
    """False alarms per run by the Krichevsky-Trofimov estimator: never 0 from a finite number of runs."""
    return round((failures + _HALF) / (folds + 1), 3)
