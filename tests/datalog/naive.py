"""A third opinion: programs evaluated by brute force, written from the docstrings of `program.py` alone."""

import math
from fnmatch import fnmatchcase

from traincheck.datalog.program import Arithmetic, Atom, Comparison, Constant, Count, Negation, Variable

ABSENT = object()


def same(value):
    """A key under which equal values, and no others, are equal."""
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else value + 0.0)
    return (type(value).__name__, value)


def evaluate(program, facts, strata):
    """All facts of all predicates; `strata` lists sets of derived predicates in an order that respects negation."""
    known = {name: {tuple(row) for row in rows} for name, rows in facts.items()}
    for predicate in {rule.head.predicate for rule in program.rules}:
        known[predicate] = set()
    for stratum in strata:
        rules = [rule for rule in program.rules if rule.head.predicate in stratum]
        size = -1
        while size != (size := sum(len(known[predicate]) for predicate in stratum)):
            for rule in rules:
                head = [term.name for term in rule.head.terms if isinstance(term, Variable)]
                for values in list(answers(rule.body, {}, known, set(head))):
                    row = tuple(
                        values[term.name] if isinstance(term, Variable) else term.value for term in rule.head.terms
                    )
                    if all(not agree(row, other) for other in known[rule.head.predicate]):
                        known[rule.head.predicate].add(row)
    return known


def agree(left, right):
    return len(left) == len(right) and all(same(a) == same(b) for a, b in zip(left, right, strict=True))


def names(literal):
    if isinstance(literal, Atom):
        return {term.name for term in literal.terms if isinstance(term, Variable)}
    if isinstance(literal, Negation):
        return names(literal.atom)
    if isinstance(literal, Comparison):
        return operand_names(literal.left) | operand_names(literal.right)
    inside = set().union(*map(names, literal.body)) if literal.body else set()
    return inside | {variable.name for variable in literal.counted} | {literal.result.name}


def operand_names(operand):
    if isinstance(operand, Arithmetic):
        return operand_names(operand.left) | operand_names(operand.right)
    return {operand.name} if isinstance(operand, Variable) else set()


def answers(body, values, known, visible):
    """Every way to give the variables of a body values."""
    beside = visible | set(values)
    for literal in body:
        beside |= {literal.result.name} if isinstance(literal, Count) else names(literal)
    yield from extend(list(body), values, known, beside)


def extend(body, values, known, beside):
    if not body:
        yield values
        return
    kinds = (Atom, Comparison, Count, Negation)
    for kind in kinds:
        for literal in body:
            if isinstance(literal, kind) and ready(literal, values, body, beside):
                rest = [other for other in body if other is not literal]
                for more in step(literal, values, known, beside):
                    yield from extend(rest, more, known, beside)
                return
    raise AssertionError(f"unsafe: {body}")


def ready(literal, values, body, beside):
    if isinstance(literal, Atom):
        return True
    if isinstance(literal, Count):
        inside = set().union(*map(names, literal.body)) | {variable.name for variable in literal.counted}
        return inside & beside <= set(values)
    missing = names(literal) - set(values)
    if not missing:
        return True
    if isinstance(literal, Comparison) and literal.op == "==":
        later = {other.result.name for other in body if isinstance(other, Count)}
        sides = [(literal.left, literal.right), (literal.right, literal.left)]
        return any(
            isinstance(a, Variable) and a.name in missing - later and operand_names(b) <= set(values) for a, b in sides
        )
    return False


def step(literal, values, known, beside):
    if isinstance(literal, Atom):
        for row in known[literal.predicate]:
            more = match(literal, row, values)
            if more is not None:
                yield more
    elif isinstance(literal, Negation):
        if all(match(literal.atom, row, values) is None for row in known[literal.atom.predicate]):
            yield values
    elif isinstance(literal, Comparison):
        yield from compare(literal, values)
    else:
        outer = {name: value for name, value in values.items() if name in beside}
        found = set()
        for inner in answers(literal.body, outer, known, {variable.name for variable in literal.counted}):
            found.add(tuple(same(inner[variable.name]) for variable in literal.counted))
        yield from bind(literal.result.name, len(found), values)


def match(atom, row, values):
    values = dict(values)
    for term, value in zip(atom.terms, row, strict=True):
        if isinstance(term, Constant):
            if value is None or same(value) != same(term.value):
                return None
        elif isinstance(term, Variable) and (value is None or same(values.setdefault(term.name, value)) != same(value)):
            return None
    return values


def bind(name, value, values):
    if same(values.get(name, value)) == same(value):
        yield {**values, name: value}


def compute(operand, values):
    if isinstance(operand, Constant):
        return operand.value
    if isinstance(operand, Variable):
        return values[operand.name]
    left, right = compute(operand.left, values), compute(operand.right, values)
    if left is ABSENT or right is ABSENT:
        return ABSENT
    if float in (type(left), type(right)):
        left, right = float(left), float(right)
    if operand.op == "%":
        found = ABSENT if right == 0 else left % right
    else:
        found = {"+": left + right, "-": left - right, "*": left * right}[operand.op]
    return ABSENT if isinstance(found, int) and not -(2**63) <= found < 2**63 else found


def compare(literal, values):
    for target, source in ((literal.left, literal.right), (literal.right, literal.left)):
        if literal.op == "==" and isinstance(target, Variable) and target.name not in values:
            value = compute(source, values)
            if value is not ABSENT:
                yield {**values, target.name: value}
            return
    left, right = compute(literal.left, values), compute(literal.right, values)
    if left is not ABSENT and right is not ABSENT and true(literal.op, left, right):
        yield values


def true(op, left, right):
    if op == "glob":
        pattern = "".join(letter if letter == "*" else f"[{letter}]" for letter in right.replace("[", "\x01"))
        return fnmatchcase(left.replace("[", "\x01"), pattern.replace("[!]", "!").replace("[^]", "^"))
    if float in (type(left), type(right)):
        left, right = float(left), float(right)
        if math.isnan(left) or math.isnan(right):
            left, right = math.isnan(left), math.isnan(right)
    return {
        "==": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[op]
