"""Values of imported logs as text: one text for equal values, different texts for different ones."""

import json
import math
from collections.abc import Iterator

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_WORDS = frozenset(("", "none", "true", "false"))


def plain(value: Json) -> str:
    """The text of a value: 128 and 128.0 are one, 1 and "1" and true are three; lists and objects are JSON."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case str():
            return json.dumps(value) if value in _WORDS or value[0] == '"' or _is_number(value) else value
        case _:
            return json.dumps(_whole(value), sort_keys=True)


def number_of(text: str) -> float | None:
    """The number that a text made by `plain` stands for; flags are 1 and 0, None for what is no number."""
    if text in ("true", "false"):
        return float(text == "true")
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def flatten(value: Json, prefix: str = "", lists: bool = False) -> Iterator[tuple[str, str]]:
    """The leaves of an object by dotted path; with `lists` the items of lists too, beside the lists themselves.

    Numbers that are not a number are left out: the original takes them for absent.
    """
    if isinstance(value, dict) and (value or not prefix):
        for key, item in value.items():
            yield from flatten(item, f"{prefix}.{key}" if prefix else key, lists)
        return
    if isinstance(value, float) and math.isnan(value):
        return
    yield prefix, plain(value)
    if lists and isinstance(value, list):
        for index, item in enumerate(value):
            yield from flatten(item, f"{prefix}.{index}", lists)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _whole(value: Json) -> Json:
    """`value` with fractions that are whole numbers as such, all the way down."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {key: _whole(item) for key, item in value.items()}
        case _:
            return value
