"""Facts: a trace as the relations of `traincheck.schema`, each an Arrow table, computed when asked for."""

from traincheck.facts.facts import Facts, load_facts

__all__ = ["Facts", "load_facts"]
