"""Where tensors begin, as kernels look it up."""

import torch

__all__ = ["Addresses"]

_ENTRIES = 1 << 16
_APART = 2
"""What is sent together begins at a multiple of so many, 16 bytes: for what does not, Triton compiles a kernel anew."""


class Addresses:
    """Addresses on a device, in the order of one of its streams; what was sent stays there until there is no more room.

    The room is made once, so that sending takes none of what the script's own tensors would have.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known: dict[tuple[int, ...], torch.Tensor] = {}
        self._room = torch.empty(0, device="cpu")
        self._used = 0
        self._make(_ENTRIES)

    def on_device(self, addresses: tuple[int, ...]) -> torch.Tensor:
        """Some addresses, int64 [entries], to be read in the order of the stream that is current."""
        known = self._known.get(addresses)
        if known is None:
            known = self._known[addresses] = self._send(addresses)
        return known

    def _send(self, addresses: tuple[int, ...]) -> torch.Tensor:
        if self._used + len(addresses) > len(self._room):
            self._known.clear()
            self._make(len(addresses))
        place = slice(self._used, self._used + len(addresses))
        self._used = -(-place.stop // _APART) * _APART
        self._numbers[place] = addresses
        return self._room[place].copy_(self._host[place], non_blocking=True)

    def _make(self, least: int) -> None:
        """Room from its beginning on, on the host in other memory than before: that may still be being copied."""
        with torch.inference_mode(False):
            entries = max(least, len(self._room))
            if entries > len(self._room):
                self._room = torch.empty(entries, dtype=torch.int64, device=self._device)
            self._host = torch.empty(entries, dtype=torch.int64, device="cpu", pin_memory=self._device.type == "cuda")
        self._numbers = self._host.numpy()
        self._used = 0
