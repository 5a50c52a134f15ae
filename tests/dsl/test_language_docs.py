"""The examples of docs/language.md: good ones are good, bad ones give the message shown."""

import re
from pathlib import Path

import pytest

from traincheck.dsl import checker
from traincheck.dsl.load import parse_files, standard_files
from traincheck.dsl.parse import parse_text
from traincheck.errors import RuleError

DOCS = Path(__file__).parents[2] / "docs" / "language.md"
BLOCKS = re.findall(r"```(rules|rules bad|text)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
GOOD = "\n".join(text for kind, text in BLOCKS if kind == "rules")
BAD = [(text, BLOCKS[index + 1][1]) for index, (kind, text) in enumerate(BLOCKS) if kind == "rules bad"]


def test_good_examples_are_good_together_with_the_library() -> None:
    library, errors = parse_files(standard_files())
    assert not errors
    assert not [str(error) for error in checker.problems([*library, parse_text(GOOD)])]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_examples_give_the_message_shown(text: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        checker.check([parse_text(text)])
    assert str(caught.value) == message.rstrip("\n")
