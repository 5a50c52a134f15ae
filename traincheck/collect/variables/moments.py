"""What optimizers keep for each parameter (exp_avg, momentum_buffer, step), noted after their steps when asked for."""

import math

import torch
from torch.optim import Optimizer

from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.needs import Needs
from traincheck.collect.values.fingerprint import ABSENT, UNMEASURED, measured
from traincheck.collect.variables.variables import Variables
from traincheck.trace.layout import POINTS

_PREFIX = "state."
"""Before the name of what is kept: the attribute `state.exp_avg` of a variable."""
_AFTER_STEP = POINTS.index("after_step")


class Moments:
    """The states of optimizers. There are two or three a parameter, each as large, so nobody gets them unasked."""

    def __init__(self, buffers: Buffers, variables: Variables, needs: Needs) -> None:
        self._buffers = buffers
        self._variables = variables
        self._needs = needs
        self.wanted = any(glob.startswith(_PREFIX) for glob in needs.states) and needs.wants_point("after_step")

    def note(self, optimizer: Optimizer, seq: int) -> None:
        """Write what `optimizer` keeps for its parameters after a step."""
        for param, kept in optimizer.state.items():
            variable = self._variables.find(param) if isinstance(param, torch.Tensor) else None
            if variable is None:
                continue
            for name, value in kept.items():
                attr = f"{_PREFIX}{name}"
                if isinstance(value, torch.Tensor) and self._needs.wants_state(attr, "after_step"):
                    self._write(variable.ids, seq, attr, value)

    def _write(self, numbers: tuple[int, ...], seq: int, attr: str, value: torch.Tensor) -> None:
        seen, norm, kind = measured(value)
        names = self._buffers.names
        for number in numbers:
            self._buffers.add(
                "states", number, seq, seen, math.nan if norm == UNMEASURED else norm, names(attr),
                names.optional(kind), NULL, _AFTER_STEP, seen != ABSENT, math.nan, math.nan,
            )  # fmt: skip
