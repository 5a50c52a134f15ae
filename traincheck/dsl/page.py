"""A rule's own page: what it says, why that is bad, what to do, when it holds and when not, and how it is written."""

from collections.abc import Iterator

from traincheck.dsl.catalog import show
from traincheck.dsl.checker import Checked
from traincheck.dsl.syntax import Rule, Template, Within

__all__ = ["page"]

_WINDOWS = {"call": "when the call ends", "step": "when the step ends", "epoch": "when the epoch ends"}


def page(checked: Checked, name: str) -> str:
    """The page of a template or rule, also of the template that an invariant's id begins with.

    Other names are shown as `traincheck rules show` does; UsageError for an unknown one.
    """
    law = _law(checked, name) or _law(checked, name.rpartition("-")[0])
    return "\n".join(_lines(checked, law)) if law is not None else show(checked, name)


def _law(checked: Checked, name: str) -> Template | Rule | None:
    return checked.templates.get(name) or checked.rules.get(name)


def _lines(checked: Checked, law: Template | Rule) -> Iterator[str]:
    kind = "template" if isinstance(law, Template) else "rule"
    yield ", ".join([f"{law.name}: {kind}", law.severity, *([law.persona] if law.persona != "regular" else [])])
    yield f"  {law.title}"
    if law.about:
        yield ""
        yield from (f"  {line}".rstrip() for line in law.about.splitlines())
    if law.next:
        yield ""
        yield f"  next: {' '.join(law.next.split())}"
    yield ""
    if isinstance(law, Template) and law.parameters:
        yield "  parameters: " + ", ".join(f"{parameter.name} ({parameter.sort})" for parameter in law.parameters)
    yield f"  decided: {_decided(law.within)}"
    yield from _examples(checked, law)
    yield ""
    yield from (f"  {line}".rstrip() for line in show(checked, law.name).splitlines())


def _examples(checked: Checked, law: Template | Rule) -> Iterator[str]:
    shown = [example for example in checked.examples if example.law == law.name]
    if shown:
        yield "  examples:"
    yield from (f"    {example.verdict}: {example.title}" for example in shown)


def _decided(within: Within | None) -> str:
    return "when the run ends" if within is None else _WINDOWS.get(within.kind, "when the run ends")
