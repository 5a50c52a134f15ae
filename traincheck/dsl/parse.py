"""Reading rule text: files become syntax trees, and every mistake becomes one RuleError."""

from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, UnexpectedInput
from lark.exceptions import VisitError

from traincheck.dsl.build import Builder
from traincheck.dsl.hints import explain
from traincheck.dsl.source import Source
from traincheck.dsl.syntax import Formula, RuleFile
from traincheck.errors import RuleError, UsageError
from traincheck.library import library_folder

LANGUAGE_VERSION = "1.0"


def parse_text(text: str, path: str = "<text>") -> RuleFile:
    """The declarations in `text`; `path` is what positions and errors call it. RuleError when it does not parse."""
    source = Source(path, text)
    file: RuleFile = _build(source, "start")
    if file.version is not None:
        _check_version(source, file.version)
    return file


def parse_file(path: str | Path) -> RuleFile:
    """The declarations in a UTF-8 file; UsageError when there is no such file, RuleError when it is not rule text."""
    path = Path(path)
    if path.is_dir():
        raise UsageError("this is a folder, not a rule file", where=str(path))
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UsageError("no such rule file", where=str(path)) from None
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise RuleError("this is not a rule file: it is not UTF-8 text", where=str(path))
    return parse_text(text.replace("\r\n", "\n").replace("\r", "\n"), str(path))


def parse_atoms(text: str) -> tuple[Formula, ...]:
    """The comma-separated formulas of a query, as a `when` would hold them; the last may end with a period."""
    formulas: tuple[Formula, ...] = _build(Source("<query>", text), "query")
    return formulas


@cache
def _lark() -> Lark:
    grammar = (library_folder("grammar") / "traincheck.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", start=["start", "query"], propagate_positions=True, maybe_placeholders=True)


def _build(source: Source, start: str) -> Any:
    try:
        return Builder(source).transform(_lark().parse(source.text, start=start))
    except UnexpectedInput as error:
        raise explain(source, error) from None
    except VisitError as error:
        if isinstance(error.orig_exc, RecursionError):
            raise RuleError("the text is nested too deeply", where=source.path) from None
        raise error.orig_exc from None


def _check_version(source: Source, version: str) -> None:
    at = source.position(*_version_place(source.text))
    major, _, minor = version.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise source.error(f"'{version}' is not a language version", at, f'write version "{LANGUAGE_VERSION}"')
    if int(major) != int(LANGUAGE_VERSION.partition(".")[0]):
        raise source.error(
            f"the file is written in version {version} of the rule language, this traincheck reads {LANGUAGE_VERSION}",
            at,
            "upgrade traincheck, or infer the invariants again",
        )


def _version_place(text: str) -> tuple[int, int]:
    """Line and column of the version declaration: the first line that is no comment."""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.lstrip()
        if stripped and not stripped.startswith("#"):
            return number, len(line) - len(stripped) + 1
    return 1, 1
