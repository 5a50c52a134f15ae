"""What a trace holds on disk: its families of rows, their columns, and the version of the format."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

FORMAT_VERSION = "1.1"
MANIFEST = "manifest.json"
PROCESS_PREFIX = "process-"
SUFFIX = ".arrow"

NULL = -1
"""Stands for an absent value in the integer columns: ids, names and sequence numbers are never negative."""

Storage = Literal["int8", "int32", "int64", "uint64", "float64", "string"]


@dataclass(frozen=True, slots=True)
class Family:
    """One stream of rows per process: its name and its columns with their storage types."""

    name: str
    columns: tuple[tuple[str, Storage], ...]
    since_1_1: tuple[str, ...] = ()
    """The columns that traces of format 1.0 lack: floats, read as NaN."""

    @property
    def struct_format(self) -> str:
        """The `struct` format of one packed row; only families without strings have one."""
        return "<" + "".join(_STRUCT_CODES[storage] for _, storage in self.columns)

    @property
    def packed(self) -> Any:
        """The NumPy type of a table of packed rows."""
        return np.dtype([(name, np.dtype(storage).newbyteorder("<")) for name, storage in self.columns])


_STRUCT_CODES: Mapping[Storage, str] = {"int8": "b", "int32": "i", "int64": "q", "uint64": "Q", "float64": "d"}


def _family(name: str, columns: str, since_1_1: tuple[str, ...] = ()) -> Family:
    parsed: list[tuple[str, Storage]] = []
    for entry in columns.split():
        column, _, storage = entry.partition(":")
        parsed.append((column, _STORAGE[storage or "int32"]))
    return Family(name, tuple(parsed), since_1_1)


_STORAGE: Mapping[str, Storage] = {
    "int8": "int8",
    "int32": "int32",
    "int64": "int64",
    "uint64": "uint64",
    "float64": "float64",
    "string": "string",
}

# The order is the order of flushing: a row is written before the rows that refer to it, except that `names`
# and the sets may be read last by whoever follows a growing trace. A column without a type is an int32,
# most often the id of a row in `names`.
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            _family("process", "key:string value:string"),
            _family("names", "id text:string"),
            _family("contextsets", "id key value"),
            _family("valuesets", "id name type value class number:float64 dtype shape device"),
            _family("subclasses", "sub super"),
            _family("overrides", "type sub super"),
            _family("objects", "id:int64 type"),
            _family("functions", "api kind:int8"),
            _family(
                "variables", "id:int64 name kind owner:int64 dtype shape device requires_grad:int8 ties:int64 at:int64"
            ),
            _family("holds", "optimizer:int64 group variable:int64 at:int64"),
            _family("hyperparameters", "optimizer:int64 group name value number:float64"),
            _family(
                "calls",
                "enter:int64 exit:int64 parent:int64 time:int64 receiver:int64 api site thread contexts args results "
                "stage:int8 outcome:int8",
            ),
            _family("links", "call:int64 tensor:int64 fingerprint:uint64 name flags:int8"),
            _family("members", "channel rank"),
            _family("exchanges", "call:int64 number:int64 channel peer operation"),
            _family("raised", "call:int64 type message"),
            _family("updates", "id:int64 variable:int64 call:int64 attr before after"),
            _family(
                "states",
                "variable:int64 at:int64 fingerprint:uint64 norm:float64 attr class nonfinite:int64 "
                "point:int8 hashed:int8 minimum:float64 maximum:float64",
                since_1_1=("minimum", "maximum"),
            ),
            _family("metrics", "at:int64 value:float64 name"),
            _family("adjustments", "at:int64 optimizer:int64 call:int64 group name before after number:float64"),
            _family(
                "stored",
                "call:int64 owner:int64 variable:int64 tensor:int64 taken:int64 fingerprint:uint64 place name kind "
                "dtype shape class flags:int8",
            ),
            # records and spans are written by importers only; said, contexts, attributes, given and returned are words
            # that are JSON texts, whole and whole_before the values of spans whose value or before is WHOLE
            _family(
                "records",
                "id:int64 call:int64 variable:int64 time:int64 data_id:int64 grad_id:int64 index thread said contexts "
                "attributes given returned sketch",
            ),
            _family(
                "spans",
                "id:int64 variable:int64 call:int64 begin:int64 end:int64 last:int64 whole:int64 whole_before:int64 "
                "attr value before",
            ),
            _family("marks", "seq:int64 step kind:int8"),
        )
    }
)

WHOLE = -2
"""Stands for a value that is a whole number and written as such in another column, or for a recorded null id."""

STAGES = ("init", "train", "eval")
OUTCOMES = ("returned", "raised", "exhausted")
POINTS = ("before_step", "after_step")

LINK_RESULT = 1
"""Flag of a row of `links`: the tensor is a result of the call, not an argument."""
LINK_HASHED = 2
"""Flag of a row of `links`: its fingerprint was taken."""

STORED_LIVE = 1
"""Flag of a row of `stored`: the tensor is the model's, not one that is saved or loaded."""
STORED_HASHED = 2
"""Flag of a row of `stored`: its fingerprint was taken."""
STORED_OUTDATED = 4
"""Flag of a row of `stored`: it is the model's own tensor, and has changed since `taken`."""
STORED_MOVES = 8
"""Flag of a row of `stored`: the last optimizer step changed it."""
STORED_EARLIER = 16
"""Flag of a row of `stored`: what it is saved with is, as a whole, a state that the model was in before."""

STOPPED = "stopped"
"""Key of a row of `process` that says why recording ended before its process did; such a process has no `MARK_END`."""
STOPPED_BY_FAILURE, STOPPED_BY_CHECKER = "an internal error", "its checker"

MARK_STEP = 0
"""Kind of a row of `marks`: step `step` begins at sequence number `seq`."""
MARK_FLUSHED = 1
"""Kind of a row of `marks`: every row of an event before `seq` is on disk."""
MARK_END = 2
"""Kind of a row of `marks`: the process ended normally, no event follows."""
MARK_FULL = 3
"""Kind of a row of `marks`: step `step` is recorded in full. Without `every` in the settings all steps are."""
MARK_LEFT = 4
"""Kind of a row of `marks`: the last optimizer step before step `step` was left at `seq`."""
MARK_FIRST = 5
"""Kind of a row of `marks`: the first event of a training loop, of which step 0 has none before, was at `seq`."""

FUNCTION_FOLLOWED = 0
"""Kind of a row of `functions`: the rows of `calls` of this API say when it ran, and are nobody's parent on disk."""
FUNCTION_UNRECORDED = 1
"""Kind of a row of `functions`: not all calls of this API were recorded."""
