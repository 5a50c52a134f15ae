"""Preconditions: every positive meets them, no negative does, and they are few and causal."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from traincheck.infer.precondition import separate
from traincheck.infer.profile import Clause, Profile, holds


def profile(**features: str) -> Profile:
    return Profile((("C", frozenset(features.items())),))


TRAIN = profile(stage="train", training="true", autocast="none")
EVAL = profile(stage="eval", training="false", autocast="none")


def test_nothing_to_separate_needs_no_precondition() -> None:
    assert separate([TRAIN], [], []) == ()


def test_prefers_the_most_causal_feature() -> None:
    assert separate([TRAIN], [EVAL], []) == ((Clause("C", "stage", "==", "train"),),)


def test_a_hypothesis_is_not_explained_by_what_it_speaks_of() -> None:
    assert separate([TRAIN], [EVAL], ["stage"]) == ((Clause("C", "training", "==", "true"),),)
    assert separate([TRAIN], [EVAL], ["stage", "training"]) is None


def test_same_profile_cannot_be_separated() -> None:
    assert separate([TRAIN, EVAL], [EVAL], []) is None


def test_conjunction_when_one_feature_is_not_enough() -> None:
    wanted = profile(stage="train", autocast="bfloat16")
    others = [profile(stage="train", autocast="none"), profile(stage="eval", autocast="bfloat16")]
    (conjunction,) = separate([wanted], others, []) or ()
    assert {(clause.key, clause.value) for clause in conjunction} == {("stage", "train"), ("autocast", "bfloat16")}


def test_disjunction_when_positives_share_nothing() -> None:
    a, b = profile(stage="init", autocast="none"), profile(stage="train", autocast="bfloat16")
    precondition = separate([a, b], [profile(stage="eval", autocast="float16")], [])
    assert precondition is not None
    assert len(precondition) == 2


def test_members_are_compared_with_each_other() -> None:
    same = Profile((("V", frozenset({("kind", "parameter")})), ("W", frozenset({("kind", "parameter")}))))
    mixed = Profile((("V", frozenset({("kind", "parameter")})), ("W", frozenset({("kind", "buffer")}))))
    also_same = Profile((("V", frozenset({("kind", "buffer")})), ("W", frozenset({("kind", "buffer")}))))
    assert separate([same, also_same], [mixed], []) == ((Clause("V", "kind", "==", other="W"),),)


def test_what_nothing_separates_may_be_exceptions_within_the_bound() -> None:
    positives, negatives = Counter({TRAIN: 400}), Counter({TRAIN: 2, EVAL: 40})
    assert separate(positives, negatives, []) is None
    assert separate(positives, negatives, [], allowed=1) is None
    assert separate(positives, negatives, [], allowed=2) == ((Clause("C", "stage", "==", "train"),),)


def test_an_exact_precondition_is_preferred_to_exceptions() -> None:
    assert separate(Counter({TRAIN: 400}), Counter({EVAL: 1}), [], allowed=1) == (
        (Clause("C", "stage", "==", "train"),),
    )


def test_a_feature_with_several_values_meets_each_of_them() -> None:
    tenth = Profile((("W", frozenset({("phase", "last of 5"), ("phase", "last of 10")})),))
    fifth = Profile((("W", frozenset({("phase", "last of 5")})),))
    assert separate([tenth], [fifth], []) == ((Clause("W", "phase", "==", "last of 10"),),)


def test_members_that_share_something_are_told_from_those_that_do_not() -> None:
    def pair(same: bool | None) -> Profile:
        shared = frozenset() if same is None else frozenset({("C", "D", "receiver", same)})
        return Profile((("C", frozenset()), ("D", frozenset())), shared)

    same = ((Clause("C", "receiver", "==", other="D"),),)
    assert separate([pair(True)], [pair(False), pair(None)], []) == same
    assert holds(same, pair(True))
    assert not holds(same, pair(None))
    assert separate([pair(False)], [pair(True)], []) == ((Clause("C", "receiver", "!=", other="D"),),)


profiles = st.builds(
    lambda pairs: Profile((("C", frozenset(pairs.items())),)),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["x", "y", "z"]), max_size=4),
)


@given(st.lists(profiles, min_size=1, max_size=6), st.lists(profiles, max_size=6))
def test_what_is_found_separates(positives: list[Profile], negatives: list[Profile]) -> None:
    precondition = separate(positives, negatives, [])
    if precondition is None:
        return
    assert all(holds(precondition, p) for p in positives)
    assert not any(holds(precondition, n) for n in negatives)


weighed = st.lists(st.tuples(profiles, st.integers(1, 5)), max_size=6).map(lambda pairs: Counter(dict(pairs)))


@given(weighed.filter(bool), weighed, st.integers(0, 4))
def test_exceptions_stay_within_the_bound(positives: Counter[Profile], negatives: Counter[Profile], most: int) -> None:
    exact, found = separate(positives, negatives, []), separate(positives, negatives, [], most)
    if exact is not None:
        assert found == exact
    if found is not None:
        assert all(holds(found, profile) for profile in positives)
        assert sum(number for profile, number in negatives.items() if holds(found, profile)) <= most


@given(weighed.filter(bool), weighed, st.integers(0, 4), st.randoms())
def test_the_order_of_examples_does_not_matter(
    positives: Counter[Profile], negatives: Counter[Profile], most: int, random: Random
) -> None:
    def shuffled(counts: Counter[Profile]) -> Counter[Profile]:
        pairs = list(counts.items())
        random.shuffle(pairs)
        return Counter(dict(pairs))

    assert separate(shuffled(positives), shuffled(negatives), [], most) == separate(positives, negatives, [], most)
