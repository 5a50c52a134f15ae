"""The evidence file keeps all that learning needs, whatever the counts are."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traincheck.dsl.load import load_rules
from traincheck.dsl.printer import print_declaration
from traincheck.dsl.syntax import Template
from traincheck.infer.evidence import Run, digests_of, distinct, dump, load
from traincheck.infer.learn import learn
from traincheck.infer.profile import Profile
from traincheck.infer.selection import Thresholds
from traincheck.infer.tally import Tally

RULES = """
template given_alike(Api: api, Argument: name)
  "'{Api}' is given the same {Argument} twice"
  when    call(C, api: Api), arg(C, name: Argument, value: X), call(D, api: Api), arg(D, name: Argument, value: Y)
  expect  X == Y
  within  run
  given   C, D
"""

features = st.dictionaries(st.sampled_from(["stage", "mode"]), st.sampled_from("xy"))
shared = st.dictionaries(st.sampled_from(["receiver", "step"]), st.booleans())
profiles = st.builds(
    lambda mine, theirs, same: Profile(
        (("C", frozenset(mine.items())), ("D", frozenset(theirs.items()))),
        frozenset(("C", "D", key, value) for key, value in same.items()),
    ),
    features,
    features,
    shared,
)
rows = st.tuples(st.sampled_from(["f", "g"]), st.sampled_from(["a", "b"]))
counts = st.dictionaries(profiles, st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=4)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    found = Tally()
    for row, by_profile in draw(st.dictionaries(rows, counts, max_size=3)).items():
        found.positives[row] = Counter({profile: held for profile, (held, _) in by_profile.items() if held})
        found.examples[row] = Counter({profile: held + broken for profile, (held, broken) in by_profile.items()})
        found.candidates |= {row} if found.positives[row] else set()
    return found


def mined(folder: Path, text: str) -> tuple[list[Template], dict[str, str]]:
    """The templates of this text, and their digests."""
    rules = folder / "mine.rules"
    rules.write_text(text)
    checked = load_rules([rules, "features", "windows"], with_standard=False)
    templates = list(checked.templates.values())
    return templates, digests_of(checked, templates)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Template], dict[str, str]]:
    folder = tmp_path_factory.mktemp("evidence")
    return folder / "mine.rules.evidence", *mined(folder, RULES)


@settings(max_examples=60, deadline=None)
@given(st.lists(tallies(), min_size=1, max_size=4), st.permutations(range(4)), st.integers(0, 4))
def test_new_runs_beside_old_evidence_teach_what_all_at_once_do(
    known: tuple[Path, list[Template], dict[str, str]], runs: list[Tally], order: list[int], cut: int
) -> None:
    path, templates, digests = known
    every = [Run(f"run-{number}", {"given_alike": tally}) for number, tally in enumerate(runs)]
    path.write_text(dump(every[:cut], digests))
    new = [every[number] for number in order if number < len(every)]
    thresholds = Thresholds(examples=1, runs=1, confidence=0.1, exceptions=1)

    def said(runs: list[Run]) -> list[str]:
        learned = learn(distinct(runs), templates, thresholds)
        kept = [print_declaration(item.invariant) for item in learned.kept]
        return kept + sorted(f"{item.hypothesis.row} {item.reason}" for item in learned.dropped)

    assert said([*load(path, digests), *new]) == said(every)


USES = """
template asks(Api: api)
  "'{Api}' is asked"
  when    call(C, api: Api), odd(C)
  expect  not call(C, stage: "eval")
  within  C
  given   C
define odd(C) :- even(D), call(C, parent: D).
define even(C) :- call(C, stage: "init").
define other(C) :- call(C, stage: "train").
"""


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("is asked", "is asked again", True),
        ("within  C", 'within  C severity note persona pedantic about "more"', True),
        ('stage: "train"', 'stage: "eval"', True),
        ('stage: "init"', 'stage: "train"', False),
        ('not call(C, stage: "eval")', 'not call(C, stage: "train")', False),
        ("define other(C)", 'define call_feature(C, "mood", S) :- call(C, stage: S).\ndefine other(C)', False),
    ],
)
def test_counts_are_worth_something_as_long_as_nothing_they_depend_on_changes(
    tmp_path: Path, before: str, after: str, same: bool
) -> None:
    assert before in USES
    assert (mined(tmp_path, USES)[1] == mined(tmp_path, USES.replace(before, after))[1]) == same
