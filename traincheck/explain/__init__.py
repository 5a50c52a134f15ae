"""Explanations: why a violation follows from the facts, what is missing, and what came nearest to holding."""

from traincheck.explain.explain import explain_violation
from traincheck.explain.model import Explanation

__all__ = ["Explanation", "explain_violation"]
