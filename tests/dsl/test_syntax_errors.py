"""Bad text -> where the caret is, what the message says, what it advises."""

import pytest

from traincheck.dsl.parse import parse_atoms, parse_text
from traincheck.errors import RuleError

TEMPLATE = """\
template t(Api: api)
  "'{Api}' is called"
  when    call(C, api: Api)
  expect  contains(C, D)
  within  C
"""


def changed(old: str, new: str) -> str:
    assert old in TEMPLATE
    return TEMPLATE.replace(old, new)


CASES = [
    ("define p(X) :- q(X)\ndefine r(X) :- q(X).", "1:20", "expected '.', found 'define'|ends with a period"),
    ("define p(X) :- q(X)", "1:20", "found the end of the text|ends with a period"),
    ("define p(X) :- q(X) r(X).", "1:20", "found 'r'|is a comma missing before 'r'?"),
    ('define p(X) :- state(X, class: "a" step: S).', "1:35", "is a comma missing before 'step'?"),
    ("define p(X) :- q(X), X = 3.", "1:24", "expected a comparison such as ==|write == to compare"),
    ("define p(X) :- q(X), X =< 3.", "1:24", "write <="),
    ('define p(X) :- call(X, api = "a").', "1:28", "a column is named with a colon: 'api: ...'"),
    ("define p(X) :- call(X, api A).", "1:28", "a column is named with a colon: 'api: ...'"),
    ("define p(x) :- q(x).", "1:10", "a variable begins with a capital letter: X|a text stands in quotes"),
    ("define p(X) :- q(X), e < X.", "1:22", "a variable begins with a capital letter: E"),
    ("define p(X) :- call(X, api: torch).", "1:29", 'a text stands in quotes: "torch"'),
    ("define p(X) :- Call(X).", "1:16", "relations begin with a small letter: 'call'"),
    ('define p(X) :- call(X, api: "abc).', "1:29", "the string is not closed on its line"),
    ('define p("a "b" c").', "1:14", "is the string before it closed in the right place?"),
    ('define p("\\q").', "1:11", "unknown escape '\\q'|write '\\\\' for a backslash"),
    ("define p('a').", "1:10", "strings take double quotes"),
    ("define p(X) :- call(X, api: A.", "1:30", "the '(' in line 1, column 20 is not closed"),
    ("define p(X) :- call(X, arg(Y, X).", "1:27", "the '(' in line 1, column 20 is not closed"),
    ("define p(X) :- q(X) and r(X).", "1:21", "separate conditions with a comma"),
    ("define p(X) :- q(X), not X == 3.", "1:26", "'not' stands before an atom"),
    ("define p(X) when q(X).", "1:13", "write 'define head :- conditions.'"),
    ("define p(X) :- q(X),.", "1:20", "expected a condition, found '.'|nothing follows this comma"),
    ("define p(X) :- q(X), count { call(X) } > 3.", "1:30", "a count says what it counts"),
    ("define p(X) :- q(X), count { C : call(C) }.", "1:43", "a count is compared with a number"),
    ("define p(1.).", "1:11", "digits on both sides of its point"),
    ("define p(99999999999999999999).", "1:10", "does not fit into 64 bits"),
    ("define p(1e999).", "1:10", "the number is too large"),
    ("define p(X) :- q(X, a: 1, a: 2).", "1:27", "column 'a' is given twice"),
    ("define p(X) :- q(X, a: 1, X).", "1:27", "a positional term follows a named column"),
    ("define p(X) :- q(X), X + > 3.", "1:26", "expected a variable, a constant or a calculation"),
    ("// comment", "1:1", "comments begin with #"),
    ("tempalte t(A: api)", "1:1", "did you mean 'template'?"),
    ("hello", "1:1", "there are 'define', 'template', 'rule', 'invariant', 'example' and 'setting'"),
    ("\x01", "1:1", "found '\\x01'"),
    (TEMPLATE + 'version "1.0"', "6:1", "'version' stands once, at the beginning"),
    (changed("Api)\n", "Api\n"), "4:3", "the '(' in line 3, column 15 is not closed"),
    (changed("D)\n", "D),\n"), "4:25", "nothing follows this comma"),
    (changed("  expect", "  :- expect"), "4:3", "':-' belongs to 'define'; a template says 'when' and 'expect'"),
    (changed("expect", "expct"), "4:3", "did you mean 'expect'?"),
    (changed("within  C", "withing C"), "5:3", "did you mean 'within'?"),
    (changed("  within  C\n", ""), "1:10", "template 't' has no section 'within'|'within step S'"),
    (changed("  when    call(C, api: Api)\n", ""), "1:10", "template 't' has no section 'when'"),
    (changed("call(C, api: Api)\n", "\n"), "3:3", "'when' has no conditions"),
    (changed("within  C", "within  c"), "5:11", "a variable begins with a capital letter: C"),
    (changed("within  C", "within  stp S"), "5:11", "did you mean 'step'?"),
    (changed("  \"'{Api}' is called\"\n", ""), "2:3", "a template says what it means, in quotes"),
    (changed("Api: api", "Api"), "1:15", "every parameter has a sort: 'Api: concept'"),
    (changed("(Api: api)", "(api: api)"), "1:12", "a variable begins with a capital letter: Api"),
    (changed("template t", "template T"), "1:10", "this name begins with a small letter: 't'"),
    (TEMPLATE + "  never   call(C)", "6:3", "template 't' has no section 'never'|'never' belongs to a rule"),
    (TEMPLATE + "  within  C", "6:3", "template 't' has two sections 'within'"),
    (TEMPLATE + "  severity eror", "6:12", "'eror' is not a severity|did you mean 'error'?"),
    (TEMPLATE + '  about """never closed', "6:9", "the text block is never closed"),
    ('rule r "t" severity error', "1:6", "rule 'r' has no section 'when'|say 'never'"),
    ('rule r "t"\n  never call(C)\n  when call(C)', "3:3", "rule 'r' has both 'never' and 'when'"),
    ('rule r "t"\n  when call(C)\n  expect contains(C, _)', "1:6", "rule 'r' has no section 'within'"),
    ('rule r "t" never call(C) or call(D)', "1:26", "two definitions of one predicate"),
    ('invariant t(Api) "t"', "1:16", "every parameter has a value"),
    ('invariant t(Api: "x") "t" when call(C)', "1:27", "its own precondition is 'if'"),
    ('invariant t(Api: "x") "t" if C.stage < 3', "1:38", "a precondition compares with == or !="),
    ('invariant t(Api: "x") "t" if C == 3', "1:32", "a precondition speaks of a property: C.stage"),
    ('invariant t(Api: "x") "t" evidence rns 2', "1:36", "'rns' is no measure of evidence|did you mean 'runs'?"),
    ('invariant t(Api: "x") "t" evidence runs 2.5', "1:41", "'runs' is a whole number"),
    ('invariant t(Api: "x") "t" evidence runs 2', "1:27", "evidence lacks 'examples'"),
    ('example t(Api: "x") "t"', "1:21", "says its verdict: held, violated or untriggered"),
    ("example r held facts call(1)", "1:16", "after its verdict an example says what happens, in quotes"),
    ('example r hold "t"', "1:11", "'hold' is not a verdict|did you mean 'held'?"),
    ('example t(Api) held "t"', "1:14", "every parameter has a value"),
    ('example r held "t" when call(1)', "1:20", "an example states what happened: 'facts call(1"),
    ('setting s "t"', "1:9", "setting 's' has no section 'facts'"),
    ('version "x"', "1:1", "'x' is not a language version"),
    ('# later\nversion "2.0"', "2:1", "written in version 2.0 of the rule language, this traincheck reads 1.0"),
]


