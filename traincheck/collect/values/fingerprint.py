"""Order-aware fingerprints of tensors' bytes."""

import ctypes
import functools
import math
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xxhash

from traincheck import values
from traincheck.collect.compiled import NATIVE
from traincheck.collect.values.modes import undisturbed

ABSENT = 0
"""The fingerprint of a tensor that has none: meta, quantised or a wrapper around others."""

UNSEEN = 2
"""A fingerprint that was never taken."""
NO_GRADIENT = 3
"""The fingerprint of a gradient that is None."""
DEFERRED = 4
"""A fingerprint that is known only when rows are written."""

UNMEASURED = -1.0
"""The norm of what has none."""

digest: Callable[[Any], int] = xxhash.xxh3_64_intdigest if NATIVE is None else NATIVE.digest
"""The fingerprint of a buffer's bytes: with the compiled part one of its own (csrc/digest.c)."""
PLAIN_TYPES = frozenset((torch.Tensor, torch.nn.Parameter))
_data_ptr: Callable[[Any], int] = torch.Tensor.data_ptr
_nbytes: Callable[[Any], int] = attrgetter("nbytes")
_MAX_VIEWS = 4096
LOW = 1 << 36
Floats = npt.NDArray[np.float32]
_SMALL = 8192
"""Up to so many numbers NumPy measures at a tenth of what torch takes, and in one thread."""


@functools.lru_cache(maxsize=4096)
def zero_fingerprint(size: int) -> int:
    """The fingerprint of `size` zero bytes."""
    return digest(bytes(size)) or 1


@functools.lru_cache(maxsize=4096)
def _memory(address: int, size: int) -> Any:
    return (ctypes.c_char * size).from_address(address) if size else b""


