"""What makes rule files good: every name known, every variable bound, every sort in its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from traincheck.dsl.examples import check_example, check_setting
from traincheck.dsl.laws import check_invariant, check_rule, check_template, scope_of
from traincheck.dsl.predicates import arities, check_define, check_recursion, infer_sorts, predicate_sorts
from traincheck.dsl.report import Problems, raise_all
from traincheck.dsl.safety import check_locals, check_safety
from traincheck.dsl.scope import Scope
from traincheck.dsl.signature import Signatures
from traincheck.dsl.sorts import sort_of_variable
from traincheck.dsl.source import Source
from traincheck.dsl.syntax import (
    Declaration,
    Define,
    Example,
    Formula,
    Invariant,
    Rule,
    RuleFile,
    Setting,
    Template,
)
from traincheck.errors import RuleError


@dataclass(frozen=True)
class Checked:
    """Rule files that passed every check.

    `predicate_sorts` gives the sort of each column of each defined predicate; the keys of schema.SORTS.
    """

    files: tuple[RuleFile, ...]
    defines: tuple[Define, ...]
    templates: Mapping[str, Template]
    rules: Mapping[str, Rule]
    invariants: tuple[Invariant, ...]
    examples: tuple[Example, ...]
    settings: Mapping[str, Setting]
    predicate_sorts: Mapping[str, tuple[str, ...]]
    _signatures: Signatures

    def sorts(self, declaration: Template | Rule) -> dict[str, str]:
        """The sort of every variable of a template or rule; parameters have the sort they declare."""
        scope = scope_of(declaration, self._signatures, Problems())
        found = {name: sort_of_variable(sorts) for name, sorts in scope.sorts.items()}
        if isinstance(declaration, Template):
            found |= {parameter.name: parameter.sort for parameter in declaration.parameters}
        return found

    def query(self, formulas: Sequence[Formula], text: str = "") -> dict[str, str]:
        """Check a query's formulas against these files; the sort of each of its variables. RuleError when it is bad.

        `text` is what the formulas were parsed from, shown in errors.
        """
        problems = Problems({"<query>": Source("<query>", text)})
        scope = Scope(self._signatures, problems)
        scope.read(formulas)
        scope.check(formulas)
        check_locals([(formulas, check_safety(formulas, frozenset(), problems))], problems)
        raise_all(problems.in_order())
        return {name: sort_of_variable(sorts) for name, sorts in scope.sorts.items()}


def check(files: Sequence[RuleFile]) -> Checked:
    """Check files together; RuleError names the first problem and lists the others."""
    checked, errors = _examine(files)
    raise_all(errors)
    return checked


def problems(files: Sequence[RuleFile]) -> list[RuleError]:
    """Everything wrong with these files, in the order of their text."""
    return _examine(files)[1]


def _examine(files: Sequence[RuleFile]) -> tuple[Checked, list[RuleError]]:
    found = Problems({file.path: Source(file.path, file.source) for file in files})
    declarations = [declaration for file in files for declaration in file.declarations]
    defines = [declaration for declaration in declarations if isinstance(declaration, Define)]
    templates, rules = _by_name(declarations, found)
    known = arities(defines, found)
    signatures = Signatures({name: [None] * arity for name, arity in known.items()}, templates.keys())
    infer_sorts(defines, signatures)
    for define in defines:
        check_define(define, signatures, found)
    check_recursion(defines, found)
    for template in templates.values():
        check_template(template, signatures, found)
    for rule in rules.values():
        check_rule(rule, signatures, found)
    invariants = [declaration for declaration in declarations if isinstance(declaration, Invariant)]
    for invariant in invariants:
        check_invariant(invariant, templates, signatures, found)
    settings = _settings(declarations, found)
    for setting in settings.values():
        check_setting(setting, signatures, found)
    examples = [declaration for declaration in declarations if isinstance(declaration, Example)]
    for example in examples:
        check_example(example, templates, rules, settings, signatures, found)
    checked = Checked(
        files=tuple(files),
        defines=tuple(defines),
        templates=templates,
        rules=rules,
        invariants=tuple(invariants),
        examples=tuple(examples),
        settings=settings,
        predicate_sorts=predicate_sorts(signatures),
        _signatures=signatures,
    )
    return checked, found.in_order()


def _by_name(declarations: Sequence[Declaration], found: Problems) -> tuple[dict[str, Template], dict[str, Rule]]:
    """Templates and rules by name; a name that is taken already is reported."""
    taken: dict[str, Template | Rule] = {}
    for declaration in declarations:
        if isinstance(declaration, Template | Rule):
            first = taken.setdefault(declaration.name, declaration)
            if first is not declaration:
                place = f"{first.position.file}:{first.position.line}"
                what = f"'{declaration.name}' is declared twice, first at {place}"
                found.add(what, declaration.position, "rename one of them")
    templates = {name: law for name, law in taken.items() if isinstance(law, Template)}
    return templates, {name: law for name, law in taken.items() if isinstance(law, Rule)}


def _settings(declarations: Sequence[Declaration], found: Problems) -> dict[str, Setting]:
    """Settings by name, which are names of their own kind."""
    settings: dict[str, Setting] = {}
    for declaration in declarations:
        if isinstance(declaration, Setting):
            first = settings.setdefault(declaration.name, declaration)
            if first is not declaration:
                place = f"{first.position.file}:{first.position.line}"
                what = f"setting '{declaration.name}' is declared twice, first at {place}"
                found.add(what, declaration.position, "rename one of them")
    return settings
