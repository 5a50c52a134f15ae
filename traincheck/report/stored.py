"""Explanations out of a JSON report, as they were when it was written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traincheck.check.verdict import Place
from traincheck.dsl.declare import did_you_mean
from traincheck.errors import UsageError
from traincheck.explain.model import Told
from traincheck.report.json import SCHEMA_VERSION
from traincheck.report.text import shown_place

__all__ = ["read_report", "stored_story"]

Document = Mapping[str, Any]


def read_report(path: Path) -> Document:
    """The JSON report in a file; UsageError when it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read: {error.strerror}", where=str(path), next_step="name a file that 'check --format json' wrote"
        ) from error
    except ValueError as error:
        raise UsageError("not a JSON report", where=str(path), next_step="traincheck check --format json") from error
    if not isinstance(document, dict) or not isinstance(document.get("violations"), list):
        raise UsageError(
            "not a report of traincheck check", where=str(path), next_step="traincheck check --format json"
        )
    if document.get("schema_version") != SCHEMA_VERSION:
        what = f"a report of version {document.get('schema_version')}, this TrainCheck reads {SCHEMA_VERSION}"
        raise UsageError(what, where=str(path))
    return document


def stored_story(document: Document, wanted: str | None, where: str) -> tuple[str, tuple[Told, ...]]:
    """Headline and story of the violation with this id or beginning of one, or of the first one to read.

    UsageError when there is none, or when the report is not as TrainCheck wrote it.
    """
    try:
        return _story(document, wanted, where)
    except (AttributeError, KeyError, TypeError) as error:  # a JSON file holds what its editor left there
        raise UsageError(
            f"a damaged report: {type(error).__name__} at {error}",
            where=where,
            next_step="write it again with 'check --explain --format json'",
        ) from error


def _story(document: Document, wanted: str | None, where: str) -> tuple[str, tuple[Told, ...]]:
    violation = _chosen(document, wanted, where)
    head = f"{violation['severity']}: {violation['title']} [{violation['invariant']}]"
    first = Told(f"first at {shown_place(Place(**violation['first']))}")
    explanation = violation.get("explanation")
    if explanation is None:
        story: tuple[Told, ...] = (first, Told("(no proof in this report; check with --explain to have it)"))
    else:
        story = (Told(explanation["what"]), first, *map(_told, explanation["story"]))
    explained = _explained(document, violation["invariant"])
    if explained:
        story = (*story, Told("it explains:", tuple(map(Told, explained))))
    if violation.get("next"):
        story = (*story, Told(f"next: {violation['next']}"))
    return head, story


def _chosen(document: Document, wanted: str | None, where: str) -> Document:
    violations: list[Document] = document["violations"]
    if not violations:
        raise UsageError("nothing is violated in this report", where=where)
    if wanted is None:
        return violations[0]
    ids = [violation["invariant"] for violation in violations]
    found = [violation for violation in violations if violation["invariant"] == wanted]
    found = found or [violation for violation in violations if violation["invariant"].startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(violation["invariant"] for violation in found)
        raise UsageError(f"'{wanted}' may be {shown}", where=where, next_step="give more of the id")
    raise UsageError(
        f"no violation '{wanted}' in this report",
        where=where,
        next_step=did_you_mean(wanted, ids) or "leave the id out",
    )


def _told(tree: Document) -> Told:
    return Told(tree["text"], tuple(map(_told, tree["children"])))


def _explained(document: Document, headline: str) -> list[str]:
    titles = {violation["invariant"]: violation["title"] for violation in document["violations"]}
    for finding in document.get("findings", ()):
        if finding["headline"] == headline:
            return [f"{titles[other]} [{other}]" for other in finding["others"]]
    return []
