"""Preconditions: groups of clauses, inverted or not, as a disjunction of conjunctions of our conditions."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from traincheck.dsl.syntax import Condition, Feature, Value
from traincheck.facts.plain import plain

OLD_PREFIX, PREFIX = "_ML_DAIKON_", "_TRAINCHECK_"
_UNCONDITIONAL = "Unconditional"
_ABSENT_PATH = "None"
_MOST_CONJUNCTIONS = 4096
_ALWAYS_THERE = frozenset(("process_id", "thread_id"))
_NEGATED = {"==": "!=", "!=": "==", "exists": "absent", "absent": "exists"}

Conjunction = tuple[Condition, ...]
Disjunction = list[Conjunction]


class Unsupported(Exception):
    """What an invariant says cannot be kept; the text says what."""


def alias(name: str) -> str:
    """A name as newer versions of the original spell it."""
    return name.replace(OLD_PREFIX, PREFIX)


def precondition(groups: Any, records: Mapping[str, Sequence[str]]) -> tuple[tuple[Conjunction, ...], list[str]]:
    """The precondition of an invariant, empty for always, and the groups that it had to leave out.

    `records` gives for each group the names of the records that its clauses speak of.
    """
    if not isinstance(groups, Mapping):
        raise Unsupported(f"its precondition is {groups!r}, not an object")
    whole: Disjunction = [()]
    left_out = []
    for name, group in groups.items():
        if name in records:
            whole = _both(whole, _group(group, records[name]))
        elif _group(group, ["_"]) != [()]:
            left_out.append(name)
    if not whole:
        raise Unsupported("its precondition can never hold")
    return (() if () in whole else tuple(dict.fromkeys(map(_sorted, whole)))), left_out


def _group(group: Any, names: Sequence[str]) -> Disjunction:
    """`preconditions` are alternatives, `inverted` negates all of it."""
    try:
        alternatives = [_alternative(item["clauses"], names) for item in group["preconditions"]]
        inverted = bool(group["inverted"])
    except (KeyError, TypeError) as error:
        raise Unsupported(f"a group of its precondition is not understood: {error}") from None
    if not inverted:
        return [conjunction for alternative in alternatives for conjunction in alternative]
    whole: Disjunction = [()]
    for alternative in alternatives:
        for conjunction in alternative:
            whole = _both(whole, [(_negated(condition),) for condition in conjunction])
    return whole


def _alternative(clauses: Any, names: Sequence[str]) -> Disjunction:
    if clauses == _UNCONDITIONAL:
        return [()]
    whole: Disjunction = [()]
    for clause in clauses:
        whole = _both(whole, _clause(clause, names))
    return whole


def _clause(clause: Mapping[str, Any], names: Sequence[str]) -> Disjunction:
    key = _key(clause)
    features = [Feature(name, key) for name in names]
    there = () if key in _ALWAYS_THERE else tuple(Condition("exists", feature) for feature in features)
    pairs = [(first, second) for index, first in enumerate(features) for second in features[index + 1 :]]
    match clause["type"]:
        case "constant":
            values = [Value(plain(value)) for value in clause["values"]]
            return [tuple(Condition("==", feature, value) for feature in features) for value in values]
        case "consistent":
            return [tuple(Condition("==", *pair) for pair in pairs) or there]
        case "unequal":
            return [(*there, *(Condition("!=", *pair) for pair in pairs))]
        case "exist":
            return [there]
        case kind:
            raise Unsupported(f"clauses of type '{kind}' are not known")


def _key(clause: Mapping[str, Any]) -> str:
    """The property a clause speaks of; older files repeat the path's words at the end of the name."""
    name, path = alias(str(clause["prop_name"])), clause.get("additional_path")
    words = [] if path in (None, _ABSENT_PATH) else [str(word) for word in path]
    suffix = ".".join(words)
    return f"{name}.{suffix}" if suffix and not name.endswith(f".{suffix}") else name


def _negated(condition: Condition) -> Condition:
    return Condition(_NEGATED[condition.op], condition.left, condition.right)  # type: ignore[arg-type]


def _both(left: Disjunction, right: Disjunction) -> Disjunction:
    """The conjunction of two disjunctions, without what another alternative implies."""
    if len(left) * len(right) > _MOST_CONJUNCTIONS:
        raise Unsupported(f"its precondition has more than {_MOST_CONJUNCTIONS} alternatives")
    joined = {tuple(dict.fromkeys((*one, *other))): None for one, other in product(left, right)}
    possible = [conjunction for conjunction in joined if not _contradicts(conjunction)]
    sets = [(conjunction, frozenset(conjunction)) for conjunction in possible]
    return [one for one, own in sets if not any(other < own for _, other in sets)]


def _contradicts(conjunction: Conjunction) -> bool:
    """Whether a condition and its negation stand side by side, or one property has two values."""
    if any(_negated(condition) in conjunction for condition in conjunction):
        return True
    values: dict[Feature, Value] = {}
    required = [(item.left, item.right) for item in conjunction if item.op == "==" and isinstance(item.right, Value)]
    return any(values.setdefault(feature, value) != value for feature, value in required)


def _sorted(conjunction: Conjunction) -> Conjunction:
    """Conditions in an order that does not depend on the file's."""
    return tuple(sorted(conjunction, key=lambda item: (item.left.key, item.left.name, item.op, str(item.right))))
