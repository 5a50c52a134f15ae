"""The evidence file beside an invariants file: each run's tallies, so that new runs refine what old ones taught.

One JSON document a line: a header with the format's version, then one line per run. A run is known by its trace's
identity; the same run given twice counts once. Templates are known by a digest of all that their counts depend on,
since counts made for another text mean something else.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from traincheck.dsl.checker import Checked
from traincheck.dsl.features import FEATURES, identities_of, identity_name
from traincheck.dsl.lower import closing_literal
from traincheck.dsl.printer import print_declaration
from traincheck.dsl.syntax import Define, Template
from traincheck.dsl.walk import atoms_of
from traincheck.errors import UsageError
from traincheck.infer.profile import Profile
from traincheck.infer.tally import Counts, Tally

FORMAT = "traincheck evidence"
VERSION = 2
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


def digests_of(checked: Checked, templates: Iterable[Template]) -> dict[str, str]:
    """By template name, a digest of its conditions and of all definitions that they and its features reach."""
    defines: dict[str, list[Define]] = defaultdict(list)
    for define in checked.defines:
        defines[define.head.relation].append(define)
    keys = identities_of(checked.predicate_sorts)
    found = {}
    for template in sorted(templates, key=lambda template: template.name):
        given = [checked.sorts(template)[name] for name in template.given]
        reached = {closing_literal(template.within).predicate, *(FEATURES[sort] for sort in given)}
        reached |= {identity_name(sort, key) for sort in given for key in keys[sort]}
        reached |= {atom.relation for atom, _ in atoms_of((*template.when, *template.expect, *template.propose))}
        found[template.name] = _digest(template, _reachable(reached, defines))
    return found


def _reachable(predicates: set[str], defines: Mapping[str, Sequence[Define]]) -> Iterator[Define]:
    """The definitions of these predicates, and of all that they use."""
    pending, seen = sorted(predicates), set(predicates)
    while pending:
        for define in defines.get(pending.pop(), ()):
            yield define
            new = {atom.relation for atom, _ in atoms_of(define.body)} - seen
            seen |= new
            pending += sorted(new)


def _digest(template: Template, defines: Iterable[Define]) -> str:
    """What is said to people of a template does not count."""
    bare = replace(template, title="", about="", next="", severity="warning", persona="regular", transitive=())
    text = "\n".join([print_declaration(bare), *sorted(map(print_declaration, defines))])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def dump(runs: Sequence[Run], digests: Mapping[str, str]) -> str:
    """The evidence file's text; `digests` are those of the templates that were mined."""
    lines = [json.dumps({"format": FORMAT, "version": VERSION, "templates": dict(digests)})]
    for run in runs:
        tallies = {name: _tally_as_json(tally) for name, tally in sorted(run.tallies.items())}
        lines.append(json.dumps({"run": run.identity, "tallies": tallies}))
    return "\n".join(lines) + "\n"


def load(path: Path, digests: Mapping[str, str]) -> list[Run]:
    """Read the evidence of these templates; UsageError when it is missing, broken or was made with other ones."""
    try:
        header, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        _require_same(header, digests, str(path))
        return [Run(line["run"], {name: _tally(line["tallies"][name]) for name in digests}) for line in lines]
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=str(path), next_step=_ADVICE) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # whatever a torn file leads to
        raise UsageError("this is not an evidence file, or it is torn", where=str(path), next_step=_ADVICE) from error


def _require_same(header: Mapping[str, Any], digests: Mapping[str, str], where: str) -> None:
    """Refuse evidence of another format, of a later version, or of templates that have another text."""
    if header["format"] != FORMAT:
        raise UsageError("this is not an evidence file", where=where, next_step=_ADVICE)
    if header["version"] > VERSION:
        raise UsageError(f"evidence of version {header['version']}", where=where, next_step="update traincheck")
    if header["version"] < VERSION:
        raise UsageError(f"evidence of the old version {header['version']}", where=where, next_step=_ADVICE)
    for name, digest in digests.items():
        known = header["templates"].get(name)
        if known != digest:
            what = "was not mined when" if known is None else "or a definition that it uses has changed since"
            raise UsageError(f"template '{name}' {what} this was learned", where=where, next_step=_ADVICE)


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
    features = [[name, sorted(map(list, pairs))] for name, pairs in profile.features]
    return json.dumps([features, sorted(map(list, profile.shared))])


def _tally(document: Mapping[str, Any]) -> Tally:
    profiles = [
        Profile(
            tuple((name, frozenset((key, value) for key, value in pairs)) for name, pairs in features),
            frozenset((first, second, key, same) for first, second, key, same in shared),
        )
        for features, shared in document["profiles"]
    ]

    def counts(rows: Iterable[Any]) -> Counts:
        return {tuple(row): Counter({profiles[i]: n for i, n in numbers}) for row, numbers in rows}

    return Tally(
        counts(document["examples"]), counts(document["positives"]), {tuple(row) for row in document["candidates"]}
    )
