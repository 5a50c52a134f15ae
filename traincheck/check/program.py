"""The Datalog program that checks all laws of one template at once; the laws are rows.

concerned(H, E)  :- hypothesis(P, H), when, closed.
unmet(H, D, X)   :- concerned(H, E), need(H, D, Key, Value), not feature(X, Key, Value).
applicable(H, E) :- concerned(H, E), always(H).
applicable(H, E) :- concerned(H, E), disjunct(H, D), not unmet(H, D, X).
satisfied(H, E)  :- hypothesis(P, H), when, closed, expect.
violated(H, E)   :- applicable(H, E), not satisfied(H, E).
triggered(H)     :- applicable(H, E).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from traincheck.check.law import Law
from traincheck.datalog.program import Atom, Comparison, Literal, Negation, Rule, Variable, Wildcard
from traincheck.dsl.features import FEATURES, identity_name
from traincheck.dsl.ground import Grounding, example_rule, ground, positive_rule, variables
from traincheck.dsl.lower import Lowering
from traincheck.dsl.program import column_types
from traincheck.dsl.syntax import Condition, Feature
from traincheck.schema import ColumnType

_ARROW = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}
_LAW, _DISJUNCT = Variable("_law"), Variable("_disjunct")


@dataclass(frozen=True, order=True)
class _Kind:
    """Conditions that share their rules; their rows hold keys, unless identities are compared, and constants."""

    op: str
    names: tuple[str, ...]  # what they speak of
    constant: bool = False
    identities: tuple[str, ...] = ()  # predicates of rules/features.rules, one for each name


@dataclass
class LawProgram:
    """Rules and laws-as-facts for one template, and how to read its answers."""

    grounding: Grounding
    laws: Sequence[Law]
    sorts: Mapping[str, str]
    rules: list[Rule] = field(default_factory=list)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    types: dict[str, tuple[ColumnType, ...]] = field(default_factory=dict)

    def predicate(self, stem: str) -> str:
        """The template's own predicate of this stem, such as `violated_precedes`."""
        return f"{stem}_{self.grounding.template.name}"

    def atom(self, stem: str, *terms: Variable) -> Atom:
        """`stem(terms..., E...)`."""
        return Atom(self.predicate(stem), (*terms, *variables(self.grounding.key)))

    def add_table(self, stem: str, types: Sequence[ColumnType], rows: Sequence[Sequence[int | float | str]]) -> None:
        """A base relation made of the laws; row order is of no meaning."""
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(types)
        arrays = [pa.array(values, _ARROW[type_]) for values, type_ in zip(columns, types, strict=True)]
        name = self.predicate(stem)
        self.tables[name] = pa.table(arrays, names=[f"c{index}" for index in range(len(types))])
        self.types[name] = tuple(types)


def law_program(laws: Sequence[Law], sorts: Mapping[str, str], lowering: Lowering) -> LawProgram:
    """The program for these laws, which share one template whose variables have these sorts."""
    grounding = ground(laws[0].template)
    program = LawProgram(grounding, laws, sorts)
    hypothesis = Atom(program.predicate("hypothesis"), (*variables(grounding.parameters), _LAW))
    parameter_types = column_types(sorts[name] for name in grounding.parameters)
    rows = [(*(law.arguments[name] for name in grounding.parameters), number) for number, law in enumerate(laws)]
    program.add_table("hypothesis", (*parameter_types, "int"), rows)

    program.rules += [
        # with the hypotheses in the same body, a template with many parameters is not enumerated for values nobody asks
        Rule(program.atom("concerned", _LAW), (hypothesis, *example_rule(grounding, lowering).body)),
        *_precondition_rules(program, lowering),
        *_satisfied_rules(program, hypothesis, lowering),
        *_triggered_rules(program, hypothesis, lowering),
    ]
    return program


def _satisfied_rules(program: LawProgram, hypothesis: Atom, lowering: Lowering) -> Iterator[Rule]:
    applicable: tuple[Literal, ...] = (program.atom("applicable", _LAW),)
    if program.grounding.template.expect:
        positive = positive_rule(program.grounding, lowering, hypothesis)
        yield Rule(program.atom("satisfied", _LAW), positive.body)
        applicable = (*applicable, Negation(program.atom("satisfied", _LAW)))
    yield Rule(program.atom("violated", _LAW), applicable)


def _triggered_rules(program: LawProgram, hypothesis: Atom, lowering: Lowering) -> Iterator[Rule]:
    """A law with `expect` needs an example; a `never` only facts of every kind that it speaks of."""
    triggered = Atom(program.predicate("triggered"), (_LAW,))
    template = program.grounding.template
    if template.expect:
        yield Rule(triggered, (program.atom("applicable", _LAW),))
        return
    atoms = [literal for literal in lowering.body(template.when) if isinstance(literal, Atom)]
    kinds = {atom.predicate: Atom(atom.predicate, (Wildcard(),) * len(atom.terms)) for atom in atoms}
    yield Rule(triggered, (hypothesis, *kinds.values()))


