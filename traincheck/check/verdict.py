"""What a check found: a verdict per law, and where each violation was first seen."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from traincheck.check.coverage import Coverage
from traincheck.check.law import Law

Binding = Mapping[str, int | float | str]


@dataclass(frozen=True)
class Place:
    """Where and when; a field is None when the example has no such thing. `time` is seconds since the epoch."""

    rank: int | None = None
    step: int | None = None
    api: str | None = None
    variable: str | None = None
    site: str | None = None
    time: float | None = None


@dataclass(frozen=True)
class Violation:
    """A law that does not hold: how often, in which steps, and the first example that breaks it."""

    law: Law
    count: int
    steps: Sequence[int]
    first: Place
    binding: Binding  # values of the law's parameters and of the example's grounding key
    variables: Sequence[str] = ()  # names of the variables that its examples are about, the first few by name
    variable_count: int = 0  # how many different ones there are
    moments: Sequence[tuple[int, int]] = ()  # rank and step of its examples, each once, in order


@dataclass
class Report:
    """The verdict of every law on one or more traces."""

    traces: list[str]
    sources: list[str]
    violations: list[Violation] = field(default_factory=list)
    known: list[Violation] = field(default_factory=list)  # those that a baseline accepts
    held: list[Law] = field(default_factory=list)
    not_triggered: list[Law] = field(default_factory=list)
    facts: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)

    def settle(self, laws: Iterable[Law], violations: Iterable[Violation], triggered: Collection[str]) -> None:
        """Give every law its verdict."""
        self.violations = list(violations)
        broken = {violation.law.id for violation in self.violations}
        for law in laws:
            if law.id not in broken:
                (self.held if law.id in triggered else self.not_triggered).append(law)

    @property
    def checked(self) -> int:
        """How many laws were triggered."""
        return len(self.violations) + len(self.known) + len(self.held)

    def verdict(self) -> Literal["held", "violated", "not triggered"]:
        """The one word for the whole."""
        if self.violations:
            return "violated"
        return "held" if self.checked else "not triggered"
