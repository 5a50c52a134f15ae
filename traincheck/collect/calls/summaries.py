"""Summaries of arguments and results: what a value was, in few words, interned as one set per call."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch

from traincheck import values
from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.calls.names import module_name
from traincheck.collect.values.fingerprint import is_transformed
from traincheck.trace.layout import LINK_HASHED

_SCALARS = frozenset((bool, int, float, str, type(None)))
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_PLAIN_TENSORS = frozenset(_TENSORS)
_TORCH_SCALARS = frozenset((torch.dtype, torch.device))
_SEQUENCES = frozenset((list, tuple, dict, torch.Size))
_MAX_ITEMS = 16
ITEM_NAMES = tuple(str(index) for index in range(_MAX_ITEMS))
ONE = ("",)
_MAX_TEXT = 200
_MAX_SETS = 256
"""How many different sets one API may have before numbers are no longer part of them."""


def qualified(kind: type) -> str:
    """A type's name with its module, builtins without."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module_name(module)}.{kind.__qualname__}"


class Values(Protocol):
    """What knows the values of tensors."""

    def fingerprint(self, tensor: torch.Tensor) -> int:
        """The fingerprint, 0 for none."""

    def link_later(self, call: int, token: int, name: int, flags: int, tensor: torch.Tensor) -> bool:
        """Write the row of links about a tensor on a GPU when its fingerprint is known; False when it is not to be."""


class SetTable:
    """The sets of one API (its arguments, or its results), by what they are made of."""

    __slots__ = ("known", "memo", "optional")

    def __init__(self, optional: frozenset[str] = frozenset()) -> None:
        self.optional = optional  # parameters whose default is None: a None says nothing
        self.known: dict[tuple[Any, ...], int] = {}
        self.memo: object = None  # what the compiled part finds some of them by


class Summaries:
    """Turns values into interned sets, and links to the tensors among them."""

    def __init__(self, buffers: Buffers, token: Callable[[Any], int], changes: Values) -> None:
        self._buffers = buffers
        self._names = buffers.names
        self._token = token
        self._values = changes
        self._pack_link = buffers.pack("links")
        self._append_link = buffers.append("links")
        self._ids: dict[tuple[Any, ...], int] = {}

    def describe(
        self,
        table: SetTable,
        names: Sequence[str],
        items: Iterable[Any],
        call: int,
        flags: int,
        linked: bool,
        hashed: bool,
    ) -> int:
        """The id of the set that describes `items`.

        It is told which tensors are among them if `linked`, and which values these have if `hashed`.
        """
        key: list[Any] = []
        for name, value in zip(names, items, strict=False):
            kind = type(value)
            if kind in _PLAIN_TENSORS:
                key.append((value.dtype, value.shape) if value.is_cpu else (value.dtype, value.shape, value.device))
                if linked or hashed:
                    self.link(call, name, value, flags, linked, hashed)
            elif kind in _SCALARS or kind in _TORCH_SCALARS:
                key.append((kind, value))
            elif kind in _SEQUENCES or isinstance(value, tuple | torch.Tensor):
                key.append(self._nested(call, name, value, flags, linked, hashed))
            else:
                key.append((kind,))
        found = tuple(key)
        known = table.known.get(found)
        return self._new_set(table, names, found) if known is None else known

    def one(
        self, table: SetTable, names: Sequence[str], value: Any, call: int, flags: int, linked: bool, hashed: bool
    ) -> int:
        """As `describe`, for a single value: most often a tensor."""
        if type(value) in _PLAIN_TENSORS and value.is_cpu:
            if linked or hashed:
                self.link(call, names[0], value, flags, linked, hashed)
            known = table.known.get(((value.dtype, value.shape),))
            if known is not None:
                return known
            linked = hashed = False
        return self.describe(table, names, (value,), call, flags, linked, hashed)

    def result(self, table: SetTable, result: Any, call: int, flags: int, linked: bool, hashed: bool) -> int:
        """As `describe`, for what a call returned."""
        kind = type(result)
        if kind is tuple or kind is list:
            return self.describe(table, ITEM_NAMES, result, call, flags, linked, hashed)
        return self.one(table, ONE, result, call, flags, linked, hashed)

    def _nested(self, call: int, name: str, value: Any, flags: int, linked: bool, hashed: bool) -> tuple[Any, ...]:
        """A container, one level deep: the key of each item behind its index or key."""
        kind = type(value)
        if kind is tuple and len(value) <= _MAX_ITEMS and _SCALARS.issuperset(kinds := tuple(map(type, value))):
            return (ScalarsKey, value, kinds)  # such as a stride
        if isinstance(value, torch.Tensor):
            if linked:
                self.link(call, name, value, flags, True, False)
            return (value.dtype, value.shape, value.device, kind)
        pairs = list(value.items()) if type(value) is dict else list(enumerate(value))
        found: list[Any] = []
        for index, item in pairs[:_MAX_ITEMS]:
            kind = type(item)
            if isinstance(item, torch.Tensor):
                found.append((str(index), item.dtype, item.shape, item.device))
                if linked or hashed:
                    self.link(call, f"{name}.{index}" if name else str(index), item, flags, linked, hashed)
            elif kind in _SCALARS:
                found.append((str(index), kind, item))
            else:
                found.append((str(index), kind))
        return (_Nested, type(value), len(pairs), tuple(found))

    def link(self, call: int, name: str, value: Any, flags: int, linked: bool, hashed: bool) -> None:
        """Say which tensor the value `name` of a call is if `linked`, and its fingerprint if `hashed`."""
        token = self._token(value) if linked else NULL
        hashed = hashed and not is_transformed(value)
        if hashed and value.is_cuda and self._values.link_later(call, token, self._names(name), flags, value):
            return
        fingerprint = self._values.fingerprint(value) if hashed else 0
        if token != NULL or fingerprint:
            self._append_link(
                self._pack_link(
                    call, token, fingerprint, self._names(name), flags | (LINK_HASHED if fingerprint else 0)
                )
            )

    def _new_set(self, table: SetTable, names: Sequence[str], key: tuple[Any, ...]) -> int:
        optional = table.optional
        rows: list[tuple[Any, ...]] = []
        exact = len(table.known) < _MAX_SETS
        for name, entry in zip(names, key, strict=False):
            if not name.startswith("_") and not (entry == _ABSENT and name in optional):
                rows.extend(_rows(name, entry, exact))
        shared = tuple(rows)
        known = self._ids.get(shared)
        if known is None:
            known = self._ids[shared] = len(self._ids)
            for row in shared:
                self._write(known, row)
        if exact:
            table.known[key] = known
        return known

    def _write(self, number: int, row: tuple[Any, ...]) -> None:
        name, kind, value, value_class, amount, dtype, shape, device = row
        intern = self._names.optional
        self._buffers.add(
            "valuesets", number, self._names(name), intern(kind), intern(value), intern(value_class),
            math.nan if amount is None else amount, intern(dtype), intern(shape), intern(device),
        )  # fmt: skip