def _precondition_rules(program: LawProgram, lowering: Lowering) -> Iterator[Rule]:
    always, disjuncts = [], []
    needs: dict[_Kind, list[tuple[int | str, ...]]] = {}
    for number, law in enumerate(program.laws):
        if not law.invariant.precondition:
            always.append((number,))
        for index, conjunction in enumerate(law.invariant.precondition):
            disjuncts.append((number, index))
            for condition in conjunction:
                kind, texts = _need(condition, program.sorts, lowering)
                needs.setdefault(kind, []).append((number, index, *texts))
    concerned = program.atom("concerned", _LAW)
    program.add_table("always", ("int",), always)
    yield Rule(program.atom("applicable", _LAW), (concerned, Atom(program.predicate("always"), (_LAW,))))
    if not disjuncts:
        return
    program.add_table("disjunct", ("int", "int"), disjuncts)
    unmet = []
    for index, (kind, rows) in enumerate(sorted(needs.items())):
        unmet.append(Negation(Atom(program.predicate(f"unmet{index}"), (_LAW, _DISJUNCT, *variables(kind.names)))))
        yield from _unmet_rules(program, kind, index, rows)
    disjunct = Atom(program.predicate("disjunct"), (_LAW, _DISJUNCT))
    yield Rule(program.atom("applicable", _LAW), (concerned, disjunct, *unmet))


def _need(condition: Condition, sorts: Mapping[str, str], lowering: Lowering) -> tuple[_Kind, tuple[str, ...]]:
    """What kind of table row a condition becomes, and the row's texts."""
    left = condition.left
    match condition.right:
        case None:
            return _Kind(condition.op, (left.name,)), (left.key,)
        case Feature() as right:
            names = (left.name, right.name)
            identities = tuple(identity_name(sorts[side.name], side.key) for side in (left, right))
            if all(map(lowering.defines, identities)):
                return _Kind(condition.op, names, identities=identities), ()
            return _Kind(condition.op, names), (left.key, right.key)
        case value:
            return _Kind(condition.op, (left.name,), constant=True), (left.key, str(value.value))


def _unmet_rules(program: LawProgram, kind: _Kind, index: int, rows: Sequence[tuple[int | str, ...]]) -> Iterator[Rule]:
    """A disjunct is unmet by the things that a condition speaks of as soon as the condition fails for them.

    It is decided once for each combination of those things, however many examples they have part in. Conditions of
    one kind share these rules:

        about(H, X, Y)    :- concerned(H, E).
        unmet(H, D, X, Y) :- about(H, X, Y), need(H, D, K, L), feature(X, K, V), feature(Y, L, W), V != W.
    """
    texts: list[ColumnType] = ["str"] * (len(rows[0]) - 2)
    program.add_table(f"need{index}", ("int", "int", *texts), rows)
    value, other = Variable("_value"), Variable("_other")
    things = variables(kind.names)
    about = Atom(program.predicate(f"about{index}"), (_LAW, *things))
    yield Rule(about, (program.atom("concerned", _LAW),))
    unmet = Atom(program.predicate(f"unmet{index}"), (_LAW, _DISJUNCT, *things))
    keys = () if kind.identities else variables(("_first", "_second"))[: len(things)]
    need = Atom(program.predicate(f"need{index}"), (_LAW, _DISJUNCT, *keys, *((value,) if kind.constant else ())))

    def feature(position: int, wanted: Variable) -> Atom:
        if kind.identities:
            return Atom(kind.identities[position], (things[position], wanted))
        return Atom(FEATURES[program.sorts[kind.names[position]]], (things[position], keys[position], wanted))

    def lacks(position: int) -> Iterator[Rule]:
        key = keys[position : position + 1]
        present = Atom(program.predicate(f"present{index}_{position}"), (things[position], *key))
        yield Rule(present, (about, need, feature(position, other)))
        yield Rule(unmet, (about, need, Negation(present)))

    match kind.op:
        case "exists":
            yield from lacks(0)
        case "absent":
            yield Rule(unmet, (about, need, feature(0, other)))
        case "==" if kind.constant:
            yield Rule(unmet, (about, need, Negation(feature(0, value))))
        case "!=" if kind.constant:
            yield Rule(unmet, (about, need, feature(0, value)))
        case "==":
            yield Rule(unmet, (about, need, feature(0, value), feature(1, other), Comparison("!=", value, other)))
            yield from lacks(0)
            yield from lacks(1)
        case _:
            yield Rule(unmet, (about, need, feature(0, value), feature(1, value)))
