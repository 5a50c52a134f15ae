"""What a collection must see: everything, or only what some invariants speak of."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Self

EVERYTHING = ("*",)


@dataclass(frozen=True, slots=True)
class Needs:
    """What to record. The default is everything; each field narrows the collection.

    `apis` are globs over API names (`torch.optim.*.step`) and over the base APIs that they override; a call that
    matches none is not recorded; one that matches another than `*` was asked for by name, and is never given up for
    being called too often. `args` and `results` are those of them whose arguments and results are described, `tensors`
    those of which it is told which tensors these are, `fingerprints` which values the tensors have. In `args`, a glob
    with a name behind a colon (`torch.nn.functional.relu:inplace`) asks for that argument only.

    `states` and `updates` are the attributes of variables to watch ("data", "grad", "requires_grad", a buffer's are
    "data"; an optimizer's "state.exp_avg" must be named), `points` the points in a step at which states are taken,
    `ranges` whether these have the least and the greatest value. `gradients` are the calls within which it is asked
    whether gradients change, `*` where they are not said, and `classes` those of them within which it is asked what
    these were before and are then. `stored` asks for the tensors of checkpoints, `hyperparameters` for changes of
    optimizers' settings.
    """

    apis: tuple[str, ...] = EVERYTHING
    args: tuple[str, ...] = EVERYTHING
    results: tuple[str, ...] = EVERYTHING
    tensors: tuple[str, ...] = EVERYTHING
    fingerprints: tuple[str, ...] = EVERYTHING
    contexts: bool = True
    sites: bool = True
    updates: tuple[str, ...] = EVERYTHING
    gradients: tuple[str, ...] = EVERYTHING
    classes: tuple[str, ...] = EVERYTHING
    states: tuple[str, ...] = EVERYTHING
    points: tuple[str, ...] = EVERYTHING
    ranges: bool = True
    metrics: bool = True
    stored: bool = True
    hyperparameters: bool = True

    def wants_api(self, names: Iterable[str]) -> bool:
        """Whether a call known under any of `names` (its own and the base APIs') is to be recorded."""
        return matches(self.apis, names)

    def arguments(self, names: Iterable[str]) -> frozenset[str] | None:
        """Which arguments are to be described of a call known under any of `names`; None for all."""
        known, found = list(names), set[str]()
        for glob in self.args:
            api, _, argument = glob.partition(":")
            if matches((api,), known):
                if not argument:
                    return None
                found.add(argument)
        return frozenset(found)

    def wants_update(self, attr: str) -> bool:
        """Whether changes of `attr` are to be recorded."""
        return any(fnmatchcase(attr, glob) for glob in self.updates)

    def wants_state(self, attr: str, point: str) -> bool:
        """Whether the state of `attr` at `point` is to be recorded."""
        return any(fnmatchcase(attr, glob) for glob in self.states) and self.wants_point(point)

    def wants_point(self, point: str) -> bool:
        """Whether states are to be recorded at `point`."""
        return any(fnmatchcase(point, glob) for glob in self.points)

    @property
    def variables(self) -> bool:
        """Whether anything about variables is asked for."""
        return bool(self.updates or self.states)

    def asking(self, globs: Iterable[str]) -> Self:
        """The same, and calls of the functions and methods that match `globs`, with what they get and return."""
        if not globs:
            return self
        asked = tuple(globs)
        return replace(self, apis=self.apis + asked, args=self.args + asked, results=self.results + asked)

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; keys of later versions are ignored."""
        return cls.from_mapping(json.loads(text))

    @classmethod
    def from_mapping(cls, document: dict[str, Any]) -> Self:
        """Build from plain values; lists become tuples, unknown keys are ignored."""
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in document.items()
            if key in cls.__dataclass_fields__
        }
        return cls(**known)

    def __or__(self, other: "Needs") -> "Needs":
        """What both need together."""
        mine, theirs = asdict(self), asdict(other)
        merged: dict[str, Any] = {
            key: (value or theirs[key]) if isinstance(value, bool) else tuple(dict.fromkeys((*value, *theirs[key])))
            for key, value in mine.items()
        }
        return Needs.from_mapping(merged)


def matches(globs: tuple[str, ...], names: Iterable[str]) -> bool:
    """Whether one of `names` matches one of `globs`."""
    return "*" in globs or any(fnmatchcase(name, glob) for name in names for glob in globs)
