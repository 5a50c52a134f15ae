"""Hypothesis strategies: random stratified programs and facts, and short ways to write programs by hand."""

import math
from dataclasses import dataclass, field

import pyarrow as pa
from hypothesis import strategies as st

from traincheck.datalog.bodies import literal_variables
from traincheck.datalog.engine import ARROW_TYPES
from traincheck.datalog.program import (
    Arithmetic,
    Atom,
    Comparison,
    Constant,
    Count,
    Negation,
    Program,
    Rule,
    Variable,
    Wildcard,
)

BASE = {"e": ("int", "int"), "f": ("str", "int"), "m": ("int", "float"), "Odd name; --": ("str",), "flag": ()}
VALUES = {
    "int": [-7, -1, 0, 1, 2, 3, 2**53 + 1, 2**63 - 1],
    "float": [-2.5, -0.0, 0.0, 0.3, 0.1 + 0.2, 1.0, 2.0, float(2**53), math.inf, math.nan],
    "str": [
        "",
        "1",
        "1.0",
        "a",
        "A",
        "a.b",
        "a_b",
        "a%b",
        "a\\b",
        "[a]",
        "x'y\"; DROP TABLE e; --",
        "\u00df\n",
        "z\0y",
    ],
}
COMMON = {kind: values[1:6] for kind, values in VALUES.items()}
GLOBS = ["*", "a*", "*b", "a.b", "a_b", "*_*", "*%*", "[a]", "*\\*", "", "*'*", "**"]


def atom(predicate, *terms):
    """Capitals are variables, `_` a wildcard, everything else a constant; 'quoted' text is a constant."""
    return Atom(predicate, tuple(map(term, terms)))


def term(text):
    if isinstance(text, str) and text == "_":
        return Wildcard()
    if isinstance(text, str) and text[:1].isupper():
        return Variable(text)
    if isinstance(text, str) and text[:1] == "'":
        return Constant(text[1:-1])
    return Constant(text)


def tables(facts, base=None):
    made = {}
    for name, rows in facts.items():
        types = (base or BASE)[name]
        if not types:
            made[name] = pa.table({"x": pa.array([1] * len(rows))})
            continue
        columns = [pa.array([row[i] for row in rows], ARROW_TYPES[kind]) for i, kind in enumerate(types)]
        made[name] = pa.table(columns, [f"k{i}" for i in range(len(types))])
    return made


@st.composite
def facts(draw):
    found = {}
    for name, types in BASE.items():
        if draw(st.integers(0, 9)) == 0:
            continue
        columns = [st.none() | st.sampled_from(COMMON[kind]) | st.sampled_from(VALUES[kind]) for kind in types]
        found[name] = draw(st.lists(st.tuples(*columns), max_size=6 if types else 1))
    return found


@dataclass
class Scope:
    """Variables that are bound so far, by type."""

    bound: dict = field(default_factory=lambda: {"int": [], "float": [], "str": []})
    made: int = 0

    def bind(self, kind, name):
        if name not in self.bound[kind]:
            self.bound[kind].append(name)

    def fresh(self, kind):
        self.made += 1
        return f"{kind.title()}New{self.made}"

    def child(self):
        return Scope({kind: list(names) for kind, names in self.bound.items()}, self.made)


def constant(draw, kind):
    return Constant(draw(st.sampled_from(COMMON[kind])))


def free_atom(draw, signatures, predicates, scope, prefix=""):
    """A positive atom; its variables come from a small pool so that atoms join."""
    predicate = draw(st.sampled_from(predicates))
    terms = []
    for kind in signatures[predicate]:
        choice = draw(st.integers(0, 9))
        if choice == 0:
            terms.append(constant(draw, kind))
        elif choice == 1:
            terms.append(Wildcard())
        else:
            pool = [f"{prefix}{kind.title()}{i}" for i in range(2)] + (scope.bound[kind] if prefix else [])
            name = draw(st.sampled_from(pool))
            scope.bind(kind, name)
            terms.append(Variable(name))
    return Atom(predicate, tuple(terms))


def bound_term(draw, kind, scope, wildcard=True):
    names = scope.bound[kind]
    choice = draw(st.integers(0, 4))
    if names and choice > 1:
        return Variable(draw(st.sampled_from(names)))
    return Wildcard() if wildcard and choice == 0 else constant(draw, kind)


