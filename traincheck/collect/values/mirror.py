"""Brings tensors to contiguous memory of the host, in as few transfers as possible: each makes the host wait."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from traincheck.collect.values.fingerprint import readable

__all__ = ["mirrored"]

_MOST = 1 << 24
"""Bytes of a transfer, and so of the device's memory that it takes; a tensor that has more goes alone."""

_MOST_COPIED = 1 << 30
"""Bytes of all copies that there are at one time: what is larger is read one by one."""

_Kind = tuple[torch.device, torch.dtype]


def mirrored(tensors: Sequence[Any]) -> list[Any] | None:
    """The tensors, or copies with the same values where they are not contiguous on the host; None stays None.

    None for all when one of them has no memory that can be read or is on a GPU, for which there is no need to wait,
    or when there would be too much to copy.
    """
    found = list(tensors)
    remote: dict[_Kind, list[int]] = {}
    copied = 0
    for place, tensor in enumerate(tensors):
        if tensor is None:
            continue
        if tensor.is_cuda or not readable(tensor):
            return None
        if tensor.is_cpu and tensor.is_contiguous():
            continue
        copied += tensor.nbytes
        if copied > _MOST_COPIED:
            return None
        if tensor.is_cpu:
            found[place] = tensor.detach().contiguous()
        else:
            remote.setdefault((tensor.device, tensor.dtype), []).append(place)
    with torch.no_grad():
        for alike in remote.values():
            for places in _transfers(tensors, alike):
                for place, copy in zip(places, _fetched([tensors[place] for place in places]), strict=True):
                    found[place] = copy
    return found


def _transfers(tensors: Sequence[torch.Tensor], places: list[int]) -> Iterator[list[int]]:
    """Places in portions of about as many bytes as a transfer may have."""
    portion, size = list[int](), 0
    for place in places:
        more = tensors[place].nbytes
        if portion and size + more > _MOST:
            yield portion
            portion, size = [], 0
        portion.append(place)
        size += more
    yield portion


def _fetched(tensors: list[torch.Tensor]) -> Sequence[torch.Tensor]:
    if len(tensors) == 1:
        return [tensors[0].contiguous().cpu()]
    copies: Sequence[torch.Tensor] = _unflatten_dense_tensors(  # type: ignore[no-untyped-call]
        _flatten_dense_tensors(tensors).cpu(),  # type: ignore[no-untyped-call]
        tensors,
    )
    return copies
