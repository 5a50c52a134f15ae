"""How sure a law is: what chance would make of as many examples, given how often such things hold elsewhere."""

from collections import Counter
from fractions import Fraction
from math import comb

from hypothesis import given
from hypothesis import strategies as st

from traincheck.dsl.ground import ground
from traincheck.dsl.load import load_rules
from traincheck.infer.chance import Occurrence, confidence
from traincheck.infer.profile import Profile
from traincheck.infer.tally import Tally

LIBRARY = load_rules([])
ARGUMENT = ground(LIBRARY.templates["argument_is"])
NOTHING = Profile(())

rates = st.floats(0.01, 0.99)
counts = st.integers(1, 60)


def tally(shares: dict[str, tuple[int, int]]) -> Tally:
    """Functions with a flag that was true in so many calls of so many."""
    examples = {(api, "flag"): Counter({NOTHING: total}) for api, (_, total) in shares.items()}
    positives = {(api, "flag", "true"): Counter({NOTHING: true}) for api, (true, _) in shares.items() if true}
    return Tally(examples, positives, set(positives))


def test_a_flag_that_is_true_in_one_class_of_two_is_worth_less_than_order_in_a_hundred_steps() -> None:
    occurrence = Occurrence(ARGUMENT, [tally({"a": (8, 8), "b": (0, 8), "c": (8, 8), "d": (4, 8)})])
    rate = occurrence.rate(("a", "flag", "true"))
    assert rate == 0.5
    assert confidence(3, 0, rate, 1) < 0.9 < confidence(8, 0, rate, 1) < confidence(100, 0, rate, 1)


def test_what_holds_everywhere_needs_many_examples() -> None:
    common = Occurrence(ARGUMENT, [tally({f"f{index}": (5, 5) for index in range(50)})])
    rare = Occurrence(ARGUMENT, [tally({f"f{index}": (5 * (index == 0), 5) for index in range(50)})])
    assert confidence(3, 0, common.rate(("f0", "flag", "true")), 1) < 0.1
    assert confidence(3, 0, rare.rate(("f0", "flag", "true")), 1) == 0.999


def test_a_law_is_no_evidence_for_itself_and_a_busy_function_counts_once() -> None:
    occurrence = Occurrence(ARGUMENT, [tally({"a": (5, 5), "b": (100_000, 100_000), "c": (0, 5)})])
    assert occurrence.rate(("a", "flag", "true")) == 0.5
    assert Occurrence(ARGUMENT, [tally({"a": (5, 5)})]).rate(("a", "flag", "true")) == 0.5


def test_choosing_among_many_makes_less_sure() -> None:
    assert confidence(4, 0, 0.5, 1) == 0.938
    assert confidence(4, 0, 0.5, 6) == 0.625
    assert confidence(4, 0, 0.5, 1000) == 0


@given(counts, st.integers(0, 4), rates)
def test_it_is_the_tail_of_the_binomial_distribution(held: int, exceptions: int, rate: float) -> None:
    exact, total = Fraction(rate), held + exceptions
    tail = sum(comb(total, left) * exact ** (total - left) * (1 - exact) ** left for left in range(exceptions + 1))
    assert abs(confidence(held, exceptions, rate, 1) - min(0.999, 1 - float(tail))) < 0.001


@given(counts, st.integers(0, 4), rates, rates)
def test_more_examples_fewer_exceptions_and_rarer_things_make_surer(
    held: int, exceptions: int, rate: float, other: float
) -> None:
    sure = confidence(held, exceptions, rate, 1)
    assert 0 <= sure < 1
    assert confidence(held + 1, exceptions, rate, 1) >= sure >= confidence(held, exceptions + 1, rate, 1)
    assert confidence(held, exceptions, min(rate, other), 1) >= confidence(held, exceptions, max(rate, other), 1)


shares = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda n: (n[0], sum(n))), max_size=6
)


@given(st.lists(shares, min_size=1, max_size=4))
def test_runs_add_up_in_any_order(runs: list[dict[str, tuple[int, int]]]) -> None:
    whole: dict[str, tuple[int, int]] = {}
    for run in runs:
        for api, (true, total) in run.items():
            before = whole.get(api, (0, 0))
            whole[api] = (before[0] + true, before[1] + total)
    row = ("a", "flag", "true")
    at_once = Occurrence(ARGUMENT, [tally(whole)]).rate(row)
    assert Occurrence(ARGUMENT, [tally(run) for run in runs]).rate(row) == at_once
    assert Occurrence(ARGUMENT, [tally(run) for run in reversed(runs)]).rate(row) == at_once
    assert 0 < at_once < 1
