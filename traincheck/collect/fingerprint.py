"""Order-aware fingerprints of tensors' bytes."""

import ctypes
import functools
from typing import Any

import torch
import xxhash

ABSENT = 0
"""The fingerprint of a tensor that has none: meta, quantised or a wrapper around others."""

_hash = xxhash.xxh3_64_intdigest
_PLAIN_TYPES = frozenset((torch.Tensor, torch.nn.Parameter))
_strided = torch.strided


@functools.lru_cache(maxsize=4096)
def zero_fingerprint(size: int) -> int:
    """The fingerprint of `size` zero bytes."""
    return _hash(bytes(size)) or 1


def readable(tensor: torch.Tensor) -> bool:
    """Whether the tensor's own memory holds its values: dense, real storage, no subclass around other tensors."""
    return type(tensor) in _PLAIN_TYPES and tensor.layout is _strided and not tensor.is_meta


def fingerprint(tensor: torch.Tensor) -> int:
    """xxh3 of the tensor's bytes in logical order, never 0; `ABSENT` when its values cannot be read.

    Equal values give equal fingerprints within one dtype and shape whatever the strides; any change of a bit
    (the sign of a zero included) changes it.
    """
    return Fingerprinter()(tensor)


class Fingerprinter:
    """Takes fingerprints of one tensor, or of its successors; remembers the view of the memory it last read.

    The view is valid for a tensor at the same address, of the same size, that is contiguous, on the CPU.
    """

    __slots__ = ("_address", "_size", "_view")

    def __init__(self) -> None:
        self._address = 0
        self._size = -1
        self._view: Any = None

    def __call__(self, tensor: torch.Tensor) -> int:
        """See `fingerprint`."""
        if not tensor.is_cpu or type(tensor) not in _PLAIN_TYPES or tensor.layout is not _strided:
            if not readable(tensor):
                return _of_sparse(tensor)
            tensor = tensor.detach().cpu()
        if not tensor.is_contiguous():
            tensor = tensor.detach().contiguous()
        address, size = tensor.data_ptr(), tensor.nbytes
        if address != self._address or size != self._size:
            if address == 0 or size == 0:
                return zero_fingerprint(0)
            self._view = (ctypes.c_char * size).from_address(address)
            self._address, self._size = address, size
        return _hash(self._view) or 1


def _of_sparse(tensor: torch.Tensor) -> int:
    """The fingerprint of a COO tensor's indices and values; another order of entries is another fingerprint."""
    if tensor.layout is not torch.sparse_coo or type(tensor) not in _PLAIN_TYPES or tensor.is_meta:
        return ABSENT
    inner = tensor.detach()
    return hash((fingerprint(inner._indices()), fingerprint(inner._values()))) & (1 << 63) - 1 or 1


def norms(tensors: list[torch.Tensor]) -> list[float]:
    """The Euclidean norm of each floating-point tensor, computed together; infinite or NaN when a value is."""
    if not tensors:
        return []
    with torch.no_grad():
        return [float(norm) for norm in torch._foreach_norm(tensors)]
