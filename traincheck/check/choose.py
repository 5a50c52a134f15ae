"""Which laws to ask: those of a persona, of which `select` and `ignore` name some by ids, template names, and globs."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from traincheck.check.law import Law
from traincheck.dsl.declare import did_you_mean, suits
from traincheck.dsl.syntax import Persona
from traincheck.errors import UsageError

Laws = Mapping[str, Sequence[Law]]


def choose(
    laws: Laws, select: Sequence[str], ignore: Sequence[str], persona: Persona = "pedantic"
) -> tuple[dict[str, list[Law]], list[str]]:
    """The laws that some pattern of `select` matches and none of `ignore`; the ignore patterns that match nothing.

    Without `select`, all laws that are worth telling to this persona: to name a law is to ask for it. Raises
    UsageError for a pattern of `select` that matches nothing: a typo must not pass for a clean run.
    """
    every = [law for group in laws.values() for law in group]
    for pattern in select:
        if not any(_matches(law, pattern) for law in every):
            known = sorted({name for law in every for name in (law.id, law.template.name)})
            advice = did_you_mean(pattern, known) or "patterns match ids such as 'precedes-1a2b3c4d' and template names"
            raise UsageError(f"--select '{pattern}' matches no invariant", next_step=advice)
    chosen = {
        name: [
            law
            for law in group
            if (_any(law, select) if select else suits(law.invariant, persona)) and not _any(law, ignore)
        ]
        for name, group in laws.items()
    }
    unmatched = [pattern for pattern in ignore if not any(_matches(law, pattern) for law in every)]
    return {name: group for name, group in chosen.items() if group}, unmatched


def _any(law: Law, patterns: Iterable[str]) -> bool:
    return any(_matches(law, pattern) for pattern in patterns)


def _matches(law: Law, pattern: str) -> bool:
    return fnmatchcase(law.id, pattern) or fnmatchcase(law.template.name, pattern)
