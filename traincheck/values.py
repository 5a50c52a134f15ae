"""How values are written down as facts: canonical text, and the class a value generalises to."""

import math

NONE = "none"
ZERO = "zero"
NONZERO = "nonzero"
NONFINITE = "nonfinite"
EMPTY = "empty"
TRUE = "true"
FALSE = "false"

Scalar = None | bool | int | float | str


def canonical(value: Scalar) -> str:
    """The one text form of a scalar in the `value` columns: none, true, 3, 0.5, or the string itself."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, float):
        return repr(value)
    return str(value)


def classify(value: Scalar) -> str:
    """The class of a scalar: numbers become zero, nonzero or nonfinite; flags, none and words stay themselves."""
    if isinstance(value, bool) or value is None:
        return canonical(value)
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            return NONFINITE
        return ZERO if value == 0 else NONZERO
    return value if value else EMPTY
