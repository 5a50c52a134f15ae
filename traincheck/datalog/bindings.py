"""What a body has bound so far: rows of values, one column for each variable."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from traincheck.datalog.kernels import Column, distinct
from traincheck.schema import ColumnType

__all__ = ["Bindings"]


@dataclass(frozen=True, slots=True)
class Bindings:
    """Rows of coded values; without variables, `rows` says whether the body holds so far."""

    values: Mapping[str, Column]
    types: Mapping[str, ColumnType]
    rows: int

    def take(self, rows: Any) -> "Bindings":
        """Only these rows."""
        if not self.values:
            return Bindings({}, {}, min(self.rows, len(rows)))
        if len(rows) == self.rows:
            return self
        return Bindings({name: column[rows] for name, column in self.values.items()}, self.types, len(rows))

    def only(self, names: Iterable[str]) -> "Bindings":
        """Only these variables."""
        kept = {name: self.values[name] for name in names}
        return Bindings(kept, {name: self.types[name] for name in kept}, self.rows if kept else min(1, self.rows))

    def having(self, name: str, column: Column, type_: ColumnType) -> "Bindings":
        """With one more variable."""
        return Bindings({**self.values, name: column}, {**self.types, name: type_}, self.rows)

    def distinct(self) -> "Bindings":
        """Every row once."""
        return self.take(distinct(list(self.values.values()))) if self.values and self.rows else self

    def nothing(self, names: Iterable[str]) -> "Bindings":
        """No rows of these variables."""
        empty = np.zeros(0, np.int64)
        return Bindings(dict.fromkeys(names, empty), dict.fromkeys(names, "int"), 0)
