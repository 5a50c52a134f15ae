"""What calls were given and returned: rows of `valuesets`, and texts that hold everything the log says."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from traincheck import values
from traincheck.facts.plain import Json, plain
from traincheck.facts.recorded import is_tensor
from traincheck.integrations.orderlab.lines import present
from traincheck.integrations.orderlab.sink import NULL, Recent, Sink

_IDENTITY = rb'"_TRAINCHECK_(?:data|grad)_ID": ?(?:-?\d+|null)'
_IDENTITIES = re.compile(rb", ?" + _IDENTITY + rb"|" + _IDENTITY + rb"(?:, ?)?")
_SOME_IDENTITY, _ESCAPED = b"_TRAINCHECK_", b'\\"_TRAINCHECK_'
_WHOLE_NUMBERS = re.compile(rb"\[[-0-9,]+\]")
_LATELY = 1 << 13
_DIFFERS_ALWAYS = -2
_decode = msgspec.json.decode


class Given(NamedTuple):
    """What a call was given: the set of its arguments, the text of all of it, and the sketch that tells equal ones."""

    arguments: int
    text: int
    sketch: int


_NO_ARGUMENTS = Given(NULL, NULL, NULL)


class Values:
    """Interns arguments and results by their raw JSON; what was not seen lately is taken apart again."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._add = sink.adder("valuesets")
        self._given: Recent[tuple[bytes, bytes, bool], Given] = Recent(_LATELY)
        self._texts: Recent[tuple[bytes, bytes, bool], tuple[int, int]] = Recent(_LATELY)
        self._returned: Recent[bytes, tuple[int, int]] = Recent(_LATELY)
        self._sets = 0

    def given(self, args: msgspec.Raw, kwargs: msgspec.Raw, bound: bool) -> Given:
        """What the arguments of a call are; the receiver of a bound method is not among them."""
        if not present(args) and not present(kwargs):
            return _NO_ARGUMENTS
        key = (bytes(args) or b"{}", bytes(kwargs) or b"{}", bound)
        found = self._given.get(key)
        if found is None:
            arguments, text = self._arguments(_without_identities(key[0]), _without_identities(key[1]), bound)
            found = self._given[key] = Given(arguments, text, self._sketch(key[0]))
        if found.sketch == _DIFFERS_ALWAYS:
            return found._replace(sketch=self._sink.word(f"unlike any other: {self._sink.next_event}"))
        return found

    def returned(self, result: msgspec.Raw) -> tuple[int, int]:
        """The set of a call's results, and the text of them."""
        if not result:
            return NULL, NULL
        key = _without_identities(bytes(result))
        found = self._returned.get(key)
        if found is None:
            content = _decode(key)
            text = self._sink.word(f'{{"returned": {key.decode("utf-8", "replace")}}}')
            items = enumerate(content) if isinstance(content, list) else [("", content)]
            found = self._returned[key] = self._set((str(name), value) for name, value in items), text
        return found

    def _arguments(self, args: bytes, kwargs: bytes, bound: bool) -> tuple[int, int]:
        key = (args, kwargs, bound)
        found = self._texts.get(key)
        if found is None:
            positional, named = _decode(args) or {}, _decode(kwargs) or {}
            text = f'{{"args": {args.decode("utf-8", "replace")}, "kwargs": {kwargs.decode("utf-8", "replace")}}}'
            pairs = [(name, value) for name, value in positional.items() if not (bound and name == "0")]
            found = self._texts[key] = self._set([*pairs, *named.items()]), self._sink.word(text)
        return found

    def _sketch(self, args: bytes) -> int:
        """The same word for arguments that the original takes for the same: lists of whole numbers hardly matter."""
        bare = args.replace(b" ", b"")
        if b"[]" in bare:
            return _DIFFERS_ALWAYS
        return self._sink.word(_digest(_WHOLE_NUMBERS.sub(b"[#]", bare)))

    def _set(self, pairs: Iterable[tuple[str, Json]]) -> int:
        number = self._sets
        self._sets += 1
        word, optional = self._sink.word, self._sink.optional
        for name, value in pairs:
            kind, text, class_, amount, dtype, shape, device = _summary(value)
            self._add(
                number, word(name), optional(kind), optional(text), optional(class_), amount, optional(dtype),
                optional(shape), optional(device),
            )  # fmt: skip
        return number


def _without_identities(text: bytes) -> bytes:
    """JSON without the ids of tensors, which tell nothing about values and are hardly ever the same twice."""
    return _IDENTITIES.sub(b"", text) if _SOME_IDENTITY in text and _ESCAPED not in text else text


def tensor_texts(attributes: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Data type, shape and device of a recorded tensor, spelled as the collector spells them."""
    dtype, shape = attributes.get("dtype"), attributes.get("shape")
    device = "cuda" if attributes.get("is_cuda") else "cpu" if attributes.get("is_cpu") else None
    return (
        dtype.removeprefix("torch.") if isinstance(dtype, str) else None,
        str(shape) if isinstance(shape, list) else None,
        device,
    )


def class_of(value: Json) -> str:
    """The class that a recorded value generalises to."""
    return values.classify(value) if value is None or isinstance(value, bool | int | float | str) else plain(value)


_Summary = tuple[str | None, str | None, str | None, float, str | None, str | None, str | None]


def _summary(value: Json) -> _Summary:
    """Type, value, class, number, dtype, shape and device of `{type: value}`."""
    if not isinstance(value, dict) or not value:
        return None, plain(value), class_of(value), math.nan, None, None, None
    kind, content = next(iter(value.items()))
    if isinstance(content, dict):
        if is_tensor(kind):
            return (kind, None, None, math.nan, *tensor_texts(content))
        return kind, kind, None, math.nan, None, None, None
    amount = float(content) if isinstance(content, bool | int | float) else math.nan
    if kind == "torch.dtype" and isinstance(content, str):
        return kind, content.removeprefix("torch."), None, math.nan, None, None, None
    shown = values.canonical(content) if not isinstance(content, list) else plain(content)
    class_ = class_of(content) if not isinstance(content, list) else (None if content else values.EMPTY)
    return kind, shown, class_, amount, None, None, None


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=12).hexdigest()
