"""Comparisons and arithmetic on coded columns; `scalars.py` says the same on single values."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from traincheck.datalog.bindings import Bindings
from traincheck.datalog.bodies import Bind
from traincheck.datalog.codes import Codes, as_fractions, from_fractions
from traincheck.datalog.program import Arithmetic, Comparison, Constant, Operand, Variable
from traincheck.datalog.scalars import compute, glob_matches
from traincheck.schema import ColumnType

__all__ = ["Scalars"]

_ORDER: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SAFE = 1 << 31  # products and sums of numbers below this fit

_Operand = tuple[Any, ColumnType, Any]  # values (words as codes), type, where present (None for everywhere)


class Scalars:
    """Evaluates tests over bindings."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes

    def bind(self, found: Bindings, step: Bind) -> Bindings:
        """One more variable, without the rows where its value is absent."""
        values, type_, present = self._operand(found, step.operand)
        column = np.broadcast_to(from_fractions(values) if type_ == "float" else values, (found.rows,))
        made = found.having(step.variable, column.astype(np.int64, copy=False), type_)
        return made if present is None else made.take(np.flatnonzero(np.broadcast_to(present, (found.rows,))))

    def compare(self, found: Bindings, test: Comparison) -> Any:
        """For each row whether the comparison is true."""
        left, left_type, present = self._operand(found, test.left)
        if test.op == "glob":
            assert isinstance(test.right, Constant)
            return self._glob(np.broadcast_to(left, (found.rows,)), str(test.right.value))
        right, right_type, right_present = self._operand(found, test.right)
        left, right = (np.broadcast_to(side, (found.rows,)) for side in (left, right))
        if left_type == "str":
            true = self._compare_words(test.op, left, right)
        elif "float" in (left_type, right_type):
            true = _compare_fractions(test.op, left.astype(np.float64), right.astype(np.float64))
        else:
            true = _ORDER[test.op](left, right)
        for mask in (present, right_present):
            true = true if mask is None else true & mask
        return true

    def _compare_words(self, op: str, left: Any, right: Any) -> Any:
        if op not in ("==", "!="):
            left, right = self._codes.ordered(left, right)
        return _ORDER[op](left, right)

    def _glob(self, column: Any, pattern: str) -> Any:
        words, places = np.unique(column, return_inverse=True)
        fits = np.array([glob_matches(pattern, self._codes.words[word]) for word in words], bool)
        return fits[places]

    def _operand(self, found: Bindings, operand: Operand) -> _Operand:
        if isinstance(operand, Variable):
            column, type_ = found.values[operand.name], found.types[operand.name]
            return (as_fractions(column) if type_ == "float" else column), type_, None
        if isinstance(operand, Constant):
            return self._constant(operand)
        left, left_type, present = self._operand(found, operand.left)
        right, right_type, right_present = self._operand(found, operand.right)
        if left_type == right_type == "int":
            values, fits = _whole(operand, left, right, found.rows)
        else:
            values, fits = _fractional(operand.op, np.asarray(left, np.float64), np.asarray(right, np.float64))
        for mask in (right_present, fits):
            present = mask if present is None else (present if mask is None else present & mask)
        return values, "int" if left_type == right_type == "int" else "float", present

    def _constant(self, constant: Constant) -> _Operand:
        value = constant.value
        if isinstance(value, float):
            return np.float64(value), "float", None
        return np.int64(self._codes.constant(value)), "str" if isinstance(value, str) else "int", None


def _compare_fractions(op: str, left: Any, right: Any) -> Any:
    """In a total order: nan equals nan and is greater than everything."""
    nans = np.isnan(left), np.isnan(right)
    if not (nans[0].any() or nans[1].any()):
        return _ORDER[op](left, right)
    either = nans[0] | nans[1]
    return np.where(either, _ORDER[op](nans[0], nans[1]), _ORDER[op](left, right))


def _whole(operand: Arithmetic, left: Any, right: Any, rows: int) -> tuple[Any, Any]:
    """64-bit arithmetic, and where its result exists; numbers near the limits are worked out one by one."""
    left, right = (np.broadcast_to(side, (rows,)) for side in (left, right))
    if operand.op == "%":
        return np.mod(left, np.where(right == 0, 1, right)), right != 0
    if not _small(left) or not _small(right):
        return _one_by_one(operand, left, right)
    match operand.op:
        case "+":
            return left + right, None
        case "-":
            return left - right, None
        case _:
            return left * right, None


def _small(column: Any) -> bool:
    return not len(column) or bool(column.max() < _SAFE and column.min() > -_SAFE)


def _one_by_one(operand: Arithmetic, left: Any, right: Any) -> tuple[Any, Any]:
    bare = Arithmetic(operand.op, Variable("l"), Variable("r"))
    found = [compute(bare, {"l": a, "r": b}) for a, b in zip(left.tolist(), right.tolist(), strict=True)]
    present = np.array([value is not None for value in found], bool)
    return np.array([0 if value is None else value for value in found], np.int64), present


def _fractional(op: str, left: Any, right: Any) -> tuple[Any, Any]:
    with np.errstate(all="ignore"):
        match op:
            case "+":
                return left + right, None
            case "-":
                return left - right, None
            case "*":
                return left * right, None
            case _:
                return np.mod(left, np.where(right == 0, 1.0, right)), right != 0
