"""Rules that parse but make no sense -> what is said where; and what the checker knows about good ones."""

import pytest

from traincheck.dsl import checker
from traincheck.dsl.load import load_rules
from traincheck.dsl.parse import parse_atoms, parse_text
from traincheck.errors import RuleError


def template(
    head: str = "t(Api: api)",
    title: str = "'{Api}'",
    when: str = "call(C, api: Api)",
    expect: str = "contains(C, D), call(D, stage: _)",
    within: str = "C",
    rest: str = "given C",
) -> str:
    return f'template {head}\n  "{title}"\n  when {when}\n  expect {expect}\n  within {within}\n  {rest}\n'


def invariant(head: str = 't(Api: "torch.mm")', rest: str = "") -> str:
    return template() + f'invariant {head} "t" {rest}'


def example(head: str = 't(Api: "torch.mm")', rest: str = "") -> str:
    more = "define late(X) :- call(X).\n" + 'setting sgd "t" facts variable(1)\n'
    return template() + f'example {head} held "t" {rest}\n' + more


BAD = [
    # names
    ("define p(X) :- cal(X).", "1:16", "unknown relation 'cal'|did you mean 'call'?"),
    ("define p(X) :- call(X), not zzz(X).", "1:29", "unknown relation 'zzz'"),
    ("define p(X) :- call(X, apii: _).", "1:24", "'call' has no column 'apii'|did you mean 'api'?"),
    ("define p(X) :- call(X, id: _).", "1:24", "column 'id' of 'call' is given twice"),
    ("define p(X) :- contains(X, _, _).", "1:16", "'contains' has 2 columns, not 3|outer, inner"),
    ("define p(X) :- call(X).\ndefine q(X) :- p(X, _).", "2:16", "'p' takes 1 term, not 2"),
    ("define p(X) :- call(X).\ndefine q(X) :- p(id: X).", "2:16", "its terms have no names"),
    ("define p(X) :- call(X).\ndefine p(X, Y) :- contains(X, Y).", "2:8", "'p' has 2 terms here and 1 at my.rules:1"),
    ("define call(X) :- contains(X, _).", "1:8", "cannot be defined"),
    ("define p(id: X) :- call(X).", "1:8", "have no names"),
    ("define p() :- call(_).", "1:8", "'p' has no terms"),
    (template() + template(), "7:10", "'t' is declared twice, first at my.rules:1"),
    (template() + "define p(X) :- t(X).", "7:16", "'t' is a template, not a relation"),
    # safety
    ("define p(X) :- call(Y).", "1:10", "unsafe variable 'X'|in the head"),
    ("define p(_) :- call(_).", "1:10", "cannot hold '_'"),
    ("define p(X) :- call(X), not call(Y).", "1:34", "unsafe variable 'Y'|under 'not'|write _"),
    ("define p(X) :- call(X), Y > 3.", "1:25", "unsafe variable 'Y'|in a comparison"),
    ("define p(Y) :- Y == Z, Z == Y.", "1:10", "unsafe variable 'Y'"),
    ("define p(X) :- call(X), count { Y : call(X) } > 1.", "1:33", "unsafe variable 'Y'|as what is counted"),
    ("define p(X) :- call(X), count { X : call(X) } > 1.", "1:33", "so there is only one"),
    (
        "define p(X) :- call(X), count { Y : call(Y) } > 1, count { Y : call(Y) } > 2.",
        "1:42",
        "'Y' is local to a count, but used outside",
    ),
    (template(head="t(Api: api, B: api)"), "1:22", "nothing in the template binds parameter 'B'"),
    (
        template(when="call(C, stage: K), K != Api", expect="call(_, api: Api, parent: C)"),
        "3:32",
        "unsafe variable 'Api'",
    ),
    (template(expect="not call(D, parent: C)"), "4:19", "unsafe variable 'D'"),
    # sorts
    ("define p(X) :- call(X, step: X).", "1:30", "'X' is a step here, but a call before"),
    (
        "define p(X) :- call(X),\n  metric(value: X).",
        "2:17",
        "a number with a point (number) here, but a call in line 1",
    ),
    ("define p(X) :- contains(_, X), variable(X).", "1:41", "a variable here, but a call or an update before"),
    ("define p(X) :- call(X).\ndefine p(X) :- variable(X).", "2:10", "term 1 of 'p' is a variable here, but a call"),
    ('define p("a").\ndefine p(3).', "2:10", "term 1 of 'p' is a whole number"),
    ('define p(X) :- call(X, step: "3").', "1:30", "text stands where a step belongs"),
    ("define p(X) :- context(X, value: 3).", "1:34", 'write "3"'),
    ("define p(X) :- state(X, norm: 3).", "1:31", "write 3.0"),
    ("define p(X) :- call(X, api: A), A > 3.", "1:33", "cannot compare 'A', text (api), with a whole number"),
    ("define p(X) :- call(X, enter: E, step: S), E < S.", "1:44", "with 'S', a step"),
    ("define p(X) :- call(X, api: A), A + 1 == 3.", "1:33", "'+' calculates with numbers"),
    ("define p(X) :- call(X), X + 1 == 3.", "1:25", "'X', a call, is not a number here"),
    ("define p(X) :- call(X, api: A), count { Y : contains(X, Y) } > A.", "1:64", "is not a number here"),
    # globs
    ('define p("torch.*").', "1:10", "head cannot hold a glob"),
    ('define p(X) :- call(X), not call(X, api: "a*").', "1:42", "a glob cannot stand under 'not'"),
    ('define p(X) :- call(X, api: A), A == "a*".', "1:38", "a comparison does not match globs"),
    ('define p(X) :- state(X, fingerprint: "a*").', "1:38", "a glob cannot match a fingerprint"),
    # recursion
    ("define p(X) :- call(X), not p(X).", "1:29", "'p' depends on the absence of itself: 'p' -> 'p'"),
    (
        "define p(X) :- call(X), not q(X).\ndefine q(X) :- call(X), count { Y : p(Y) } > 3.",
        "1:29",
        "'q' -> 'p' -> 'q'",
    ),
    ("define n(0).\ndefine n(Y) :- n(X), Y == X + 1.", "2:10", "the recursion of 'n' computes 'Y' without end"),
    # templates and rules
    (template(head="t(Api: apy)"), "1:12", "unknown sort 'apy'|did you mean 'api'?"),
    (template(head="t(Api: call)"), "1:12", "a parameter cannot be a call"),
    (template(head="t(Api: api, Api: api)"), "1:22", "parameter 'Api' is declared twice"),
    (template(title="{Ap}"), "2:3", "the title speaks of '{Ap}'|did you mean 'Api'?"),
    (template(within="X"), "5:10", "'within' speaks of 'X', which 'when' does not"),
    (template(when="call(C, api: Api), count { X : call(X) } > 1", within="X"), "5:10", "which 'when' does not bind"),
    (template(within="step C"), "5:15", "'C' is a call, 'within' needs a step"),
    (template(when="call(C, api: Api, step: S)", within="S"), "5:10", "write 'within step S'"),
    (template(when="call(C, api: Api, step: S)", within="epoch S"), "5:16", "nothing says when an epoch ends"),
    (template(rest="given C, D"), "6:12", "'given' speaks of 'D', which 'when' does not"),
    (template(when="call(C, api: Api, step: S)", rest="given S"), "6:9", "calls, variables and windows"),
    (template(rest="transitive Ap, Api"), "6:14", "'Ap' is no parameter of 't'|did you mean 'Api'?"),
    ('rule r "{X}" never call(C)', "1:8", "the title speaks of '{X}'"),
    # invariants
    (invariant('t2(Api: "a")'), "7:11", "no template 't2'|did you mean 't'?"),
    (invariant("t()"), "7:11", "'t' also needs 'Api'"),
    (invariant('t(Api: "a", B: "b")'), "7:26", "'t' has no parameter 'B'"),
    (invariant('t(Api: "a", Api: "b")'), "7:28", "parameter 'Api' is given twice"),
    (invariant("t(Api: 3)"), "7:18", "'Api' is text (api), not a whole number"),
    (invariant(rest='if D.stage == "train"'), "7:37", "a condition speaks of 'D'|'t' gives 'C'"),
    (invariant(rest="if C.stage == D.stage"), "7:48", "a condition speaks of 'D'"),
    (invariant(rest="evidence runs 0, examples 1, confidence 1.0"), "7:34", "'runs' is at least 1"),
    (invariant(rest="evidence runs 1, examples 1, confidence 1.5"), "7:34", "'confidence' is a number from 0 to 1"),
    # examples
    (example('t2(Api: "a")'), "7:9", "no template or rule 't2'|did you mean 't'?"),
    (example("t()"), "7:9", "'t' also needs 'Api'"),
    (example("t(Api: 3)"), "7:16", "'Api' is text (api), not a whole number"),
    (example(rest='if D.stage == "train"'), "7:40", "a condition speaks of 'D'"),
    (example(rest="use sdg"), "7:41", "no setting 'sdg'|did you mean 'sgd'?"),
    (example(rest="facts cal(1)"), "7:43", "unknown relation 'cal'|did you mean 'call'?"),
    (example(rest='facts call(1, apy: "a")'), "7:51", "'call' has no column 'apy'"),
    (example(rest="facts call(1, step: S)"), "7:57", "a fact holds constants, not variables such as 'S'"),
    (example(rest='facts call(1, api: "torch.*")'), "7:56", "a fact cannot hold a glob"),
    (example(rest='facts call(1, step: "3")'), "7:57", "text stands where a step belongs"),
    (example(rest="facts late(1)"), "7:43", "'late' is defined by rules"),
    (example(rest="facts call(1), update(1, call: 1)"), "7:59", "the id 1 is taken: another call has it"),
    (example(rest='use sgd facts variable(1, name: "fc.bias")'), "7:60", "the id 1 is taken: another variable has it"),
    (example(rest="facts update(variable: 2)"), "7:60", "there is no variable 2"),
    (example(rest="facts call(2, parent: 1), call(1)"), "7:59", "there is no call 1 before this"),
    (example(rest="facts update(2), call(1, parent: 2)"), "7:70", "there is no call 2 before this"),
    (example(rest="facts call(1), contains(1, 2)"), "7:64", "there is no call or update 2"),
    ('rule r "t" never call(_)\nexample r(A: 1) held "t"', "2:14", "'r' is a rule, it has no parameters"),
    ('rule r "t" never call(_)\nexample r held "t" if C.a == "b"', "2:20", "'r' is a rule, it has no precondition"),
    (
        'setting s "t" facts call(1)\nsetting s "t" facts call(2)',
        "2:9",
        "setting 's' is declared twice, first at my.rules:1",
    ),
]


