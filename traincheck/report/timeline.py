"""Violations by step and rank, laid out for a picture: one lane a finding and rank, one mark a run of steps."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from traincheck.check.findings import Finding, findings
from traincheck.check.verdict import Report, Violation

__all__ = ["Lane", "Timeline", "timeline"]

_MOST_LANES = 40
_WIDTH, _LEFT, _LANE_HEIGHT = 760.0, 150.0, 22.0
_LEAST_WIDTH = 3.0  # of a mark, so that one step of a long run is still seen


@dataclass(frozen=True)
class Lane:
    """The steps in which one finding shows on one rank; marks are (x, width, first step, last step)."""

    label: str
    title: str
    severity: str
    y: float
    marks: tuple[tuple[float, float, int, int], ...]


@dataclass(frozen=True)
class Timeline:
    """Lanes over the steps of a run; lengths are in pixels."""

    first: int
    last: int
    lanes: tuple[Lane, ...]
    left_out: int
    left: float = _LEFT
    width: float = _LEFT + _WIDTH + 10
    lane_height: float = _LANE_HEIGHT

    @property
    def height(self) -> float:
        """Of the picture, with the line of steps below."""
        return len(self.lanes) * self.lane_height + 24


def timeline(report: Report) -> Timeline | None:
    """The picture's layout; None when no violation belongs to a step."""
    lanes = [
        (number, finding, rank, sorted(steps))
        for number, finding in enumerate(findings(report.violations), 1)
        for rank, steps in sorted(_steps_by_rank(finding).items())
    ]
    if not lanes:
        return None
    known = [step for *_, steps in lanes for step in steps]
    covered = [step for one in report.coverage for step in (one.first_step, one.last_step) if step is not None]
    first, last = min(known + covered), max(known + covered)
    scale = _WIDTH / (last - first + 1)
    shown = tuple(
        Lane(
            label=f"finding {number}, rank {rank}",
            title=finding.headline.law.invariant.title,
            severity=finding.headline.law.invariant.severity,
            y=index * _LANE_HEIGHT,
            marks=tuple(
                (round(_LEFT + (a - first) * scale, 2), round(max((b - a + 1) * scale, _LEAST_WIDTH), 2), a, b)
                for a, b in _runs(steps)
            ),
        )
        for index, (number, finding, rank, steps) in enumerate(lanes[:_MOST_LANES])
    )
    return Timeline(first, last, shown, len(lanes) - len(shown))


def _steps_by_rank(finding: Finding) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for violation in (finding.headline, *finding.others):
        for rank, step in _moments(violation):
            found[rank].add(step)
    return found


def _moments(violation: Violation) -> Iterable[tuple[int, int]]:
    if violation.moments:
        return violation.moments
    rank = violation.first.rank if violation.first.rank is not None else 0
    return [(rank, step) for step in violation.steps]


def _runs(steps: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of neighbouring steps."""
    first = last = None
    for step in steps:
        if first is None or last is None:
            first = last = step
        elif step == last + 1:
            last = step
        else:
            yield first, last
            first = last = step
    if first is not None and last is not None:
        yield first, last
