from hypothesis import given, settings

from tests.dsl import trees
from traincheck.dsl import syntax
from traincheck.dsl.load import standard_files
from traincheck.dsl.parse import parse_atoms, parse_file, parse_text
from traincheck.dsl.printer import print_declaration, print_file, print_formula


@settings(max_examples=150, deadline=None)
@given(trees.files)
def test_parsing_what_was_printed_gives_the_tree_back(file: syntax.RuleFile) -> None:
    text = print_file(file)
    again = parse_text(text)
    assert again == file
    assert repr(again) == repr(file)  # 1 and 1.0 are equal, but not the same constant


@settings(max_examples=60, deadline=None)
@given(trees.bodies)
def test_a_query_round_trips(body: tuple[syntax.Formula, ...]) -> None:
    assert parse_atoms(", ".join(map(print_formula, body))) == body


def test_the_shipped_library_round_trips() -> None:
    for path in standard_files():
        file = parse_file(path)
        assert parse_text(print_file(file)) == file
        for declaration in file.declarations:
            assert parse_text(print_declaration(declaration)).declarations == (declaration,)
