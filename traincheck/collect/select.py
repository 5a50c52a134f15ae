"""Selective collection: what a set of laws needs to see. Runs in the command, never in the training process."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

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
_CLASSES = ("before", "after")
# What relations about a call tell of it, and columns that tell more.
_READS: Mapping[str | None, tuple[str, ...]] = {
    "arg": ("args",),
    "result": ("results",),
    "dimension": ("args", "results"),
}
_READS_BY_ROLE: Mapping[str | None, tuple[str, ...]] = {"arg": ("args",), "result": ("results",)}
_READS_BY_COLUMN = {"tensor": "tensors", "fingerprint": "fingerprints"}

_ASPECTS = ("args", "results", "tensors", "fingerprints")

_Limits = Mapping[str, frozenset[str]]
"""The APIs that a variable can be a call of, or can be, as far as a formula says so."""


def needs_of(checked: Checked, rules: Iterable[Rule] = ()) -> Needs:
    """Everything that checking the invariants of `checked` and `rules` reads, and nothing else."""
    scan = _Scan(checked)
    for invariant in checked.invariants:
        template = checked.templates[invariant.template]
        scan.law(template, {name: value.value for name, value in invariant.arguments})
        scan.precondition(invariant)
    for rule in rules:
        scan.law(rule, {})
    return scan.needs()


@dataclass
class _Scan:
    """Walks formulas and the definitions they reach, and notes what they read."""

    checked: Checked
    apis: set[str] = field(default_factory=set)
    reads: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _ASPECTS})
    relations: set[str] = field(default_factory=set)
    attrs: dict[str, set[str]] = field(default_factory=lambda: {"update": set(), "state": set()})
    points: set[str] = field(default_factory=set)
    gradients: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    contexts: bool = False
    ranges: bool = False

    def __post_init__(self) -> None:
        self._defines: dict[str, list[Define]] = {}
        for define in self.checked.defines:
            self._defines.setdefault(define.head.relation, []).append(define)
        self._concepts = apis_by_concept(self.checked)
        identities = identities_of(self.checked.predicate_sorts)
        self._free = _FREE_FEATURES.union(*identities.values())
        self._seen: set[tuple[object, ...]] = set()
        self._allowed: dict[tuple[object, ...], frozenset[str]] = {}

    def law(self, law: Template | Rule, values: Mapping[str, object]) -> None:
        """Note what a law reads when the variables in `values` have those values."""
        atoms = list(_atoms((*law.when, *law.expect)))
        self._together(atoms, values, {})
        self._changes(law.when, law.when, values)
        self._changes(law.expect, (*law.when, *law.expect), values)
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
            args=_listed(self.reads["args"]),
            results=_listed(self.reads["results"]),
            tensors=_listed(self.reads["tensors"]),
            fingerprints=_listed(self.reads["fingerprints"]),
            contexts=self.contexts or "context" in self.relations,
            updates=_listed(self.attrs["update"]),
            gradients=_listed(self.gradients),
            classes=_listed(self.classes),
            states=_listed(self.attrs["state"]),
            points=_listed(self.points),
            ranges=self.ranges,
            metrics="metric" in self.relations,
            hyperparameters="adjustment" in self.relations,
            stored=bool(self.relations & {"stored", "live"}),
        )

    def _together(self, atoms: Sequence[Atom], values: Mapping[str, object], known: _Limits) -> None:
        """Note what atoms read that hold together, when `known` limits some of their variables."""
        limits = {**self._limits(atoms, values), **known}
        for atom in atoms:
            self._atom(atom, values, limits)

    def _changes(self, asked: Sequence[Formula], given: Sequence[Formula], values: Mapping[str, object]) -> None:
        """Note within which calls changes of gradients are `asked` for where `given` holds."""
        held = [formula for formula in given if isinstance(formula, Atom)]
        limits = self._limits(held, values)
        for formula in asked:
            match formula:
                case Atom(relation="update") | Not(atom=Atom(relation="update")):
                    atom = formula.atom if isinstance(formula, Not) else formula
                    if (_column(atom, "attr", values) or "grad") == "grad":
                        apis = _around(atom, held, limits)
                        self.gradients.update(apis)
                        if any(_speaks_of(atom, column) for column in _CLASSES):
                            self.classes.update(apis)
                case CountOf(body=body):
                    self._changes(body, (*given, *body), values)
                case _:
                    pass

    def _atom(self, atom: Atom, values: Mapping[str, object], limits: _Limits) -> None:
        given = [(sort, term, _value(term, values)) for sort, term in _columns(atom, self.checked)]
        for sort, _, value in given:
            self.apis.update(self._named(sort, value))
        if atom.relation in RELATIONS:
            self._base(atom, values, limits)
            return
        known = tuple(value for _, _, value in given)
        passed = tuple(limits.get(term.text) if isinstance(term, Name) else None for _, term, _ in given)
        key = (atom.relation, known, passed)
        if atom.relation != CONCEPT and key not in self._seen:
            self._seen.add(key)
            for define in self._defines.get(atom.relation, ()):
                bound = _bind(define.head, list(known))
                if bound is not None:
                    names = [term.text if isinstance(term, Name) else "" for term in define.head.positional]
                    inherited = {name: apis for name, apis in zip(names, passed, strict=True) if name and apis}
                    self._together(list(_atoms(define.body)), bound, inherited)
                    self._changes(define.body, define.body, bound)

    def _named(self, sort: str, value: object) -> Sequence[str]:
        """The APIs that a constant of some sort stands for."""
        if isinstance(value, str) and value in self._concepts:
            return self._concepts[value]
        return (value,) if sort == "api" and isinstance(value, str) else ()

    def _limits(self, atoms: Sequence[Atom], values: Mapping[str, object]) -> dict[str, frozenset[str]]:
        """What atoms that hold together say of the APIs of calls, and of variables that stand for an API."""
        limits: dict[str, frozenset[str]] = {}
        for wanted in ("api", "call"):  # a call is limited by its API's variable too
            for atom in atoms:
                columns = list(_columns(atom, self.checked))
                for place, (_, term) in enumerate(columns):
                    if isinstance(term, Name) and (implied := self._implied(atom, place, values)):
                        limits.setdefault(term.text, implied)
                named = [
                    limits.get(term.text, ()) for sort, term in columns if sort == "api" and isinstance(term, Name)
                ]
                found = frozenset(chain(*named, *(self._named(sort, _value(term, values)) for sort, term in columns)))
                subjects = {term.text for sort, term in columns if sort == wanted and isinstance(term, Name)}
                if found and len(subjects) == 1:  # of two calls it is not said which one is meant
                    limits.setdefault(subjects.pop(), found)
        return limits

    def _implied(self, atom: Atom, place: int, values: Mapping[str, object]) -> frozenset[str]:
        """The APIs that all definitions of a predicate allow in one of its places; empty when one does not limit it."""
        known = tuple(_value(term, values) for _, term in _columns(atom, self.checked))
        key = (atom.relation, place, known)
        if key not in self._allowed:
            self._allowed[key] = frozenset()  # what a definition says of itself
            found = [self._allows(define, place, known) for define in self._defines.get(atom.relation, ())]
            self._allowed[key] = frozenset().union(*found) if all(found) else frozenset()
        return self._allowed[key]

    def _allows(self, define: Define, place: int, known: tuple[object, ...]) -> frozenset[str]:
        term, bound = define.head.positional[place], _bind(define.head, list(known))
        if isinstance(term, Value):
            return frozenset((str(term.value),))
        if bound is None or not isinstance(term, Name):
            return frozenset()
        return self._limits(list(_atoms(define.body)), bound).get(term.text, frozenset())

    def _free_calls(self, atoms: Sequence[Atom], values: Mapping[str, object]) -> set[str]:
        """Variables of calls whose api nothing limits."""
        calls = {
            term.text
            for atom in atoms
            if atom.relation == "call"
            for sort, term in list(_columns(atom, self.checked))[:1]
            if sort == "call" and isinstance(term, Name)
        }
        return calls - self._limits(atoms, values).keys()

    def _base(self, atom: Atom, values: Mapping[str, object], limits: _Limits) -> None:
        self.relations.add(atom.relation)
        if atom.relation in self.attrs:
            self.attrs[atom.relation].add(_column(atom, "attr", values) or "*")
        if any(_speaks_of(atom, column) for column in _OF_CHANGES.get(atom.relation, ())):
            self.attrs["update"].add("data")
        if atom.relation == "state":
            self.points.add(_column(atom, "point", values) or "*")
            self.ranges |= any(_speaks_of(atom, column) for column in _RANGE)
        if atom.relation in _READS:
            call = next((term for sort, term in _columns(atom, self.checked) if sort == "call"), None)
            apis = limits.get(call.text, EVERYTHING) if isinstance(call, Name) else EVERYTHING
            told = [aspect for column, aspect in _READS_BY_COLUMN.items() if _may_speak_of(atom, column)]
            role = _column(atom, "role", values) if atom.relation == "dimension" else None
            name = (_column(atom, "name", values) or "").partition(".")[0]
            for aspect in (*_READS_BY_ROLE.get(role, _READS[atom.relation]), *told):
                only = f":{name}" if name and aspect == "args" else ""
                self.reads[aspect].update([api + only for api in apis])


def _around(update: Atom, held: Sequence[Atom], limits: _Limits) -> Iterable[str]:
    """The APIs of the call that an update is in, by what holds with it; all where it need not be in one."""
    inner = _text(update, 0)
    outer = [_text(each, 0) for each in held if each.relation == "contains" and inner and _text(each, 1) == inner]
    return next((limits[name] for name in outer if name in limits), EVERYTHING)


def _text(atom: Atom, place: int) -> str:
    """The variable in some place of an atom; empty when there is none."""
    term = atom.positional[place] if place < len(atom.positional) else None
    return term.text if isinstance(term, Name) else ""


def _listed(names: set[str]) -> tuple[str, ...]:
    """In order; without single arguments of APIs all of whose arguments are there."""
    covered = {name for name in names if ":" in name and name.partition(":")[0] in names}
    return EVERYTHING if "*" in names else tuple(sorted(names - covered))


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


def _may_speak_of(atom: Atom, column: str) -> bool:
    return any(column == each.name for each in RELATIONS[atom.relation].columns) and _speaks_of(atom, column)


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
