"""The facts around a violation: those of its steps and of what it names, so that cost does not follow the trace."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from traincheck.datalog.program import ConstantValue
from traincheck.schema import RELATIONS, Relation

__all__ = ["Window"]

_MOST = 4000  # rows kept of a relation that grows with the trace
_EVENTS: Mapping[str, str] = {"call": "enter", "update": "at", "record": "at"}  # relation -> its seq column
_NAMED_BY = {"call": "call", "update": "update", "record": "record"}  # relation -> the sort of its ids


class Window(Mapping[str, pa.Table]):
    """Facts cut down to the neighbourhood of an example; each relation is cut when first asked for.

    `entities` are the example's identities, by sort (`call`, `variable`, `window`, `object`, `step`...).
    Calls and updates are kept when they belong to the example's steps or the steps beside them, to a call that
    the example names, or to an object or variable that it names; the nearest ones when there are very many.
    """

    def __init__(self, facts: Mapping[str, pa.Table], entities: Mapping[str, Sequence[ConstantValue]]) -> None:
        self._facts = facts
        self._entities = {sort: pa.array(sorted(set(values))) for sort, values in entities.items() if values}
        self._tables: dict[str, pa.Table] = {}
        self._ids: dict[str, Any] = {}
        self._spans: list[tuple[int, int, int]] = []  # process, first and last seq
        self._anchors: dict[int, int] = {}  # process -> seq of the example there
        self._steps = self._neighbouring_steps()

    def __getitem__(self, name: str) -> pa.Table:
        found = self._tables.get(name)
        if found is None:
            found = self._tables[name] = self._cut(RELATIONS[name], self._facts[name])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def anchor(self, process: int | None) -> int | None:
        """The seq at which the example happened in a process, if it did."""
        return self._anchors.get(process) if process is not None else None

    def _neighbouring_steps(self) -> Any:
        """The steps of everything that the example names, and one to each side. Notes spans and anchors."""
        steps = set(self._entities.get("step", pa.array([], pa.int64())).to_pylist())
        for relation, seq in (*_EVENTS.items(), ("step", "enter")):
            ids = self._entities.get("window" if relation == "step" else relation)
            if ids is None:
                continue
            table = self._facts[relation]
            for row in table.filter(pc.is_in(table["id"], ids)).to_pylist():
                if row["step"] is not None:
                    steps.add(row["step"])
                process, at = row["process"], row[seq]
                if process is None or at is None:
                    continue
                self._anchors[process] = min(at, self._anchors.get(process, at))
                if relation == "call":
                    self._spans.append((process, at, at if row["exit"] is None else row["exit"]))
        return pa.array(sorted({near for step in steps for near in (step - 1, step, step + 1)}), pa.int64())

    def _cut(self, relation: Relation, table: pa.Table) -> pa.Table:
        if relation.name in _EVENTS:
            return self._cut_events(relation, table)
        if relation.name == "contains":
            calls = self._known("call")
            inner = pa.concat_arrays([calls, self._known("update")])
            return table.filter(pc.and_(pc.is_in(table["inner"], inner), pc.is_in(table["outer"], calls)))
        sorts = {column.sort: column.name for column in relation.columns}
        for sort in ("call", "record"):
            if sort in sorts:
                return table.filter(pc.is_in(table[sorts[sort]], self._known(sort)))
        if "step" in sorts:
            return _nearest(table.filter(pc.is_in(table[sorts["step"]], self._steps)), None, None)
        return table

    def _known(self, relation: str) -> Any:
        if relation not in self._ids:
            self._ids[relation] = self[relation]["id"].combine_chunks()
        return self._ids[relation]

    def _cut_events(self, relation: Relation, table: pa.Table) -> pa.Table:
        seq = _EVENTS[relation.name]
        near = pc.is_in(table["step"], self._steps)
        for column in relation.columns:
            entities = self._entities.get(column.sort)
            if entities is not None and column.sort in ("call", "update", "record", "variable", "object"):
                near = pc.or_kleene(near, pc.is_in(table[column.name], entities))
        for process, first, last in self._spans:
            inside = pc.and_kleene(pc.greater_equal(table[seq], first), pc.less_equal(table[seq], last))
            near = pc.or_kleene(near, pc.and_kleene(pc.equal(table["process"], process), inside))
        kept = _nearest(table.filter(near), seq, self._anchors)
        named = self._entities.get(_NAMED_BY[relation.name])
        if named is not None:
            kept = _with(kept, table, named)
        return self._with_ancestors(kept, table) if relation.name == "call" else kept

    def _with_ancestors(self, kept: pa.Table, table: pa.Table) -> pa.Table:
        """Every call that encloses a kept call or update, up to the outermost."""
        parents = pc.unique(kept["parent"].drop_null())
        if (updates := self._facts.get("update")) is not None:
            near = updates.filter(pc.is_in(updates["step"], self._steps))
            parents = pc.unique(pa.concat_arrays([parents, near["call"].combine_chunks().drop_null()]))
        while len(parents := parents.filter(pc.invert(pc.is_in(parents, kept["id"].combine_chunks())))):
            above = table.filter(pc.is_in(table["id"], parents))
            if not above.num_rows:
                break
            kept = pa.concat_tables([kept, above])
            parents = pc.unique(above["parent"].drop_null().combine_chunks())
        return kept


def _with(kept: pa.Table, table: pa.Table, ids: Any) -> pa.Table:
    missing = ids.filter(pc.invert(pc.is_in(ids, kept["id"].combine_chunks())))
    return pa.concat_tables([kept, table.filter(pc.is_in(table["id"], missing))]) if len(missing) else kept


def _nearest(table: pa.Table, seq: str | None, anchors: Mapping[int, int] | None) -> pa.Table:
    """At most `_MOST` rows: those whose seq is nearest to the example's in their process, else the first ones."""
    if table.num_rows <= _MOST or seq is None or not anchors:
        return table.slice(0, _MOST)
    middle = next(iter(anchors.values()))
    anchor = pa.array([anchors.get(process, middle) for process in table["process"].to_pylist()], pa.int64())
    distance = pc.abs(pc.subtract(table[seq], anchor))
    order = pc.sort_indices(pa.table({"distance": distance}), [("distance", "ascending")])
    return table.take(order.slice(0, _MOST))
