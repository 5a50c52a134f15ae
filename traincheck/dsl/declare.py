"""From the sections of a declaration to its node: which section belongs where, once each, and which must be there."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from lark import Token

from traincheck.dsl import syntax
from traincheck.dsl.source import Source
from traincheck.errors import RuleError

Title = tuple[str, syntax.Position]

TEMPLATE_SECTIONS = (
    "about", "next", "when", "expect", "within", "given", "propose", "transitive", "severity", "persona",
)  # fmt: skip
RULE_SECTIONS = ("about", "next", "never", "when", "expect", "within", "given", "severity", "persona")
INVARIANT_SECTIONS = ("if", "evidence", "severity", "persona")
EXAMPLE_SECTIONS = ("if", "use", "facts")
SEVERITIES: tuple[syntax.Severity, ...] = get_args(syntax.Severity)
PERSONAS: tuple[syntax.Persona, ...] = get_args(syntax.Persona)
VERDICTS: tuple[syntax.Verdict, ...] = get_args(syntax.Verdict)
MEASURES = ("runs", "examples", "exceptions", "confidence", "false_alarms")
_WHOLE, _NEEDED = MEASURES[:3], ("runs", "examples", "confidence")

_INSTEAD = {
    ("template", "never"): "a template says 'when' and 'expect'; 'never' belongs to a rule",
    ("template", "if"): "a template's conditions stand in 'when'; 'if' belongs to an invariant",
    ("rule", "if"): "a rule has no precondition: put the condition into 'when'",
    ("rule", "propose"): "a rule is never mined",
    ("example", "when"): "an example states what happened: 'facts call(1, api: \"torch.Tensor.backward\")'",
    ("invariant", "when"): "an invariant takes 'when' from its template; its own precondition is 'if'",
    ("invariant", "given"): "an invariant takes 'given' from its template; its own precondition is 'if'",
}


@dataclass(frozen=True, slots=True)
class Section:
    """One section as parsed; what `content` is depends on `keyword`."""

    keyword: str
    content: Any
    position: syntax.Position


class _Sections:
    """The sections of one declaration, by keyword."""

    def __init__(
        self, source: Source, what: str, name: Token, title: Title, allowed: Sequence[str], sections: Sequence[Section]
    ) -> None:
        self._source = source
        self._what = f"{what} '{name}'"
        self.position = source.position(name.line or 0, name.column or 0)
        self._by_keyword: dict[str, Section] = {}
        for section in sections:
            keyword = section.keyword
            if keyword not in allowed:
                advice = _INSTEAD.get((what, keyword), f"the sections of a {what} are {listing(allowed)}")
                raise source.error(f"{self._what} has no section '{keyword}'", section.position, advice)
            if keyword in self._by_keyword:
                raise source.error(f"{self._what} has two sections '{keyword}'", section.position, "join them into one")
            self._by_keyword[keyword] = section
        self.places = {keyword: section.position for keyword, section in self._by_keyword.items()}
        self.places["title"] = title[1]
        for keyword in ("given", "transitive", "use"):
            for variable in self.get(keyword, ()):
                self.places[f"{keyword} {variable.text}"] = variable.position

    def get(self, keyword: str, default: Any = None) -> Any:
        """The content of a section, or `default`."""
        section = self._by_keyword.get(keyword)
        return default if section is None else section.content

    def require(self, keyword: str, advice: str) -> Any:
        """The content of a section; RuleError with `advice` when it is missing."""
        if keyword not in self._by_keyword:
            raise self.error(f"{self._what} has no section '{keyword}'", advice)
        return self._by_keyword[keyword].content

    def error(self, what: str, advice: str, keyword: str | None = None) -> RuleError:
        """An error that points at a section, or at the declaration's name."""
        return self._source.error(what, self.places[keyword] if keyword else self.position, advice)

    def severity(self) -> syntax.Severity:
        """The severity; 'warning' unless said."""
        return cast(syntax.Severity, self._word("severity", SEVERITIES, "warning"))

    def persona(self) -> syntax.Persona:
        """The persona; 'regular' unless said."""
        return cast(syntax.Persona, self._word("persona", PERSONAS, "regular"))

    def _word(self, keyword: str, known: Sequence[str], default: str) -> str:
        word = self.get(keyword)
        if word is None or word in known:
            return str(word or default)
        advice = did_you_mean(word, known) or f"a {keyword} is {listing(known, 'or')}"
        at = self._source.position(word.line, word.column)
        raise self._source.error(f"'{word}' is not a {keyword}", at, advice)

    def texts(self, keyword: str) -> tuple[str, ...]:
        """The names that a section lists."""
        return tuple(name.text for name in self.get(keyword, ()))


def suits(law: syntax.Template | syntax.Rule | syntax.Invariant, persona: syntax.Persona) -> bool:
    """Whether a law is worth telling to this persona; to the pedantic, every law is."""
    return PERSONAS.index(law.persona) <= PERSONAS.index(persona)


