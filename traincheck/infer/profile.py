"""Profiles: what preconditions know of an example, and the clauses that they are made of.

A profile is the set of features that one example has. Examples with the same profile cannot be told apart, so only
profiles are counted. What a clause means here is what it means to a check (traincheck/check/program.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

# Causal features first: how the code was run explains more than when.
_CAUSAL_ORDER = ("stage", "training", "autocast", "requires_grad", "kind", "position")

Op = Literal["==", "!="]


@dataclass(frozen=True, slots=True)
class Clause:
    """`variable.key op value`, or `variable.key op other.key` when `other` is set."""

    variable: str
    key: str
    op: Op
    value: str | None = None
    other: str | None = None

    @property
    def rank(self) -> tuple[int, int, str, str, str]:
        """Preference: equalities before differences, causal keys first; no two clauses have the same."""
        causal = _CAUSAL_ORDER.index(self.key) if self.key in _CAUSAL_ORDER else len(_CAUSAL_ORDER)
        return (self.op != "==", causal, self.key, self.variable, f"{self.value} {self.other}")


Conjunction = tuple[Clause, ...]


@dataclass(frozen=True)
class Profile:
    """Features of one example: for each `given` variable, its (key, value) pairs.

    `shared` says of two variables, by the key of an identity that both have, whether it is the same one.
    """

    features: tuple[tuple[str, frozenset[tuple[str, str]]], ...]
    shared: frozenset[tuple[str, str, str, bool]] = field(default=frozenset())

    @cached_property
    def clauses(self) -> frozenset[Clause]:
        """Every clause that this example suggests; all of them are met by it."""
        found = {Clause(variable, key, "==", value) for variable, pairs in self.features for key, value in pairs}
        found |= {Clause(first, key, "==" if same else "!=", other=second) for first, second, key, same in self.shared}
        for index, (first, _) in enumerate(self.features):
            for second, _ in self.features[index + 1 :]:
                for key in self._values[first].keys() & self._values[second].keys():
                    either = (Clause(first, key, "==", other=second), Clause(first, key, "!=", other=second))
                    found |= {clause for clause in either if self.meets(clause)}
        return frozenset(found)

    def meets(self, clause: Clause) -> bool:
        """Whether the clause holds for this example; `!=` holds for what is absent too."""
        mine = self._values[clause.variable].get(clause.key, frozenset())
        if clause.other is None:
            return (clause.value in mine) == (clause.op == "==")
        same = self._shared.get((clause.variable, clause.other, clause.key))
        if same is not None:
            return same == (clause.op == "==")
        theirs = self._values[clause.other].get(clause.key, frozenset())
        return len(mine | theirs) == 1 and mine == theirs if clause.op == "==" else not mine & theirs

    @cached_property
    def _values(self) -> Mapping[str, Mapping[str, frozenset[str]]]:
        return {
            variable: {key: frozenset(value for other, value in pairs if other == key) for key, _ in pairs}
            for variable, pairs in self.features
        }

    @cached_property
    def _shared(self) -> Mapping[tuple[str, str, str], bool]:
        return {(first, second, key): same for first, second, key, same in self.shared}

    @cached_property
    def order(self) -> tuple[object, ...]:
        """A place among profiles that does not depend on where they come from."""
        return (*((name, tuple(sorted(pairs))) for name, pairs in self.features), tuple(sorted(self.shared)))

    def __hash__(self) -> int:
        return hash((self.features, self.shared))


def holds(precondition: Sequence[Conjunction], profile: Profile) -> bool:
    """Whether an example of this profile meets the precondition; the empty one is met always."""
    return not precondition or any(all(map(profile.meets, conjunction)) for conjunction in precondition)
