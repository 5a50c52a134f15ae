"""Collecting what is wrong with rule files, to tell it all at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from traincheck.dsl.source import Source
from traincheck.dsl.syntax import Position
from traincheck.errors import RuleError

_SHOWN = 20


class RuleErrors(RuleError):
    """Several errors in rule files; what, where and next_step are those of the first."""

    def __init__(self, errors: Sequence[RuleError]) -> None:
        first = errors[0]
        super().__init__(
            first.what,
            where=first.where,
            next_step=first.next_step,
            source_line=first.source_line,
            column=first.column,
        )
        self.errors = tuple(errors)

    def __str__(self) -> str:
        shown = [str(error) for error in self.errors[:_SHOWN]]
        rest = len(self.errors) - len(shown)
        return "\n".join([*shown, *([f"and {rest} more"] if rest else [])])


def raise_all(errors: Sequence[RuleError]) -> None:
    """Raise what was found, if anything: the error itself when it is the only one."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise RuleErrors(errors)


@dataclass
class Problems:
    """Errors found so far; at one place only the first counts, since the others follow from it."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    found: dict[Position, RuleError] = field(default_factory=dict)

    def add(self, what: str, at: Position, next_step: str | None = None) -> None:
        """Note that `what` is wrong at `at`."""
        if at not in self.found:
            source = self.sources.get(at.file) or Source(at.file, "")
            self.found[at] = source.error(what, at, next_step)

    def in_order(self) -> list[RuleError]:
        """All errors, by file as the files were given, then by place."""
        order = {file: index for index, file in enumerate(self.sources)}
        places = sorted(self.found, key=lambda at: (order.get(at.file, len(order)), at.line, at.column))
        return [self.found[place] for place in places]
