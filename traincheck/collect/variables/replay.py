"""Turns what sweeps have seen into rows of updates and states: on the thread that writes, many sweeps at a time.

The training thread only notes what is new. What there was before and what a step has left follows from the notes, in
array operations over all sweeps since the last time.
"""

from collections.abc import Callable, Iterator
from itertools import takewhile
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from traincheck import values
from traincheck.collect.buffers import NULL, Buffers
from traincheck.collect.device.deferred import Pending
from traincheck.collect.values.fingerprint import ABSENT, NO_GRADIENT, UNMEASURED, UNSEEN
from traincheck.collect.values.measures import CELL
from traincheck.collect.values.ranges import NO_RANGE
from traincheck.collect.variables.roster import Integers, Roster
from traincheck.trace.layout import FAMILIES, LINK_HASHED

__all__ = ["AFTER_STEP", "BEFORE_STEP", "DATA", "GRAD", "Choice", "Ended", "Linked", "Noted", "Replay", "Swept"]

DATA, GRAD = range(2)
_ATTRIBUTES = ("data", "grad")
BEFORE_STEP, AFTER_STEP = range(2)

Table = npt.NDArray[Any]
_EXTENT = ("nonfinite", "minimum", "maximum")


class Swept(NamedTuple):
    """What a sweep found new: cells, in bytes; or all that it will have found, new or not.

    `first` is the id of the first of the updates this makes, one for each name; NULL when it makes none, as
    values that are seen for the first time.
    """

    roster: Roster
    column: int
    call: int
    first: int
    cells: bytes | Pending


class Choice(NamedTuple):
    """Of which variables states are noted, of what column and at which point: positions, and an id for each row."""

    column: int
    point: int
    positions: Integers
    ids: Integers


class Noted(NamedTuple):
    """The states of some variables are asked for, as they are now."""

    roster: Roster
    choice: Choice
    seq: int


class Ended(NamedTuple):
    """The step has ended: rows of marks that say so are to be written, after all that was in it."""

    marks: tuple[tuple[int, int, int], ...]


class Linked(NamedTuple):
    """A row of links, but for the fingerprint, which is in the only one of the cells."""

    cells: Pending
    call: int
    tensor: int
    name: int
    flags: int


Event = Swept | Noted | Ended | Linked


class Replay:
    """What sweeps have noted and nobody has looked at yet; `note` adds to it, from the training thread."""

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self.waiting: list[Event] = []
        self.note: Callable[[Event], None] = self.waiting.append
        self._columns = [_Column(buffers, column) for column in (DATA, GRAD)]
        self._step = 0
        self._lock = RLock()
        self._states: list[tuple[Integers, Table]] = []  # steps and rows of states, of steps that may not have ended

    def run(self) -> None:
        """Write the updates and states that follow from what has been noted, as far as it has been measured."""
        with self._lock:
            taken = list(takewhile(_is_known, self.waiting[: len(self.waiting)]))
            del self.waiting[: len(taken)]
            for event in taken:
                if type(event) is Linked:
                    self._write_link(event)
            for roster, events in _by_roster(taken):
                self._play(roster, events)
            self._write_states()
            for event in taken:  # a follower may take a step for complete that is marked as ended
                if type(event) is Ended:
                    for mark in event.marks:
                        self._buffers.add("marks", *mark)

    def last(self, column: int, roster: Roster) -> tuple[list[int], list[int]]:
        """Of the variables of `roster`, the fingerprints last seen by `run`, and the calls that set them."""
        with self._lock:
            return self._columns[column].last(roster)

    def _play(self, roster: Roster, events: list[Event]) -> None:
        swept: tuple[list[Swept], ...] = ([], [])
        noted: tuple[list[tuple[Noted, int, int]], ...] = ([], [])
        for event in events:
            if isinstance(event, Swept):
                swept[event.column].append(event)
            elif isinstance(event, Noted):
                column = event.choice.column
                noted[column].append((event, len(swept[column]), self._step))
            elif isinstance(event, Ended):
                self._step += 1
        for each in self._columns:
            if swept[each.number] or noted[each.number]:
                each.play(roster, swept[each.number])
                self._states += each.states(noted[each.number])

    def _write_link(self, link: Linked) -> None:
        cells = np.frombuffer(link.cells.cells(), CELL)
        seen = int(cells["print"][0]) if len(cells) else ABSENT
        if seen != ABSENT or link.tensor != NULL:
            flags = link.flags | (LINK_HASHED if seen != ABSENT else 0)
            self._buffers.add("links", link.call, link.tensor, seen, link.name, flags)

    def _write_states(self) -> None:
        """Write the states of the steps that have ended, the last of each variable and point."""
        if not self._states:
            return
        steps = np.concatenate([numbers for numbers, _ in self._states])
        rows = np.concatenate([table for _, table in self._states])
        ended = steps < self._step
        self._states = [(steps[~ended], rows[~ended])] if not ended.all() else []
        if ended.any():
            steps, rows = steps[ended], rows[ended]
            order = np.lexsort((rows["at"], rows["variable"], rows["point"], steps))
            steps, rows = steps[order], rows[order]
            same = (np.diff(steps) == 0) & (rows["variable"][1:] == rows["variable"][:-1])
            same &= rows["point"][1:] == rows["point"][:-1]
            self._buffers.add_table("states", rows[np.append(~same, True)])


