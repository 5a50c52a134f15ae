"""Spans of imported traces: how long an attribute kept a value, and the updates and states that follow from it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from traincheck import values
from traincheck.facts.plain import number_of
from traincheck.facts.raw import PROCESS_SHIFT, Ints, RawProcess
from traincheck.trace.layout import FAMILIES, NULL, WHOLE

Columns = dict[str, Any]

_CONTENTS = ("data", "grad")
_AFTER_STEP = 1
_END = (1 << PROCESS_SHIFT) - 1
_STATE_COLUMNS = tuple(name for name, _ in FAMILIES["states"].columns)


def spans(process: RawProcess) -> Columns:
    """Relation `span`; a span without an end lasts until the end of the log."""
    rows = process.families["spans"]
    last = int(process.info.get("log_end") or 0)
    texts = _texts(process, rows["value"], rows["whole"])
    befores = _texts(process, rows["before"], rows["whole_before"])
    numbers = {text: number_of(text) for text in {*texts, *befores} if text is not None}
    return {
        "id": process.ids(rows["id"]),
        "variable": process.ids(rows["variable"]),
        "process": np.full(len(rows["id"]), process.base, np.int64),
        "attr": [process.texts[number] for number in rows["attr"]],
        "value": texts,
        "number": [None if text is None else numbers[text] for text in texts],
        "before": befores,
        "before_number": [None if text is None else numbers[text] for text in befores],
        "at": rows["id"],
        "begin": rows["begin"],
        "end": np.where(rows["end"] == NULL, last, rows["end"]),
        "last": process.ids(rows["last"]),
    }


def with_imported(process: RawProcess) -> RawProcess:
    """The same process with the updates and states that its spans and records amount to."""
    if not len(process.families["records"]["id"]):
        return process
    words = _Words(process.texts)
    families = {**process.families, "updates": _updates(process, words), "states": _states(process, words)}
    return RawProcess(process.index, process.name, families, words.texts, process.torn, process.info)


class _Words:
    """The words of a process, and new ones."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = list(texts)
        self._new: dict[str, int] = {}

    def id(self, text: str) -> int:
        """The id of a word that the process may not have had."""
        if text not in self._new:
            self._new[text] = len(self.texts)
            self.texts.append(text)
        return self._new[text]


def _updates(process: RawProcess, words: _Words) -> Mapping[str, Any]:
    """A span that follows another is a change."""
    rows = process.families["spans"]
    later = rows["before"] != NULL
    return {
        "id": rows["id"][later],
        "variable": rows["variable"][later],
        "call": rows["call"][later],
        "attr": rows["attr"][later],
        "before": _classes(process, words, rows["before"][later], rows["whole_before"][later]),
        "after": _classes(process, words, rows["value"][later], rows["whole"][later]),
    }


def _states(process: RawProcess, words: _Words) -> Mapping[str, Any]:
    """The last record of a variable in a step shows its state after the step."""
    records = process.families["records"]
    chosen = records["variable"] != NULL
    known, variable = np.unique(records["variable"][chosen], return_inverse=True)
    ids = records["id"][chosen]
    order = np.lexsort((ids, variable))
    ids, variable = ids[order], variable[order]
    steps = process.step_of(ids)
    same = variable[1:] == variable[:-1]
    last = np.append(~(same & (steps[1:] == steps[:-1])), True)[: len(ids)]
    following = np.append(np.where(same, ids[1:], _END), _END)[: len(ids)]
    found = [_contents(process, words, name, known, variable[last], ids[last], following[last]) for name in _CONTENTS]
    return {key: np.concatenate([columns[key] for columns in found]) for key in found[0]}


def _contents(
    process: RawProcess, words: _Words, name: str, known: Ints, variable: Ints, at: Ints, following: Ints
) -> Mapping[str, Any]:
    """What `name` was at these records: the latest span before the variable's following record, if still seen."""
    attrs = [number for number in np.unique(process.families["spans"]["attr"]) if process.texts[number] == name]
    rows = process.families["spans"]
    rows = {key: column[np.isin(rows["attr"], attrs)] for key, column in rows.items()}
    key = (np.searchsorted(known, rows["variable"]) << PROCESS_SHIFT) + rows["id"]
    order = np.argsort(key)
    position = np.searchsorted(key[order], (variable << PROCESS_SHIFT) + following) - 1
    row = order[position] if len(order) else np.zeros(len(position), np.int64)
    if not len(order):
        return {key: np.zeros(0, np.int64) for key in _STATE_COLUMNS}
    seen = (position >= 0) & (rows["variable"][row] == known[variable]) & (rows["last"][row] >= at)
    row, count = row[seen], int(seen.sum())
    return {
        "variable": rows["variable"][row],
        "at": at[seen],
        "fingerprint": rows["whole"][row].astype(np.uint64),
        "norm": np.full(count, np.nan),
        "attr": np.full(count, words.id(name)),
        "class": _classes(process, words, rows["value"][row], rows["whole"][row]),
        "nonfinite": np.full(count, NULL),
        "point": np.full(count, _AFTER_STEP),
        "minimum": np.full(count, np.nan),
        "maximum": np.full(count, np.nan),
        "hashed": (rows["value"][row] == WHOLE).astype(np.int64),
    }


def _texts(process: RawProcess, ids: Any, whole: Any) -> list[str | None]:
    """Values as text: words, or whole numbers."""
    return [
        None if word == NULL else str(number) if word == WHOLE else process.texts[word]
        for word, number in zip(ids.tolist(), whole.tolist(), strict=True)
    ]


def _classes(process: RawProcess, words: _Words, ids: Any, whole: Any) -> Ints:
    """The words for the classes of values; what is neither a number, a flag nor nothing is its own class."""
    found = np.array(ids, np.int64)
    numbers = found == WHOLE
    found[numbers] = np.where(whole[numbers] == 0, words.id(values.ZERO), words.id(values.NONZERO))
    for word in np.unique(found[~numbers]):
        number = number_of(process.texts[word])
        if number is not None and process.texts[word] not in (values.TRUE, values.FALSE):
            found[found == word] = words.id(values.ZERO if number == 0 else values.NONZERO)
    return found
