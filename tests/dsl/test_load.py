from pathlib import Path

import pytest

from traincheck.dsl.load import load_rules, standard_files
from traincheck.errors import RuleError, UsageError

RULE = 'rule r "t" severity error\n  never does(C, "backward")\n'


def test_the_shipped_library_is_good() -> None:
    checked = load_rules([])
    assert checked.templates
    assert {file.path for file in checked.files} >= {"rules/concepts.rules"} or len(checked.files) == len(
        standard_files()
    )


def test_files_build_on_the_library(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.rules").write_text(RULE)
    (tmp_path / "note.txt").write_text("no rule text")
    assert "r" in load_rules([tmp_path]).rules
    with pytest.raises(RuleError, match="unknown relation 'does'"):
        load_rules([tmp_path], with_standard=False)


def test_a_file_named_twice_is_loaded_once(tmp_path: Path) -> None:
    path = tmp_path / "a.rules"
    path.write_text(RULE)
    assert list(load_rules([path, str(path), tmp_path], with_standard=True).rules).count("r") == 1


def test_shipped_packs_have_names() -> None:
    alone = load_rules(["concepts"], with_standard=False)
    assert "concept" in alone.predicate_sorts
    assert len(load_rules(["standard"]).files) == len(standard_files())


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'concepts'"):
        load_rules(["concept"])
    with pytest.raises(UsageError, match=r"no \.rules files in this folder"):
        load_rules([tmp_path])


def test_all_files_that_do_not_parse_are_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.rules").write_text("define p(X) :- call(X)")
    with pytest.raises(RuleError) as caught:
        load_rules([tmp_path])
    assert "a.rules:1:23" in str(caught.value)
    assert "b.rules:1:23" in str(caught.value)
