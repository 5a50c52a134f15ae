"""Where two runs part, as text and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict

from traincheck.check.parting import Difference, Parting
from traincheck.errors import one_line
from traincheck.report.json import SCHEMA_VERSION, json_text

__all__ = ["parting_json", "parting_text"]

_MOST_SHOWN = 6
_PLURALS = {"holds": "holdings of optimizers", "end": "ends of calls"}


def parting_json(parting: Parting, left: str, right: str) -> str:
    """One JSON document; `changed` and `present` have the left run's side first."""
    document = {"schema_version": SCHEMA_VERSION, "traces": [left, right], "same": parting.same, **asdict(parting)}
    return json_text(document, indent=1) + "\n"


def parting_text(parting: Parting, left: str, right: str) -> str:
    """The first difference in a few lines, then how much differs after it."""
    return "".join(f"{one_line(line)}\n" for line in _lines(parting, left, right))


def _lines(parting: Parting, left: str, right: str) -> Iterator[str]:
    yield from (f"started differently: {note}" for note in parting.notes)
    total = sum(parting.counts.values())
    over = f"over {parting.common} step{'s' if parting.common != 1 else ''}"
    if parting.first:
        first, *others = parting.first
        yield f"the runs part {_when(first)}: {_what(first)}"
        yield from (f"  {line}" for line in _details(first, left, right))
        if others:
            yield "  also then:"
        for other in others[:_MOST_SHOWN]:
            yield f"    {_what(other)}: {'; '.join(_values(other, left, right))}"
        if len(others) > _MOST_SHOWN:
            yield f"    and {len(others) - _MOST_SHOWN} more"
        kinds = ", ".join(f"{number} {_PLURALS.get(kind, f'{kind}s')}" for kind, number in parting.counts.items())
        yield f"{total} facts differ, {parting.compared} were compared {over}: {kinds}"
    else:
        yield f"the runs agree in all {parting.compared} facts {over}"
    if not parting.steps[0] == parting.steps[1] == parting.common:
        a, b = parting.steps
        yield f"only {parting.common} steps are in both: '{left}' has {a}, '{right}' has {b}"


def _when(difference: Difference) -> str:
    rank = f" on rank {difference.rank}" if difference.rank is not None else ""
    return f"in step {difference.step}{rank}" if difference.step is not None else f"before the first step{rank}"


def _what(difference: Difference) -> str:
    """The fact in words."""
    name, nth = _named(difference)
    match difference.kind:
        case "call":
            return f"call of '{name}'{nth}"
        case "end":
            return f"end of '{name}'{nth}"
        case "argument" | "result" | "context":
            aspect = f" '{difference.aspect}'" if difference.aspect else ""
            return f"{difference.kind}{aspect} of '{name}'{nth}"
        case "update" | "state":
            aspect = difference.aspect.partition(" #")[0]
            return f"{'change' if difference.kind == 'update' else 'state'} of the {aspect} of '{difference.subject}'"
        case "holds":
            return f"'{difference.subject}' holds '{difference.aspect}'"
        case kind:
            return f"{kind} '{difference.subject}'"


def _named(difference: Difference) -> tuple[str, str]:
    """The api of a call, and which of several like it in the step it is."""
    number = difference.subject.rpartition(" #")[2].partition(" ")[0]
    nth = f" (number {number} in this step)" if number.isdecimal() and int(number) > 1 else ""
    return (difference.path[-1] if difference.path else difference.subject), nth


def _details(difference: Difference, left: str, right: str) -> Iterator[str]:
    around = difference.path[:-1] if difference.kind != "update" else difference.path
    if around:
        yield "inside " + " > ".join(f"'{api}'" for api in around)
    a, b = difference.sites
    if a and b and a != b:
        yield f"called from {a} in '{left}', from {b} in '{right}'"
    elif a or b:
        yield f"called from {a or b}"
    yield from _values(difference, left, right)


def _values(difference: Difference, left: str, right: str) -> Iterator[str]:
    if not all(difference.present):
        yield f"only in '{left if difference.present[0] else right}'"
        return
    for name, (a, b) in difference.changed.items():
        yield f"{name} is {a} in '{left}', {b} in '{right}'"
