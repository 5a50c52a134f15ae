"""Checks of examples and settings: that the law exists, and that the facts are facts of the schema."""

from collections.abc import Iterator, Mapping, Sequence

from traincheck.dsl.declare import did_you_mean
from traincheck.dsl.laws import check_invariant
from traincheck.dsl.report import Problems
from traincheck.dsl.scope import Scope
from traincheck.dsl.signature import Signatures
from traincheck.dsl.sorts import EVENTS, column_sorts
from traincheck.dsl.syntax import Atom, Example, Invariant, Name, Rule, Setting, Template, Term, Value
from traincheck.dsl.walk import terms_of
from traincheck.schema import RELATIONS, Column

_Identity = tuple[str, int | float | str]  # a sort and an id

# What these columns name stands before: an event comes after the beginning of the call around it.
_OUTSIDES = frozenset({("call", "parent"), ("update", "call")})
_STATED = EVENTS | {"variable"}  # what others may only speak of when it is there


def as_invariant(example: Example) -> Invariant:
    """The law that an example of a template speaks of."""
    return Invariant(
        example.law,
        example.arguments,
        example.title,
        example.precondition,
        position=example.position,
        places=example.places,
    )


def cells(atom: Atom) -> Iterator[tuple[Column, Term]]:
    """Each term of a fact with its column; terms that fit no column, and facts of no relation, are left out."""
    relation = RELATIONS.get(atom.relation)
    if relation is not None:
        yield from zip(relation.columns, atom.positional, strict=False)
        columns = {column.name: column for column in relation.columns}
        yield from ((columns[name], term) for name, term in atom.named if name in columns)


def check_example(
    example: Example,
    templates: Mapping[str, Template],
    rules: Mapping[str, Rule],
    settings: Mapping[str, Setting],
    signatures: Signatures,
    problems: Problems,
) -> None:
    """Report what is wrong with an example."""
    if example.law in rules:
        _check_bare(example, problems)
    elif example.law in templates:
        check_invariant(as_invariant(example), templates, signatures, problems)
    else:
        advice = did_you_mean(example.law, [*templates, *rules]) or "pass the file that declares it too"
        problems.add(f"no template or rule '{example.law}'", example.position, advice)
    for name in example.uses:
        if name not in settings:
            at = example.places.get(f"use {name}", example.position)
            advice = did_you_mean(name, list(settings)) or f'declare it: setting {name} "..." facts ...'
            problems.add(f"no setting '{name}'", at, advice)
    check_facts(example.facts, signatures, problems)
    shared = [atom for name in example.uses if name in settings for atom in settings[name].facts]
    _check_references([*shared, *example.facts], problems)


def check_setting(setting: Setting, signatures: Signatures, problems: Problems) -> None:
    """Report what is wrong with a setting."""
    check_facts(setting.facts, signatures, problems)
    _check_references(setting.facts, problems)


def check_facts(facts: Sequence[Atom], signatures: Signatures, problems: Problems) -> None:
    """Report what no trace could hold."""
    for atom in facts:
        if atom.relation not in RELATIONS and atom.relation in signatures.derived:
            what = f"'{atom.relation}' is defined by rules; a fact is of a relation of the trace"
            problems.add(what, atom.position, f"state the facts that '{atom.relation}' follows from")
        for term in terms_of(atom):
            if isinstance(term, Name):
                advice = "leave out what does not matter, or write _ for what is absent"
                problems.add(f"a fact holds constants, not variables such as '{term.text}'", term.position, advice)
            elif isinstance(term, Value) and isinstance(term.value, str) and "*" in term.value:
                problems.add("a fact cannot hold a glob", term.position, "write one of the names it stands for")
    Scope(signatures, problems).check(facts)


def _check_bare(example: Example, problems: Problems) -> None:
    if example.arguments:
        at = example.arguments[0][1].position
        problems.add(f"'{example.law}' is a rule, it has no parameters", at, "write its name alone")
    if example.precondition:
        at = example.places.get("if", example.position)
        problems.add(f"'{example.law}' is a rule, it has no precondition", at, "leave 'if' out")


def _check_references(facts: Sequence[Atom], problems: Problems) -> None:
    """Report ids given twice and ids that stand for nothing: slips of the pen that change a verdict."""
    known: set[_Identity] = set()
    for atom in facts:
        _check_known(atom, known, problems, outside=True)
        for sort, term in _given(atom):
            siblings = EVENTS if sort in EVENTS else {sort}
            taken = [other for other in sorted(siblings) if (other, term.value) in known]
            if taken:
                what = f"the id {term.value} is taken: another {taken[0]} has it"
                problems.add(what, term.position, "an id stands for one thing, and calls and updates share theirs")
            known.add((sort, term.value))
    for atom in facts:
        _check_known(atom, known, problems, outside=False)


def _given(atom: Atom) -> Iterator[tuple[str, Value]]:
    """The id that a fact gives to something, and what that is."""
    for column, term in cells(atom):
        if column.name == "id" and isinstance(term, Value):
            yield column.sort, term


def _check_known(atom: Atom, known: set[_Identity], problems: Problems, outside: bool) -> None:
    for column, term in cells(atom):
        sorts = column_sorts(RELATIONS[atom.relation], column) & _STATED
        elsewhere = column.name == "id" or ((atom.relation, column.name) in _OUTSIDES) != outside
        if not sorts or elsewhere or not isinstance(term, Value):
            continue
        if not any((sort, term.value) in known for sort in sorts):
            what = f"there is no {' or '.join(sorted(sorts))} {term.value}{' before this' if outside else ''}"
            problems.add(what, term.position, "state it, or mend the id")
