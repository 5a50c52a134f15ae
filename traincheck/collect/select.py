"""Selective collection: what a set of laws needs to see. Runs in the command, never in the training process."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from traincheck.collect.needs import EVERYTHING, Needs
from traincheck.dsl.checker import Checked
from traincheck.dsl.concepts import CONCEPT, apis_by_concept
from traincheck.dsl.features import identities_of
from traincheck.dsl.syntax import (
    Atom,
    CountOf,
    Define,
    Formula,
    Invariant,
    Name,
    Not,
    Rule,
    Template,
    Term,
    Value,
)
from traincheck.schema import RELATIONS

# Columns of checkpoints that follow from changes of variables.
_OF_CHANGES = {"live": ("moves",), "stored": ("outdated", "earlier")}
# Features that every recorded call and step has anyway.
_FREE_FEATURES = frozenset({"stage", "position", "phase"})
_RANGE = ("minimum", "maximum")


def needs_of(checked: Checked, rules: Iterable[Rule] = ()) -> Needs:
    """Everything that checking the invariants of `checked` and `rules` reads, and nothing else."""
    scan = _Scan(checked)
    for invariant in checked.invariants:
        template = checked.templates[invariant.template]
        scan.law(_formulas(template), {name: value.value for name, value in invariant.arguments})
        scan.precondition(invariant)
    for rule in rules:
        scan.law((*rule.when, *rule.expect), {})
    return scan.needs()


def _formulas(template: Template) -> tuple[Formula, ...]:
    return (*template.when, *template.expect)


@dataclass
class _Scan:
    """Walks formulas and the definitions they reach, and notes what they read."""

    checked: Checked
    apis: set[str] = field(default_factory=set)
    relations: set[str] = field(default_factory=set)
    attrs: dict[str, set[str]] = field(default_factory=lambda: {"update": set(), "state": set()})
    points: set[str] = field(default_factory=set)
    contexts: bool = False
    ranges: bool = False

    def __post_init__(self) -> None:
        self._defines: dict[str, list[Define]] = {}
        for define in self.checked.defines:
            self._defines.setdefault(define.head.relation, []).append(define)
        self._concepts = apis_by_concept(self.checked)
        identities = identities_of(self.checked.predicate_sorts)
        self._free = _FREE_FEATURES.union(*identities.values())
        self._seen: set[tuple[str, tuple[object, ...]]] = set()

    def law(self, formulas: Iterable[Formula], values: Mapping[str, object]) -> None:
        """Note what these formulas read when the variables in `values` have those values."""
        atoms = list(_atoms(formulas))
        for atom in atoms:
            self._atom(atom, values)
        if self._free_calls(atoms, values):
            self.apis.update(EVERYTHING)

    def precondition(self, invariant: Invariant) -> None:
        """Note what an invariant's conditions read."""
        for conjunction in invariant.precondition:
            for condition in conjunction:
                self.contexts |= condition.left.key not in self._free

    def needs(self) -> Needs:
        """The sum of it all."""
        if self.relations & {"variable", "holds"} and not any(self.attrs.values()):
            self.attrs["update"].add("requires_grad")  # the cheapest thing that makes variables known
        return Needs(
            apis=tuple(sorted(self.apis)),
            args="arg" in self.relations,
            results="result" in self.relations,
            contexts=self.contexts or "context" in self.relations,
            updates=_listed(self.attrs["update"]),
            states=_listed(self.attrs["state"]),
            points=_listed(self.points),
            ranges=self.ranges,
            metrics="metric" in self.relations,
            hyperparameters="adjustment" in self.relations,
            stored=bool(self.relations & {"stored", "live"}),
        )

    def _atom(self, atom: Atom, values: Mapping[str, object]) -> None:
        given = [(sort, _value(term, values)) for sort, term in _columns(atom, self.checked)]
        for sort, value in given:
            if isinstance(value, str) and value in self._concepts:
                self.apis.update(self._concepts[value])
            elif sort == "api" and isinstance(value, str):
                self.apis.add(value)
        if atom.relation in RELATIONS:
            self._base(atom, values)
            return
        key = (atom.relation, tuple(value for _, value in given))
        if atom.relation != CONCEPT and key not in self._seen:
            self._seen.add(key)
            for define in self._defines.get(atom.relation, ()):
                bound = _bind(define.head, [value for _, value in given])
                if bound is not None:
                    for inner in _atoms(define.body):
                        self._atom(inner, bound)

    def _free_calls(self, atoms: Sequence[Atom], values: Mapping[str, object]) -> set[str]:
        """Variables of calls whose api nothing limits."""
        calls, limited = set(), set()
        for atom in atoms:
            columns = [(sort, term, _value(term, values)) for sort, term in _columns(atom, self.checked)]
            if atom.relation == "call":
                calls |= {term.text for sort, term, _ in columns[:1] if isinstance(term, Name)}
            if any(value in self._concepts or (sort == "api" and value is not None) for sort, _, value in columns):
                limited |= {term.text for sort, term, _ in columns if sort == "call" and isinstance(term, Name)}
        return calls - limited

    def _base(self, atom: Atom, values: Mapping[str, object]) -> None:
        self.relations.add(atom.relation)
        if atom.relation in self.attrs:
            self.attrs[atom.relation].add(_column(atom, "attr", values) or "*")
        if any(_speaks_of(atom, column) for column in _OF_CHANGES.get(atom.relation, ())):
            self.attrs["update"].add("data")
        if atom.relation == "state":
            self.points.add(_column(atom, "point", values) or "*")
            self.ranges |= any(_speaks_of(atom, column) for column in _RANGE)


def _listed(names: set[str]) -> tuple[str, ...]:
    return EVERYTHING if "*" in names else tuple(sorted(names))


def _atoms(formulas: Iterable[Formula]) -> Iterator[Atom]:
    for formula in formulas:
        match formula:
            case Atom():
                yield formula
            case Not(atom=atom):
                yield atom
            case CountOf(body=body):
                yield from _atoms(body)
            case _:
                pass


def _columns(atom: Atom, checked: Checked) -> Iterator[tuple[str, Term]]:
    """The sort and the term of every column that the atom speaks of, positional ones first and in order."""
    relation = RELATIONS.get(atom.relation)
    sorts = [column.sort for column in relation.columns] if relation else list(checked.predicate_sorts[atom.relation])
    yield from zip(sorts, atom.positional, strict=False)
    if relation is not None:
        for name, term in atom.named:
            yield relation.columns[relation.index(name)].sort, term


def _column(atom: Atom, column: str, values: Mapping[str, object]) -> str | None:
    relation = RELATIONS[atom.relation]
    position = relation.index(column)
    term = atom.positional[position] if position < len(atom.positional) else dict(atom.named).get(column)
    value = None if term is None else _value(term, values)
    return value if isinstance(value, str) else None


def _speaks_of(atom: Atom, column: str) -> bool:
    return RELATIONS[atom.relation].index(column) < len(atom.positional) or column in dict(atom.named)


def _value(term: Term, values: Mapping[str, object]) -> object:
    match term:
        case Value(value=value):
            return value
        case Name(text=text):
            return values.get(text)
        case _:
            return None


def _bind(head: Atom, given: list[object]) -> dict[str, object] | None:
    """The head's variables with the given values; None when a constant of the head contradicts them."""
    bound: dict[str, object] = {}
    for term, value in zip(head.positional, given, strict=True):
        match term:
            case Name(text=text) if value is not None:
                bound[text] = value
            case Value(value=own) if value is not None and own != value:
                return None
            case _:
                pass
    return bound
