"""A report with findings of three severities, made of hand-made facts."""

from dataclasses import dataclass

import pytest

from tests.made_facts import loop
from traincheck.check.checker import Checker
from traincheck.check.coverage import coverage_of
from traincheck.check.law import laws_of
from traincheck.check.verdict import Report
from traincheck.datalog.engine import engine_named
from traincheck.dsl.load import load_rules
from traincheck.explain import Explanation, explain_violations

LAWS = """
invariant updates_each(Doer: "optimizer_step", Kind: "parameter", Attr: "data") "moves <b>&"
  evidence runs 3, examples 120, confidence 0.97, false_alarms 0.01
  severity error
invariant count_per_step(Doer: "backward", Times: 1) "one backward"
invariant count_per_step(Doer: "clip", Times: 1) "one clip" severity note
invariant flag_is(Kind: "buffer", Flag: "false") "never triggered"
invariant state_is(Kind: "parameter", Attr: "data", Point: "after_step", Class: "zero") "not there"
"""


@dataclass(frozen=True)
class Made:
    report: Report
    explanations: dict[str, Explanation]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp("laws") / "laws.rules"
    path.write_text(LAWS)
    checked = load_rules([path])
    checker = Checker(checked, laws_of(checked, []), engine_named("duckdb"))
    facts = loop(moves=False)
    violations, triggered = checker.check(facts)
    broken = {violation.law.id for violation in violations}
    report = Report(["runs/a trace"], ["laws.rules"], violations, facts=42, seconds=1.5)
    report.held = [law for law in checker.laws if law.id in triggered - broken]
    report.not_triggered = [law for law in checker.laws if law.id not in triggered | broken]
    report.coverage = [coverage_of("runs/a trace", facts)]
    return Made(report, explain_violations(checked, facts, violations))
