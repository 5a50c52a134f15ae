"""Meta variables: the step, the stage and the rank that a record states, and all of it as one text."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from traincheck.facts.plain import flatten, plain
from traincheck.integrations.orderlab.lines import Line, present
from traincheck.integrations.orderlab.sink import NULL, Recent, Sink
from traincheck.trace.layout import STAGES

NO_STEP = -1
RANK_KEYS = ("RANK", "rank", "_RANK", "_GLOBAL_RANK", "_WORLD_RANK", "_DATA_PARALLEL_RANK")
_STAGE_WORDS: Mapping[str, str] = {
    "init": "init",
    "training": "train",
    "train": "train",
    "evaluation": "eval",
    "eval": "eval",
    "testing": "eval",
    "validation": "eval",
    "inference": "eval",
}
# Counters and places in the job: nothing to learn from.
_NOT_CAUSAL = re.compile(r"step|epoch|iter|batch|rank|group|world|^stage$|^context_managers", re.IGNORECASE)
_LATELY = 1 << 12

Managers = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Meta:
    """What one record's meta variables say; equal ones share an object."""

    said: int
    thread: int
    step: int
    stage: int
    causal: dict[str, str]
    contexts: tuple[object, int] | None = None  # of the context managers that were active last


class Metas:
    """Interns meta variables by their raw JSON."""

    def __init__(self, sink: Sink, process: int) -> None:
        self._sink = sink
        self._process = process
        self._known: Recent[tuple[Any, ...], Meta] = Recent(_LATELY)
        self._sets: Recent[tuple[Any, ...], int] = Recent(_LATELY)
        self._add_context = sink.adder("contextsets")
        self._numbers = 0
        self.ranks: dict[str, int] = {}

    def of(self, line: Line) -> Meta:
        """What this record's meta variables say."""
        key = (bytes(line.meta_vars), line.thread_id, bytes(line.mode), bytes(line.dump_loc))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._read(line)
        return found

    def contexts(self, meta: Meta, managers: Managers) -> int:
        """The id of the context of a call: its causal meta variables and the active context managers."""
        if meta.contexts is not None and meta.contexts[0] is managers:
            return meta.contexts[1]
        pairs = tuple(sorted({**meta.causal, **dict(_manager_pairs(managers))}.items()))
        found = self._sets.get(pairs)
        if found is None:
            found = self._sets[pairs] = self._numbers
            self._numbers += 1
            for name, value in pairs:
                self._add_context(found, self._sink.word(name), self._sink.word(value))
        meta.contexts = (managers, found)
        return found

    def _read(self, line: Line) -> Meta:
        meta = msgspec.json.decode(line.meta_vars) if present(line.meta_vars) else {}
        if not isinstance(meta, dict):
            meta = {}
        said = {"process_id": self._process, "thread_id": line.thread_id, "meta_vars": meta}
        for name, raw in (("mode", line.mode), ("dump_loc", line.dump_loc)):
            if raw:
                said[name] = msgspec.json.decode(raw)
        for name in RANK_KEYS:
            rank = _whole(meta.get(name))
            if rank is not None:
                self.ranks[name] = rank
        stage = _STAGE_WORDS.get(str(meta.get("stage")))
        step = _whole(meta.get("step"))
        return Meta(
            self._sink.word(msgspec.json.encode(said).decode()),
            self._sink.word(plain(line.thread_id)),
            NO_STEP if step is None else step,
            NULL if stage is None else STAGES.index(stage),
            {key: value for key, value in flatten(meta) if not _NOT_CAUSAL.search(key)},
        )


def _manager_pairs(managers: Managers) -> Iterator[tuple[str, str]]:
    for name, arguments in managers.items():
        yield name, "active"
        for argument, value in arguments.items():
            yield f"{name}.{argument}", plain(value)


def _whole(value: Any) -> int | None:
    """A whole number, however it was written; None for what is none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() and abs(number) < 1 << 31 else None
