"""Fingerprints see every change, and only changes."""

import torch

from traincheck.collect.values.fingerprint import ABSENT, fingerprint, zero_fingerprint


def test_order_sign_and_constants_count() -> None:
    w = torch.arange(8.0)
    zeros = torch.zeros(8)
    distinct = [w, w.flip(0), -w, w[[1, 0, *range(2, 8)]], torch.ones(8), torch.full((8,), 2.0), zeros, -zeros]
    assert len({fingerprint(tensor) for tensor in distinct}) == len(distinct)
    assert fingerprint(torch.zeros(8)) == zero_fingerprint(32)


def test_one_bit_counts_in_every_dtype() -> None:
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool):
        tensor = torch.zeros(1001).to(dtype)
        before = fingerprint(tensor)
        tensor[500] = 1
        assert fingerprint(tensor) != before


def test_strides_do_not_count() -> None:
    square = torch.arange(16.0).reshape(4, 4)
    assert fingerprint(square.t()) == fingerprint(square.t().contiguous())
    assert fingerprint(square.t()) != fingerprint(square)
    assert fingerprint(square[:, 1]) == fingerprint(square[:, 1].clone())


def test_what_has_no_values_of_its_own_has_no_fingerprint() -> None:
    assert fingerprint(torch.ones(2, device="meta")) == ABSENT
    assert fingerprint(torch.empty(0)) != ABSENT


def test_sparse_tensors_have_one_of_indices_and_values() -> None:
    eye = torch.eye(2).to_sparse()
    assert len({fingerprint(eye), fingerprint(2 * eye), fingerprint(torch.ones(2, 2).to_sparse()), ABSENT}) == 4
    assert fingerprint(eye) == fingerprint(torch.eye(2).to_sparse())


def test_nan_compares_by_bits() -> None:
    tensor = torch.tensor([float("nan"), 1.0])
    assert fingerprint(tensor) == fingerprint(tensor.clone())