@pytest.mark.parametrize(("text", "place", "parts"), BAD, ids=[case[2][:40] for case in BAD])
def test_nonsense_is_refused_at_load(text: str, place: str, parts: str) -> None:
    error = checker.problems([parse_text(text, "my.rules")])[0]
    assert error.where == f"my.rules:{place}"
    for part in parts.split("|"):
        assert part in str(error)
    line, caret = str(error).splitlines()[1:3]
    assert line.strip() == text.splitlines()[int(place.partition(":")[0]) - 1].strip()
    assert caret.strip() == "^"


GOOD = [
    "define p(X) :- update(X).\ndefine p(X) :- call(X).\ndefine q(X) :- p(X), call(X), contains(_, X).",
    "define r(X, Y) :- contains(X, Y).\ndefine r(X, Z) :- r(X, Y), contains(Y, Z).",
    "define p(X) :- call(X, enter: E, exit: T), E + 1 < T, T - E > 3, T - E > 0.5.",
    "define p(X, N) :- call(X), count { C : call(C, parent: X), C != X } == N.",
    "define p(X) :- call(X), X == Y, Y == Z, call(Z).",
    "define p(Y) :- metric(value: X), Y == X * 2, Y > 3.",
    "define n(0).\ndefine n(Y) :- n(X), Y == X + 1, step(_, step: Y).",
    'define p(X) :- call(X, site: "train.py:*", api: "torch.*").',
    'define p(A) :- call(_, api: A), concept(A, "x").\ndefine concept(A, B) :- subclass(A, B).',
    template(head="t(Api: api, N: integer)", expect="count { D : call(D, parent: C) } == N"),
    template(head="t(Api: api, Value: concept)", when="call(C, api: Api), context(C, value: V)", expect="V == Value"),
    template(when="call(C)", expect="count { D : call(D, api: Api) } > 1", rest="propose call(_, api: Api)"),
    template(when="contains(C, U), update(U), call(C, api: Api)"),
    'rule r "{C}" when call(C, step: S) expect not contains(C, C) within step S',
    invariant(rest="evidence runs 1, examples 1, confidence 1.0"),
    example(rest='if C.stage == "train" use sgd facts call(2, exit: _), update(variable: 1, call: 2), contains(2, 2)'),
]


