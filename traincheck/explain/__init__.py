"""Explanations: why a violation follows from the facts, what is missing, and what came nearest to holding."""

from traincheck.explain.explain import explain_violation, explain_violations
from traincheck.explain.model import Explanation, Told

__all__ = ["Explanation", "Told", "explain_violation", "explain_violations"]
