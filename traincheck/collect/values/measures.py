"""How large values are: norms, classes, ranges and how many are not finite, of those that a sweep found new."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from traincheck import values
from traincheck.collect.buffers import NULL, Names
from traincheck.collect.values.fingerprint import UNMEASURED, Floats, local, norms, value_class
from traincheck.collect.values.ranges import NO_RANGE, Range, flat_ranges, nonfinite, ranges

__all__ = ["CELL", "Cells", "Measures"]

Cells = npt.NDArray[Any]
CELL = np.dtype(
    [
        ("position", "i4"),
        ("class", "i4"),
        ("print", "u8"),
        ("norm", "f8"),
        ("nonfinite", "i8"),
        ("minimum", "f8"),
        ("maximum", "f8"),
    ]
)
"""What is known of one value of the variable at a position; the compiled part writes the same (csrc/sweep.h)."""


class Measures:
    """Measures values in the words of one process."""

    def __init__(self, names: Names) -> None:
        self.none, self.zero, self.nonzero, self.nonfinite = map(
            names, (values.NONE, values.ZERO, values.NONZERO, values.NONFINITE)
        )
        self.words = self.none, self.zero, self.nonzero, self.nonfinite
        self._kinds = {values.ZERO: self.zero, values.NONZERO: self.nonzero, values.NONFINITE: self.nonfinite}

    def cells(self, tensors: Sequence[Any], prints: Sequence[int], positions: Sequence[int]) -> Cells:
        """Cells with fingerprints only, of values that are nonzero and finite, and of gradients that are None."""
        cells = np.empty(len(tensors), CELL)
        cells["position"] = positions
        cells["print"] = np.fromiter(prints, np.uint64, len(prints))
        cells["class"] = [self.none if tensor is None else self.nonzero for tensor in tensors]
        cells["nonfinite"] = [NULL if tensor is None else 0 for tensor in tensors]
        cells["norm"] = UNMEASURED
        cells["minimum"], cells["maximum"] = NO_RANGE
        return cells

    def measure(
        self, cells: Cells, tensors: Sequence[Any], small: Sequence[Floats | None], ranged: bool, later: bool
    ) -> list[int]:
        """Fill in what there is to know; `small` are the values of those that NumPy is quicker to measure.

        The places of what is left for `later`, if it is to be: what is large, and on another device.
        """
        flat = [place for place, array in enumerate(small) if array is not None]
        if flat:
            self._small(cells, flat, [array for array in small if array is not None], ranged)
        rest = [place for place, tensor in enumerate(tensors) if tensor is not None and small[place] is None]
        remote = [place for place in rest if later and not tensors[place].is_cpu]
        large = [place for place in rest if not (later and not tensors[place].is_cpu)]
        if large:
            self._large(cells, large, [tensors[place] for place in large], ranged)
        return self._unmeasured(cells, remote, [tensors[place] for place in remote], ranged)

    def _small(self, cells: Cells, places: list[int], arrays: list[Floats], ranged: bool) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            found = list(map(math.sqrt, map(float, map(np.dot, arrays, arrays))))
        cells["norm"][places] = found
        for place, array, length in zip(places, arrays, found, strict=True):
            if not 0.0 < length < math.inf:  # the squares vanish or overflow
                bad = len(array) - int(np.isfinite(array).sum())
                cells["class"][place] = self.nonfinite if bad else self.nonzero if array.any() else self.zero
                cells["nonfinite"][place] = bad
        if ranged:
            _set_ranges(cells, places, flat_ranges(arrays))

    def _large(self, cells: Cells, places: list[int], tensors: list[torch.Tensor], ranged: bool) -> None:
        found = norms(tensors)
        cells["norm"][places] = found
        for place, tensor, norm in zip(places, map(local, tensors), found, strict=True):
            if not 0.0 < norm < math.inf:
                kind = value_class(tensor, int(cells["print"][place]), norm)
                cells["class"][place] = self._kinds[kind]
                cells["nonfinite"][place] = self._bad(tensor, kind, norm)
        if ranged:
            _set_ranges(cells, places, ranges(tensors))

    def _unmeasured(self, cells: Cells, places: list[int], tensors: list[torch.Tensor], ranged: bool) -> list[int]:
        """What fingerprints tell of tensors alone, whether all is zero; the places of which that is not all to ask."""
        rest = []
        for place, tensor in zip(places, tensors, strict=True):
            kind = value_class(tensor, int(cells["print"][place]), UNMEASURED)
            cells["class"][place] = self._kinds[kind]
            if ranged or tensor.is_floating_point() or tensor.is_complex():
                cells["nonfinite"][place] = NULL
                rest.append(place)
        return rest

    def _bad(self, tensor: torch.Tensor, kind: str, norm: float) -> int:
        """How many values are not finite; NULL of those without a norm that are no integers."""
        if norm == UNMEASURED and (tensor.is_floating_point() or tensor.is_complex()):
            return NULL
        return nonfinite(tensor) if kind == values.NONFINITE else 0


def _set_ranges(cells: Cells, places: list[int], limits: list[Range]) -> None:
    cells["minimum"][places], cells["maximum"][places] = zip(*limits, strict=True)
