"""How strings are written: quoted strings with JSON's escapes, and blocks of documentation."""

import inspect
import json
import re

from traincheck.dsl.source import Source
from traincheck.dsl.syntax import Position

_ESCAPE = r'(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
_BAD_ESCAPE = re.compile(rf"(?:[^\\]|\\{_ESCAPE})*?(\\(?!{_ESCAPE}).?)", re.DOTALL)


def decode_string(source: Source, token: str, at: Position) -> str:
    """The text that the quoted `token` stands for; RuleError points at an escape that does not exist."""
    try:
        text: str = json.loads(token, strict=False)
    except ValueError:
        match = _BAD_ESCAPE.match(token)
        escape, offset = (match[1], match.start(1)) if match else (token, 0)
        raise source.error(
            f"unknown escape '{escape}' in a string",
            source.position(at.line, at.column + offset),
            "write '\\\\' for a backslash; escapes are \\\" \\\\ \\n \\t \\r and \\u0000",
        ) from None
    return text


def encode_string(text: str) -> str:
    """`text` as a quoted string: readable characters as they are, everything else escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(part if part.isprintable() else json.dumps(part)[1:-1] for part in quoted)


def clean_block(text: str) -> str:
    """The text of a documentation block without its indentation and outer blank lines."""
    return inspect.cleandoc(text).rstrip()


def encode_block(text: str, indent: int) -> str:
    """`text` as a documentation block indented by `indent`; a quoted string when a block cannot hold it."""
    lines = text.split("\n")
    block = "\n".join([lines[0], *(" " * indent + line if line else "" for line in lines[1:])])
    plain = all(line.isprintable() for line in lines) and '"""' not in text and not text.endswith('"')
    if text and plain and clean_block(block) == text:
        return f'"""{block}"""'
    return encode_string(text)
