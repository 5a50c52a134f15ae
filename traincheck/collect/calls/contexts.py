"""What holds while a call runs: grad mode, autocast and the module's training flag, interned as sets."""

from typing import Any

import torch

from traincheck import values
from traincheck.collect.buffers import Buffers
from traincheck.collect.calls.summaries import dtype_name

_is_grad_enabled = torch.is_grad_enabled
_is_inference = torch.is_inference_mode_enabled


class Contexts:
    """Interns the context of each call."""

    __slots__ = ("_buffers", "_count", "_devices", "_extra", "known")

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._extra: dict[str, str] = {}
        self.known: dict[tuple[Any, ...], int] = {}  # another dict when what it holds no longer does
        self._count = 0
        self._devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])

    def add(self, key: str, value: str) -> None:
        """Let `key` hold for all calls from now on."""
        self._extra[key] = value
        self.known = {}

    def current(self, training: bool | None, autocast: str | None) -> int:
        """The id of the context that holds now, for a call whose module has the flag `training`.

        `autocast` is what `autocast` said when it was last entered or left on this thread: asking costs more
        than all else here.
        """
        key = (True, training, False, autocast) if _is_grad_enabled() else (False, training, _is_inference(), autocast)
        known = self.known.get(key)
        return self._add(key) if known is None else known

    def autocast(self) -> str | None:
        """The dtype that autocast computes in now, None when it is off."""
        for device in self._devices:
            if torch.is_autocast_enabled(device):
                return dtype_name(torch.get_autocast_dtype(device))
        return None

    def _add(self, key: tuple[Any, ...]) -> int:
        grad, training, inference, autocast = key
        found = {"grad_mode": values.canonical(grad), "autocast": autocast or values.NONE, **self._extra}
        if training is not None:
            found["training"] = values.canonical(training)
        if inference:
            found["inference_mode"] = values.TRUE
        number = self.known[key] = self._count
        self._count += 1
        for name, value in found.items():
            self._buffers.add("contextsets", number, self._buffers.names(name), self._buffers.names(value))
        return number
