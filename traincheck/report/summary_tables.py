"""The tables that a trace's summary is made of, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from traincheck.errors import one_line
from traincheck.facts.counts import Attribute
from traincheck.facts.summary import Gap, Steps, Summary

__all__ = ["LEFT", "Section", "gap_text", "narrowed", "sections"]

LEFT = frozenset((
    "ROLE", "HOST", "PYTHON", "TORCH", "OUTCOME", "RECORDED IN FULL", "API", "KIND", "FACT", "ATTR", "POINT",
    "CLASSES", "FAMILY",
))  # fmt: skip
"""The columns that hold words; the others hold numbers and are aligned on the right."""
_UNITS = ("B", "kB", "MB", "GB", "TB")
_MOST_CHARACTERS = 100
_MOST_LISTED = 6

Row = tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A heading with lines and a table under it."""

    title: str
    lines: Sequence[str] = ()
    header: Row = ()
    rows: Sequence[Row] = ()


def sections(summary: Summary, limit: int) -> Iterator[Section]:
    """Everything there is to say, with at most `limit` APIs (0 for all)."""
    yield Section(
        f"trace '{one_line(summary.trace)}': format {one_line(summary.format_version)}, "
        f"written by traincheck {one_line(summary.traincheck)}",
        [*_ran(summary), _in_short(summary)],
    )
    yield _processes(summary)
    yield _steps(summary)
    yield _by_api(summary, limit)
    yield _variables(summary)
    yield Section(
        "updates and states",
        header=("FACT", "ATTR", "POINT", "COUNT", "CLASSES"),
        rows=[*(_attribute("update", a) for a in summary.updates), *(_attribute("state", a) for a in summary.states)],
    )
    yield _disk(summary)
    yield Section("coverage", list(_coverage(summary)))
    yield Section("gaps", [*_gaps(summary)] or ["none"])


def _ran(summary: Summary) -> Iterator[str]:
    commands = dict.fromkeys(_cell(process.argv) for process in summary.processes if process.argv)
    yield from (f"ran '{command}'" for command in commands)


def _in_short(summary: Summary) -> str:
    return (
        f"{_counted(len(summary.processes), 'process', 'processes')}, {_counted(summary.steps.count, 'step')}, "
        f"{_counted(summary.calls, 'call')} of {_counted(len(summary.apis), 'API')}, "
        f"{_counted(sum(kind.variables for kind in summary.variables), 'variable')}, {_size(summary.bytes)} on disk"
    )


def _processes(summary: Summary) -> Section:
    steps = {found.process: found.count for found in summary.steps_by_process}
    rows = [
        (
            str(process.rank), _cell(process.role), "-" if process.pid is None else str(process.pid),
            *(_cell(text) for text in (process.host, process.python, process.torch)),
            f"{steps.get(process.name, 0):,}",
            _cell(process.outcome or ("stopped early" if process.stopped else "not ended")),
        )
        for process in summary.processes
    ]  # fmt: skip
    return Section(
        "processes", header=("RANK", "ROLE", "PID", "HOST", "PYTHON", "TORCH", "STEPS", "OUTCOME"), rows=rows
    )


def _steps(summary: Summary) -> Section:
    processes = {process.name: process for process in summary.processes}
    rows = []
    for steps in summary.steps_by_process:
        process = processes[steps.process or ""]
        numbers = (steps.count, steps.complete, steps.full, steps.first, steps.last)
        shown = (f"{number:,}" for number in numbers if number is not None)
        rows.append((str(process.rank), "-" if process.pid is None else str(process.pid), *shown, _windows(steps)))
    return Section(
        "steps",
        header=("RANK", "PID", "STEPS", "COMPLETE", "IN FULL", "FIRST", "LAST", "RECORDED IN FULL"),
        rows=rows,
    )


def _windows(steps: Steps) -> str:
    """`0-4, 10, 20, ... 90`."""
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in steps.windows]
    if len(shown) > _MOST_LISTED:
        return f"{', '.join(shown[: _MOST_LISTED - 1])}, ... {shown[-1]}"
    return ", ".join(shown)


def _by_api(summary: Summary, limit: int) -> Section:
    total = summary.calls
    rows = [
        (f"{api.calls:,}", f"{100 * api.calls / total:.1f}%", f"{api.raised:,}", _cell(api.api))
        for api in summary.apis[: limit or None]
    ]
    return Section("calls", header=("CALLS", "SHARE", "RAISED", "API"), rows=rows)


