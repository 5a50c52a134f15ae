"""How the sorts of two places fit together.

What a value may mean is a set of sorts: one for most columns, `call` and `update` for what can be inside a
call. Identities (a call, a step's window, a moment) meet only themselves; the other sorts of one storage
type meet freely, since an api, a concept and the text of a value are all just words.
"""

from traincheck.dsl.syntax import Value
from traincheck.schema import IDENTITY_SORTS, SORTS, Column, ColumnType, Relation

Sorts = frozenset[str]

EVENTS: Sorts = frozenset({"call", "update"})
ORDERED = frozenset({"seq", "time"})  # identities that one may calculate with
_VAGUE = frozenset({"value", "text"})
_LITERAL: dict[ColumnType, str] = {"str": "value", "int": "integer", "float": "number"}
_TYPE_WORDS: dict[ColumnType, str] = {"str": "text", "int": "a whole number", "float": "a number with a point"}
_SORT_WORDS = {
    "update": "an update",
    "object": "an object",
    "seq": "a moment (seq)",
    "time": "a clock time (time)",
    "window": "a step's window (window)",
    "site": "a place in the code (site)",
}


def column_sorts(relation: Relation, column: Column) -> Sorts:
    """The sorts of a column of the schema; `contains` speaks of calls and updates alike."""
    if (relation.name, column.name) == ("contains", "inner"):
        return EVENTS
    return frozenset({column.sort})


def literal_type(value: Value) -> ColumnType:
    """The storage type of a constant."""
    if isinstance(value.value, str):
        return "str"
    return "int" if isinstance(value.value, int) else "float"


def literal_sort(value: Value) -> str:
    """The sort of a constant that nothing else says anything about."""
    return _LITERAL[literal_type(value)]


def storage(sorts: Sorts) -> ColumnType:
    """The storage type that all of `sorts` share."""
    return SORTS[min(sorts)]


def meet(left: Sorts, right: Sorts) -> Sorts | None:
    """What a value found in both places may be; None when no value can stand in both."""
    if left & right:
        return left & right
    both = left | right
    if storage(left) != storage(right) or both & IDENTITY_SORTS:
        return None
    return both


def join(left: Sorts, right: Sorts) -> Sorts | None:
    """What a value found in one place or the other may be; None when they have nothing in common."""
    both = left | right
    if left == right or both <= EVENTS:
        return both
    return None if storage(left) != storage(right) or both & IDENTITY_SORTS else both


def comparable(left: Sorts, right: Sorts) -> bool:
    """Whether a comparison of two values makes sense; whole numbers compare with others."""
    if meet(left, right) is not None:
        return True
    return not (left | right) & IDENTITY_SORTS and "str" not in (storage(left), storage(right))


def sort_of_variable(sorts: Sorts) -> str:
    """One name for what a variable may be: the most telling of its sorts."""
    telling = sorts - _VAGUE
    return next(iter(telling)) if len(telling) == 1 else sort_of_column(sorts)


def sort_of_column(sorts: Sorts) -> str:
    """One name for what a derived column may be; a mixture of texts is a `value`, one of calls and updates a `call`."""
    if len(sorts) == 1:
        return next(iter(sorts))
    return "call" if sorts <= EVENTS else _LITERAL[storage(sorts)]


def describe(sorts: Sorts) -> str:
    """Words for an error message: `a step`, `a call or an update`, `text (api)`."""
    if sorts & IDENTITY_SORTS or sorts <= {"rank", "step"}:
        return " or ".join(_SORT_WORDS.get(sort, f"a {sort}") for sort in sorted(sorts))
    return f"{_TYPE_WORDS[storage(sorts)]} ({', '.join(sorted(sorts))})"


def describe_literal(value: Value) -> str:
    """Words for a constant's type."""
    return _TYPE_WORDS[literal_type(value)]
