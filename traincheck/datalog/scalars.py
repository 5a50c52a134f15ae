"""What comparisons and arithmetic mean, on Python values; the SQL that `sql.py` emits means the same."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from traincheck.datalog.program import Arithmetic, Comparison, Constant, ConstantValue, Operand, Variable

__all__ = ["compute", "glob_matches", "holds"]

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CALCULATE: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "%": operator.mod,
}
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def compute(operand: Operand, values: Mapping[str, ConstantValue]) -> ConstantValue | None:
    """The value of an operand; None when a whole number leaves 64 bits or a remainder is by zero."""
    if isinstance(operand, Constant):
        return operand.value
    if isinstance(operand, Variable):
        return values[operand.name]
    left, right = compute(operand.left, values), compute(operand.right, values)
    if left is None or right is None:
        return None
    return _calculate(operand, left, right)


def _calculate(operand: Arithmetic, left: ConstantValue, right: ConstantValue) -> ConstantValue | None:
    assert not isinstance(left, str) and not isinstance(right, str)
    if isinstance(left, float) or isinstance(right, float):
        left, right = float(left), float(right)
    if operand.op == "%" and right == 0:
        return None
    found = _CALCULATE[operand.op](left, right)
    if isinstance(found, int) and not _SMALLEST <= found <= _LARGEST:
        return None
    return found


def holds(comparison: Comparison, values: Mapping[str, ConstantValue]) -> bool:
    """Whether a comparison is true; one with an absent side is not."""
    left, right = compute(comparison.left, values), compute(comparison.right, values)
    if left is None or right is None:
        return False
    if comparison.op == "glob":
        return glob_matches(str(right), str(left))
    return _ORDER[comparison.op](*_comparable(left, right))


def _comparable(left: ConstantValue, right: ConstantValue) -> tuple[object, object]:
    """Two sides in one total order: whole numbers as floats beside floats, nan above everything."""
    if isinstance(left, float) or isinstance(right, float):
        left, right = float(left), float(right)
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left), math.isnan(right)
    return left, right


def glob_matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits the pattern; only `*` is special and stands for any text."""
    return _glob(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
