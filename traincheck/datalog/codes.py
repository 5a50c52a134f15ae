"""Facts as columns of whole numbers: words by a dictionary of the session, fractions by their bits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from traincheck.datalog.engine import ARROW_TYPES
from traincheck.datalog.kernels import Column
from traincheck.datalog.program import ConstantValue
from traincheck.schema import ColumnType

__all__ = ["Codes", "as_fractions", "from_fractions"]


def from_fractions(values: Any) -> Column:
    """The bits of fractions; one code for both zeros and one for every nan."""
    plain = np.asarray(values, np.float64) + 0.0
    return np.where(np.isnan(plain), np.nan, plain).view(np.int64)


def as_fractions(codes: Column) -> Any:
    """The fractions that `from_fractions` coded."""
    return codes.view(np.float64)


class Codes:
    """Gives every value of a type its own whole number, the same one for as long as the object lives."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._numbers: dict[str, int] = {}
        self._known: tuple[Any, Column] | None = None

    def word(self, text: str) -> int:
        """The number of a word."""
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.words)
            self.words.append(text)
        return found

    def constant(self, value: ConstantValue) -> int:
        """The number of a constant."""
        if isinstance(value, str):
            return self.word(value)
        return int(from_fractions([value])[0]) if isinstance(value, float) else value

    def encode(self, column: Any, type_: ColumnType) -> tuple[Column, Any]:
        """The codes of an Arrow column, and where it has values (None when everywhere)."""
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        valid = None
        if array.null_count:
            valid = array.is_valid().to_numpy(zero_copy_only=False)
        if type_ == "str":
            return self._encode_words(array), valid
        array = array if array.type == ARROW_TYPES[type_] else array.cast(ARROW_TYPES[type_])
        values = (array.fill_null(0) if valid is not None else array).to_numpy(zero_copy_only=False)
        return (from_fractions(values) if type_ == "float" else values), valid

    def _encode_words(self, array: Any) -> Column:
        if not pa.types.is_dictionary(array.type):
            array = array.cast(pa.string()).dictionary_encode()
        numbers = self._of_dictionary(array.dictionary)
        indices = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return numbers[indices] if len(numbers) else np.zeros(len(indices), np.int64)

    def _of_dictionary(self, dictionary: Any) -> Column:
        """The numbers of a dictionary's words; columns that share a dictionary come one after the other."""
        if self._known is None or self._known[0] is not dictionary:
            self._known = (dictionary, np.array([self.word(text) for text in dictionary.to_pylist()], np.int64))
        return self._known[1]

    def decode(self, codes: Column, type_: ColumnType) -> Any:
        """The Arrow column that codes stand for."""
        if type_ == "float":
            return pa.array(as_fractions(codes), pa.float64())
        if type_ == "int":
            return pa.array(codes, pa.int64())
        return pa.array([self.words[code] for code in codes.tolist()], pa.string())

    def ordered(self, *columns: Column) -> Sequence[Column]:
        """Columns of words as numbers that have the words' order."""
        used = np.unique(np.concatenate(columns))
        ranks = np.empty(len(used), np.int64)
        ranks[sorted(range(len(used)), key=lambda place: self.words[used[place]])] = np.arange(len(used))
        return [ranks[np.searchsorted(used, column)] for column in columns]
