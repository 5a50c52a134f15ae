"""Reads what the original TrainCheck (OrderLab) writes: recorded traces and inferred invariants.

trace.py        a folder of logs becomes a trace of ours, process by process
  files.py        which files there are and whose records they hold
  lines.py        lines as records; malformed ones become warnings
  process.py      the records of one process in the order of time
  calls.py        entries and exits become calls, with contexts
  values.py       arguments and results
  variables.py    snapshots become variables, states, updates and spans
  sink.py         rows on their way to disk
invariants.py   a file of invariants becomes invariants of the templates in rules/orderlab
  relations.py    one function for each kind of relation
  conditions.py   preconditions in disjunctive normal form
  signatures.py   parameter names of functions, read from installed sources without running them
"""

from traincheck.integrations.orderlab.invariants import Imported, import_invariants
from traincheck.integrations.orderlab.trace import Summary, import_trace

__all__ = ["Imported", "Summary", "import_invariants", "import_trace"]
