"""Errors that are the user's to mend: one line that says what, where, and what to do."""


def one_line(text: str) -> str:
    """The text with line breaks and control characters written as escapes, as names of files may hold them."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class TrainCheckError(Exception):
    """Bad input or usage; the command line prints it as one line and exits with 2.

    `what` states the fact, `where` names the file (with line where known), `next_step` is advice.
    """

    def __init__(self, what: str, *, where: str | None = None, next_step: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next_step = next_step

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" (next: {self.next_step})" if self.next_step else ""
        return one_line(f"{place}{self.what}{advice}")


class UsageError(TrainCheckError):
    """The command was asked for something that makes no sense."""


class TraceError(TrainCheckError):
    """A trace is missing, empty, unreadable or of another major version."""


class RuleError(TrainCheckError):
    """A rule file does not parse or does not make sense; `str` shows the line with a caret."""

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        next_step: str | None = None,
        source_line: str | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.source_line = source_line
        self.column = column

    def __str__(self) -> str:
        text = super().__str__()
        if self.source_line is None or self.column is None:
            return text
        return f"{text}\n    {self.source_line}\n    {' ' * (self.column - 1)}^"


class MissingExtraError(TrainCheckError):
    """An optional dependency is needed and absent."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"'{package}' is needed {purpose}", next_step=f"pip install 'traincheck[{extra}]'")
