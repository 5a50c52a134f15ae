"""The text report on a terminal: the same lines as a tree, with colour unless NO_COLOR is set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from traincheck.check.verdict import Report
from traincheck.errors import one_line
from traincheck.report.text import blocks, closing

if TYPE_CHECKING:
    from traincheck.explain import Explanation, Told

__all__ = ["print_report", "print_told"]

_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_MARKS = {"[ok]": "green", "[missing]": "red", "[fails]": "red", "[not reached]": "dim"}
_LABELS = ("next:", "known:", "because:", "expected:", "nearest:", "also near:", "it explains:", "about:", "first at")


def print_report(report: Report, explanations: Mapping[str, Explanation], console: Console) -> None:
    """Print the findings as trees, then the verdict."""
    for head, parts in blocks(report, explanations):
        severity, _, title = one_line(head).partition(": ")
        tree = Tree(Text.assemble((severity, _STYLES[severity]), ": ", (title, "bold")), guide_style="dim")
        branch = tree
        for part in parts:
            if not isinstance(part, str):
                _grow(tree, part)
            elif part.startswith("  "):  # belongs under the line before
                branch.add(_styled(part.strip()))
            else:
                branch = tree.add(_styled(part))
        console.print(tree)
        console.print()
    for line in closing(report):
        console.print(Text(line))


def print_told(head: str, story: tuple[Told, ...], console: Console) -> None:
    """Print one story under a headline."""
    tree = Tree(Text(one_line(head), "bold"), guide_style="dim")
    for told in story:
        _grow(tree, told)
    console.print(tree)


def _grow(tree: Tree, told: Told) -> None:
    branch = tree.add(_styled(told.text))
    for child in told.children:
        _grow(branch, child)


def _styled(text: str) -> Text:
    text = one_line(text)
    for mark, style in _MARKS.items():
        if text.startswith(mark):
            return Text.assemble((mark, style), text[len(mark) :])
    for label in _LABELS:
        if text.startswith(label):
            return Text.assemble((label, "bold"), text[len(label) :])
    return Text(text)
