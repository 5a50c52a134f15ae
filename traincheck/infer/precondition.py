"""Preconditions: the few, causal conditions under which every example is positive.

The search runs over distinct profiles and never over examples. Separation is exact where it can be; a stated number
of negative examples may be left as exceptions where it cannot.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from traincheck.infer.profile import Clause, Conjunction, Profile

_MOST_DISJUNCTS = 3

Counts = Mapping[Profile, int]


def separate(
    positives: Iterable[Profile] | Counts, negatives: Iterable[Profile] | Counts, about: Iterable[str], allowed: int = 0
) -> tuple[Conjunction, ...] | None:
    """The smallest precondition that every positive meets and no negative does; None when there is none.

    Where none is, the one that as few negative examples meet as can be, if these are at most `allowed`. `about` are
    the texts that the hypothesis itself speaks of: a feature of such a key would be circular.
    """
    good, bad = Counter(positives), Counter(negatives)
    search = _Search(sorted(good, key=_order), sorted(bad, key=_order), frozenset(about))
    found = search.separate(bad)
    if found is None and allowed:
        for lost in search.losses():
            if sum(bad[profile] for profile in lost) <= allowed:
                found = search.separate([profile for profile in bad if profile not in lost])
                if found is not None:
                    break
    return found


def _order(profile: Profile) -> tuple[object, ...]:
    return profile.order


def choices(profiles: Iterable[Profile], about: Iterable[str]) -> int:
    """How many clauses there are to make a precondition of."""
    circular = frozenset(about)
    return len({clause for profile in profiles for clause in profile.clauses if clause.key not in circular})


@dataclass
class _Search:
    """The clauses that each profile meets, of all that some positive profile suggests."""

    good: Sequence[Profile]
    bad: Sequence[Profile]
    circular: frozenset[str]

    def __post_init__(self) -> None:
        suggested = {c for profile in self.good for c in profile.clauses if c.key not in self.circular}
        self._met: Mapping[Profile, frozenset[Clause]] = {
            profile: frozenset(filter(profile.meets, suggested)) for profile in (*self.good, *self.bad)
        }

    def separate(self, bad: Collection[Profile]) -> tuple[Conjunction, ...] | None:
        """A precondition that all of `good` and none of `bad` meet."""
        if not bad:
            return ()
        whole = self._conjunction(self.good, bad)
        return (whole,) if whole is not None else self._disjunction(bad)

    def losses(self) -> Iterator[set[Profile]]:
        """Sets of negative profiles that may have to be given up, smaller ones first.

        What meets all that some positive meets, no disjunction excludes; what meets all that every positive meets, no
        conjunction does.
        """
        yield {profile for profile in self.bad if any(self._met[profile] >= self._met[other] for other in self.good)}
        common = self._common(self.good)
        yield {profile for profile in self.bad if self._met[profile] >= common}
        yield set(self.bad)

    def _common(self, good: Collection[Profile]) -> frozenset[Clause]:
        return frozenset.intersection(*(self._met[profile] for profile in good))

    def _conjunction(self, good: Collection[Profile], bad: Collection[Profile]) -> Conjunction | None:
        """Greedy set cover: clauses that all of `good` meet, until each of `bad` fails one."""
        common = self._common(good)
        chosen: list[Clause] = []
        left = list(bad)
        while left:
            best = min(
                common,
                key=lambda clause: (-sum(clause not in self._met[profile] for profile in left), clause.rank),
                default=None,
            )
            if best is None or all(best in self._met[profile] for profile in left):
                return None
            chosen.append(best)
            left = [profile for profile in left if best in self._met[profile]]
        return tuple(sorted(chosen, key=lambda clause: clause.rank))

    def _disjunction(self, bad: Collection[Profile]) -> tuple[Conjunction, ...] | None:
        """Sequential covering: from one uncovered positive, take along every other that shares a clean conjunction."""
        found: list[Conjunction] = []
        left = self.good
        while left:
            if len(found) == _MOST_DISJUNCTS:
                return None
            group = [left[0]]
            conjunction = self._conjunction(group, bad)
            if conjunction is None:
                return None
            for profile in left[1:]:
                wider = self._conjunction([*group, profile], bad)
                if wider is not None:
                    group.append(profile)
                    conjunction = wider
            found.append(conjunction)
            left = [profile for profile in left if not self._met[profile].issuperset(conjunction)]
        return tuple(found)
