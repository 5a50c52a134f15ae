"""Whose state a saved object holds: finds the module whose tensors' names and shapes a container has."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch.nn import Module

from traincheck.collect.variables.discovery import persistent_tensors

_MOST_DEPTH = 16
"""Containers nested deeper than this, or in themselves, are not looked into."""

_Owner = tuple[int, str]
"""A module: the number of its root, and the path from there."""


@dataclass
class Container:
    """A mapping or sequence in what is saved: the tensors in it at any depth, and the containers directly in it."""

    place: str
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    inner: list["Container"] = field(default_factory=list)


def containers_of(saved: object, place: str = "", depth: int = 0) -> Container:
    """`saved` as containers and tensors; what is neither is left out, modules too."""
    found = Container(place)
    for key, item in _items(saved) if depth < _MOST_DEPTH else ():
        if isinstance(item, torch.Tensor):
            found.tensors[key] = item
        elif isinstance(item, Mapping | list | tuple):
            inner = containers_of(item, join(place, key), depth + 1)
            if inner.tensors:
                found.inner.append(inner)
                found.tensors |= {join(key, name): tensor for name, tensor in inner.tensors.items()}
    return found


def _items(saved: object) -> Iterable[tuple[str, Any]]:
    if isinstance(saved, Mapping):
        return [(str(key), item) for key, item in saved.items()]
    if isinstance(saved, list | tuple):
        return [(str(index), item) for index, item in enumerate(saved)]
    return [("", saved)] if isinstance(saved, torch.Tensor) else ()


def join(place: str, key: str) -> str:
    """The path of `key` in `place`."""
    return f"{place}.{key}" if place and key else place or key


def same_memory(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are one and the same memory."""
    try:
        return tensor.data_ptr() == other.data_ptr() != 0 and tensor.nbytes == other.nbytes
    except RuntimeError:  # what has no memory, such as a fake tensor
        return False


class Match(NamedTuple):
    """A container that holds a module's state: the module's name for each key that is one of its tensors."""

    container: Container
    module: Module
    names: Mapping[str, str]


class _Live(NamedTuple):
    owner: _Owner
    tensor: torch.Tensor


class Owners:
    """The live tensors of some modules, by every tail of their names."""

    def __init__(self, roots: Iterable[Module], equal: Callable[[torch.Tensor, torch.Tensor], bool]) -> None:
        """`equal` tells whether two tensors hold the same values; it is asked only where nothing else decides."""
        self._roots = list(roots)
        self._equal = equal
        self._tails: dict[str, list[_Live]] = {}
        self._sizes: Counter[_Owner] = Counter()
        for number, root in enumerate(self._roots):
            for _, name, tensor in persistent_tensors(root):
                for prefix, tail in _cuts(name):
                    self._tails.setdefault(tail, []).append(_Live((number, prefix), tensor))
                    self._sizes[number, prefix] += 1

    def matches(self, container: Container) -> list[Match]:
        """The parts of `container` that are some module's state, each as small as holds all of it."""
        inner = [match for part in container.inner for match in self.matches(part)]
        whole = self._match(container)
        if whole is not None and len(whole.names) > sum(len(match.names) for match in inner):
            return [whole]
        return inner

    def _match(self, container: Container) -> Match | None:
        """The owner of most tensors; None when that is less than half of them."""
        best: tuple[tuple[Any, ...], _Owner, list[str]] | None = None
        for stripped, names in enumerate(_without_common_words(list(container.tensors))):
            pairs = self._pairs(names, container)
            most = max(map(len, pairs.values()), default=0)
            if not most or 2 * most < len(names):
                continue
            for owner, both in pairs.items():
                if len(both) == most:
                    rank = (most, *self._likeness(both), -stripped, -self._sizes[owner], -len(owner[1]))
                    if best is None or rank > best[0]:
                        best = rank, owner, names
        if best is None:
            return None
        _, owner, names = best
        own = {
            key: name
            for key, name in zip(container.tensors, names, strict=True)
            if any(live.owner == owner for live in self._tails.get(name, ()))
        }
        return Match(container, self._roots[owner[0]].get_submodule(owner[1]), own)

    def _pairs(
        self, names: list[str], container: Container
    ) -> Mapping[_Owner, list[tuple[torch.Tensor, torch.Tensor]]]:
        """For each module that has some of the names with the same shapes: the saved tensors and its own."""
        found: dict[_Owner, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for name, tensor in zip(names, container.tensors.values(), strict=True):
            for owner, live in self._tails.get(name, ()):
                if live.shape == tensor.shape:
                    found.setdefault(owner, []).append((tensor, live))
        return found

    def _likeness(self, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[int, int]:
        """How many pairs are one memory, and how many hold equal values."""
        shared = sum(same_memory(tensor, live) for tensor, live in pairs)
        return shared, shared or sum(self._equal(tensor, live) for tensor, live in pairs)


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """Each way to cut a dotted name in two: what stands before, and the tail."""
    yield "", name
    for position, letter in enumerate(name):
        if letter == ".":
            yield name[:position], name[position + 1 :]


def _without_common_words(names: list[str]) -> Iterator[list[str]]:
    """The names as they are, then without each further first word that all of them share (`module.`)."""
    yield names
    while names and "." in names[0]:
        word = names[0].partition(".")[0] + "."
        if not all(name.startswith(word) for name in names):
            return
        names = [name[len(word) :] for name in names]
        yield names
