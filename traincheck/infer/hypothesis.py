"""A hypothesis and what every reference run says of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from traincheck.dsl.ground import Grounding
from traincheck.infer.precondition import Conjunction, Profile, holds, separate
from traincheck.infer.tally import Row, Tally, negatives

# Two decimals of an estimate from a handful of runs are all that means anything.
_HALF = 0.5


@dataclass(frozen=True)
class Evidence:
    """What one run says: its positive and negative examples by profile."""

    positives: Counter[Profile]
    negatives: Counter[Profile]


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

    def learn(self, runs: Sequence[Evidence]) -> tuple[Conjunction, ...] | None:
        """The precondition that separates the examples of these runs; None when nothing does."""
        return separate(
            (profile for run in runs for profile in run.positives),
            (profile for run in runs for profile in run.negatives),
            about=[str(value) for value in self.row],
        )

    def support(self, precondition: Sequence[Conjunction]) -> tuple[int, int]:
        """How many runs, and how many examples in all, are positive under the precondition."""
        counts = [
            sum(number for profile, number in run.positives.items() if holds(precondition, profile))
            for run in self.runs
        ]
        return sum(number > 0 for number in counts), sum(counts)

    def false_alarms(self) -> tuple[int, int]:
        """Leave one run out: how often the rest teaches a law that the run left out breaks, of how many."""
        failures = folds = 0
        for index, left_out in enumerate(self.runs):
            others = [run for position, run in enumerate(self.runs) if position != index]
            if not any(run.positives for run in others):
                continue
            precondition = self.learn(others)
            if precondition is None:
                continue
            triggered = [p for p in (*left_out.positives, *left_out.negatives) if holds(precondition, p)]
            if triggered:
                folds += 1
                failures += any(holds(precondition, profile) for profile in left_out.negatives)
        return failures, folds


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
