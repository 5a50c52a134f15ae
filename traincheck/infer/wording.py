"""Titles and numbers in words."""

from collections.abc import Iterable, Sequence

from traincheck.infer.profile import Clause, Conjunction


def fill(title: str, arguments: Iterable[tuple[str, object]]) -> str:
    """A template's title with the parameters' values in place of `{Name}`."""
    for name, value in arguments:
        title = title.replace("{" + name + "}", str(value))
    return title


def in_words(precondition: Sequence[Conjunction]) -> str:
    """A precondition as the end of a title, such as ", when stage is eval"."""
    if not precondition:
        return ""
    return ", when " + " or ".join(" and ".join(map(_clause, clauses)) for clauses in precondition)


def _clause(clause: Clause) -> str:
    if clause.other is not None:
        return f"{clause.key} is {'the same' if clause.op == '==' else 'different'} for both"
    return f"{clause.key} {'is' if clause.op == '==' else 'is not'} {clause.value}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
