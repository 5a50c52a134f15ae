"""What a trace holds, as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from traincheck.facts.summary import Summary
from traincheck.report.json import SCHEMA_VERSION, json_text
from traincheck.report.summary_tables import LEFT, Section, gap_text, narrowed, sections

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_summary", "summary_json", "summary_text"]


def summary_json(summary: Summary, limit: int) -> str:
    """One JSON document, with at most `limit` APIs (0 for all)."""
    asked, steps = narrowed(summary), summary.steps
    document = {
        "schema_version": SCHEMA_VERSION,
        "trace": summary.trace,
        "format_version": summary.format_version,
        "traincheck": summary.traincheck,
        "processes": [asdict(process) for process in summary.processes],
        "steps": {
            "count": steps.count,
            "complete": steps.complete,
            "full": steps.full,
            "first": steps.first,
            "last": steps.last,
            "by_process": [asdict(own) for own in summary.steps_by_process],
        },
        "calls": {
            "total": summary.calls,
            "raised": sum(api.raised for api in summary.apis),
            "apis": len(summary.apis),
            "by_api": [
                asdict(api) | {"share": _ratio(api.calls, summary.calls)} for api in summary.apis[: limit or None]
            ],
        },
        "variables": [asdict(kind) for kind in summary.variables],
        "updates": [{"attr": a.attr, "count": a.count, "classes": a.classes} for a in summary.updates],
        "states": [asdict(attribute) for attribute in summary.states],
        "disk": {
            "bytes": summary.bytes,
            "events": summary.events,
            "bytes_per_event": _ratio(summary.bytes, summary.events),
            "families": [asdict(f) | {"bytes_per_row": _ratio(f.bytes, f.rows)} for f in summary.families],
        },
        "coverage": {
            "steps_in_full": _ratio(steps.full, steps.count),
            "every": summary.settings.get("every"),
            "budget": summary.settings.get("budget"),
            "warmup": summary.settings.get("warmup"),
            "selective": None if asked is None else bool(asked),
            "asked": summary.settings.get("needs"),
        },
        "gaps": [asdict(gap) | {"text": gap_text(gap)} for gap in summary.gaps],
    }
    return json_text(document, indent=1) + "\n"


def summary_text(summary: Summary, limit: int) -> str:
    """Aligned tables, with at most `limit` APIs (0 for all)."""
    return "\n".join("".join(f"{line}\n" for line in _plain(section)) for section in sections(summary, limit))


def print_summary(summary: Summary, limit: int, console: Console) -> None:
    """The same tables on a terminal."""
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    for section in sections(summary, limit):
        console.print(Text(section.title, "bold"))
        for line in section.lines:
            console.print(Padding(Text(line), (0, 0, 0, 2)))
        if section.header:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=True, padding=(0, 1))
            for name in section.header:
                table.add_column(name, justify="left" if name in LEFT else "right", overflow="fold")
            for row in section.rows:
                table.add_row(*map(Text, row))
            console.print(table)
        else:
            console.print()


def _plain(section: Section) -> Iterator[str]:
    yield section.title
    yield from (f"  {line}" for line in section.lines)
    if section.header:
        table = [section.header, *section.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = zip(section.header, row, widths, strict=True)
            aligned = (cell.ljust(width) if name in LEFT else cell.rjust(width) for name, cell, width in cells)
            yield f"  {'  '.join(aligned)}".rstrip()


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
