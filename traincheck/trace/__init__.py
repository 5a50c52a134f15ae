"""A trace on disk, written by `collect` and read by `facts`; this package knows nothing of torch.

A trace is a folder:

    TRACE/
      manifest.json                          format version, schema version, settings
      process-<start time>-<pid>/            one per process that recorded anything
        calls.arrow, updates.arrow, ...      one Arrow IPC stream per family of rows
      followed                               empty; there once somebody has read the trace while it grew

`layout.FAMILIES` lists the families and their columns. All columns but those of `process` and `names` are
numbers without nulls; -1 stands for an absent integer. Words (names of APIs, types, call sites, values) are
written once, in `names`, and referred to by id. So are the sets of context keys (`contextsets`) and of
argument or result summaries (`valuesets`): a call names one set of each.

Each process counts its events. A call's id is the count at its entry, and the ids of variables, objects and
updates come from the same counter, so that an id is unique within the process and orders events. Steps are not
columns: `marks` says at which count each step begins, as that is known only afterwards.

A call is written when it ends. Calls that are open when a batch is written are written too, without an exit; the
row with an exit, if there is one, replaces the other. Of a variable's rows the last counts: later ones rename it.

Batches are flushed whole, every two seconds at least, or about twice a second once somebody follows. A process that
ends normally writes the end-of-stream mark and a mark of kind `MARK_END`; after `kill -9` the streams are read up to
their last whole batch. A mark of kind `MARK_FLUSHED` tells a follower that every row of the events before it is there.

Readers ignore columns and families they do not know and refuse another major version.
"""

from traincheck.trace.manifest import Manifest, is_trace, read_manifest
from traincheck.trace.reader import ProcessReader, StreamReader, TraceReader
from traincheck.trace.writer import ProcessWriter, StreamWriter

__all__ = [
    "Manifest",
    "ProcessReader",
    "ProcessWriter",
    "StreamReader",
    "StreamWriter",
    "TraceReader",
    "is_trace",
    "read_manifest",
]
