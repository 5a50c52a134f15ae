"""How large values are: norms, classes, ranges and how many are not finite, of those that a sweep found new."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from traincheck import values
from traincheck.collect.buffers import NULL, Names
from traincheck.collect.fingerprint import UNMEASURED, Floats, local, norms, value_class, zero_fingerprint
from traincheck.collect.ranges import NO_RANGE, UNKNOWN, Extent, flat_ranges, nonfinite, ranges

__all__ = ["Measured", "Measures", "lengths"]


def lengths(arrays: list[Floats]) -> tuple[list[float], bool]:
    """The Euclidean norm of each, and whether each is a number above 0."""
    found = list(map(math.sqrt, map(float, map(np.dot, arrays, arrays))))
    return found, all(0.0 < length < math.inf for length in found)


class Measured(NamedTuple):
    """The norms, classes (as ids of words) and extents of some values.

    Without classes all are nonzero and finite; without extents all are finite, and nobody asks for ranges.
    """

    norms: list[float]
    classes: list[int] | None
    extents: list[Extent] | None


class Measures:
    """Measures values in the words of one process."""

    def __init__(self, names: Names) -> None:
        self._none = names(values.NONE)
        self._words = {word: names(word) for word in (values.ZERO, values.NONZERO, values.NONFINITE)}

    def small(self, arrays: list[Floats], ranged: bool) -> Measured:
        """Of arrays of few numbers, none of them empty."""
        found, ordinary = lengths(arrays)
        if ordinary:
            return Measured(found, None, self.limits(arrays) if ranged else None)
        told = [
            (self._words[values.NONZERO], 0) if 0.0 < length < math.inf else self._of_numbers(array)
            for array, length in zip(arrays, found, strict=True)
        ]
        limits = flat_ranges(arrays) if ranged else [NO_RANGE] * len(arrays)
        return _measured(found, told, limits)

    def limits(self, arrays: list[Floats]) -> list[Extent]:
        """The extents of such arrays that are finite throughout."""
        return [(0, *limit) for limit in flat_ranges(arrays)]

    def large(self, tensors: list[Any], seen: list[int], ranged: bool) -> Measured:
        """Of tensors with the fingerprints `seen`."""
        found = norms(tensors)
        told = [
            (self._words[values.NONZERO], 0) if 0.0 < norm < math.inf else self._of_tensor(tensor, now, norm)
            for tensor, now, norm in zip(tensors, seen, found, strict=True)
        ]
        return _measured(found, told, ranges(tensors) if ranged else [NO_RANGE] * len(tensors))

    def unmeasured(self, tensors: list[Any], seen: list[int], ranged: bool) -> tuple[Measured, list[int]]:
        """What fingerprints tell of tensors alone, whether all is zero; and where that is not all that is asked."""
        zero, nonzero = self._words[values.ZERO], self._words[values.NONZERO]
        classes = [
            zero if now == zero_fingerprint(tensor.nbytes) else nonzero
            for now, tensor in zip(seen, tensors, strict=True)
        ]
        whole = [not (ranged or tensor.is_floating_point() or tensor.is_complex()) for tensor in tensors]
        extents: list[Extent] = [(0, *NO_RANGE) if known else UNKNOWN for known in whole]
        rest = [place for place, known in enumerate(whole) if not known]
        return Measured([UNMEASURED] * len(seen), classes, extents), rest

    def nothing(self, count: int) -> Measured:
        """Of so many gradients that are None."""
        return Measured([UNMEASURED] * count, [self._none] * count, [UNKNOWN] * count)

    def together(self, parts: list[Measured]) -> Measured:
        """What was measured in parts, as one."""
        if len(parts) == 1:
            return parts[0]
        nonzero, finite = self._words[values.NONZERO], (0, *NO_RANGE)
        norms, classes, extents = list[float](), list[int](), list[Extent]()
        for part in parts:
            count = len(part.norms)
            norms += part.norms
            classes += [nonzero] * count if part.classes is None else part.classes
            extents += [finite] * count if part.extents is None else part.extents
        return Measured(norms, classes, extents)

    def _of_numbers(self, array: Floats) -> tuple[int, int]:
        """The class of values whose squares vanish or overflow, and how many of them are not finite."""
        bad = len(array) - int(np.isfinite(array).sum())
        kind = values.NONFINITE if bad else values.NONZERO if array.any() else values.ZERO
        return self._words[kind], bad

    def _of_tensor(self, tensor: torch.Tensor, seen: int, norm: float) -> tuple[int, int]:
        """The same of values whose norm does not tell.

        Without a norm they are taken to be finite; of other than integers their number is then NULL.
        """
        tensor = local(tensor)
        kind = value_class(tensor, seen, norm)
        bad = nonfinite(tensor) if kind == values.NONFINITE else 0
        if norm == UNMEASURED and (tensor.is_floating_point() or tensor.is_complex()):
            bad = NULL
        return self._words[kind], bad


def _measured(norms: list[float], told: Iterable[tuple[int, int]], limits: list[tuple[float, float]]) -> Measured:
    classes, bad = map(list, zip(*told, strict=True))
    return Measured(norms, classes, [(number, *limit) for number, limit in zip(bad, limits, strict=True)])
