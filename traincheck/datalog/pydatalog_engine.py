"""The reference engine: rule bodies are answered by pyDatalog, through resolvers over our own fact store.

The only module that touches pyDatalog, and the place for its traps:

- Nothing is asserted. Every atom is a predicate whose Python resolver probes a `View`; comparisons, bindings
  and arithmetic are resolvers too. pyDatalog sees interned values only, so 1, 1.0 and "1" stay apart, floats
  stay exact and no text of a rule or fact is parsed.
- Every predicate has a resolver before a question names it, and names are ours, so that dots and brackets
  mean nothing. Each literal keeps a variable: one without any gets a guard variable that is always 0.
- One answer object a value: pyDatalog compares repeated variables by identity.
- A body is asked as positive atoms, each comparison as soon as its variables are bound, then negations,
  whose variables are all bound and whose predicates are complete.
- Recursion and strata are driven from outside (`bottomup.py`): pyDatalog never sees a recursive rule, since
  it may hang on one over cyclic facts.
- Resolvers are global to the process and the logic is one per thread: a lock guards both, every question has
  a fresh logic, and what was registered is taken out again.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType

import pyarrow as pa
from pyDatalog import Logic, pyEngine

from traincheck.datalog.bodies import Bind, Step, bound_by, operand_variables, step_variables
from traincheck.datalog.bottomup import Materialiser
from traincheck.datalog.engine import ARROW_TYPES, Answers, empty_table
from traincheck.datalog.program import Atom, Comparison, Negation, Program
from traincheck.datalog.scalars import compute, holds
from traincheck.datalog.store import Interner, Row, View
from traincheck.schema import ColumnType

__all__ = ["Asker", "PyDatalogEngine"]

_LOCK = threading.RLock()
_NAMES = itertools.count()
_GUARD = "guard"  # the variable of literals that have none; always 0

Resolver = Callable[..., Iterator[Sequence[object]]]
_Question = tuple[str, Sequence[str]]  # predicate name (negated with ~) and variables


class PyDatalogEngine:
    """Answers programs with pyDatalog, for traces of up to about 10^5 facts."""

    name = "pydatalog"

    def prepare(self, program: Program, goals: Sequence[str]) -> Callable[[Mapping[str, pa.Table]], Answers]:
        """See `Engine.prepare`."""
        return lambda facts: self.solve(program, facts, goals)

    def solve(self, program: Program, facts: Mapping[str, pa.Table], goals: Sequence[str]) -> dict[str, pa.Table]:
        """See `Engine.solve`."""
        with Asker() as asker:
            found = Materialiser(program, facts, asker)
            found.complete(goals)
            return {goal: _table(found.answers(goal), found.columns[goal], asker.interner) for goal in goals}


def _table(rows: Sequence[tuple[int | None, ...]], types: Sequence[ColumnType], interner: Interner) -> pa.Table:
    if not rows:
        return empty_table(types)
    if not types:
        return pa.table({"c0": pa.array([1], pa.int64())})
    columns = [
        pa.array([None if value is None else interner.values[value] for value in column], ARROW_TYPES[kind])
        for column, kind in zip(zip(*rows, strict=True), types, strict=True)
    ]
    return pa.table(columns, [f"c{i}" for i in range(len(columns))])


class Asker:
    """Asks pyDatalog for the answers of one body at a time, inside a `with` block, which may be entered again."""

    def __init__(self) -> None:
        self.interner = Interner()
        self._constants: list[object] = []
        self._registered: list[str] = []

    def __enter__(self) -> "Asker":
        _LOCK.acquire()
        self._outer_logic = getattr(Logic.tl, "logic", None)
        Logic()
        self._zero = self.interner[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        Logic()
        if self._outer_logic is not None:
            Logic.tl.logic = self._outer_logic
        _LOCK.release()

    def ask(self, steps: Sequence[Step], views: Mapping[int, View], wanted: Sequence[str]) -> list[Row]:
        """The distinct values of the `wanted` variables for which all steps hold.

        `views` gives, by the position of each atom and negation in `steps`, where its facts are. There are no
        counts among the steps.
        """
        try:
            guard = self._register(1, self._guard_resolver)
            question = [(guard, (_GUARD,)), *self._literals(steps, views)]
            return [row[1:] for row in self._answers(question, (_GUARD, *wanted))]
        finally:
            for name in self._registered:
                del pyEngine.Python_resolvers[name]
            self._registered.clear()

    def _literals(self, steps: Sequence[Step], views: Mapping[int, View]) -> Iterator[_Question]:
        """Predicate and variables of each literal, in the order in which pyDatalog is to take them."""
        bound: set[str] = set()
        atoms = [position for position, step in enumerate(steps) if isinstance(step, Atom)]
        rest = [position for position, step in enumerate(steps) if not isinstance(step, Atom)]
        while atoms or rest:
            ready = next((position for position in rest if _is_ready(steps[position], bound)), None)
            if ready is None:
                ready = min(atoms, key=lambda position: _cost(views[position], steps[position], bound))
                atoms.remove(ready)
            else:
                rest.remove(ready)
            step = steps[ready]
            yield self._literal(step, views.get(ready))
            bound |= bound_by([step])

    def _literal(self, step: Step, view: View | None) -> _Question:
        if view is not None:
            name = self._register(max(1, len(view.variables)), self._view_resolver(view))
            return ("~" if isinstance(step, Negation) else "") + name, view.variables or (_GUARD,)
        if isinstance(step, Bind):
            inputs = tuple(dict.fromkeys(operand_variables(step.operand)))
            name = self._register(len(inputs) + 1, self._bind_resolver(step, inputs))
            return name, (*inputs, step.variable)
        assert isinstance(step, Comparison)
        inputs = tuple(sorted(step_variables(step)))
        name = self._register(max(1, len(inputs)), self._comparison_resolver(step, inputs))
        return name, inputs or (_GUARD,)

    def _answers(self, question: Sequence[_Question], wanted: Sequence[str]) -> list[Row]:
        variables: dict[str, object] = {}

        def terms(names: Sequence[str]) -> list[object]:
            return [variables.setdefault(name, pyEngine.Var(f"V{len(variables)}")) for name in names]

        head = pyEngine.Literal(f"traincheck{next(_NAMES)}", terms(wanted))
        body = [pyEngine.Literal(name, terms(names)) for name, names in question]
        clause = pyEngine.Clause(head, body)
        pyEngine.assert_(clause)
        try:
            answers = head.ask()
        finally:
            pyEngine.retract(clause)
            for literal in (head, *body):
                pyEngine.remove(literal.pred)
        return [tuple(row) for row in answers or ()]

    def _register(self, arity: int, resolver: Resolver) -> str:
        name = f"traincheck{next(_NAMES)}"
        self._registered.append(f"{name}/{arity}")
        pyEngine.Python_resolvers[self._registered[-1]] = resolver
        return name

    def _constant(self, interned: int) -> object:
        constants = self._constants
        while len(constants) <= interned:
            constants.append(pyEngine.Const(len(constants)))
        return constants[interned]

    def _guard_resolver(self, term: object) -> Iterator[Sequence[object]]:
        yield (self._constant(self._zero),)

    def _view_resolver(self, view: View) -> Resolver:
        if not view.variables:
            return lambda guard: iter([(guard,)] if view.rows() else [])

        def resolve(*terms: pyEngine.Term) -> Iterator[Sequence[object]]:
            bound = {place: term.id for place, term in enumerate(terms) if term.is_const()}
            return ([self._constant(value) for value in row] for row in view.probe(bound))

        return resolve

    def _bind_resolver(self, step: Bind, inputs: Sequence[str]) -> Resolver:
        def resolve(*terms: pyEngine.Term) -> Iterator[Sequence[object]]:
            values = {name: self.interner.values[term.id] for name, term in zip(inputs, terms, strict=False)}
            found = compute(step.operand, values)
            if found is not None:
                yield (*terms[:-1], self._constant(self.interner[found]))

        return resolve

    def _comparison_resolver(self, step: Comparison, inputs: Sequence[str]) -> Resolver:
        def resolve(*terms: pyEngine.Term) -> Iterator[Sequence[object]]:
            values = {name: self.interner.values[term.id] for name, term in zip(inputs, terms, strict=False)}
            if holds(step, values):
                yield terms

        return resolve


def _is_ready(step: Step, bound: set[str]) -> bool:
    """Whether a step other than an atom has the values that it needs."""
    needed = set(operand_variables(step.operand)) if isinstance(step, Bind) else step_variables(step)
    return needed <= bound


def _cost(view: View, step: Step, bound: set[str]) -> float:
    return view.expected(place for place, name in enumerate(view.variables) if name in bound)
