"""What rules/features.rules defines for preconditions: properties, what members may have in common, and choices."""

from collections.abc import Iterable, Mapping, Sequence

from traincheck.dsl.syntax import Define, Value

# The predicates of properties, by the sort of what they describe.
FEATURES: Mapping[str, str] = {
    "call": "call_feature",
    "variable": "variable_feature",
    "window": "window_feature",
    "record": "record_feature",
}
_IDENTITY = "_identity_"
_CHOICE = "choice"


def identity_name(sort: str, key: str) -> str:
    """The predicate that says which `key` a member of this sort has: `call_identity_receiver(C, O)`."""
    return f"{sort}{_IDENTITY}{key}"


def identities_of(predicate_sorts: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """By the sort of a member, the keys that it may have in common with another, and the sort of what they name."""
    found: dict[str, dict[str, str]] = {sort: {} for sort in FEATURES}
    for predicate, sorts in predicate_sorts.items():
        sort, marked, key = predicate.partition(_IDENTITY)
        if marked and sort in found and len(sorts) == 2 and sorts[0] == sort:
            found[sort][key] = sorts[1]
    return found


def choices_of(defines: Iterable[Define]) -> frozenset[str]:
    """The keys of features whose values people choose, as `define choice("phase").` says."""
    return frozenset(
        str(term.value)
        for define in defines
        if define.head.relation == _CHOICE
        for term in define.head.positional
        if isinstance(term, Value)
    )
