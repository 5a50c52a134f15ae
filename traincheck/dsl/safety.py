"""Safety: every variable of a conjunction is bound by a fact before a comparison, negation or count asks for it."""

from collections import Counter
from collections.abc import Iterable, Sequence

from traincheck.dsl.report import Problems
from traincheck.dsl.syntax import Atom, Compare, CountOf, Expression, Formula, Name, Not
from traincheck.dsl.walk import names_of, names_of_all, names_of_atom, names_of_expression

_HOW_TO_BIND = "bind it with an atom, or with '==' to something that is bound"


def bound_by(formulas: Sequence[Formula], already: frozenset[str] = frozenset()) -> frozenset[str]:
    """The variables that a conjunction binds: by its atoms, and from those by `==`; `already` is included."""
    bound = set(already)
    for formula in formulas:
        if isinstance(formula, Atom):
            bound.update(name.text for name in names_of_atom(formula))
    growing = True
    while growing:
        fresh = {name for formula in formulas for name in _assigned(formula, bound)}
        growing = not fresh <= bound
        bound |= fresh
    return frozenset(bound)


def _assigned(formula: Formula, bound: set[str]) -> list[str]:
    """What an equation gives a value, once its other side is bound."""
    match formula:
        case Compare(op="==", left=left, right=right):
            return [*_assigns(left, right, bound), *_assigns(right, left, bound)]
        case CountOf(op="==", bound=Name(text=text)):
            return [text]
        case _:
            return []


def _assigns(target: Expression, source: Expression, bound: set[str]) -> list[str]:
    ready = all(name.text in bound for name in names_of_expression(source))
    return [target.text] if isinstance(target, Name) and ready else []


def check_safety(formulas: Sequence[Formula], already: frozenset[str], problems: Problems) -> frozenset[str]:
    """Report the unbound variables of a conjunction; `already` are bound outside. Returns what is bound after it."""
    bound = bound_by(formulas, already)
    for formula in formulas:
        match formula:
            case Atom():
                pass
            case Not(atom=atom):
                _require(names_of_atom(atom), bound, problems, "under 'not'", "write _ where anything will do")
            case Compare():
                _require(names_of(formula), bound, problems, "in a comparison", _HOW_TO_BIND)
            case CountOf():
                _check_count(formula, bound, problems)
    return bound


def check_locals(sections: Sequence[tuple[Sequence[Formula], frozenset[str]]], problems: Problems) -> None:
    """Report variables of a count that nothing binds around it and that are used elsewhere all the same.

    `sections` are the conjunctions of one declaration, each with what is bound in it. One reads such a variable as
    the same thing in both places, yet each count looks at all its values.
    """
    uses = Counter(name.text for formulas, _ in sections for name in names_of_all(formulas))
    for formulas, bound in sections:
        for formula in formulas:
            if isinstance(formula, CountOf):
                inside = Counter(name.text for name in (*formula.counted, *names_of_all(formula.body)))
                for name in names_of_all(formula.body):
                    if name.text not in bound and uses[name.text] > inside[name.text]:
                        what = f"'{name.text}' is local to a count, but used outside it too"
                        problems.add(what, name.position, "give the count variables of its own")
                check_locals([(formula.body, bound_by(formula.body, bound))], problems)


def _check_count(count: CountOf, bound: frozenset[str], problems: Problems) -> None:
    inside = check_safety(count.body, bound, problems)
    for name in count.counted:
        if name.text in bound:
            what = f"counted variable '{name.text}' is bound outside the count, so there is only one"
            problems.add(what, name.position, "count a variable that only the braces use")
    _require(count.counted, inside, problems, "as what is counted", "use it in an atom inside the braces")
    _require(names_of_expression(count.bound), bound, problems, "in a comparison", _HOW_TO_BIND)


def _require(names: Iterable[Name], bound: frozenset[str], problems: Problems, where: str, advice: str) -> None:
    for name in names:
        if name.text not in bound:
            problems.add(f"unsafe variable '{name.text}': {where}, but nothing binds it", name.position, advice)