is_transformed: Callable[[torch.Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor  # nothing public tells
"""Whether a tensor stands for values within a transform of torch.func, such as vmap, which are nowhere to be read."""


def readable(tensor: torch.Tensor) -> bool:
    """Whether the tensor's own memory holds its values: dense, real storage, no subclass around other tensors."""
    if type(tensor) not in PLAIN_TYPES or tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        return False
    if is_transformed(tensor) or tensor._is_zerotensor():
        return False
    # FSDP frees a storage and keeps the tensors in it, whose addresses are then their offsets from nothing
    return tensor.data_ptr() > LOW or tensor.untyped_storage().nbytes() > 0 or not tensor.numel()


def _capturing() -> bool:
    initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return initialized and torch.cuda.is_current_stream_capturing()


capturing: Callable[[], bool] = _capturing if torch.backends.cuda.is_built() else bool  # type: ignore[no-untyped-call]
"""Whether what this thread asks of its GPU is kept for a graph, which a copy to the host would break."""


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a distributed tensor that is on this rank; any other tensor as it is.

    To read more of a DTensor would take a collective, which all ranks would have to join.
    """
    if type(tensor) in PLAIN_TYPES:
        return tensor
    inner = getattr(tensor, "_local_tensor", None)
    return inner if isinstance(inner, torch.Tensor) else tensor


def fingerprint(tensor: torch.Tensor) -> int:
    """A hash of the tensor's bytes in logical order, never 0; `ABSENT` when its values cannot be read.

    Equal values give equal fingerprints within one dtype and shape whatever the strides; any change of a bit
    (the sign of a zero included) changes it. Of a distributed tensor it is that of the local part.
    """
    tensor = local(tensor)
    if not tensor.is_cpu and capturing():
        return ABSENT
    if not readable(tensor):
        return _of_sparse(tensor)
    if not tensor.is_cpu or not tensor.is_contiguous():
        with undisturbed():
            tensor = tensor.detach().cpu().contiguous()
    address, size = tensor.data_ptr(), tensor.nbytes
    if address == 0 or size == 0:
        return zero_fingerprint(0)
    return digest(_memory(address, size)) or 1


class Reader:
    """Takes the fingerprints of one list of tensors, or of their successors, again and again.

    Remembers where their memory is. A view of it is read only while the tensor at that position is still at the same
    address and of the same size; what cannot be read in this way takes the slow way of `fingerprint`.
    """

    def __init__(self) -> None:
        self._places: tuple[list[int], list[int]] = ([], [])
        self._views: list[Any] = []
        self._fast: list[int] = []  # positions whose memory is read directly
        self._slow: list[int] = []
        self._count = -1
        self._known: dict[tuple[int, int, torch.dtype], tuple[Any, Floats | None]] = {}
        self.small: list[Floats | None] = []
        """Of each of the list just read, its values where NumPy is quicker to read them: never of none; else None."""

    def __call__(self, tensors: list[torch.Tensor]) -> list[int]:
        """The fingerprint of each, in order."""
        if len(tensors) != self._count:
            self._split(tensors)
        try:
            fast, places = self._placed(tensors)
            ready = places == self._places or self._look(fast, places)
        except RuntimeError:  # a tensor without memory of its own has come to a place where one with it was
            ready = False
        if not ready:
            self._split(tensors)
            self._look(*self._placed(tensors))
        if not self._slow:
            return list(map(digest, self._views))
        found = [ABSENT] * len(tensors)
        for index, seen in zip(self._fast, map(digest, self._views), strict=True):
            found[index] = seen
        for index in self._slow:
            found[index] = fingerprint(tensors[index])
        return found

    def with_gaps(self, tensors: list[Any]) -> tuple[list[int], list[Floats | None]]:
        """The fingerprint of each, and the values of what is small; of None it is `NO_GRADIENT`."""
        present = [tensor for tensor in tensors if tensor is not None]
        seen = self(present) if present else []
        if len(present) == len(tensors):
            return seen, self.small if present else []
        found, values = iter(seen), iter(self.small)
        return (
            [NO_GRADIENT if tensor is None else next(found) for tensor in tensors],
            [None if tensor is None else next(values) for tensor in tensors],
        )

    def _placed(self, tensors: list[torch.Tensor]) -> tuple[list[torch.Tensor], tuple[list[int], list[int]]]:
        fast = [tensors[index] for index in self._fast] if self._slow else tensors
        return fast, (list(map(_data_ptr, fast)), list(map(_nbytes, fast)))

    def _split(self, tensors: list[torch.Tensor]) -> None:
        fast = [_is_fast(tensor) for tensor in tensors]
        self._count = len(tensors)
        self._fast = [index for index, direct in enumerate(fast) if direct]
        self._slow = [index for index, direct in enumerate(fast) if not direct]
        self._places = ([-1] * len(self._fast), [-1] * len(self._fast))
        self._views = [b""] * len(self._fast)
        self.small = [None] * len(tensors)

    def _look(self, tensors: list[torch.Tensor], places: tuple[list[int], list[int]]) -> bool:
        """Take the views of memory that has moved; False when some of it can no longer be read directly."""
        if len(self._known) > _MAX_VIEWS:
            self._known.clear()
        (pointers, sizes), (old_pointers, old_sizes) = places, self._places
        for index, (pointer, size) in enumerate(zip(pointers, sizes, strict=True)):
            if pointer == old_pointers[index] and size == old_sizes[index]:
                continue
            tensor = tensors[index]
            if not _is_fast(tensor):
                return False
            key = (pointer, size, tensor.dtype)
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = _view(*key)
            self._views[index], self.small[self._fast[index]] = known
        self._places = places
        return True


def _view(pointer: int, size: int, dtype: torch.dtype) -> tuple[Any, Floats | None]:
    """Some memory as bytes, and as numbers where NumPy is quicker to read them."""
    view = _memory(pointer, size)
    small = dtype is torch.float32 and 0 < size <= _SMALL * dtype.itemsize
    return view, np.frombuffer(view, np.float32) if small else None


def norms(tensors: list[torch.Tensor]) -> list[float]:
    """The Euclidean norm of each.

    Infinite or NaN when a value is, or when the squares overflow; `UNMEASURED` for integers and the unreadable.
    """
    found = [UNMEASURED] * len(tensors)
    places = []
    for place, tensor in enumerate(map(local, tensors)):
        if tensor.is_floating_point() and tensor.element_size() > 1 and readable(tensor):  # float8 has no norm
            places.append((place, tensor))
    for place, norm in _norms_in_float(places):
        found[place] = norm
    return found


def _norms_in_float(tensors: list[tuple[int, torch.Tensor]]) -> list[tuple[int, float]]:
    """Norms, with the places they came with; of half precision in the single one, which has room for them."""
    found: list[tuple[int, float]] = []
    for halves, dtype in ((False, None), (True, torch.float32)):
        alike = [(place, tensor) for place, tensor in tensors if (tensor.element_size() == 2) is halves]
        if alike:
            with torch.no_grad():
                measured = torch._foreach_norm([tensor for _, tensor in alike], dtype=dtype)
            found += [(place, float(norm)) for (place, _), norm in zip(alike, measured, strict=True)]
    return found


def _is_fast(tensor: torch.Tensor) -> bool:
    return tensor.is_cpu and readable(tensor) and tensor.is_contiguous()


def _of_sparse(tensor: torch.Tensor) -> int:
    """The fingerprint of a COO tensor's indices and values; another order of entries is another fingerprint."""
    if tensor.layout is not torch.sparse_coo or type(tensor) not in PLAIN_TYPES or tensor.is_meta:
        return ABSENT
    with undisturbed():
        inner = tensor.detach()
        return hash((fingerprint(inner._indices()), fingerprint(inner._values()))) & (1 << 63) - 1 or 1


def measured(tensor: torch.Tensor) -> tuple[int, float, str | None]:
    """The fingerprint, norm and class of one tensor; `ABSENT`, `UNMEASURED` and None where there is none."""
    seen = fingerprint(tensor)
    if seen == ABSENT:
        return seen, UNMEASURED, None
    with undisturbed():
        norm = float(tensor.detach().norm()) if tensor.is_floating_point() and readable(tensor) else UNMEASURED
        return seen, norm, value_class(tensor, seen, norm)


def value_class(tensor: torch.Tensor, seen: int, norm: float) -> str:
    """The class of the values with fingerprint `seen`; without a norm they are taken to be finite."""
    if tensor.layout is not torch.strided:
        sparse = tensor.layout is torch.sparse_coo and seen != ABSENT
        return values.ZERO if sparse and not bool(tensor.detach()._values().any()) else values.NONZERO
    if norm == UNMEASURED:
        return values.ZERO if seen == zero_fingerprint(tensor.nbytes) else values.NONZERO
    if norm == 0.0:  # zeros of either sign, or values whose squares vanish
        return values.NONZERO if bool(tensor.detach().any()) else values.ZERO
    if math.isfinite(norm):
        return values.NONZERO
    # the squares may overflow where no value does
    return values.NONZERO if bool(torch.isfinite(tensor.detach()).all()) else values.NONFINITE
