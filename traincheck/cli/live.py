"""What `check --follow` and `run` share: telling each violation once, as it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from traincheck.check.verdict import Violation
from traincheck.cli.choosing import Choice
from traincheck.cli.common import say
from traincheck.dsl.checker import Checked
from traincheck.report.text import shown_place

if TYPE_CHECKING:
    from traincheck.explain import Explanation

__all__ = ["Teller"]


class Teller:
    """Prints headlines on standard error, and explains while the facts are at hand."""

    def __init__(self, checked: Checked, choice: Choice, explain: bool) -> None:
        self._checked = checked
        self._choice = choice
        self._explain = explain
        self.explanations: dict[str, Explanation] = {}
        self.told: list[Violation] = []

    def __call__(self, facts: Mapping[str, Any], violations: Sequence[Violation]) -> None:
        """Tell violations that were not told before; without facts they cannot be explained."""
        new = self._choice.new(violations)
        for violation in new:
            invariant = violation.law.invariant
            where = shown_place(violation.first)
            say(f"traincheck: {invariant.severity}: {invariant.title}: {where} [{violation.law.id}]", err=True)
        self.told += new
        if self._explain and facts:
            from traincheck.explain import explain_violations  # loads the reference engine, which only this needs

            self.explanations.update(explain_violations(self._checked, facts, new))
