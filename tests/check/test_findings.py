"""Findings: what has one cause is one headline."""

from pathlib import Path

from tests.made_facts import MadeFacts
from traincheck.check.checker import Checker
from traincheck.check.findings import findings
from traincheck.check.law import laws_of
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules

LAWS = """
invariant stays(Name: "a.weight", Attr: "data") "a stays"
invariant stays(Name: "b.weight", Attr: "data") "b stays"
invariant stays(Name: "c.weight", Attr: "data") "c stays"
"""


def test_what_is_said_of_several_names_at_once_is_one_finding(tmp_path: Path) -> None:
    path = tmp_path / "laws.rules"
    path.write_text(LAWS)
    facts = MadeFacts()
    moves_from = {"a.weight": 0, "b.weight": 1, "c.weight": 4}
    variables = {name: facts.id() for name in moves_from}
    for name, number in variables.items():
        facts.add("variable", id=number, name=name, kind="parameter", rank=0)
    for step in range(6):
        facts.add("step", id=facts.id(), rank=0, process=0, step=step, enter=0, exit=0, closed="true")
        call = facts.call("train.write", step)
        for name, number in variables.items():
            facts.add("state", variable=number, attr="data", rank=0, step=step, point="after_step", at=call)
            if step >= moves_from[name]:
                facts.update(call, number, "data", "nonzero", "nonzero", step)
    checked = load_rules([path])
    checker = Checker(checked, laws_of(checked, []), engine_named("columns"))
    found = findings(checker.check(facts.tables())[0])
    titles = [[violation.law.invariant.title for violation in (one.headline, *one.others)] for one in found]
    assert titles == [["a stays", "b stays"], ["c stays"]]
