"""Where the parser stopped: the words around that place, as a person sees them."""

import re
from dataclasses import dataclass
from functools import cached_property

from lark import UnexpectedInput
from lark.exceptions import UnexpectedToken

from traincheck.dsl.source import Source
from traincheck.dsl.syntax import Position

DECLARATIONS = ("define", "template", "rule", "invariant", "example", "setting")

_WORD = re.compile(
    r'"""(?s:.*?)"""|"(?:\\.|[^"\\\n])*"|[A-Za-z_][A-Za-z0-9_]*|-?\d+(?:\.\d+)?|:-|==|!=|<=|>=|=<|=>|<>|&&|\|\||//|\S'
)
_SKIP = re.compile(r"(?:\s|#[^\n]*)*")


@dataclass(frozen=True)
class Word:
    """A token of the text as written, with the offset where it begins."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The offset just behind it."""
        return self.start + len(self.text)

    @property
    def small(self) -> bool:
        """Whether it is a word with a small first letter."""
        return "a" <= self.text[:1] <= "z"

    @property
    def capital(self) -> bool:
        """Whether it is a word with a capital first letter."""
        return "A" <= self.text[:1] <= "Z"


class Place:
    """The place where `error` arose in `source`; `accepts` are the grammar's terminals that could stand there."""

    def __init__(self, source: Source, error: UnexpectedInput) -> None:
        text = source.text
        at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        self.source = source
        self.offset = len(text) if at_end else (error.pos_in_stream or 0)
        self.accepts = frozenset(error.interactive_parser.accepts())  # type: ignore[no-untyped-call]  # lark leaves it untyped
        self.before = _words(text, self.offset)
        found = None if at_end else _WORD.match(text, self.offset)
        self.found = Word(found[0] if found else "", self.offset)

    @cached_property
    def previous(self) -> Word:
        """The word before; an empty one at the beginning."""
        return self.before[-1] if self.before else Word("", 0)

    @cached_property
    def following(self) -> str:
        """The word behind the one that was found."""
        start = _SKIP.match(self.source.text, self.found.end)
        match = _WORD.match(self.source.text, start.end() if start else self.found.end)
        return match[0] if match else ""

    @cached_property
    def declaration(self) -> str:
        """The keyword of the declaration that the place lies in; empty before the first."""
        depth = 0
        for word in reversed(self.before):
            depth += (word.text in ")}") - (word.text in "({")
            if word.text in DECLARATIONS and depth <= 0:
                return word.text
        return ""

    @cached_property
    def unclosed(self) -> Word | None:
        """The innermost bracket that is open at the place."""
        open_brackets: list[Word] = []
        for word in self.before:
            if word.text in ("(", "{"):
                open_brackets.append(word)
            elif word.text in (")", "}") and open_brackets:
                open_brackets.pop()
        return open_brackets[-1] if open_brackets else None

    def position(self, offset: int) -> Position:
        """Line and column of an offset into the text."""
        line = self.source.text.count("\n", 0, offset) + 1
        return self.source.position(line, offset - (self.source.text.rfind("\n", 0, offset) + 1) + 1)


def _words(text: str, end: int) -> list[Word]:
    """The words of `text` before the offset `end`, without comments."""
    words: list[Word] = []
    offset = 0
    while True:
        skipped = _SKIP.match(text, offset)
        offset = skipped.end() if skipped else offset
        match = _WORD.match(text, offset) if offset < end else None
        if match is None:
            return words
        words.append(Word(match[0], offset))
        offset = match.end()
