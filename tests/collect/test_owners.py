"""Whose state a saved object holds."""

import copy
from collections.abc import Mapping

import torch
from torch import nn

from traincheck.collect.checkpoints.owners import Owners, containers_of


def matched(saved: object, *roots: nn.Module) -> Mapping[str, tuple[nn.Module, Mapping[str, str]]]:
    """By place: the module found, and its name for each key."""
    owners = Owners(roots, torch.equal)
    return {match.container.place: (match.module, match.names) for match in owners.matches(containers_of(saved))}


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))


def test_names_may_have_any_common_prefix() -> None:
    net = model()
    for prefix in ("", "module.", "_orig_mod.module.", "student."):
        saved = {prefix + name: tensor.clone() for name, tensor in net.state_dict().items()}
        assert matched(saved, net) == {"": (net, dict(zip(saved, net.state_dict(), strict=True)))}


def test_a_submodule_under_its_own_names_and_under_the_whole_models() -> None:
    net = model()
    inner = net[1]
    assert matched(inner.state_dict(), net)[""][0] is inner
    assert matched({f"1.{name}": tensor for name, tensor in inner.state_dict().items()}, net)[""][0] is net


def test_two_alike_are_told_apart_by_memory_then_by_values() -> None:
    first, second = model(), model()
    for net in (first, second):
        assert matched(net.state_dict(), first, second)[""][0] is net
        assert matched(copy.deepcopy(net.state_dict()), first, second)[""][0] is net


def test_parts_of_a_checkpoint_each_have_an_owner() -> None:
    first, second = model(), nn.Linear(7, 7)
    saved = {"nets": [first.state_dict(), second.state_dict()], "stats": {"mean": torch.ones(2)}, "epoch": 3}
    found = matched(saved, first, second)
    assert {place: module for place, (module, _) in found.items()} == {"nets.0": first, "nets.1": second}


def test_what_fits_less_than_half_is_nobodys() -> None:
    net = model()
    saved = {"0.weight": torch.zeros(3, 4), "a": torch.ones(1), "b": torch.ones(1)}
    assert matched(saved, net) == {}
    assert matched({"0.weight": torch.zeros(9, 9)}, net) == {}
    assert matched([1, "two", {}], net) == {}


def test_containers_that_hold_themselves_end() -> None:
    saved: dict[str, object] = {"weight": torch.ones(2)}
    saved["self"] = saved
    assert "weight" in containers_of(saved).tensors