def listing(words: Sequence[str], joiner: str = "and") -> str:
    """`words` quoted and joined as in a sentence."""
    quoted = [f"'{word}'" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {joiner} {quoted[-1]}"


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """Advice that names the known word nearest to `word`, or None when none is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else None


_WITHIN_ADVICE = (
    "say whose end makes the verdict final: 'within C' (a call), 'within step S', 'within epoch E' or 'within run'"
)


def build_template(
    source: Source, name: Token, parameters: tuple[syntax.Parameter, ...], title: Title, sections: Sequence[Section]
) -> syntax.Template:
    """A template from its parts."""
    parts = _Sections(source, "template", name, title, TEMPLATE_SECTIONS, sections)
    return syntax.Template(
        name=str(name),
        parameters=parameters,
        title=title[0],
        when=parts.require("when", "say which facts make an example: 'when call(C, api: Api)'"),
        expect=parts.require("expect", "say what must hold for each example: 'expect contains(C, D)'"),
        within=parts.require("within", _WITHIN_ADVICE),
        given=parts.texts("given"),
        propose=parts.get("propose", ()),
        transitive=parts.texts("transitive"),
        severity=parts.severity(),
        persona=parts.persona(),
        about=parts.get("about", ""),
        next=parts.get("next", ""),
        position=parts.position,
        places=parts.places,
    )


def build_rule(source: Source, name: Token, title: Title, sections: Sequence[Section]) -> syntax.Rule:
    """A rule from its parts: `never`, or `when` and `expect` with `within`."""
    parts = _Sections(source, "rule", name, title, RULE_SECTIONS, sections)
    never = parts.get("never")
    if never is not None:
        for keyword in ("when", "expect"):
            if parts.get(keyword) is not None:
                raise parts.error(f"rule '{name}' has both 'never' and '{keyword}'", "use one form", keyword)
        when, expect, within = never, (), parts.get("within")
    else:
        advice = "say 'never' what must not happen, or 'when' and 'expect' what must"
        when, expect = parts.require("when", advice), parts.require("expect", advice)
        within = parts.require("within", _WITHIN_ADVICE)
    return syntax.Rule(
        name=str(name),
        title=title[0],
        severity=parts.severity(),
        persona=parts.persona(),
        when=when,
        expect=expect,
        within=within,
        given=parts.texts("given"),
        about=parts.get("about", ""),
        next=parts.get("next", ""),
        position=parts.position,
        places=parts.places,
    )


def build_invariant(
    source: Source,
    name: Token,
    arguments: tuple[tuple[str, syntax.Value], ...],
    title: Title,
    sections: Sequence[Section],
) -> syntax.Invariant:
    """An invariant from its parts."""
    parts = _Sections(source, "invariant", name, title, INVARIANT_SECTIONS, sections)
    return syntax.Invariant(
        template=str(name),
        arguments=arguments,
        title=title[0],
        precondition=parts.get("if", ()),
        evidence=parts.get("evidence"),
        severity=parts.severity(),
        persona=parts.persona(),
        position=parts.position,
        places=parts.places,
    )


def build_example(
    source: Source,
    name: Token,
    arguments: tuple[tuple[str, syntax.Value], ...],
    verdict: Token,
    title: Title,
    sections: Sequence[Section],
) -> syntax.Example:
    """An example from its parts."""
    parts = _Sections(source, "example", name, title, EXAMPLE_SECTIONS, sections)
    if verdict not in VERDICTS:
        advice = did_you_mean(verdict, VERDICTS) or f"a verdict is {listing(VERDICTS, 'or')}"
        at = source.position(verdict.line or 0, verdict.column or 0)
        raise source.error(f"'{verdict}' is not a verdict", at, advice)
    return syntax.Example(
        law=str(name),
        arguments=arguments,
        verdict=cast(syntax.Verdict, str(verdict)),
        title=title[0],
        precondition=parts.get("if", ()),
        uses=parts.texts("use"),
        facts=parts.get("facts", ()),
        position=parts.position,
        places=parts.places,
    )


def build_setting(source: Source, name: Token, title: Title, sections: Sequence[Section]) -> syntax.Setting:
    """A setting from its parts."""
    parts = _Sections(source, "setting", name, title, ("facts",), sections)
    advice = "say what the examples share: 'facts variable(1, name: \"fc.weight\")'"
    facts = parts.require("facts", advice)
    return syntax.Setting(str(name), title[0], facts, position=parts.position, places=parts.places)


def build_evidence(
    source: Source, position: syntax.Position, measures: Sequence[tuple[Token, Token]]
) -> syntax.Evidence:
    """Evidence from its measures; counts are whole numbers, `exceptions` and `false_alarms` may be left out."""
    values: dict[str, str] = {}
    for word, number in measures:
        at = source.position(word.line or 0, word.column or 0)
        if word not in MEASURES:
            advice = did_you_mean(word, MEASURES) or f"evidence has {listing(MEASURES)}"
            raise source.error(f"'{word}' is no measure of evidence", at, advice)
        if word in values:
            raise source.error(f"'{word}' is given twice", at)
        if word in _WHOLE and number.type != "INT":
            raise source.error(f"'{word}' is a whole number", source.position(number.line or 0, number.column or 0))
        values[str(word)] = str(number)
    for measure in _NEEDED:
        if measure not in values:
            raise source.error(f"evidence lacks '{measure}'", position, f"evidence has {listing(MEASURES)}")
    return syntax.Evidence(
        runs=int(values["runs"]),
        examples=int(values["examples"]),
        confidence=float(values["confidence"]),
        false_alarms=float(values.get("false_alarms", 0.0)),
        exceptions=int(values.get("exceptions", 0)),
        position=position,
    )