@pytest.mark.parametrize(("text", "place", "parts"), CASES, ids=[case[0][-40:] for case in CASES])
def test_a_slip_is_named(text: str, place: str, parts: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_text(text, "my.rules")
    error = caught.value
    assert error.where == f"my.rules:{place}"
    for part in parts.split("|"):
        assert part in str(error)


def test_the_offending_line_is_shown_above_a_caret() -> None:
    with pytest.raises(RuleError) as caught:
        parse_text("define p(X) :- call(X).\n\tdefine q(x) :- call(X).\n", "a.rules")
    message, line, caret = str(caught.value).splitlines()
    assert message.startswith("a.rules:2:11: expected ':', found ')'")
    assert line == "     define q(x) :- call(X)."
    assert line[caret.index("^")] == "x"


def test_messages_never_name_terminals_of_the_grammar() -> None:
    for text, _, _ in CASES:
        with pytest.raises(RuleError) as caught:
            parse_text(text)
        assert not any(name in str(caught.value) for name in ("LPAR", "_DOT", "WORD", "NAME", "$END", "Token"))


def test_a_query_is_told_apart() -> None:
    with pytest.raises(RuleError, match=r"<query>:1:9: .*capital letter: C"):
        parse_atoms("call(_, c)")


def test_deep_nesting_is_an_error_of_the_text() -> None:
    with pytest.raises(RuleError, match="nested too deeply"):
        parse_text(f"define p(X) :- q(X), X == {'(1 + ' * 5000}1{')' * 5000}.")