@pytest.mark.parametrize("text", GOOD)
def test_sense_is_accepted(text: str) -> None:
    assert checker.problems([parse_text(text)]) == []


def test_sorts_of_variables_and_predicates_are_known() -> None:
    text = (
        "define worked(C, A) :- call(C, api: A), not idle(C).\n"
        "define idle(C) :- call(C), count { U : contains(C, U), update(U) } == 0.\n"
        'define feature(C, "stage", S) :- call(C, stage: S).\n'
        "define feature(C, K, V) :- context(C, K, V).\n"
        'define known("torch.mm", 3, 0.5).\n'
        + template(when="worked(C, Api), call(C, enter: E)", expect="contains(C, U), update(U, V, at: T), E < T")
    )
    checked = checker.check([parse_text(text)])
    assert checked.predicate_sorts == {
        "worked": ("call", "api"),
        "idle": ("call",),
        "feature": ("call", "key", "value"),
        "known": ("value", "integer", "number"),
    }
    sorts = checked.sorts(checked.templates["t"])
    assert sorts == {"Api": "api", "C": "call", "E": "seq", "U": "update", "V": "variable", "T": "seq"}


def test_all_problems_are_told_in_the_order_of_the_text() -> None:
    first = parse_text("define p(X) :- cal(X).\ndefine q(X) :- call(Y).", "a.rules")
    second = parse_text(template(title="{Ap}"), "b.rules")
    with pytest.raises(RuleError) as caught:
        checker.check([first, second])
    places = [line.split(" ")[0] for line in str(caught.value).splitlines() if ".rules:" in line]
    assert places == ["a.rules:1:16:", "a.rules:2:10:", "b.rules:2:3:"]
    assert caught.value.where == "a.rules:1:16"


def test_a_query_is_checked_against_the_library() -> None:
    checked = load_rules([])
    text = 'does(C, "backward"), call(C, step: S, enter: E), S > 3'
    assert checked.query(parse_atoms(text), text) == {"C": "call", "S": "step", "E": "seq"}
    with pytest.raises(RuleError, match="<query>:1:1: unknown relation 'doe'"):
        checked.query(parse_atoms("doe(C)"), "doe(C)")
