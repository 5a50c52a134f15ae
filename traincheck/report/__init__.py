"""Reports: what a check found, in the format that the reader wants. Each format is a module with `render`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from traincheck.check.verdict import Report

if TYPE_CHECKING:
    from traincheck.explain import Explanation

__all__ = ["FORMATS", "render"]

# name -> module of this package, loaded when asked for
FORMATS: Mapping[str, str] = {
    "text": "text",
    "concise": "concise",
    "json": "json",
    "jsonl": "jsonl",
    "github": "github",
    "sarif": "sarif",
    "junit": "junit",
    "html": "html",
}


def render(format_: str, report: Report, explanations: Mapping[str, Explanation]) -> str:
    """The report in one of FORMATS; `explanations` has those that were made, by the law's id."""
    text: str = importlib.import_module(f"{__name__}.{FORMATS[format_]}").render(report, explanations)
    return text
