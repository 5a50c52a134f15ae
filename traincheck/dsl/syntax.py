"""The typed syntax tree of a rule file. Positions do not take part in equality.

`places` says where parts stand that are plain strings: an atom's columns by name; of a declaration, its `title`,
its sections by keyword, and `given C` for one of the names that a section lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal as OneOf

Severity = OneOf["error", "warning", "note"]
Persona = OneOf["regular", "pedantic"]  # to whom a law is worth telling
CompareOp = OneOf["==", "!=", "<", "<=", ">", ">="]
Verdict = OneOf["held", "violated", "untriggered"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a piece of syntax begins: 1-based line and column in `file`."""

    file: str = "<text>"
    line: int = 0
    column: int = 0


_NOWHERE = Position()


@dataclass(frozen=True, slots=True)
class Name:
    """A logic variable or template parameter; begins with a capital letter."""

    text: str
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Value:
    """A constant. A string with `*` is a glob where a column takes one. `true` and `false` are strings."""

    value: int | float | str
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Anything:
    """`_`."""

    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Calculation:
    """`left op right` inside a comparison; op is + - * or %."""

    op: OneOf["+", "-", "*", "%"]
    left: "Expression"
    right: "Expression"
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


Term = Name | Value | Anything
Expression = Name | Value | Calculation


@dataclass(frozen=True, slots=True)
class Atom:
    """`relation(A, B, column: C)`: positional terms fill the leading columns, unnamed columns are free."""

    relation: str
    positional: tuple[Term, ...] = ()
    named: tuple[tuple[str, Term], ...] = ()
    position: Position = field(default=_NOWHERE, compare=False, repr=False)
    places: Mapping[str, Position] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    """`not atom`."""

    atom: Atom
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`."""

    op: CompareOp
    left: Expression
    right: Expression
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CountOf:
    """`count { A, B : body } op bound`: how many distinct (A, B) satisfy body."""

    counted: tuple[Name, ...]
    body: tuple["Formula", ...]
    op: CompareOp
    bound: Expression
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


Formula = Atom | Not | Compare | CountOf


@dataclass(frozen=True, slots=True)
class Parameter:
    """`Name: sort` in a template's head; sort is one of schema.SORTS."""

    name: str
    sort: str
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Within:
    """The window whose end makes the verdict final: a call variable, a step variable, an epoch, or the run."""

    kind: OneOf["call", "step", "epoch", "run"]
    name: str | None = None
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Define:
    """`define head :- body.`; body is empty for a fact."""

    head: Atom
    body: tuple[Formula, ...] = ()
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Template:
    """A rule with typed parameters. `propose` limits which hypotheses are mined and means nothing to a check."""

    name: str
    parameters: tuple[Parameter, ...]
    title: str
    when: tuple[Formula, ...]
    expect: tuple[Formula, ...]
    within: Within
    given: tuple[str, ...] = ()
    propose: tuple[Formula, ...] = ()
    transitive: tuple[str, ...] = ()  # two parameters: what follows from two other survivors by transitivity is implied
    severity: Severity = "warning"
    persona: Persona = "regular"
    about: str = ""
    next: str = ""  # what to do about a violation
    position: Position = field(default=_NOWHERE, compare=False, repr=False)
    places: Mapping[str, Position] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """A concrete law, never mined: either `never` (when `when` holds it is violated) or `when ... expect`."""

    name: str
    title: str
    severity: Severity
    when: tuple[Formula, ...]
    expect: tuple[Formula, ...] = ()  # empty: `never when`
    within: Within | None = None
    given: tuple[str, ...] = ()  # what a finding names besides what `expect` and `within` speak of
    persona: Persona = "regular"
    about: str = ""
    next: str = ""  # what to do about a violation
    position: Position = field(default=_NOWHERE, compare=False, repr=False)
    places: Mapping[str, Position] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Feature:
    """`C.stage`: a property of something a template's `given` names."""

    name: str
    key: str
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """One clause of a precondition: `C.key == "v"`, `C.key != D.key`, `exists C.key` or `not exists C.key`.

    The right side of the latter two, whose op is exists and absent, is None. `!=` holds for an absent key too.
    """

    op: OneOf["==", "!=", "exists", "absent"]
    left: Feature
    right: Feature | Value | None = None
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an invariant stands on; `false_alarms` is the estimated rate in [0, 1].

    `examples` hold it, `exceptions` are those under its precondition that do not.
    """

    runs: int
    examples: int
    confidence: float
    false_alarms: float = 0.0
    exceptions: int = 0
    position: Position = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Invariant:
    """A hypothesis that survived. `precondition` is a disjunction of conjunctions; empty means always."""

    template: str
    arguments: tuple[tuple[str, Value], ...]
    title: str
    precondition: tuple[tuple[Condition, ...], ...] = ()
    evidence: Evidence | None = None
    severity: Severity = "warning"
    persona: Persona = "regular"
    position: Position = field(default=_NOWHERE, compare=False, repr=False)
    places: Mapping[str, Position] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """Facts under a name, for the examples that use it. Its atoms hold constants, and `_` for what is absent."""

    name: str
    title: str
    facts: tuple[Atom, ...]
    position: Position = field(default=_NOWHERE, compare=False, repr=False)
    places: Mapping[str, Position] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Example:
    """A tiny trace, and the verdict that a template (with `arguments`) or rule reaches on it."""

    law: str
    arguments: tuple[tuple[str, Value], ...]  # none for a rule
    verdict: Verdict
    title: str
    precondition: tuple[tuple[Condition, ...], ...] = ()
    uses: tuple[str, ...] = ()
    facts: tuple[Atom, ...] = ()
    position: Position = field(default=_NOWHERE, compare=False, repr=False)
    places: Mapping[str, Position] = field(default_factory=dict, compare=False, repr=False)


Declaration = Define | Template | Rule | Invariant | Example | Setting


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One parsed file: its declarations in order, and the language version it says it is written in."""

    declarations: tuple[Declaration, ...]
    version: str | None = None
    path: str = field(default="<text>", compare=False)
    source: str = field(default="", compare=False, repr=False)