def operand(draw, kind, scope, depth=1):
    if depth and kind != "str" and draw(st.integers(0, 2)) == 0:
        op = draw(st.sampled_from("+-*%"))
        right = draw(st.sampled_from(["int", "float"])) if kind == "float" else "int"
        return Arithmetic(op, operand(draw, kind, scope, depth - 1), operand(draw, right, scope, depth - 1))
    return bound_term(draw, kind, scope, wildcard=False)


def test(draw, scope):
    kind = draw(st.sampled_from(["int", "float", "str"]))
    if kind == "str" and draw(st.booleans()):
        return Comparison(
            "glob", bound_term(draw, "str", scope, wildcard=False), Constant(draw(st.sampled_from(GLOBS)))
        )
    other = kind if kind == "str" else draw(st.sampled_from(["int", "float"]))
    op = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
    return Comparison(op, operand(draw, kind, scope), operand(draw, other, scope))


def binding(draw, scope, grow):
    kind = draw(st.sampled_from(["int", "float", "str"]))
    name = scope.fresh(kind)
    source = operand(draw, kind, scope, depth=2 if grow else 0)
    sides = (Variable(name), source) if draw(st.booleans()) else (source, Variable(name))
    scope.bind(kind, name)
    return Comparison("==", *sides)


def count(draw, signatures, complete, scope, depth=1):
    inner = scope.child()
    body = [free_atom(draw, signatures, complete, inner, prefix="L") for _ in range(draw(st.integers(1, 2)))]
    if draw(st.booleans()):
        body.append(test(draw, inner))
    if draw(st.integers(0, 3)) == 0:
        body.append(negation(draw, signatures, complete, inner))
    if depth and draw(st.integers(0, 4)) == 0:
        body.append(count(draw, signatures, complete, inner, depth - 1))
    names = [name for names in inner.bound.values() for name in names]
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
    scope.made = inner.made
    # what is counted may not depend on the count: such a body has no order in which it can be evaluated
    used = set(chosen).union(*map(literal_variables, body))
    known = [name for name in scope.bound["int"] if name not in used]
    if known and draw(st.integers(0, 4)) == 0:
        result = draw(st.sampled_from(known))
    else:
        result = scope.fresh("int")
        scope.bind("int", result)
    return Count(tuple(map(Variable, chosen)), tuple(draw(st.permutations(body))), Variable(result))


def negation(draw, signatures, complete, scope):
    predicate = draw(st.sampled_from(complete))
    return Negation(Atom(predicate, tuple(bound_term(draw, kind, scope) for kind in signatures[predicate])))


@st.composite
def programs(draw):
    """A program and the order of its strata: predicates of one layer may be mutually recursive."""
    signatures = dict(BASE)
    strata, rules = [], []
    complete = list(BASE)
    for layer in range(draw(st.integers(1, 3))):
        names = [f"d{layer}{letter}" for letter in "ab"[: draw(st.integers(1, 2))]]
        for name in names:
            signatures[name] = tuple(draw(st.lists(st.sampled_from(["int", "int", "float", "str"]), max_size=2)))
        for name in names:
            for _ in range(draw(st.integers(1, 3))):
                rules.append(rule(draw, signatures, name, complete, names))
        strata.append(set(names))
        complete += names
    return Program(tuple(draw(st.permutations(rules))), BASE), strata


def rule(draw, signatures, head, complete, layer):
    scope = Scope()
    recursive = draw(st.booleans())
    pool = complete + layer * 2 if recursive else complete
    body = [free_atom(draw, signatures, pool, scope) for _ in range(draw(st.integers(0, 3)))]
    grows = not any(literal.predicate in layer for literal in body)
    for _ in range(draw(st.integers(0, 2))):
        kinds = ["test", "test", "negation", "binding", "count"]
        kind = draw(st.sampled_from(kinds))
        if kind == "test":
            body.append(test(draw, scope))
        elif kind == "negation":
            body.append(negation(draw, signatures, complete, scope))
        elif kind == "binding":
            body.append(binding(draw, scope, grows))
        else:
            body.append(count(draw, signatures, complete, scope))
    terms = tuple(bound_term(draw, kind, scope, wildcard=False) for kind in signatures[head])
    return Rule(Atom(head, terms), tuple(draw(st.permutations(body))))
