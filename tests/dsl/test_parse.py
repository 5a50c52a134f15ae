from pathlib import Path

import pytest

from traincheck.dsl import syntax
from traincheck.dsl.parse import parse_atoms, parse_file, parse_text
from traincheck.errors import RuleError, UsageError


def only(text: str) -> syntax.Declaration:
    (declaration,) = parse_text(text).declarations
    return declaration


def test_columns_may_be_called_like_keywords() -> None:
    rule = only('rule r "t" never state(V, class: "none", step: S, count: 3, within: W, not: N), step(S), count(V)')
    assert isinstance(rule, syntax.Rule)
    state = rule.when[0]
    assert isinstance(state, syntax.Atom)
    assert [column for column, _ in state.named] == ["class", "step", "count", "within", "not"]
    assert [atom.relation for atom in rule.when if isinstance(atom, syntax.Atom)] == ["state", "step", "count"]


def test_calculations_bind_as_in_arithmetic() -> None:
    (compare,) = parse_atoms("A - B - 2 * C % 3 < (A + -1) * 2")
    a, b, c = (syntax.Name(name) for name in "ABC")
    product = syntax.Calculation("%", syntax.Calculation("*", syntax.Value(2), c), syntax.Value(3))
    left = syntax.Calculation("-", syntax.Calculation("-", a, b), product)
    right = syntax.Calculation("*", syntax.Calculation("+", a, syntax.Value(-1)), syntax.Value(2))
    assert compare == syntax.Compare("<", left, right)


def test_minus_needs_no_spaces() -> None:
    assert parse_atoms("A-3 == B") == parse_atoms("A - 3 == B")


def test_or_separates_conjunctions_of_a_precondition() -> None:
    invariant = only(
        'invariant t(A: "x") "t" if C.stage == "train", C.arg.lr != 0.1 or exists C.autocast or C.a == D.a'
    )
    assert isinstance(invariant, syntax.Invariant)
    assert [len(conjunction) for conjunction in invariant.precondition] == [2, 1, 1]
    assert invariant.precondition[0][1].left == syntax.Feature("C", "arg.lr")
    assert invariant.precondition[1][0] == syntax.Condition("exists", syntax.Feature("C", "autocast"))


def test_true_and_false_are_words() -> None:
    assert parse_atoms("context(C, training: true)") == parse_atoms('context(C, training: "true")')


def test_windows() -> None:
    for text, kind, name in [
        ("C", "call", "C"),
        ("step S", "step", "S"),
        ("epoch E", "epoch", "E"),
        ("run", "run", None),
    ]:
        rule = only(f'rule r "t" when call(C) expect contains(C, _) within {text}')
        assert isinstance(rule, syntax.Rule)
        assert rule.within == syntax.Within(kind, name)  # type: ignore[arg-type]


def test_sections_may_come_in_any_order() -> None:
    usual = 'template t(A: api) "t" about "x" when call(C, api: A) expect contains(C, _) within C severity error'
    other = 'template t(A: api) "t" severity error within C expect contains(C, _) when call(C, api: A) about "x"'
    assert only(usual) == only(other)


def test_documentation_loses_its_indentation() -> None:
    rule = only(
        'rule r "t"\n  about """First line.\n\n      Second \\n line.\n        Deeper.\n    """\n  never call(_)'
    )
    assert isinstance(rule, syntax.Rule)
    assert rule.about == "First line.\n\nSecond \\n line.\n  Deeper."


def test_positions_point_at_what_was_written() -> None:
    template = only(
        '# note\ntemplate t(A: api)\n  "t"\n  when call(C,\n            api: A)\n  expect contains(C, _)\n  within C'
    )
    assert isinstance(template, syntax.Template)
    atom = template.when[0]
    assert isinstance(atom, syntax.Atom)
    assert (template.position.line, template.position.column) == (2, 10)
    assert (atom.position.line, atom.position.column) == (4, 8)
    assert (atom.named[0][1].position.line, atom.named[0][1].position.column) == (5, 18)


def test_version() -> None:
    assert parse_text('version "1.7"\n').version == "1.7"
    assert parse_text("").version is None


def test_files_of_other_systems_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.rules"
    path.write_bytes('\ufeffdefine p("é").\r\n# comment\r\ndefine p("b").\r\n'.encode())
    assert len(parse_file(path).declarations) == 2


def test_what_is_no_rule_file_gets_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "model.pt"
    binary.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    for path, kind, words in [
        (tmp_path / "absent.rules", UsageError, "no such rule file"),
        (tmp_path, UsageError, "a folder"),
        (binary, RuleError, "not UTF-8 text"),
    ]:
        with pytest.raises(kind, match=words) as caught:
            parse_file(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