class _Column:
    """One attribute of all variables through time: what it was at the end of the last replay, and what came then."""

    def __init__(self, buffers: Buffers, number: int) -> None:
        names = buffers.names
        self._buffers = buffers
        self.number = number
        self._attr = names(_ATTRIBUTES[number])
        seen, kind = (NO_GRADIENT, names(values.NONE)) if number == GRAD else (UNSEEN, NULL)
        self._unknown = np.array((NULL, kind, seen, UNMEASURED, NULL, *NO_RANGE), CELL)
        self._roster = Roster((), ())
        self._last: Table = np.empty(0, CELL)
        self._calls: Integers = np.empty(0, np.int64)  # that set those
        self._cells = self._last  # by position and time
        self._keys: Integers = np.empty(0, np.int64)
        self._times = 1

    def play(self, roster: Roster, swept: list[Swept]) -> None:
        """Go through sweeps of the variables of `roster`; writes the updates they make."""
        last, self._calls = self._carried(roster)
        every = [sweep.cells if isinstance(sweep.cells, bytes) else sweep.cells.cells() for sweep in swept]
        new = np.frombuffer(b"".join(every), CELL)
        counts = [len(cells) // CELL.itemsize for cells in every]
        at = new["position"].astype(np.int64)
        everywhere = np.arange(len(roster))
        positions = np.concatenate([everywhere, at])
        times = np.concatenate([np.zeros(len(roster), np.int64), np.repeat(np.arange(1, len(swept) + 1), counts)])
        self._times = len(swept) + 1
        keys = positions * self._times + times
        order = np.argsort(keys, kind="stable")
        cells = np.concatenate([last, new])
        self._keys, self._cells = keys[order], cells[order]
        self._last = self._cells[np.searchsorted(self._keys, (everywhere + 1) * self._times) - 1]
        self._roster = roster
        sweeps = np.repeat(np.arange(len(swept)), counts)
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        places = places[len(roster) :]  # of the new cells
        before = self._cells["print"][places - 1]
        news = np.flatnonzero(before != new["print"])
        self._calls[at[news]] = np.array([sweep.call for sweep in swept], np.int64)[sweeps[news]]  # the last one stays
        self._update(swept, sweeps, places, at, news[before[news] != UNSEEN])

    def last(self, roster: Roster) -> tuple[list[int], list[int]]:
        """Of the variables of `roster`, the last fingerprints, and the calls that set them."""
        cells, calls = self._carried(roster)
        return cells["print"].tolist(), calls.tolist()

    def states(self, noted: list[tuple[Noted, int, int]]) -> Iterator[tuple[Integers, Table]]:
        """The steps and rows of what was noted, each as of a number of the sweeps just played, in a step."""
        if not noted:
            return
        choices = [note.choice for note, _, _ in noted]
        counts = [len(choice.ids) for choice in choices]
        times = np.repeat([time for _, time, _ in noted], counts)
        keys = np.concatenate([choice.positions for choice in choices]) * self._times + times
        cells = self._cells[np.searchsorted(self._keys, keys, side="right") - 1]
        prints, norms = cells["print"], cells["norm"]
        rows = np.empty(len(cells), FAMILIES["states"].packed)
        rows["variable"] = np.concatenate([choice.ids for choice in choices])
        rows["at"] = np.repeat([note.seq for note, _, _ in noted], counts)
        rows["point"] = np.repeat([choice.point for choice in choices], counts)
        rows["attr"] = self._attr
        rows["hashed"] = hashed = (prints != ABSENT) & (prints != UNSEEN) & (prints != NO_GRADIENT)
        rows["fingerprint"] = np.where(hashed, prints, 0)
        rows["norm"] = np.where(norms == UNMEASURED, np.nan, norms)
        for name in ("class", *_EXTENT):
            rows[name] = cells[name]
        yield np.repeat([step for _, _, step in noted], counts), rows

    def _carried(self, roster: Roster) -> tuple[Table, Integers]:
        """What is known of the variables of `roster`, which may have others than the last one, and who set it."""
        if roster is self._roster:
            return self._last, self._calls
        found, calls = np.full(len(roster), self._unknown, CELL), np.full(len(roster), NULL, np.int64)
        _, here, there = np.intersect1d(roster.serials, self._roster.serials, True, return_indices=True)
        found[here], calls[here] = self._last[there], self._calls[there]
        return found, calls

    def _update(self, swept: list[Swept], sweeps: Integers, places: Integers, at: Integers, news: Integers) -> None:
        """Write the updates that those of new cells make which are `news`.

        Of each cell it is told to which sweep it belongs, its place among all cells, and its position.
        """
        if all(sweep.first == NULL for sweep in swept):
            return
        first = np.array([sweep.first for sweep in swept], np.int64)
        chosen = news[first[sweeps[news]] != NULL]
        places = places[chosen]
        ids, index = self._roster.names(at[chosen])
        sweeps, places = sweeps[chosen][index], places[index]
        begins = np.searchsorted(sweeps, np.arange(len(swept)))
        rows = np.empty(len(ids), FAMILIES["updates"].packed)
        rows["id"] = first[sweeps] + np.arange(len(ids)) - begins[sweeps]
        rows["variable"] = ids
        rows["call"] = np.array([sweep.call for sweep in swept], np.int64)[sweeps]
        rows["attr"] = self._attr
        rows["before"] = self._cells["class"][places - 1]
        rows["after"] = self._cells["class"][places]
        self._buffers.add_table("updates", rows)


def _by_roster(events: list[Event]) -> Iterator[tuple[Roster, list[Event]]]:
    """Events in runs that have one roster; the end of a step goes with what was before it."""
    roster, run = Roster((), ()), list[Event]()
    for event in events:
        if isinstance(event, Swept | Noted) and event.roster is not roster:
            if run:
                yield roster, run
            roster, run = event.roster, []
        run.append(event)
    if run:
        yield roster, run


def _is_known(event: Event) -> bool:
    """Whether what a sweep found is there."""
    return not isinstance(event, Swept | Linked) or isinstance(event.cells, bytes) or event.cells.arrived