def _variables(summary: Summary) -> Section:
    rows = [
        (
            _cell(kind.kind), f"{kind.variables:,}", f"{kind.elements:,}", _size(kind.bytes),
            f"{kind.requires_grad:,}", f"{kind.held:,}", f"{kind.tied:,}",
        )
        for kind in summary.variables
    ]  # fmt: skip
    header = ("KIND", "NUMBER", "ELEMENTS", "SIZE", "REQUIRES GRAD", "HELD BY AN OPTIMIZER", "TIED")
    return Section("variables", header=header, rows=rows)


def _attribute(fact: str, attribute: Attribute) -> Row:
    listed = [f"{_cell(kind)} {count:,}" for kind, count in attribute.classes.items()]
    classes = ", ".join([*listed[:_MOST_LISTED], *(["..."] if len(listed) > _MOST_LISTED else [])])
    return fact, _cell(attribute.attr), _cell(attribute.point), f"{attribute.count:,}", classes


def _disk(summary: Summary) -> Section:
    rows = [
        (family.family, f"{family.rows:,}", _size(family.bytes), _each(family.bytes, family.rows))
        for family in sorted(summary.families, key=lambda family: -family.bytes)
    ]
    total = f"{_size(summary.bytes)}, {_each(summary.bytes, summary.events)} bytes an event"
    return Section("on disk", [total], ("FAMILY", "ROWS", "SIZE", "BYTES A ROW"), rows)


def _coverage(summary: Summary) -> Iterator[str]:
    steps, settings = summary.steps, summary.settings
    if steps.full == steps.count:
        yield "every step in full"
    else:
        every = f", as asked for: one in {settings['every']}" if settings.get("every") else ""
        if settings.get("budget"):
            every = f", as a budget of {100 * settings['budget']:g}% allowed"
        warmup = f", and the first {settings['warmup']}" if every and settings.get("warmup") else ""
        share = f"{100 * steps.full / steps.count:.1f}%"
        yield f"{steps.full:,} of {_counted(steps.count, 'step')} in full ({share}){every}{warmup}"
    asked = narrowed(summary)
    if asked is None:
        yield "the trace does not say what was asked for"
    elif not asked:
        yield "everything was asked for"
    else:
        yield "selective, only what was asked for:"
        yield from (f"  {name}: {_listing(value)}" for name, value in asked.items())


def _listing(value: Any) -> str:
    if not isinstance(value, list):
        return "not asked for"
    shown = [_cell(str(item)) for item in value[:_MOST_LISTED]]
    more = [f"and {len(value) - _MOST_LISTED} more"] if len(value) > _MOST_LISTED else []
    return ", ".join([*shown, *more]) or "none"


def _gaps(summary: Summary) -> Iterator[str]:
    yield from (gap_text(gap) for gap in summary.gaps if gap.kind != "empty")
    empty = [gap.family or "" for gap in summary.gaps if gap.kind == "empty"]
    if empty:
        yield f"no rows in {', '.join(empty)}"


def gap_text(gap: Gap) -> str:
    """A gap in words."""
    process = f"'{one_line(gap.process or '')}'"
    match gap.kind:
        case "stopped":
            return f"{process} was stopped recording by {gap.text}"
        case "not_ended":
            return f"{process} did not end: it runs still, or it was killed or stopped"
        case "torn":
            return f"{process} ended, but its stream '{gap.family}' lacks its end"
        case "cut":
            return f"{process} has {gap.count:,} bytes of a batch without its end in '{gap.family}'"
        case "lost_names":
            return f"{process} lost the end of its stream 'names': what it named is absent"
        case "open_calls":
            return f"{process} has {_counted(gap.count or 0, 'call')} that never returned"
        case _:
            return f"no rows in {gap.family}"


def narrowed(summary: Summary) -> dict[str, Any] | None:
    """What was not asked for in full: flags that are off, lists that lack `*`; None when the trace does not say."""
    needs = summary.settings.get("needs")
    if not isinstance(needs, dict):
        return None
    return {name: value for name, value in needs.items() if not value or (isinstance(value, list) and "*" not in value)}


def _cell(text: str | None) -> str:
    """A text in one line of bearable length; a dash for none."""
    shown = one_line(text or "-")
    half = _MOST_CHARACTERS // 2
    return shown if len(shown) <= _MOST_CHARACTERS else f"{shown[:half]}...{shown[3 - half :]}"


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _size(size: float) -> str:
    """`4.8 MB`."""
    power = 0
    while size >= 999.5 and power < len(_UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.0f} {_UNITS[power]}" if size >= 99.5 or not power else f"{size:.1f} {_UNITS[power]}"


def _each(part: int, whole: int) -> str:
    return f"{part / whole:.1f}" if whole else "-"
