"""The part of the collector that is written in C: it does what the code beside it does in Python, and takes less time.

It is built where there is a compiler (hatch_build.py); without it, or when switched off, all is done in Python.
"""

import importlib
import os
import sys
from typing import Any

__all__ = ["NATIVE", "PURE"]

PURE = "TRAINCHECK_PURE"
"""Set to collect in Python even where the compiled part is."""

_INTERFACE = 21
"""What this code expects; a checkout may have the compiled part of an earlier one."""


def _load() -> Any:
    if os.environ.get(PURE) or sys.byteorder != "little":
        return None
    try:
        module = importlib.import_module("traincheck.collect._native")
    except ImportError:
        return None
    return module if module.INTERFACE == _INTERFACE else None


NATIVE: Any = _load()
"""The module, or None."""
