"""Laws: what a checker evaluates. An invariant is a template with a row of arguments; a rule is a law without any."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from traincheck.dsl.checker import Checked
from traincheck.dsl.concepts import apis_by_concept
from traincheck.dsl.examples import as_invariant
from traincheck.dsl.load import rule_files
from traincheck.dsl.printer import print_declaration
from traincheck.dsl.syntax import Example, Invariant, Rule, Template, Within


@dataclass(frozen=True)
class Law:
    """One thing that is held, violated or not triggered."""

    id: str
    template: Template
    invariant: Invariant
    concepts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the APIs behind the concepts it names

    @property
    def arguments(self) -> dict[str, int | float | str]:
        """Parameter values by name; empty for a rule."""
        return {name: value.value for name, value in self.invariant.arguments}

    @property
    def next(self) -> str:
        """What to do when it is violated, in one line; empty when its template gives no advice."""
        text = " ".join(self.template.next.split())
        for name, value in self.arguments.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text


def rules_in(checked: Checked, paths: Iterable[str]) -> list[Rule]:
    """The concrete rules of the files, folders or packs that a user named; the rest of the library is not asked."""
    named = {file.resolve() for path in paths for file in rule_files(path)}
    return [rule for rule in checked.rules.values() if Path(rule.position.file).resolve() in named]


def laws_of(checked: Checked, rules: Iterable[Rule]) -> dict[str, list[Law]]:
    """Every invariant of `checked` and every rule of `rules`, grouped by template, in their order."""
    grouped: dict[str, list[Law]] = defaultdict(list)
    concepts = apis_by_concept(checked)
    for invariant in checked.invariants:
        template = checked.templates[invariant.template]
        named = {
            str(value.value): concepts[str(value.value)] for _, value in invariant.arguments if value.value in concepts
        }
        grouped[template.name].append(Law(_identity(invariant), template, invariant, named))
    for rule in rules:
        grouped[rule.name].append(_law_of_rule(rule))
    return dict(grouped)


def law_of_example(checked: Checked, example: Example) -> Law:
    """The rule that an example speaks of, or its template with the arguments and precondition that it gives."""
    if example.law in checked.rules:
        return _law_of_rule(checked.rules[example.law])
    invariant = as_invariant(example)
    return Law(_identity(invariant), checked.templates[example.law], invariant)


def _law_of_rule(rule: Rule) -> Law:
    invariant = Invariant(rule.name, (), rule.title, severity=rule.severity, persona=rule.persona)
    return Law(rule.name, _as_template(rule), invariant)


def _as_template(rule: Rule) -> Template:
    return Template(
        name=rule.name,
        parameters=(),
        title=rule.title,
        when=rule.when,
        expect=rule.expect,
        within=rule.within or Within("run"),
        given=rule.given,
        severity=rule.severity,
        persona=rule.persona,
        about=rule.about,
        next=rule.next,
    )


def _identity(invariant: Invariant) -> str:
    """Template name and a short hash of arguments and precondition: the same law has the same id in every file."""
    bare = Invariant(invariant.template, invariant.arguments, "", invariant.precondition)
    digest = hashlib.blake2b(print_declaration(bare).encode(), digest_size=4).hexdigest()
    return f"{invariant.template}-{digest}"


def unique(laws: Sequence[Law]) -> list[Law]:
    """The laws without repetitions: two files may teach the same one."""
    return list({law.id: law for law in laws}.values())