_ABSENT = (type(None), None)


class _Nested:
    """Marks the key of a container."""


class ScalarsKey:
    """Marks the key of a tuple of scalars, which stays as it is until it is written."""


def _rows(name: str, entry: tuple[Any, ...], exact: bool) -> Iterable[tuple[Any, ...]]:
    """The rows (name, type, value, class, number, dtype, shape, device) that one key entry stands for."""
    head = entry[0]
    if isinstance(head, torch.dtype):
        yield _tensor_row(name, entry)
    elif head is ScalarsKey:
        yield from _rows(name, _spelled(*entry[1:]), exact)
    elif head is _Nested:
        _, kind, length, items = entry
        yield (name, qualified(kind), None, values.EMPTY if length == 0 else None, float(length), None, None, None)
        for index, *rest in items:
            inner = f"{name}.{index}" if name else index
            yield from _rows(inner, tuple(rest), exact)
    elif len(entry) == 1:
        yield (name, qualified(head), qualified(head), None, None, None, None, None)
    else:
        yield _scalar_row(name, head, entry[1], exact)


def _spelled(value: tuple[Any, ...], kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """The key of a tuple of scalars, as that of any other container is."""
    items = tuple((str(index), kind, item) for index, (kind, item) in enumerate(zip(kinds, value, strict=True)))
    return (_Nested, tuple, len(value), items)


def _tensor_row(name: str, entry: tuple[Any, ...]) -> tuple[Any, ...]:
    dtype, shape, *rest = entry
    device = str(rest[0]) if rest else "cpu"
    shown = qualified(rest[1]) if len(rest) > 1 else "torch.Tensor"
    return (name, shown, None, None, None, dtype_name(dtype), shape_text(shape), device)


def _scalar_row(name: str, kind: type, value: Any, exact: bool) -> tuple[Any, ...]:
    if kind is torch.dtype:
        return (name, "torch.dtype", dtype_name(value), None, None, None, None, None)
    if kind is torch.device:
        return (name, "torch.device", str(value), None, None, None, None, None)
    if kind is str:
        value = value[:_MAX_TEXT]
    number = float(value) if kind in (bool, int, float) and _fits(value) else None
    free = exact or kind in (bool, type(None))
    return (
        name,
        qualified(kind),
        values.canonical(value) if free else None,
        values.classify(value) if free or kind in (int, float) else None,
        number if free else None,
        None, None, None,
    )  # fmt: skip


def _fits(value: float) -> bool:
    return not isinstance(value, int) or abs(value) < 1 << 1000


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for torch.float32."""
    return str(dtype).removeprefix("torch.")


def shape_text(shape: Iterable[int]) -> str:
    """`[16, 64]` for a shape."""
    return str([int(size) for size in shape])
