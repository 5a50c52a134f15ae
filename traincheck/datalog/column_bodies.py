"""Evaluates the body of one rule over coded columns: joins in an order that follows the sizes at hand."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from traincheck.datalog.bindings import Bindings
from traincheck.datalog.bodies import Bind, CountStep, Step, step_variables, term_variables
from traincheck.datalog.codes import Codes
from traincheck.datalog.column_scalars import Scalars
from traincheck.datalog.columns import ColumnTypes
from traincheck.datalog.plan import PlannedRule
from traincheck.datalog.program import Atom, Comparison, Constant, Negation, Variable
from traincheck.datalog.relations import Table, View

__all__ = ["Body", "BodyRunner", "head_body"]

_Test = Bind | Comparison | Negation


class _Shape:
    """How an atom reads its relation: constants, the variables that become columns, those that only must be present."""

    def __init__(self, atom: Atom, used_elsewhere: set[str], columns: ColumnTypes, codes: Codes) -> None:
        places: dict[str, tuple[int, ...]] = {}
        for place, term in enumerate(atom.terms):
            if isinstance(term, Variable):
                places[term.name] = (*places.get(term.name, ()), place)
        self.predicate = atom.predicate
        self.kept = tuple(name for name in places if name in used_elsewhere)
        free = [name for name in places if name not in used_elsewhere]
        self._constants = tuple(
            (place, codes.constant(term.value)) for place, term in enumerate(atom.terms) if isinstance(term, Constant)
        )
        self._variables = tuple(places[name] for name in (*self.kept, *free))
        self.types = {name: columns[atom.predicate][places[name][0]] for name in self.kept}

    def view(self, table: Table) -> View:
        """The rows of its relation."""
        return table.view(self._constants, self._variables, len(self.kept))


class Body:
    """A body made ready: shapes of its atoms, its tests, and the counts that come last."""

    def __init__(
        self, steps: Sequence[Step], outer: Iterable[str], wanted: Iterable[str], columns: ColumnTypes, codes: Codes
    ) -> None:
        self.wanted = frozenset(wanted)
        beside = set(outer) | self.wanted
        names = [step_variables(step) for step in steps]
        self.atoms: list[tuple[int, _Shape]] = []
        self.tests: list[tuple[_Test, frozenset[str]]] = []
        self.counts: list[tuple[CountStep, Body]] = []
        self.negated: dict[int, _Shape] = {}
        self.late: list[tuple[_Test, frozenset[str]]] = []
        counted: set[str] = set()
        for place, step in enumerate(steps):
            if isinstance(step, Atom):
                others = beside.union(*(found for other, found in enumerate(names) if other != place))
                self.atoms.append((place, _Shape(step, others, columns, codes)))
            elif isinstance(step, CountStep):
                inner = Body(step.body, step.groups, {*step.groups, *step.counted}, columns, codes)
                self.counts.append((step, inner))
                counted.add(step.result)
            else:
                self._add_test(step, names[place], counted, columns, codes)

    def _add_test(self, step: _Test, names: set[str], counted: set[str], columns: ColumnTypes, codes: Codes) -> None:
        if isinstance(step, Negation):
            self.negated[id(step)] = _Shape(step.atom, names, columns, codes)
        if isinstance(step, Bind):
            names = names - {step.variable}
        if names & counted:
            self.late.append((step, frozenset(names)))
            if isinstance(step, Bind):
                counted.add(step.variable)
        else:
            self.tests.append((step, frozenset(names)))


def head_body(rule: PlannedRule, columns: ColumnTypes, codes: Codes) -> Body:
    """The body of a rule, wanted for the variables of its head."""
    return Body(rule.steps, (), set(term_variables(rule.head.terms)), columns, codes)


class BodyRunner:
    """Runs bodies over one set of tables."""

    def __init__(self, tables: Mapping[str, Table], codes: Codes) -> None:
        self._tables = tables
        self._scalars = Scalars(codes)

    def run(self, body: Body, replaced: Mapping[int, Table], start: Bindings | None = None) -> Bindings:
        """Every combination of values of the wanted variables (not always distinct).

        `replaced` gives, by position of an atom, the table to read instead of its relation's own.
        """
        found = start if start is not None else Bindings({}, {}, 1)
        pending: list[tuple[_Shape, View]] = []
        for place, shape in body.atoms:
            view = shape.view(replaced.get(place) or self._tables[shape.predicate])
            if not view.rows:
                return found.nothing(body.wanted)
            pending.append((shape, view))
        tests = list(body.tests)
        found = self._test(found, tests, body)
        while pending and found.rows:
            shape, view = _cheapest(found, pending)
            pending.remove((shape, view))
            found = _join(found, shape, view)
            found = self._test(found, tests, body)
            found = _drop(found, body, pending, tests)
        if not found.rows:
            return found.nothing(body.wanted)
        for step, inner in body.counts:
            found = self._count(found, step, inner)
        found = self._test(found, list(body.late), body)
        return found if found.rows else found.nothing(body.wanted)

    def _test(self, found: Bindings, tests: list[tuple[_Test, frozenset[str]]], body: Body) -> Bindings:
        """Apply and remove every test whose variables have values."""
        ready = True
        while ready and found.rows:
            ready = False
            for test, names in list(tests):
                if names <= found.values.keys():
                    tests.remove((test, names))
                    found = self._apply(found, test, body)
                    ready = True
        return found

    def _apply(self, found: Bindings, test: _Test, body: Body) -> Bindings:
        if isinstance(test, Bind):
            return self._scalars.bind(found, test)
        if isinstance(test, Comparison):
            return found.take(np.flatnonzero(self._scalars.compare(found, test)))
        shape = body.negated[id(test)]
        view = shape.view(self._tables[shape.predicate])
        if not view.rows:
            return found
        if not shape.kept:
            return found.take(np.zeros(0, np.intp))
        index = view.index(tuple(range(len(shape.kept))))
        return found.take(np.flatnonzero(~index.has([found.values[name] for name in shape.kept])))

    def _count(self, found: Bindings, step: CountStep, inner: Body) -> Bindings:
        if not found.rows:
            return found
        groups = found.only(step.groups).distinct()
        counted = self.run(inner, {}, groups).only((*step.groups, *step.counted)).distinct()
        if not step.groups:
            numbers = np.full(found.rows, counted.rows, np.int64)
        elif not counted.rows:
            numbers = np.zeros(found.rows, np.int64)
        else:
            view = View([counted.values[name] for name in step.groups], counted.rows)
            index = view.index(tuple(range(len(step.groups))))
            numbers = index.count([found.values[name] for name in step.groups])
        if step.binds:
            return found.having(step.result, numbers, "int")
        return found.take(np.flatnonzero(found.values[step.result] == numbers))


def _cheapest(found: Bindings, pending: Sequence[tuple[_Shape, View]]) -> tuple[_Shape, View]:
    """The atom whose join leaves the fewest rows; what shares nothing with the rest comes last."""
    if len(pending) == 1:
        return pending[0]

    def cost(candidate: tuple[_Shape, View]) -> tuple[bool, float, int]:
        shape, view = candidate
        shared = [place for place, name in enumerate(shape.kept) if name in found.values]
        if not shape.kept:
            return False, 0.0, 0
        if not shared:
            return bool(found.values), float(view.rows), view.rows
        if len(shared) == len(shape.kept):
            return False, 0.5 * min(found.rows, view.rows), view.rows
        return False, found.rows * view.each(shared), view.rows

    return min(pending, key=cost)


def _join(found: Bindings, shape: _Shape, view: View) -> Bindings:
    places = tuple(place for place, name in enumerate(shape.kept) if name in found.values)
    added = [place for place in range(len(shape.kept)) if place not in places]
    if not shape.kept:
        return found
    if not places:
        if not found.values:
            left, right = np.zeros(0, np.intp), np.arange(view.rows)
        else:
            left = np.repeat(np.arange(found.rows), view.rows)
            right = np.tile(np.arange(view.rows), found.rows)
    else:
        index = view.index(places)
        keys = [found.values[shape.kept[place]] for place in places]
        if not added:
            return found.take(np.flatnonzero(index.has(keys)))
        left, right = index.join(keys)
    values = {name: column[left] for name, column in found.values.items()}
    values |= {shape.kept[place]: view.columns[place][right] for place in added}
    return Bindings(values, {**found.types, **{shape.kept[p]: shape.types[shape.kept[p]] for p in added}}, len(right))


def _drop(
    found: Bindings,
    body: Body,
    pending: Sequence[tuple[_Shape, View]],
    tests: Sequence[tuple[_Test, frozenset[str]]],
) -> Bindings:
    """Without the variables that nothing reads any more, and without the repetitions this leaves."""
    needed = body.wanted.union(*(shape.kept for shape, _ in pending), *(names for _, names in tests))
    needed = needed.union(*(step.groups for step, _ in body.counts), *(names for _, names in body.late))
    needed |= {step.result for step, _ in body.counts if not step.binds}
    if needed >= found.values.keys():
        return found
    kept = found.only([name for name in found.values if name in needed])
    return kept.distinct() if pending or body.counts else kept
