"""Process groups and the channels between two of their ranks; each counts what goes over it, as every rank does."""

import itertools
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch.distributed import distributed_c10d as c10d

from traincheck.collect.buffers import Buffers

__all__ = ["Channel", "Group", "Groups"]


class Channel:
    """Who takes part: a group, or one rank that sends and one that receives. `count` gives the next number."""

    __slots__ = ("__weakref__", "count", "name")

    def __init__(self, buffers: Buffers, text: str, members: Iterable[int]) -> None:
        self.name = buffers.names(text)
        self.count: Callable[[], int] = itertools.count().__next__
        for rank in members:
            buffers.add("members", self.name, rank)


class Group:
    """A process group as this rank, one of its members, knows it. `ranks` are global ones, in the group's order."""

    def __init__(self, buffers: Buffers, ranks: list[int], name: str) -> None:
        """`name` tells groups of the same ranks apart; every member knows the group by it. The world needs none."""
        self.ranks = ranks
        self.text = str(sorted(ranks))
        self.channel = Channel(buffers, f"{self.text} {name}" if name else self.text, sorted(ranks))
        self.mixed = False
        """Whether something was received from no rank in particular: what is received is no longer numbered then."""
        self._suffix = f" of {self.text} {name}" if name else ""
        self._buffers = buffers
        self._between: dict[tuple[int, int, int], Channel] = {}

    def between(self, source: int, destination: int, tag: int) -> Channel:
        """The channel from one global rank to another."""
        key = source, destination, tag
        found = self._between.get(key)
        if found is None:
            text = f"{source} -> {destination}{f' tag {tag}' if tag else ''}{self._suffix}"
            found = self._between[key] = Channel(self._buffers, text, (source, destination))
        return found


class Groups:
    """The process groups that this process is a member of, found in torch's own registry when first used."""

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._known: weakref.WeakKeyDictionary[Any, Group] = weakref.WeakKeyDictionary()

    def find(self, group: Any) -> tuple[Any, Group] | None:
        """The process group that a function was given, the world for None; None when this rank has no part in it."""
        world = c10d.GroupMember.WORLD
        group = world if group is None else group
        if not isinstance(group, c10d.ProcessGroup):
            return None
        known = self._known.get(group)
        if known is None:
            name = "" if group is world else str(group.group_name)
            known = self._known[group] = Group(self._buffers, c10d.get_process_group_ranks(group), name)
        return group, known
