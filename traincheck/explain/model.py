"""What an explanation is made of: plain data, ready for JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from traincheck.datalog.program import ConstantValue

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

    `names` says in words what each variable of the example stands for. `complete` is false when the facts of
    the violation's window alone do not prove `when`, so that the marks may be wrong.
    """

    law: str
    title: str
    about: str
    names: dict[str, str]
    when: tuple[Node, ...]
    precondition: tuple[Node, ...]
    expect: tuple[Node, ...]
    near_misses: tuple[NearMiss, ...]
    evidence: dict[str, float] = field(default_factory=dict)
    complete: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The tree as JSON-able data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The explanation as lines of plain text."""
        return list(_lines(self))


def _lines(explanation: Explanation) -> Iterator[str]:
    shown: list[Node] = []
    yield "because:"
    for node in (*explanation.when, *explanation.precondition):
        yield from _node(node, 1, shown, marked=not explanation.complete)
    if not explanation.complete:
        yield "  (the facts around the violation do not prove this on their own)"
    if explanation.expect:
        yield "expected:"
        for node in explanation.expect:
            yield from _node(node, 1, shown, marked=True)
    for miss in explanation.near_misses:
        yield "nearest:" if miss is explanation.near_misses[0] else "also near:"
        yield from (f"  {line}" for fact in miss.facts for line in _fact(fact))
        for difference in miss.differences:
            yield f"  {difference.column}: expected {difference.expected}, found {difference.found}"
    if explanation.expect and not explanation.near_misses:
        yield "nearest: nothing came near"
    if explanation.names:
        yield "where " + ", ".join(f"{name} is {text}" for name, text in explanation.names.items())
    if explanation.evidence:
        yield "learned from " + _evidence(explanation.evidence)
    if explanation.about:
        yield "about: " + " ".join(explanation.about.split())


def _node(node: Node, depth: int, shown: list[Node], marked: bool) -> Iterator[str]:
    """One condition; what was proven before is only named."""
    indent = "  " * depth
    mark = f"[{_mark(node)}] " if marked else ""
    if node.because and node in shown:
        yield f"{indent}{mark}{node.formula} (as above)"
        return
    shown.append(node)
    note = f": {node.note}" if node.note else ""
    yield f"{indent}{mark}{node.formula}{note}"
    for fact in node.facts:
        yield from (f"{indent}  {line}" for line in _fact(fact))
    for child in node.because:
        yield from _node(child, depth + 1, shown, marked)


def _mark(node: Node) -> str:
    if node.holds is None:
        return "not reached"
    return "ok" if node.holds else "missing" if node.kind in ("fact", "derived") else "fails"


def _fact(fact: Fact) -> Iterator[str]:
    yield fact.text
    if len(fact.path) > 1:
        yield "  inside " + " > ".join(f"'{api}'" for api in fact.path[:-1])


def _evidence(evidence: dict[str, float]) -> str:
    runs, examples = int(evidence["runs"]), int(evidence["examples"])
    return (
        f"{runs} run{'s' if runs != 1 else ''}, {examples} example{'s' if examples != 1 else ''}; "
        f"confidence {evidence['confidence']:.3g}, estimated false alarms {evidence['false_alarms']:.2g}"
    )
