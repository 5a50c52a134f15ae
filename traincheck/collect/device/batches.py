"""What is found on a device of many tensors at once, on its way to the host."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from traincheck.collect.values.blocks import FIELDS
from traincheck.collect.values.measures import Cells

__all__ = ["Batch"]


class Batch:
    """What is found of entries that are measured together, once it has arrived."""

    def __init__(self, tell: Callable[[Any, Any], Cells]) -> None:
        self.cells_of = tell
        """The cells of entries, given what is found of them and their sizes in bytes, a row and a number for each."""
        self.arrived = self.failed = False
        self.found: npt.NDArray[np.int64] = np.empty((0, FIELDS), np.int64)
        """A row for each entry."""
        self._sizes: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._event: torch.cuda.Event | None = None

    @functools.cached_property
    def cells(self) -> Cells:
        """Those of all entries, each taken for a whole tensor."""
        return self.cells_of(self.found, self._sizes)

    def launch(self, found: torch.Tensor, sizes: npt.NDArray[np.uint64]) -> None:
        """Have it brought to the host."""
        if found.is_cuda:
            host = torch.empty(found.shape, dtype=found.dtype, device="cpu", pin_memory=True)
            host.copy_(found, non_blocking=True)
            self._event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._event.record()
            found = host
        self.found, self._sizes = found.numpy(), sizes

    def look(self, wait: bool) -> bool:
        """Whether all has arrived or will never; `wait` until it has."""
        if self._event is not None:
            try:
                if wait:
                    self._event.synchronize()
                elif not self._event.query():  # type: ignore[no-untyped-call]
                    return False
            except RuntimeError:
                self.failed = True
            self._event = None
        self.arrived = True
        return True
