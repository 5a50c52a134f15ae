"""From violating examples to sightings: how often, in which steps and where first each law broke; sightings add up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traincheck.check.law import Law
from traincheck.check.locate import LOOKUPS, MOST_NAMES
from traincheck.check.program import LawProgram
from traincheck.check.verdict import Binding, Place, Violation

__all__ = ["Sighting", "sightings", "undecidable"]

_NANOSECONDS = 1e9
_LATER = 2**63 - 1
_TYPES: Mapping[str, Any] = {
    "rank": pa.int64(), "step": pa.int64(), "seq": pa.int64(), "time": pa.int64(),
    "api": pa.string(), "variable": pa.string(), "site": pa.string(),
}  # fmt: skip


@dataclass
class Sighting:
    """The violations of one law in some part of a trace."""

    law: Law
    count: int
    steps: set[int]
    moments: set[tuple[int, int]]  # rank and step
    names: set[str]
    order: tuple[Any, ...]
    first: Place
    binding: Binding

    def add(self, other: "Sighting") -> None:
        """Take in what was seen in another part."""
        self.count += other.count
        self.steps |= other.steps
        self.moments |= other.moments
        self.names |= other.names
        if other.order < self.order:
            self.order, self.first, self.binding = other.order, other.first, other.binding

    def violation(self) -> Violation:
        """The sighting as it is reported."""
        names = sorted(self.names)
        return Violation(
            law=self.law,
            count=self.count,
            steps=sorted(self.steps),
            first=self.first,
            binding=self.binding,
            variables=names[:MOST_NAMES],
            variable_count=len(names),
            moments=sorted(self.moments),
        )


def sightings(program: LawProgram, violated: pa.Table, facts: Mapping[str, pa.Table]) -> Iterator[Sighting]:
    """One sighting per law that has rows in `violated` (columns: law number, then the grounding key).

    What a law says is missing may be what the run gave up recording: laws that name such a function are left out.
    """
    unclear = undecidable(program.laws, facts)
    blameless = [number for number, law in enumerate(program.laws) if law.id in unclear]
    if blameless:
        violated = violated.filter(pc.invert(pc.is_in(violated["c0"], pa.array(blameless, violated["c0"].type))))
    if not violated.num_rows:
        return
    key = program.grounding.key
    placed = _placed(violated, [program.sorts[name] for name in key], facts)
    later = pa.scalar(_LATER, pa.int64())
    placed = placed.append_column("step_order", pc.fill_null(placed["step"], later))
    placed = placed.append_column("seq_order", pc.fill_null(placed["seq"], later))
    order = ["step_order", "seq_order", *(f"c{place + 1}" for place in range(len(key)))]
    placed = placed.take(pc.sort_indices(placed, [(name, "ascending") for name in ("c0", *order)]))
    numbers, starts = np.unique(placed["c0"].to_numpy(), return_index=True)
    for number, start, end in zip(numbers.tolist(), starts, [*starts[1:], placed.num_rows], strict=True):
        part = placed.slice(start, end - start)
        first = part.slice(0, 1).to_pylist()[0]
        law = program.laws[number]
        binding = dict(law.arguments) | {name: first[f"c{place + 1}"] for place, name in enumerate(key)}
        time = None if first["time"] is None else first["time"] / _NANOSECONDS
        place = Place(first["rank"], first["step"], first["api"], first["variable"], first["site"], time)
        steps, names = (set(pc.unique(part[name].drop_null()).to_pylist()) for name in ("step", "variable"))
        pairs = part.select(["rank", "step"]).drop_null().group_by(["rank", "step"]).aggregate([])
        moments = set(zip(pairs["rank"].to_pylist(), pairs["step"].to_pylist(), strict=True))
        yield Sighting(law, part.num_rows, steps, moments, names, tuple(first[name] for name in order), place, binding)


def undecidable(laws: Iterable[Law], facts: Mapping[str, pa.Table]) -> set[str]:
    """The laws that name a function which the run gave up recording."""
    unrecorded = set(facts["unrecorded"]["api"].to_pylist())
    return {law.id for law in laws if not unrecorded.isdisjoint(law.arguments.values())} if unrecorded else set()


def _placed(violated: pa.Table, sorts: Sequence[str], facts: Mapping[str, pa.Table]) -> pa.Table:
    """Every violating example with the fields of its place; the first column that knows one wins."""
    sources: dict[str, list[Any]] = {name: [] for name in _TYPES}
    for place, sort in enumerate(sorts):
        column = violated[f"c{place + 1}"]
        if sort in ("step", "rank"):
            sources[sort].append(column)
        elif sort in LOOKUPS:
            relation, lends = LOOKUPS[sort]
            table = facts[relation]
            rows = pc.index_in(column, value_set=table["id"])
            for name, source in lends.items():
                sources[name].append(_plain(table[source]).take(rows))
    for name, type_ in _TYPES.items():
        found = sources[name]
        known = pc.coalesce(*found) if found else pa.nulls(violated.num_rows, type_)
        violated = violated.append_column(name, known.cast(type_))
    return violated


def _plain(column: Any) -> Any:
    """A column of words as such, not as numbers of a dictionary."""
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
