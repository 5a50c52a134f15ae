"""Snapshots of variables: what changed since the one before ends a span of an attribute and begins another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from traincheck.facts.plain import plain
from traincheck.facts.recorded import kind_of
from traincheck.integrations.orderlab.lines import Line
from traincheck.integrations.orderlab.meta import Meta
from traincheck.integrations.orderlab.sink import NULL, Recent, Sink
from traincheck.integrations.orderlab.values import tensor_texts
from traincheck.trace.layout import WHOLE

_CONTENTS = ("data", "grad")
_ABSENT = object()
_LATELY = 1 << 12
_INT64 = range(-(2**63), 2**63)
_encode = msgspec.json.encode


class _Span:
    """A value that an attribute has; `gone` is the last record that shows it when it is absent for now."""

    __slots__ = ("before", "begin", "call", "gone", "number", "value", "whole", "whole_before", "word")

    def __init__(self, number: int, value: Any, old: "_Span | None", begin: int, call: int) -> None:
        self.number = number
        self.value = value
        self.word = self.whole = NULL
        self.before, self.whole_before = (NULL, NULL) if old is None else (old.word, old.whole)
        self.begin = begin
        self.call = call
        self.gone: int | None = None


@dataclass(slots=True)
class _Variable:
    """One name of one type in one process, as its last snapshot left it."""

    number: int
    last: int = NULL
    attributes: Mapping[str, Any] = field(default_factory=dict)
    attributes_word: int = NULL
    contents: tuple[Any, ...] = (_ABSENT, _ABSENT)
    spans: dict[str, _Span] = field(default_factory=dict)


class Variables:
    """The variables of one process."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._known: dict[tuple[str | None, str | None], _Variable] = {}
        self._shared: Recent[bytes, int] = Recent(_LATELY)
        self._attrs: dict[str, int] = {}
        self._add_variable = sink.adder("variables")
        self._add_record = sink.adder("records")
        self._add_span = sink.adder("spans")

    def snapshot(self, line: Line, meta: Meta, contexts: int, call: int) -> None:
        """Take in one record; `call` is the innermost call around it."""
        attributes: dict[str, Any] = line.attributes or {}
        key = (line.var_name, line.var_type)
        variable = self._known.get(key)
        if variable is None:
            variable = self._known[key] = self._new(line, attributes)
        record, time, take = self._sink.event(), int(line.time), attributes.pop
        contents = (take("data", _ABSENT), take("grad", _ABSENT))
        data_id, grad_id = take("_TRAINCHECK_data_ID", _ABSENT), take("_TRAINCHECK_grad_ID", _ABSENT)
        if contents != variable.contents:
            for name, value, old in zip(_CONTENTS, contents, variable.contents, strict=True):
                if value is not old and value != old:
                    self._change(variable, name, value, time, call)
            variable.contents = contents
        if attributes != variable.attributes:
            self._attributes_changed(variable, attributes, time, call)
        variable.last = record
        self._add_record(
            record, NULL, variable.number, time, _identity(data_id), _identity(grad_id), NULL, meta.thread, meta.said,
            contexts, variable.attributes_word, NULL, NULL, NULL,
        )  # fmt: skip

    def close(self) -> None:
        """The log has ended: open spans last until then."""
        for variable in self._known.values():
            for name, span in variable.spans.items():
                self._write_span(variable, name, span, NULL)

    def _new(self, line: Line, attributes: Mapping[str, Any]) -> _Variable:
        number, word = self._sink.event(), self._sink.word
        dtype, shape, device = (self._sink.optional(text) for text in tensor_texts(attributes))
        asks = attributes.get("requires_grad")
        self._add_variable(
            number, word(line.var_name or ""), word(kind_of(line.var_type or "")), NULL, dtype, shape, device,
            NULL if asks is None else int(bool(asks)), NULL, number,
        )  # fmt: skip
        return _Variable(number)

    def _attributes_changed(self, variable: _Variable, attributes: Mapping[str, Any], time: int, call: int) -> None:
        for name in variable.attributes.keys() - attributes.keys():
            variable.spans[name].gone = variable.last
        for name, value in attributes.items():
            if variable.attributes.get(name, _ABSENT) != value:
                self._change(variable, name, value, time, call)
        variable.attributes = attributes
        text = _encode({"attributes": attributes})
        word = self._shared.get(text)
        if word is None:
            word = self._shared[text] = self._sink.new_word(text.decode())
        variable.attributes_word = word

    def _change(self, variable: _Variable, name: str, value: Any, time: int, call: int) -> None:
        """An attribute has another value than in the snapshot before, or is there again, or is gone."""
        span = variable.spans.get(name)
        if value is _ABSENT:
            if span is not None:
                span.gone = variable.last
            return
        if span is not None:
            if span.value == value and type(span.value) is type(value):
                span.gone = None
                return
            self._write_span(variable, name, span, time)
        found = variable.spans[name] = _Span(self._sink.event(), value, span, time, call)
        if type(value) is int and value in _INT64:
            found.word, found.whole = WHOLE, value
        else:
            found.word = self._sink.word(plain(value))

    def _write_span(self, variable: _Variable, name: str, span: _Span, end: int) -> None:
        last = variable.last if span.gone is None else span.gone
        attr = self._attrs.get(name)
        if attr is None:
            attr = self._attrs[name] = self._sink.word(name)
        self._add_span(
            span.number, variable.number, span.call, span.begin, end, last, span.whole, span.whole_before, attr,
            span.word, span.before,
        )  # fmt: skip


def _identity(value: Any) -> int:
    """An id as a column holds it."""
    if value is _ABSENT:
        return NULL
    return value if isinstance(value, int) and value in _INT64 else WHOLE
