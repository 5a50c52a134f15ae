"""What rules there are to read about: laws, templates, derived predicates, and the relations of a trace."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from traincheck.dsl.checker import Checked
from traincheck.dsl.declare import did_you_mean
from traincheck.dsl.printer import print_declaration
from traincheck.dsl.syntax import Position, Rule, RuleFile, Template
from traincheck.errors import UsageError
from traincheck.schema import RELATIONS

KINDS = ("rule", "template", "predicate", "relation")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to list. `parameters` are names with sorts; a predicate's terms have no names, only sorts."""

    name: str
    kind: str
    parameters: tuple[tuple[str, str], ...]
    title: str
    position: Position | None = None

    def as_dict(self) -> dict[str, object]:
        """The entry for `--format json`; `file` and `line` are null for what the trace format defines."""
        return {
            "name": self.name,
            "kind": self.kind,
            "parameters": [{"name": name, "sort": sort} for name, sort in self.parameters],
            "title": self.title,
            "file": self.position.file if self.position else None,
            "line": self.position.line if self.position else None,
        }


def entries(checked: Checked) -> list[Entry]:
    """Everything that `checked` offers, by kind, then by name."""
    return sorted(_entries(checked), key=lambda entry: (KINDS.index(entry.kind), entry.name))


def _entries(checked: Checked) -> Iterator[Entry]:
    for rule in checked.rules.values():
        yield Entry(rule.name, "rule", (), rule.title, rule.position)
    for template in checked.templates.values():
        parameters = tuple((parameter.name, parameter.sort) for parameter in template.parameters)
        yield Entry(template.name, "template", parameters, template.title, template.position)
    first = {define.head.relation: define.position for define in reversed(checked.defines)}
    for name, sorts in checked.predicate_sorts.items():
        yield Entry(name, "predicate", tuple((sort, sort) for sort in sorts), "", first[name])
    for relation in RELATIONS.values():
        columns = tuple((column.name, column.sort) for column in relation.columns)
        yield Entry(relation.name, "relation", columns, relation.doc)


def show(checked: Checked, name: str) -> str:
    """What `name` says, as rule text with comments that tell where it stands; UsageError for an unknown name."""
    law: Template | Rule | None = checked.templates.get(name) or checked.rules.get(name)
    if law is not None:
        return f"{_place(law.position)}\n{print_declaration(law)}"
    defines = [define for define in checked.defines if define.head.relation == name]
    if defines:
        sorts = ", ".join(checked.predicate_sorts[name])
        text = [f"# {name}({sorts})"]
        for define in defines:
            if (place := _place(define.position, line=False)) not in text:
                text.append(place)
            text.append(print_declaration(define))
        return "\n".join(text)
    if name in RELATIONS:
        relation = RELATIONS[name]
        columns = [f"#   {column.name}: {column.sort}, {column.type}" for column in relation.columns]
        return "\n".join([f"# {name}: a relation of the trace", f"# {relation.doc}", *columns])
    known = [entry.name for entry in entries(checked)]
    advice = did_you_mean(name, known) or "'traincheck rules list' tells which there are"
    raise UsageError(f"no rule, template, predicate or relation is called '{name}'", next_step=advice)


def _place(position: Position, line: bool = True) -> str:
    return f"# {position.file}:{position.line}" if line else f"# {position.file}"


def count(file: RuleFile) -> str:
    """How many declarations of each kind a file holds: `2 templates, 1 rule`."""
    kinds = Counter(type(declaration).__name__.lower() for declaration in file.declarations)
    words = {"define": "definition"} | {kind: kind for kind in ("template", "rule", "invariant", "example", "setting")}
    counted = [f"{kinds[kind]} {word}{'s' if kinds[kind] > 1 else ''}" for kind, word in words.items() if kinds[kind]]
    return ", ".join(counted) or "no declarations"
