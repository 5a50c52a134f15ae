"""A fact store that answers probes: interned values, relations by column, and indexes built when first used."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from traincheck.datalog.engine import ARROW_TYPES
from traincheck.datalog.program import Atom, Constant, ConstantValue, Variable
from traincheck.schema import ColumnType

__all__ = ["BaseRelation", "DerivedRelation", "Interner", "Relation", "Row", "View"]

Row = tuple[int, ...]


class Interner:
    """Gives every value a small whole number; 1, 1.0 and "1" get three, all nans share one."""

    def __init__(self) -> None:
        self.values: list[ConstantValue] = []
        self._ids: dict[type, dict[ConstantValue, int]] = {int: {}, float: {}, str: {}}

    def __getitem__(self, value: ConstantValue) -> int:
        if isinstance(value, float) and math.isnan(value):
            value = math.nan
        ids = self._ids[type(value)]
        found = ids.get(value)
        if found is None:
            found = ids[value] = len(self.values)
            self.values.append(value)
        return found


class Relation(Protocol):
    """Rows by column; rows are only ever added."""

    def __len__(self) -> int:
        """How many rows there are."""

    def column(self, position: int) -> Sequence[int | None]:
        """One column as interned values, None where absent."""

    def matching(self, constants: Mapping[int, int]) -> Sequence[int]:
        """Numbers of the rows that have these values at these positions."""


class _Indexed(ABC):
    """Row numbers by the values at some positions."""

    def __init__(self) -> None:
        self._indexes: dict[tuple[int, ...], tuple[int, dict[tuple[int | None, ...], list[int]]]] = {}

    @abstractmethod
    def __len__(self) -> int:
        """See `Relation`."""

    @abstractmethod
    def column(self, position: int) -> Sequence[int | None]:
        """See `Relation.column`."""

    def matching(self, constants: Mapping[int, int]) -> Sequence[int]:
        """See `Relation.matching`."""
        if not constants:
            return range(len(self))
        positions = tuple(sorted(constants))
        indexed, index = self._indexes.get(positions, (0, {}))
        if indexed < len(self):
            columns = [self.column(position)[indexed:] for position in positions]
            for number, key in enumerate(zip(*columns, strict=True), indexed):
                index.setdefault(key, []).append(number)
            self._indexes[positions] = (len(self), index)
        return index.get(tuple(constants[position] for position in positions), ())


class BaseRelation(_Indexed):
    """An Arrow table; a column is interned when it is first needed."""

    def __init__(self, table: pa.Table | None, types: Sequence[ColumnType], interner: Interner) -> None:
        super().__init__()
        self._table = table
        self._types = types
        self._interner = interner
        self._columns: dict[int, list[int | None]] = {}

    def __len__(self) -> int:
        return 0 if self._table is None else int(self._table.num_rows)

    def column(self, position: int) -> Sequence[int | None]:
        """See `Relation.column`."""
        if self._table is None:
            return []
        found = self._columns.get(position)
        if found is None:
            array = self._table.column(position)
            wanted = ARROW_TYPES[self._types[position]]
            values = (array if array.type == wanted else array.cast(wanted)).to_pylist()
            found = [None if value is None else self._interner[value] for value in values]
            self._columns[position] = found
        return found


class DerivedRelation(_Indexed):
    """Distinct rows that rules derived."""

    def __init__(self, arity: int, rows: Iterable[Row] = ()) -> None:
        super().__init__()
        self.rows: dict[Row, None] = {}
        self._columns: list[list[int | None]] = [[] for _ in range(arity)]
        self.add(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, position: int) -> Sequence[int | None]:
        """See `Relation.column`."""
        return self._columns[position]

    def add(self, rows: Iterable[Row]) -> list[Row]:
        """Add rows; returns those that were not there."""
        fresh = [row for row in dict.fromkeys(rows) if row not in self.rows]
        self.rows.update(dict.fromkeys(fresh))
        for position, column in enumerate(self._columns):
            column.extend(row[position] for row in fresh)
        return fresh


class View:
    """The distinct values that an atom's variables can take; its constants and wildcards are settled here.

    A row holds one value for each of `variables`, the atom's variables in order of first occurrence.
    """

    def __init__(self, relation: Relation, atom: Atom, interner: Interner) -> None:
        self._relation = relation
        places: dict[str, list[int]] = {}
        for position, term in enumerate(atom.terms):
            if isinstance(term, Variable):
                places.setdefault(term.name, []).append(position)
        self.variables = tuple(places)
        self._places = list(places.values())
        self._constants = {
            position: interner[term.value] for position, term in enumerate(atom.terms) if isinstance(term, Constant)
        }
        self._consumed = 0
        self._seen: dict[Row, None] = {}
        self._rows: list[Row] = []
        self._indexes: dict[tuple[int, ...], tuple[int, dict[Row, list[Row]]]] = {}
        self._distinct: dict[int, tuple[int, int]] = {}

    def rows(self) -> list[Row]:
        """Every row, those of facts added meanwhile included."""
        if self._consumed < len(self._relation):
            for row in self._new_rows():
                if row not in self._seen:
                    self._seen[row] = None
                    self._rows.append(row)
        return self._rows

    def _new_rows(self) -> Iterator[Row]:
        numbers = [number for number in self._relation.matching(self._constants) if number >= self._consumed]
        self._consumed = len(self._relation)
        columns = [[self._relation.column(position) for position in places] for places in self._places]
        for number in numbers:
            row = []
            for first, *others in columns:
                value = first[number]
                if value is None or any(other[number] != value for other in others):
                    break
                row.append(value)
            else:
                yield tuple(row)

    def probe(self, bound: Mapping[int, int]) -> Sequence[Row]:
        """The rows that have these values at these places."""
        rows = self.rows()
        if not bound:
            return rows
        if len(bound) == len(self.variables):
            row = tuple(bound[place] for place in range(len(bound)))
            return (row,) if row in self._seen else ()
        places = tuple(sorted(bound))
        indexed, index = self._indexes.get(places, (0, {}))
        if indexed < len(rows):
            for row in rows[indexed:]:
                index.setdefault(tuple(row[place] for place in places), []).append(row)
            self._indexes[places] = (len(rows), index)
        return index.get(tuple(bound[place] for place in places), ())

    def expected(self, bound: Iterable[int]) -> float:
        """About how many rows a probe with values at these places answers."""
        size = len(self.rows())
        return size / max([1, *(self._distinct_at(place) for place in bound)])

    def _distinct_at(self, place: int) -> int:
        counted, distinct = self._distinct.get(place, (-1, 0))
        if counted < 0 or len(self._rows) > 2 * counted:
            distinct = len({row[place] for row in self._rows})
            self._distinct[place] = (len(self._rows), distinct)
        return distinct
