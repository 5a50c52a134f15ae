import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from traincheck.dsl.parse import parse_text


def test_list_tells_what_there_is(shell: Shell) -> None:
    status, out, err = shell("rules", "list")
    assert (status, err) == (0, "")
    assert "'{First}'" in next(line for line in out.splitlines() if line.startswith("precedes "))
    for name, kind in [("precedes", "template"), ("does", "predicate"), ("call", "relation")]:
        assert any(line.split()[:2] == [name, kind] for line in out.splitlines())


def test_list_can_be_read_by_programs(shell: Shell, tmp_path: Path) -> None:
    mine = tmp_path / "mine.rules"
    mine.write_text('rule mine "never a call" severity error\n  never call(_)\n')
    status, out, _ = shell("rules", "list", "--rules", mine, "--kind", "rule", "--format", "json")
    assert status == 0
    found = {entry["name"]: entry for entry in json.loads(out)["rules"]}
    assert found["mine"]["title"] == "never a call"
    assert (found["mine"]["file"], found["mine"]["line"]) == (str(mine), 1)


def test_show_prints_rule_text_and_its_place(shell: Shell) -> None:
    status, out, _ = shell("rules", "show", "precedes")
    assert status == 0
    assert out.splitlines()[0].endswith("order.rules:1")
    assert "about  " in out
    (declaration,) = parse_text(out).declarations
    assert declaration.position.line == 2


def test_show_knows_predicates_and_relations(shell: Shell) -> None:
    _, out, _ = shell("rules", "show", "does")
    assert "define does(C, K) :-" in out
    _, out, _ = shell("rules", "show", "contains")
    assert "inner: call" in out


def test_show_of_an_unknown_name(shell: Shell) -> None:
    status, out, err = shell("rules", "show", "precede")
    assert (status, out) == (2, "")
    assert "did you mean 'precedes'?" in err


def test_check_says_ok(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.rules").write_text('define slow(C) :- does(C, "backward").\nrule r "t" never slow(_)\n')
    (tmp_path / "b.rules").write_text("# nothing yet\n")
    status, out, err = shell("rules", "check", tmp_path)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"{tmp_path}/a.rules: ok, 1 definition, 1 rule",
        f"{tmp_path}/b.rules: ok, no declarations",
    ]


def test_check_of_the_shipped_library(shell: Shell) -> None:
    status, out, _ = shell("rules", "check", "concepts", "standard")
    assert status == 0
    assert "concepts.rules: ok" in out


def test_check_names_every_mistake(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.rules").write_text("define p(X) :- cal(X).\ndefine q(X) :- call(Y).\n")
    (tmp_path / "b.rules").write_text("define r(X) :- call(X).\n")
    status, out, err = shell("rules", "check", tmp_path)
    assert status == 2
    assert out == f"{tmp_path}/b.rules: ok, 1 definition\n"
    assert "a.rules:1:16: unknown relation 'cal' (next: did you mean 'call'?)" in err
    assert "a.rules:2:10: unsafe variable 'X'" in err
    assert "    define p(X) :- cal(X).\n                   ^\n" in err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.rules", None, "no such rule file, folder or shipped pack"),
        ("typo.rules", b"define p(X) : call(X).", "typo.rules:1:13: expected"),
        ("model.rules", b"\x80\x04\x95", "not UTF-8 text"),
        ("future.rules", b'version "7.0"\n', "written in version 7.0 of the rule language"),
    ],
)
def test_check_of_bad_input_exits_with_2(
    shell: Shell, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    status, out, err = shell("rules", "check", tmp_path / name)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_check_of_an_empty_folder(shell: Shell, tmp_path: Path) -> None:
    status, _, err = shell("rules", "check", tmp_path)
    assert status == 2
    assert "no .rules files in this folder" in err


TESTED = """
rule quiet "nothing is called" never call(_)
example quiet violated "a call" facts call(1)
example quiet held "nobody knows" facts call(1)
"""


def test_test_tells_what_came_out_and_what_is_missing(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "a.rules"
    path.write_text(TESTED + 'rule lonely "t" never call(_)\n')
    for engine in ("duckdb", "pydatalog"):
        status, out, err = shell("rules", "test", path, "--engine", engine)
        assert (status, err) == (1, "")
        assert out.splitlines() == [
            f"{path}:3: quiet violated 'a call': ok",
            f"{path}:4: quiet held 'nobody knows': FAILED, expected held, found violated",
            f"{path}:5: no example shows 'lonely' held or violated",
            "2 examples, 1 failed",
        ]


def test_test_of_good_examples_and_of_none(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "a.rules"
    path.write_text(TESTED.rpartition("example")[0])
    status, out, _ = shell("rules", "test", path)
    assert (status, out.splitlines()[-1]) == (0, "1 example, 0 failed")
    path.write_text('rule lonely "t" never call(_)\n')
    assert shell("rules", "test", path)[0] == 3


def test_test_of_a_shipped_pack(shell: Shell) -> None:
    status, out, _ = shell("rules", "test", "standard/updates")
    assert status == 0
    assert all(line.endswith(": ok") for line in out.splitlines()[:-1])


def test_test_of_a_bad_example_points_at_it(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "a.rules"
    path.write_text('rule quiet "t" never call(_)\nexample quiet held "t" facts cal(1)\n')
    assert "a.rules:2:30: unknown relation 'cal'" in shell.refuses("rules", "test", path)
