"""Preconditions: the few, causal conditions under which every example is positive.

A profile is the set of features that one example has. Examples with the same profile cannot be told
apart, so the search runs over distinct profiles and never over examples.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

# Causal features first: how the code was run explains more than when.
_CAUSAL_ORDER = ("stage", "training", "autocast", "requires_grad", "kind", "position")
_MOST_DISJUNCTS = 3


@dataclass(frozen=True, slots=True)
class Clause:
    """`variable.key op value`, or `variable.key op other.key` when `other` is set."""

    variable: str
    key: str
    op: Literal["==", "!="]
    value: str | None = None
    other: str | None = None

    @property
    def rank(self) -> tuple[int, int, str, str]:
        """Preference: equalities to constants, causal keys first."""
        causal = _CAUSAL_ORDER.index(self.key) if self.key in _CAUSAL_ORDER else len(_CAUSAL_ORDER)
        return (self.op != "==", causal, self.key, self.variable)


Conjunction = tuple[Clause, ...]


@dataclass(frozen=True)
class Profile:
    """Features of one example: for each `given` variable, its (key, value) pairs."""

    features: tuple[tuple[str, frozenset[tuple[str, str]]], ...]

    @cached_property
    def clauses(self) -> frozenset[Clause]:
        """Every equality that holds for this example."""
        found = {Clause(variable, key, "==", value) for variable, pairs in self.features for key, value in pairs}
        for index, (first, pairs) in enumerate(self.features):
            for second, others in self.features[index + 1 :]:
                mine, theirs = dict(pairs), dict(others)
                for key in mine.keys() & theirs.keys():
                    op: Literal["==", "!="] = "==" if mine[key] == theirs[key] else "!="
                    found.add(Clause(first, key, op, other=second))
        return frozenset(found)

    def __hash__(self) -> int:
        return hash(self.features)


def holds(precondition: Sequence[Conjunction], profile: Profile) -> bool:
    """Whether an example of this profile meets the precondition; the empty one is met always."""
    return not precondition or any(profile.clauses.issuperset(conjunction) for conjunction in precondition)


def separate(
    positives: Iterable[Profile], negatives: Iterable[Profile], about: Iterable[str]
) -> tuple[Conjunction, ...] | None:
    """The smallest precondition that every positive meets and no negative does; None when there is none.

    `about` are the texts that the hypothesis itself speaks of: a feature of such a key would be circular.
    """
    good, bad = list(dict.fromkeys(positives)), list(dict.fromkeys(negatives))
    if not bad:
        return ()
    circular = set(about)
    usable: Mapping[Profile, frozenset[Clause]] = {
        profile: frozenset(clause for clause in profile.clauses if clause.key not in circular)
        for profile in (*good, *bad)
    }
    whole = _conjunction(good, bad, usable)
    if whole is not None:
        return (whole,)
    return _disjunction(good, bad, usable)


def _conjunction(
    good: Sequence[Profile], bad: Sequence[Profile], usable: Mapping[Profile, frozenset[Clause]]
) -> Conjunction | None:
    """Greedy set cover: clauses that all of `good` meet, until each of `bad` fails one."""
    common = frozenset.intersection(*(usable[profile] for profile in good))
    chosen: list[Clause] = []
    left = list(bad)
    while left:
        best = min(
            common,
            key=lambda clause: (-sum(clause not in usable[profile] for profile in left), clause.rank),
            default=None,
        )
        if best is None or all(best in usable[profile] for profile in left):
            return None
        chosen.append(best)
        left = [profile for profile in left if best in usable[profile]]
    return tuple(sorted(chosen, key=lambda clause: clause.rank))


def _disjunction(
    good: Sequence[Profile], bad: Sequence[Profile], usable: Mapping[Profile, frozenset[Clause]]
) -> tuple[Conjunction, ...] | None:
    """Sequential covering: from one uncovered positive, take along every other that shares a clean conjunction."""
    found: list[Conjunction] = []
    left = list(good)
    while left:
        if len(found) == _MOST_DISJUNCTS:
            return None
        group = [left[0]]
        conjunction = _conjunction(group, bad, usable)
        if conjunction is None:
            return None
        for profile in left[1:]:
            wider = _conjunction([*group, profile], bad, usable)
            if wider is not None:
                group.append(profile)
                conjunction = wider
        found.append(conjunction)
        left = [profile for profile in left if not usable[profile].issuperset(conjunction)]
    return tuple(found)
