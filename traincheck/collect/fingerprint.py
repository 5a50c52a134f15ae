"""Order-aware fingerprints of tensors' bytes, and the classes their values fall into."""

import ctypes
import functools
from typing import Any

import torch
import xxhash

ABSENT = 0
"""The fingerprint of a tensor that has none: meta, sparse, quantised or a wrapper around others."""

_hash = xxhash.xxh3_64_intdigest
_PLAIN_TYPES = frozenset((torch.Tensor, torch.nn.Parameter, torch.nn.parameter.Buffer))


def _bytes_at(address: int, size: int) -> Any:
    return (ctypes.c_char * size).from_address(address)


@functools.lru_cache(maxsize=4096)
def zero_fingerprint(size: int) -> int:
    """The fingerprint of `size` zero bytes."""
    return _hash(bytes(size)) or 1


def readable(tensor: torch.Tensor) -> bool:
    """Whether the tensor's own memory holds its values: dense, real storage, no subclass around other tensors."""
    return type(tensor) in _PLAIN_TYPES and tensor.layout is torch.strided and tensor.device.type != "meta"


def fingerprint(tensor: torch.Tensor) -> int:
    """xxh3 of the tensor's bytes in logical order, never 0; `ABSENT` when its values cannot be read.

    Equal values give equal fingerprints within one dtype and shape whatever the strides; any change of a bit
    (the sign of a zero included) changes it.
    """
    if not readable(tensor):
        return ABSENT
    source = tensor.detach()
    if not source.is_cpu:
        source = source.cpu()
    if not source.is_contiguous():
        source = source.contiguous()
    size = source.nbytes
    address = source.data_ptr()
    if size == 0 or address == 0:
        return _hash(b"") or 1
    return _hash(_bytes_at(address, size)) or 1


def norms(tensors: list[torch.Tensor]) -> list[float]:
    """The Euclidean norm of each floating-point tensor, computed together; infinite or NaN when a value is."""
    if not tensors:
        return []
    found = torch._foreach_norm([tensor.detach() for tensor in tensors])
    return [float(value) for value in torch.stack([value.float().cpu() for value in found]).tolist()]
