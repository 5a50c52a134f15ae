"""What an explanation is made of: plain data, ready for JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from traincheck.datalog.program import ConstantValue
from traincheck.errors import one_line

Value = ConstantValue | None
Kind = Literal["fact", "derived", "absence", "comparison", "count", "precondition"]


@dataclass(frozen=True)
class Fact:
    """One row of a relation, with where it happened; a field is None when the fact has no such thing."""

    relation: str
    values: dict[str, Value]
    text: str  # the row as a sentence
    step: int | None = None
    rank: int | None = None
    path: tuple[str, ...] = ()  # apis from the outermost call to the one the fact is about
    site: str | None = None


@dataclass(frozen=True)
class Node:
    """One condition of a rule's body: whether it holds, the facts that make it so, and why when it is derived."""

    formula: str
    kind: Kind
    holds: bool | None  # None: what it speaks of was not found, so it was not asked
    facts: tuple[Fact, ...] = ()
    because: tuple["Node", ...] = ()
    note: str | None = None
    words: str | None = None  # what the condition asks for, when that can be said in words


@dataclass(frozen=True)
class Told:
    """One line of a story, and what belongs under it."""

    text: str
    children: tuple["Told", ...] = ()

    def lines(self, depth: int = 0) -> Iterator[str]:
        """The line and those under it, each level indented by two."""
        yield "  " * depth + one_line(self.text)
        for child in self.children:
            yield from child.lines(depth + 1)


@dataclass(frozen=True)
class Difference:
    """Where a near miss differs from what was expected."""

    formula: str
    column: str
    expected: str
    found: str


@dataclass(frozen=True)
class NearMiss:
    """Facts that satisfy what was expected but for the differences."""

    facts: tuple[Fact, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Explanation:
    """Why one example violates one law.

    `what` is the sentence to read first, `known` what the trace tells about the things that the example names,
    `names` which variable of the rule stands for which of them. `held_before` counts the examples that held before
    it in the same trace, None when not counted. `complete` is false when the facts of the violation's window alone
    do not prove `when`, so that the marks may be wrong. `story` is all of it in words.
    """

    law: str
    title: str
    what: str
    about: str
    known: tuple[Told, ...]
    names: dict[str, str]
    when: tuple[Node, ...]
    precondition: tuple[Node, ...]
    expect: tuple[Node, ...]
    near_misses: tuple[NearMiss, ...]
    evidence: dict[str, float] = field(default_factory=dict)
    complete: bool = True
    held_before: int | None = None
    story: tuple[Told, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The tree as JSON-able data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The story as lines of plain text."""
        return [line for told in self.story for line in told.lines()]
