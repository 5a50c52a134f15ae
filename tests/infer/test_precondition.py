"""Preconditions: every positive meets them, no negative does, and they are few and causal."""

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
