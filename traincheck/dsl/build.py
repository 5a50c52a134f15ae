"""From lark's parse tree to the typed syntax tree. Methods are named after the rules of the grammar."""

import ast
import math
from typing import Any, cast

from lark import Token, Transformer, v_args
from lark.tree import Meta

from traincheck.dsl import syntax
from traincheck.dsl.declare import (
    Section,
    build_evidence,
    build_example,
    build_invariant,
    build_rule,
    build_setting,
    build_template,
)
from traincheck.dsl.literals import clean_block, decode_string
from traincheck.dsl.source import Source

_INT64 = range(-(2**63), 2**63)


@v_args(inline=True, meta=True)
class Builder(Transformer[Token, Any]):
    """Builds the nodes of one file; raises RuleError for what a grammar cannot say."""

    def __init__(self, source: Source) -> None:
        super().__init__(visit_tokens=False)
        self._source = source

    def _at(self, place: Meta | Token) -> syntax.Position:
        return self._source.position(place.line or 0, place.column or 0)

    # ---- declarations

    def start(self, meta: Meta, *children: Any) -> syntax.RuleFile:
        """The whole file."""
        version = children[0] if children and isinstance(children[0], str) else None
        declarations = children[1:] if version is not None else children
        return syntax.RuleFile(declarations, version, self._source.path, self._source.text)

    def query(self, meta: Meta, *formulas: syntax.Formula) -> tuple[syntax.Formula, ...]:
        """Formulas on their own."""
        return formulas

    def version(self, meta: Meta, token: Token) -> str:
        """The language version the file says it is written in."""
        return self._string(token)

    def define(self, meta: Meta, head: syntax.Atom, body: tuple[syntax.Formula, ...] | None) -> syntax.Define:
        """A clause or a fact."""
        return syntax.Define(head, body or (), self._at(meta))

    def template(
        self, meta: Meta, name: Token, parameters: tuple[syntax.Parameter, ...], title: Token, *sections: Section
    ) -> syntax.Template:
        """A rule with parameters."""
        return build_template(self._source, name, parameters, self._title(title), sections)

    def rule(self, meta: Meta, name: Token, title: Token, *sections: Section) -> syntax.Rule:
        """A concrete law."""
        return build_rule(self._source, name, self._title(title), sections)

    def invariant(
        self, meta: Meta, name: Token, arguments: tuple[tuple[str, syntax.Value], ...], title: Token, *sections: Section
    ) -> syntax.Invariant:
        """A template with its parameters filled in."""
        return build_invariant(self._source, name, arguments, self._title(title), sections)

    def example(
        self,
        meta: Meta,
        name: Token,
        arguments: tuple[tuple[str, syntax.Value], ...] | None,
        verdict: Token,
        title: Token,
        *sections: Section,
    ) -> syntax.Example:
        """A tiny trace and what a law says of it."""
        return build_example(self._source, name, arguments or (), verdict, self._title(title), sections)

    def setting(self, meta: Meta, name: Token, title: Token, *sections: Section) -> syntax.Setting:
        """Facts that examples share."""
        return build_setting(self._source, name, self._title(title), sections)

    def parameters(self, meta: Meta, *parameters: syntax.Parameter) -> tuple[syntax.Parameter, ...]:
        """A template's head."""
        return parameters

    def parameter(self, meta: Meta, name: Token, sort: Token) -> syntax.Parameter:
        """`Name: sort`."""
        return syntax.Parameter(str(name), str(sort), self._at(meta))

    def arguments(self, meta: Meta, *arguments: tuple[str, syntax.Value]) -> tuple[tuple[str, syntax.Value], ...]:
        """An invariant's head."""
        return arguments

    def argument(self, meta: Meta, name: Token, value: syntax.Value) -> tuple[str, syntax.Value]:
        """`Name: value`."""
        return str(name), value

    # ---- sections

    def about(self, meta: Meta, token: Token) -> Section:
        """Free text, a plain string or a cleaned block."""
        return Section("about", self._prose(token), self._at(meta))

    def next(self, meta: Meta, token: Token) -> Section:
        """Advice, written as `about` is."""
        return Section("next", self._prose(token), self._at(meta))

    def _prose(self, token: Token) -> str:
        return clean_block(token[3:-3]) if token.type == "LONG_STRING" else self._string(token)

    def when(self, meta: Meta, *formulas: syntax.Formula) -> Section:
        """What makes an example."""
        return Section("when", formulas, self._at(meta))

    def expect(self, meta: Meta, *formulas: syntax.Formula) -> Section:
        """What must hold for it."""
        return Section("expect", formulas, self._at(meta))

    def never(self, meta: Meta, *formulas: syntax.Formula) -> Section:
        """What must not happen."""
        return Section("never", formulas, self._at(meta))

    def propose(self, meta: Meta, *formulas: syntax.Formula) -> Section:
        """What limits mining."""
        return Section("propose", formulas, self._at(meta))

    def given(self, meta: Meta, *names: syntax.Name) -> Section:
        """What preconditions may speak of."""
        return Section("given", names, self._at(meta))

    def transitive(self, meta: Meta, *names: syntax.Name) -> Section:
        """Parameters related transitively."""
        return Section("transitive", names, self._at(meta))

    def severity(self, meta: Meta, word: Token) -> Section:
        """The severity word, judged with its declaration."""
        return Section("severity", word, self._at(meta))

    def persona(self, meta: Meta, word: Token) -> Section:
        """The persona word, judged with its declaration."""
        return Section("persona", word, self._at(meta))

    def within(self, meta: Meta, *tokens: Token) -> Section:
        """The window."""
        kind = "call" if tokens[0].type == "NAME" else str(tokens[0])
        name = None if kind == "run" else str(tokens[-1])
        window = syntax.Within(cast(Any, kind), name, self._at(tokens[-1]))
        return Section("within", window, self._at(meta))

    def precondition(self, meta: Meta, *conjunctions: tuple[syntax.Condition, ...]) -> Section:
        """A disjunction of conjunctions."""
        return Section("if", conjunctions, self._at(meta))

    def use(self, meta: Meta, *words: Token) -> Section:
        """The settings of an example."""
        return Section("use", tuple(syntax.Name(str(word), self._at(word)) for word in words), self._at(meta))

    def facts(self, meta: Meta, *atoms: syntax.Atom) -> Section:
        """What happened."""
        return Section("facts", atoms, self._at(meta))

    def evidence(self, meta: Meta, *measures: tuple[Token, Token]) -> Section:
        """What an invariant stands on."""
        position = self._at(meta)
        return Section("evidence", build_evidence(self._source, position, measures), position)

    def measure(self, meta: Meta, word: Token, number: Token) -> tuple[Token, Token]:
        """`runs 3`."""
        return word, number

    def conjunction(self, meta: Meta, *conditions: syntax.Condition) -> tuple[syntax.Condition, ...]:
        """Conditions that hold together."""
        return conditions

    def comparison(
        self, meta: Meta, left: syntax.Feature, op: Token, right: syntax.Feature | syntax.Value
    ) -> syntax.Condition:
        """`C.key == ...`."""
        return syntax.Condition(cast(Any, str(op)), left, right, self._at(meta))

    def existence(self, meta: Meta, feature: syntax.Feature) -> syntax.Condition:
        """`exists C.key`."""
        return syntax.Condition("exists", feature, None, self._at(meta))

    def absence(self, meta: Meta, feature: syntax.Feature) -> syntax.Condition:
        """`not exists C.key`."""
        return syntax.Condition("absent", feature, None, self._at(meta))

    def feature(self, meta: Meta, name: Token, key: Token) -> syntax.Feature:
        """`C.key`."""
        text = self._string(key) if key.type == "STRING" else str(key)
        return syntax.Feature(str(name), text, self._at(meta))

    # ---- formulas

    def body(self, meta: Meta, *formulas: syntax.Formula) -> tuple[syntax.Formula, ...]:
        """A conjunction."""
        return formulas

    def names(self, meta: Meta, *names: syntax.Name) -> tuple[syntax.Name, ...]:
        """What a count counts."""
        return names

    def atom(self, meta: Meta, relation: Token, *slots: syntax.Term | tuple[Token, syntax.Term]) -> syntax.Atom:
        """`relation(A, column: B)`; positional terms come first."""
        positional: list[syntax.Term] = []
        named: list[tuple[str, syntax.Term]] = []
        places: dict[str, syntax.Position] = {}
        for slot in slots:
            if isinstance(slot, tuple):
                column, term = slot
                if column in places:
                    raise self._source.error(f"column '{column}' is given twice", self._at(column))
                named.append((str(column), term))
                places[str(column)] = self._at(column)
            elif named:
                raise self._source.error(
                    "a positional term follows a named column",
                    slot.position,
                    "positional terms come first, then 'column: term'",
                )
            else:
                positional.append(slot)
        return syntax.Atom(str(relation), tuple(positional), tuple(named), self._at(meta), places)

    def named(self, meta: Meta, column: Token, term: syntax.Term) -> tuple[Token, syntax.Term]:
        """`column: term`."""
        return column, term

    def negation(self, meta: Meta, atom: syntax.Atom) -> syntax.Not:
        """`not atom`."""
        return syntax.Not(atom, self._at(meta))

    def compare(self, meta: Meta, left: syntax.Expression, op: Token, right: syntax.Expression) -> syntax.Compare:
        """`left op right`."""
        return syntax.Compare(cast(Any, str(op)), left, right, self._at(meta))

    def count(
        self,
        meta: Meta,
        counted: tuple[syntax.Name, ...],
        body: tuple[syntax.Formula, ...],
        op: Token,
        bound: syntax.Expression,
    ) -> syntax.CountOf:
        """`count { A : body } op bound`."""
        return syntax.CountOf(counted, body, cast(Any, str(op)), bound, self._at(meta))

    def calculation(
        self, meta: Meta, left: syntax.Expression, op: Token, right: syntax.Expression
    ) -> syntax.Calculation:
        """`left op right` on numbers."""
        return syntax.Calculation(cast(Any, str(op)), left, right, self._at(meta))

    # ---- terms

    def name(self, meta: Meta, token: Token) -> syntax.Name:
        """A variable or parameter."""
        return syntax.Name(str(token), self._at(token))

    def anything(self, meta: Meta, token: Token) -> syntax.Anything:
        """`_`."""
        return syntax.Anything(self._at(token))

    def string(self, meta: Meta, token: Token) -> syntax.Value:
        """A quoted string."""
        return syntax.Value(self._string(token), self._at(token))

    def integer(self, meta: Meta, token: Token) -> syntax.Value:
        """A whole number of 64 bits."""
        if len(token) > 20 or int(token) not in _INT64:
            raise self._source.error("the number does not fit into 64 bits", self._at(token))
        return syntax.Value(int(token), self._at(token))

    def float(self, meta: Meta, token: Token) -> syntax.Value:
        """A finite number with a point or an exponent."""
        value = ast.literal_eval(str(token))
        if not math.isfinite(value):
            raise self._source.error("the number is too large", self._at(token))
        return syntax.Value(value, self._at(token))

    def flag(self, meta: Meta, token: Token) -> syntax.Value:
        """`true` and `false` are sugar for strings."""
        return syntax.Value(str(token), self._at(token))

    def _title(self, token: Token) -> tuple[str, syntax.Position]:
        return self._string(token), self._at(token)

    def _string(self, token: Token) -> str:
        return decode_string(self._source, str(token), self._at(token))
