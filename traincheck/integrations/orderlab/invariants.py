"""A file of the original's invariants becomes a rule file: invariants of the templates in rules/orderlab."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traincheck.dsl.parse import LANGUAGE_VERSION
from traincheck.dsl.syntax import Atom, Declaration, Define, Evidence, Invariant, RuleFile, Template, Value
from traincheck.errors import UsageError
from traincheck.integrations.orderlab.conditions import Unsupported, precondition
from traincheck.integrations.orderlab.relations import RELATIONS, Translation

_FAILED = "Failed"


@dataclass
class Imported:
    """What a file held: the rule file for it, and a line for everything that is not in there, or not wholly."""

    file: RuleFile
    read: int = 0
    kept: int = 0
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def import_invariants(path: Path, templates: Mapping[str, Template]) -> Imported:
    """Read a file with one invariant a line; `templates` are those of the shipped library. UsageError for no file."""
    invariants: list[Invariant] = []
    facts: dict[Define, None] = {}
    found = Imported(RuleFile(()))
    for number, item in _objects(path, found):
        where = f"{path}:{number}"
        found.read += 1
        try:
            translation, translated = _invariants(item, templates)
        except Unsupported as reason:
            found.left_out.append(f"{where}: {reason}")
            continue
        facts |= dict.fromkeys(translation.facts)
        invariants += translated
        found.kept += 1
        found.notes += [f"{where}: {note}" for note in translation.notes]
    declarations: tuple[Declaration, ...] = (*facts, *invariants)
    found.file = RuleFile(declarations, LANGUAGE_VERSION, str(path))
    return found


def _objects(path: Path, found: Imported) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The invariants of the file by line number; lines that hold none are noted in `found`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(path), next_step="name a file of invariants") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except ValueError as error:
            found.left_out.append(f"{path}:{number}: not JSON: {error}")
            continue
        if isinstance(item, dict) and ("relation" in item or "failed_reason" in item):
            yield number, item
        else:
            found.left_out.append(f"{path}:{number}: not an invariant")


def _invariants(item: Mapping[str, Any], templates: Mapping[str, Template]) -> tuple[Translation, Sequence[Invariant]]:
    """Our invariants for one of the original's: one, or one for each pair of neighbours in a list of functions."""
    if "failed_reason" in item:
        raise Unsupported(f"a hypothesis that failed: {item['failed_reason']}")
    if item.get("precondition") == _FAILED:
        raise Unsupported("a hypothesis that failed")
    translate = RELATIONS.get(str(item["relation"]))
    if translate is None:
        raise Unsupported(f"relations of type '{item['relation']}' are not known")
    params = item.get("params")
    if not isinstance(params, list) or not all(isinstance(param, dict) for param in params):
        raise Unsupported("its parameters are not a list of objects")
    found = translate(params)
    conjunctions, left_out = precondition(item.get("precondition"), found.records)
    if left_out:
        found.notes.append(f"kept without its condition on {', '.join(left_out)}, which the original skips when it can")
    name = found.template
    if conjunctions and found.conditional:
        name = found.conditional
        found.facts += [_ordered(function) for function in found.ordered]
    title = templates[name].title
    evidence = _evidence(item)
    return found, [
        Invariant(name, arguments, _filled(title, arguments), conjunctions, evidence) for arguments in found.arguments
    ]


def _ordered(function: str) -> Define:
    return Define(Atom("orderlab_ordered", (Value(function),)))


def _filled(title: str, arguments: Sequence[tuple[str, Value]]) -> str:
    for name, value in arguments:
        title = title.replace(f"{{{name}}}", str(value.value))
    return title


def _evidence(item: Mapping[str, Any]) -> Evidence | None:
    """The original counts positive examples over its runs, which it does not count."""
    positive = item.get("num_positive_examples")
    return Evidence(1, positive, 1.0) if isinstance(positive, int) and positive > 0 else None
