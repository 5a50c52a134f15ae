"""Running the examples of rule files: is the verdict the one that stands beside the facts?"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from traincheck.check.checker import Checker
from traincheck.check.law import Law, law_of_example
from traincheck.check.scene import tables_of
from traincheck.datalog.engine import Engine
from traincheck.dsl.checker import Checked
from traincheck.dsl.syntax import Example, Rule, Template, Verdict

NEEDED: tuple[Verdict, ...] = ("held", "violated")


@dataclass(frozen=True)
class Outcome:
    """An example and the verdict that was found for it."""

    example: Example
    found: Verdict

    @property
    def ok(self) -> bool:
        """Whether it is the one expected."""
        return self.found == self.example.verdict


def run_examples(checked: Checked, examples: Iterable[Example], engine: Engine) -> Iterator[Outcome]:
    """The outcome of each example, law by law."""
    by_law: dict[str, list[tuple[Example, Law]]] = defaultdict(list)
    for example in examples:
        by_law[example.law].append((example, law_of_example(checked, example)))
    for name, pairs in by_law.items():
        checker = Checker(checked, {name: [law for _, law in pairs]}, engine)
        for example, law in pairs:
            shared = (atom for used in example.uses for atom in checked.settings[used].facts)
            violations, triggered = checker.check(tables_of([*shared, *example.facts]))
            violated = any(violation.law.id == law.id for violation in violations)
            held: Verdict = "held" if law.id in triggered else "untriggered"
            yield Outcome(example, "violated" if violated else held)


def missing(
    laws: Iterable[Template | Rule], examples: Iterable[Example]
) -> list[tuple[Template | Rule, Sequence[Verdict]]]:
    """The laws that no example shows held, or violated, and which of the two."""
    shown = {(example.law, example.verdict) for example in examples}
    lacking = ((law, [verdict for verdict in NEEDED if (law.name, verdict) not in shown]) for law in laws)
    return [(law, verdicts) for law, verdicts in lacking if verdicts]
