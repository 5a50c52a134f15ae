"""Numbers for objects that are never reused: ids of Python objects are, so each is checked by a weak reference."""

import weakref
from collections.abc import Callable
from typing import Any

import torch

from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.calls.summaries import qualified


class Numbered:
    """Gives each object a number from `next_id` for as long as it lives."""

    def __init__(self, next_id: Callable[[], int]) -> None:
        self._next_id = next_id
        self.known: dict[int, tuple[weakref.ref[Any], int]] = {}

    def add(self, thing: object, number: int | None = None) -> int:
        """The number of `thing`: that which it is given, or else the one it has, or a new one.

        NULL for what cannot be referred to weakly.
        """
        address = id(thing)
        entry = self.known.get(address)
        known = self.known
        if entry is not None and entry[0]() is thing:
            if number is not None:
                known[address] = entry[0], number
            return entry[1] if number is None else number

        def forget(dead: weakref.ref[Any]) -> None:
            current = known.get(address)
            if current is not None and current[0] is dead:
                del known[address]

        try:
            reference = weakref.ref(thing, forget)
        except TypeError:
            return NULL
        if number is None:
            number = self._next_id()
        known[address] = (reference, number)
        return number


class Objects:
    """Optimizers, modules, schedulers, loaders and samplers: numbered, and written as facts when first seen."""

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._numbers = Numbered(buffers.next_id)
        self.known = self._numbers.known

    def number(self, thing: object) -> int:
        """The object id of `thing`."""
        entry = self.known.get(id(thing))
        if entry is not None and entry[0]() is thing:
            return entry[1]
        number = self._numbers.add(thing)
        if number != NULL:
            self._buffers.add("objects", number, self._buffers.names(qualified(type(thing))))
        return number

    def alias(self, thing: object, other: object) -> None:
        """From now on `thing` has the number of `other`."""
        self._numbers.add(thing, self.number(other))


class Tensors:
    """Stable tokens for tensor objects."""

    def __init__(self, next_id: Callable[[], int]) -> None:
        self._numbers = Numbered(next_id)
        self.token: Callable[[torch.Tensor], int] = self._numbers.add
