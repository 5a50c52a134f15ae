"""Lines of a log as records; the records say themselves what they are, whatever the file is called."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

OLD_PREFIX, PREFIX = b"_ML_DAIKON_", b"_TRAINCHECK_"
NOTHING = msgspec.Raw(b"")
_NULL = msgspec.Raw(b"null")
SNAPSHOT, ENTRY = "state_change", "function_call (pre)"
EXCEPTION = "function_call (post) (exception)"
_CALLS = frozenset((ENTRY, "function_call (post)", EXCEPTION))


class Line(msgspec.Struct, gc=False):
    """One record. What only has to be told apart from other records of its kind stays raw JSON."""

    type: str
    process_id: int
    thread_id: int
    time: int | float
    meta_vars: msgspec.Raw = NOTHING
    # calls
    func_call_id: str | None = None
    function: str | None = None
    is_bound_method: bool | None = None
    obj_id: int | None = None
    args: msgspec.Raw = NOTHING
    kwargs: msgspec.Raw = NOTHING
    return_values: msgspec.Raw = NOTHING
    exception: msgspec.Raw = NOTHING
    exception_msg: msgspec.Raw = NOTHING
    # snapshots of variables
    var_name: str | None = None
    var_type: str | None = None
    attributes: dict[str, Any] | None = None
    mode: msgspec.Raw = NOTHING
    dump_loc: msgspec.Raw = NOTHING


Warn = Callable[[str], None]
_decode = msgspec.json.Decoder(Line).decode


def decode(text: bytes) -> Line:
    """The record in one line; ValueError says what is wrong with it."""
    if OLD_PREFIX in text:
        text = text.replace(OLD_PREFIX, PREFIX)
    try:
        line = _decode(text)
    except msgspec.DecodeError as error:
        line = _tolerant(text, error)
    if line.type == SNAPSHOT:
        if line.var_name is None or line.var_type is None or line.attributes is None:
            raise ValueError("a state_change without var_name, var_type or attributes")
    elif line.type not in _CALLS:
        raise ValueError(f"unknown record type '{line.type}'")
    elif line.func_call_id is None or line.function is None:
        raise ValueError("a function_call without func_call_id or function")
    return line


def _tolerant(text: bytes, error: msgspec.DecodeError) -> Line:
    """Python's own JSON has words for what is no number, and logs have numbers that are whole in value only."""
    try:
        content = json.loads(text, parse_constant=str)
    except ValueError:
        raise ValueError(str(error)) from None
    if not isinstance(content, dict):
        raise ValueError(str(error))
    for key in ("process_id", "thread_id", "obj_id"):
        if isinstance(content.get(key), float):
            content[key] = int(content[key])
    try:
        return _decode(msgspec.json.encode(content))
    except (msgspec.DecodeError, OverflowError) as second:
        raise ValueError(str(second)) from None


def read_lines(path: Path, process: int, warn: Warn | None) -> Iterator[tuple[bytes, Line]]:
    """The records of one process in a file, with their text, in the file's order.

    A line that is no record is told to `warn`, with file and line number. Without `warn` such lines, and most lines
    of other processes, are passed over unread: for a file that another process's reader tells about.
    """
    wanted = str(process).encode()
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            if (warn is None and wanted not in text) or text.isspace():
                continue
            try:
                line = decode(text)
            except ValueError as error:
                if warn is not None:
                    warn(f"{path}:{number}: not a record: {error}")
                continue
            if line.process_id == process:
                yield text, line


def present(raw: msgspec.Raw) -> bool:
    """Whether a raw field was there and not null."""
    return bool(raw) and raw != _NULL
