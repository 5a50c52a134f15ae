"""Which variables stand at which position of the table, for those who look at it later."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Integers", "Roster"]

Integers = npt.NDArray[np.int64]


class Roster:
    """The variables of one version of the table: a number for each that is never reused, and the ids of its names."""

    __slots__ = ("_counts", "_ids", "_starts", "serials", "tied")

    def __init__(self, serials: Sequence[int], ids: Sequence[tuple[int, ...]]) -> None:
        """`serials` ascend; `ids` has a tuple, never empty, for each of them."""
        self.serials: Integers = np.array(serials, np.int64)
        self._counts: Integers = np.array([len(names) for names in ids], np.int64)
        self._starts: Integers = np.cumsum(self._counts) - self._counts
        self._ids: Integers = np.array([number for names in ids for number in names], np.int64)
        self.tied = self._counts.tolist() if len(self._ids) > len(serials) else None
        """How many names each has; None when each has one."""

    def __len__(self) -> int:
        return len(self.serials)

    def count(self, positions: Sequence[int] | Integers) -> int:
        """How many names the variables at some positions have."""
        return len(positions) if self.tied is None else int(self._counts[positions].sum())

    def names(self, positions: Integers) -> tuple[Integers, Integers]:
        """The ids of the names at `positions`, and for each the index into `positions` that it belongs to."""
        counts = self._counts[positions]
        index = np.repeat(np.arange(len(positions)), counts)
        within = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._ids[self._starts[positions][index] + within], index
