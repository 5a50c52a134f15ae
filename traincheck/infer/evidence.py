"""The evidence file beside an invariants file: each run's tallies, so that new runs refine what old ones taught.

One JSON document a line: a header with the format's version, then one line per run. A run is known by its trace's
identity; the same run given twice counts once. Templates are known by a digest of their text, since counts made
for another text mean something else.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traincheck.dsl.printer import print_declaration
from traincheck.dsl.syntax import Template
from traincheck.errors import UsageError
from traincheck.infer.precondition import Profile
from traincheck.infer.tally import Counts, Tally

FORMAT = "traincheck evidence"
VERSION = 1
SUFFIX = ".evidence"

_ADVICE = "infer again from all traces"


@dataclass(frozen=True)
class Run:
    """One reference run: the identity of its trace, which copying keeps, and its tallies by template name."""

    identity: str
    tallies: Mapping[str, Tally]


def evidence_path(rules: Path) -> Path:
    """Where the evidence of this invariants file is kept."""
    return rules.with_name(rules.name + SUFFIX)


def distinct(runs: Iterable[Run]) -> list[Run]:
    """The runs in an order that does not depend on how they were given, each once."""
    by_identity = {run.identity: run for run in runs}
    return [by_identity[identity] for identity in sorted(by_identity)]


def dump(runs: Sequence[Run], templates: Mapping[str, Template]) -> str:
    """The evidence file's text."""
    digests = {name: _template_digest(template) for name, template in sorted(templates.items())}
    lines = [json.dumps({"format": FORMAT, "version": VERSION, "templates": digests})]
    for run in runs:
        tallies = {name: _tally_as_json(tally) for name, tally in sorted(run.tallies.items())}
        lines.append(json.dumps({"run": run.identity, "tallies": tallies}))
    return "\n".join(lines) + "\n"


def load(path: Path, templates: Mapping[str, Template]) -> list[Run]:
    """Read an evidence file; UsageError when it is missing, broken or made with other templates."""
    try:
        header, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        _require_same(header, templates, str(path))
        return [Run(line["run"], {name: _tally(line["tallies"][name]) for name in templates}) for line in lines]
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=str(path), next_step=_ADVICE) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # whatever a torn file leads to
        raise UsageError("this is not an evidence file, or it is torn", where=str(path), next_step=_ADVICE) from error


def _require_same(header: Mapping[str, Any], templates: Mapping[str, Template], where: str) -> None:
    """Refuse evidence of another format, of a later version, or of templates that have another text."""
    if header["format"] != FORMAT:
        raise UsageError("this is not an evidence file", where=where, next_step=_ADVICE)
    if header["version"] > VERSION:
        raise UsageError(f"evidence of version {header['version']}", where=where, next_step="update traincheck")
    for name, template in templates.items():
        known = header["templates"].get(name)
        if known != _template_digest(template):
            what = "was not mined" if known is None else "has changed"
            raise UsageError(f"template '{name}' {what} since this was learned", where=where, next_step=_ADVICE)


def _template_digest(template: Template) -> str:
    return hashlib.blake2b(print_declaration(template).encode(), digest_size=8).hexdigest()


def _tally_as_json(tally: Tally) -> dict[str, Any]:
    profiles = sorted(
        {_profile_as_json(p) for counts in (tally.examples, tally.positives) for c in counts.values() for p in c}
    )
    index = {text: position for position, text in enumerate(profiles)}
    return {
        "profiles": [json.loads(text) for text in profiles],
        "examples": _counts_as_json(tally.examples, index),
        "positives": _counts_as_json(tally.positives, index),
        "candidates": sorted(map(list, tally.candidates), key=str),
    }


def _counts_as_json(counts: Counts, index: Mapping[str, int]) -> list[Any]:
    return sorted(
        (
            [list(row), sorted([index[_profile_as_json(p)], n] for p, n in by_profile.items())]
            for row, by_profile in counts.items()
        ),
        key=str,
    )


def _profile_as_json(profile: Profile) -> str:
    return json.dumps([[name, sorted(map(list, pairs))] for name, pairs in profile.features])


def _tally(document: Mapping[str, Any]) -> Tally:
    profiles = [
        Profile(tuple((name, frozenset((key, value) for key, value in pairs)) for name, pairs in features))
        for features in document["profiles"]
    ]

    def counts(rows: Iterable[Any]) -> Counts:
        return {tuple(row): Counter({profiles[i]: n for i, n in numbers}) for row, numbers in rows}

    return Tally(
        counts(document["examples"]), counts(document["positives"]), {tuple(row) for row in document["candidates"]}
    )
