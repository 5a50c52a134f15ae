"""Places in rule text, and the errors that point at them."""

from dataclasses import dataclass

from traincheck.dsl.syntax import Position
from traincheck.errors import RuleError


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one rule file, for messages that show the offending line."""

    path: str
    text: str

    def position(self, line: int, column: int) -> Position:
        """A place in this text; `line` and `column` count from 1."""
        return Position(self.path, line, column)

    def end(self) -> Position:
        """The place just behind the last character that is not blank."""
        lines = self.text.rstrip().split("\n")
        return self.position(len(lines), len(lines[-1]) + 1)

    def error(self, what: str, at: Position, next_step: str | None = None) -> RuleError:
        """The error `what` at `at`, with the line shown above a caret."""
        lines = self.text.split("\n")
        line = lines[at.line - 1].rstrip() if self.text and 0 < at.line <= len(lines) else None
        shown = None if line is None else "".join(char if char.isprintable() else " " for char in line)
        return RuleError(
            what,
            where=f"{self.path}:{at.line}:{at.column}" if at.line else self.path,
            next_step=next_step,
            source_line=shown,
            column=at.column,
        )
