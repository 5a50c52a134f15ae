"""Derived predicates: their arity, the sorts of their columns, and whether their recursion makes sense."""

from collections.abc import Sequence

import networkx as nx

from traincheck.dsl.report import Problems
from traincheck.dsl.safety import bound_by, check_locals, check_safety
from traincheck.dsl.scope import Scope
from traincheck.dsl.signature import Signatures
from traincheck.dsl.sorts import Sorts, describe, join, literal_sort, sort_of_column
from traincheck.dsl.syntax import Anything, Atom, Calculation, Compare, Define, Formula, Name, Position, Value
from traincheck.dsl.walk import atoms_of
from traincheck.schema import RELATIONS


def arities(defines: Sequence[Define], problems: Problems) -> dict[str, int]:
    """The arity of every defined predicate; heads that disagree or redefine a relation are reported."""
    found: dict[str, tuple[int, Position]] = {}
    for define in defines:
        head = define.head
        if head.relation in RELATIONS:
            advice = "choose another name for what you derive"
            problems.add(f"'{head.relation}' is a relation of the trace and cannot be defined", head.position, advice)
            continue
        if not head.positional and not head.named:
            problems.add(
                f"'{head.relation}' has no terms", head.position, "a definition has at least one: define p(C) :- ..."
            )
        arity, first = found.setdefault(head.relation, (len(head.positional), head.position))
        if arity != len(head.positional):
            what = f"'{head.relation}' has {len(head.positional)} terms here and {arity} at {first.file}:{first.line}"
            problems.add(what, head.position, "all definitions of a predicate have as many terms")
    return {name: arity for name, (arity, _) in found.items()}


def infer_sorts(defines: Sequence[Define], signatures: Signatures) -> None:
    """Fill in the columns of all derived predicates, to a fixpoint."""
    quiet = Problems()
    growing = True
    while growing:
        growing = False
        for define in defines:
            columns = signatures.derived.get(define.head.relation)
            if columns is None:
                continue
            scope = Scope(signatures, quiet)
            scope.read(define.body)
            for index, term in enumerate(define.head.positional[: len(columns)]):
                sorts = scope.sorts.get(term.text) if isinstance(term, Name) else None
                merged = _merge(columns[index], sorts)
                if merged != columns[index]:
                    columns[index] = merged
                    growing = True
    for define in defines:
        _settle(define, signatures)


def _merge(column: Sorts | None, sorts: Sorts | None) -> Sorts | None:
    """The union where it makes sense; the first one where it does not, which check_define reports."""
    if column is None or sorts is None:
        return column or sorts
    return join(column, sorts) or column


def _settle(define: Define, signatures: Signatures) -> None:
    """Give the columns that only constants fill the sort of their constants."""
    columns = signatures.derived.get(define.head.relation, [])
    for index, term in enumerate(define.head.positional[: len(columns)]):
        if columns[index] is None and isinstance(term, Value):
            columns[index] = frozenset({literal_sort(term)})


def predicate_sorts(signatures: Signatures) -> dict[str, tuple[str, ...]]:
    """The sorts of every derived predicate's columns, one name each."""
    return {
        name: tuple("value" if column is None else sort_of_column(column) for column in columns)
        for name, columns in signatures.derived.items()
    }


def check_define(define: Define, signatures: Signatures, problems: Problems) -> None:
    """Report what is wrong with one definition."""
    scope = Scope(signatures, problems)
    scope.read(define.body)
    scope.check(define.body)
    bound = check_safety(define.body, frozenset(), problems)
    check_locals([(define.body, bound)], problems)
    head = define.head
    if head.named:
        problems.add("the terms of a definition's head have no names", head.position, "give them by position")
    columns = signatures.derived.get(head.relation, [])
    for index, term in enumerate(head.positional):
        match term:
            case Anything():
                problems.add(
                    "a definition's head cannot hold '_'", term.position, "name a variable that the body binds"
                )
            case Name(text=text) if text not in bound:
                what = f"unsafe variable '{text}': in the head, but nothing in the body binds it"
                problems.add(what, term.position, "use it in an atom of the body")
            case Name(text=text):
                sorts = scope.sorts.get(text)
                if index < len(columns):
                    _check_column(head, index, sorts, columns[index], term.position, problems)
            case Value(value=str() as text) if "*" in text:
                what = "a definition's head cannot hold a glob"
                advice = 'match the glob in the body: define p(A) :- call(_, api: A), call(_, api: "torch.*")'
                problems.add(what, term.position, advice if define.body else "write one fact for each name")
            case Value() if index < len(columns):
                _check_column(head, index, frozenset({literal_sort(term)}), columns[index], term.position, problems)


def _check_column(
    head: Atom, index: int, sorts: Sorts | None, column: Sorts | None, at: Position, problems: Problems
) -> None:
    if sorts is not None and column is not None and not sorts <= column and join(sorts, column) is None:
        what = f"term {index + 1} of '{head.relation}' is {describe(sorts)} here, but {describe(column)} elsewhere"
        problems.add(what, at, "all definitions of a predicate hold the same sorts")


def check_recursion(defines: Sequence[Define], problems: Problems) -> None:
    """Report recursion that has no meaning (through a negation or count) or no end (over values it computes)."""
    graph = nx.DiGraph()
    for define in defines:
        for atom, _ in atoms_of(define.body):
            graph.add_edge(define.head.relation, atom.relation)
    component = {name: group for group in nx.strongly_connected_components(graph) for name in group}
    for define in defines:
        head = define.head.relation
        within = [
            (atom, negative) for atom, negative in atoms_of(define.body) if atom.relation in component.get(head, ())
        ]
        for atom, negative in within:
            if negative:
                way = [*nx.shortest_path(graph, atom.relation, head), atom.relation]
                cycle = " -> ".join(f"'{name}'" for name in (way if len(way) > 1 else way * 2))
                what = f"'{head}' depends on the absence of itself: {cycle}"
                advice = "a negation or count may only use predicates that are complete without this one"
                problems.add(what, atom.position, advice)
        if within:
            _check_finite(define, problems)


def _check_finite(define: Define, problems: Problems) -> None:
    """Report a recursive definition that feeds on numbers it computes; one that looks them up comes to an end."""
    looked_up = bound_by([formula for formula in define.body if not _calculates(formula)])
    computed = bound_by(define.body) - looked_up
    for term in define.head.positional:
        if isinstance(term, Name) and term.text in computed:
            what = f"the recursion of '{define.head.relation}' computes '{term.text}' without end"
            problems.add(
                what, term.position, f"bind '{term.text}' with an atom too, such as step(_, step: {term.text})"
            )


def _calculates(formula: Formula) -> bool:
    return isinstance(formula, Compare) and any(isinstance(side, Calculation) for side in (formula.left, formula.right))
