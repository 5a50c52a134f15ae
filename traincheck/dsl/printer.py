"""Writing syntax trees as rule text; parsing the text gives the tree back (comments are lost)."""

import re
from collections.abc import Iterable, Iterator, Sequence

from traincheck.dsl import syntax
from traincheck.dsl.literals import encode_block, encode_string

WIDTH = 110

_BINDING = {"+": 1, "-": 1, "*": 2, "%": 2}
_KEY = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


def print_file(file: syntax.RuleFile) -> str:
    """The whole file; one blank line between declarations, none between definitions."""
    lines = [] if file.version is None else [f"version {encode_string(file.version)}"]
    previous: syntax.Declaration | None = None
    for declaration in file.declarations:
        together = isinstance(previous, syntax.Define) and isinstance(declaration, syntax.Define)
        if lines and not together:
            lines.append("")
        lines.append(print_declaration(declaration))
        previous = declaration
    return "".join(f"{line}\n" for line in lines)


def print_declaration(declaration: syntax.Declaration) -> str:
    """One declaration, without a final newline."""
    match declaration:
        case syntax.Define():
            return _define(declaration)
        case syntax.Template():
            return _template(declaration)
        case syntax.Rule():
            return _rule(declaration)
        case syntax.Invariant():
            return _invariant(declaration)
        case syntax.Example():
            return _example(declaration)
        case syntax.Setting():
            head = f"setting {declaration.name} {encode_string(declaration.title)}"
            return "\n".join([head, *_sections([("facts", list(map(print_formula, declaration.facts)))])])


def print_formula(formula: syntax.Formula) -> str:
    """One condition of a body, on one line."""
    match formula:
        case syntax.Atom(relation=relation, positional=positional, named=named):
            slots = [*map(print_term, positional), *(f"{column}: {print_term(term)}" for column, term in named)]
            return f"{relation}({', '.join(slots)})"
        case syntax.Not(atom=atom):
            return f"not {print_formula(atom)}"
        case syntax.Compare(op=op, left=left, right=right):
            return f"{_expression(left)} {op} {_expression(right)}"
        case syntax.CountOf(counted=counted, body=body, op=op, bound=bound):
            names = ", ".join(name.text for name in counted)
            return f"count {{ {names} : {', '.join(map(print_formula, body))} }} {op} {_expression(bound)}"


def print_term(term: syntax.Term) -> str:
    """A variable, a constant or `_`."""
    match term:
        case syntax.Name(text=text):
            return text
        case syntax.Value(value=str() as value):
            return encode_string(value)
        case syntax.Value(value=value):
            return repr(value)
        case syntax.Anything():
            return "_"


def print_condition(condition: syntax.Condition) -> str:
    """One condition of a precondition."""
    left = _feature(condition.left)
    match condition.right:
        case None:
            return f"not exists {left}" if condition.op == "absent" else f"exists {left}"
        case syntax.Feature():
            return f"{left} {condition.op} {_feature(condition.right)}"
        case syntax.Value():
            return f"{left} {condition.op} {print_term(condition.right)}"


def _expression(expression: syntax.Expression, binding: int = 0) -> str:
    """`binding` is how tightly what surrounds the expression binds; looser ones get parentheses."""
    if not isinstance(expression, syntax.Calculation):
        return print_term(expression)
    own = _BINDING[expression.op]
    text = f"{_expression(expression.left, own)} {expression.op} {_expression(expression.right, own + 1)}"
    return f"({text})" if own < binding else text


def _feature(feature: syntax.Feature) -> str:
    key = feature.key if _KEY.fullmatch(feature.key) else encode_string(feature.key)
    return f"{feature.name}.{key}"


def _define(define: syntax.Define) -> str:
    head = print_formula(define.head)
    if not define.body:
        return f"define {head}."
    formulas = list(map(print_formula, define.body))
    line = f"define {head} :- {', '.join(formulas)}."
    return line if len(line) <= WIDTH else f"define {head} :-\n  {_wrapped(formulas, 2)}."


def _template(template: syntax.Template) -> str:
    parameters = _wrapped([f"{parameter.name}: {parameter.sort}" for parameter in template.parameters], 4)
    severity = [template.severity] if template.severity != "warning" else []
    sections: list[tuple[str, Sequence[str]]] = [
        ("about", [template.about] if template.about else []),
        ("next", [template.next] if template.next else []),
        ("when", list(map(print_formula, template.when))),
        ("expect", list(map(print_formula, template.expect))),
        ("within", list(_within(template.within))),
        ("given", template.given),
        ("propose", list(map(print_formula, template.propose))),
        ("transitive", template.transitive),
        ("severity", severity),
        ("persona", _persona(template)),
    ]
    head = f"template {template.name}({parameters})"
    return "\n".join([head, f"  {encode_string(template.title)}", *_sections(sections)])


def _rule(rule: syntax.Rule) -> str:
    head, severity = f"rule {rule.name} {encode_string(rule.title)}", f" severity {rule.severity}"
    inline = len(head) + len(severity) <= WIDTH
    sections: list[tuple[str, Sequence[str]]] = [
        ("about", [rule.about] if rule.about else []),
        ("next", [rule.next] if rule.next else []),
        ("when" if rule.expect else "never", list(map(print_formula, rule.when))),
        ("expect", list(map(print_formula, rule.expect))),
        ("within", list(_within(rule.within))),
        ("given", rule.given),
        ("severity", [] if inline else [rule.severity]),
        ("persona", _persona(rule)),
    ]
    return "\n".join([head + severity if inline else head, *_sections(sections)])


def _invariant(invariant: syntax.Invariant) -> str:
    arguments = _wrapped([f"{name}: {print_term(value)}" for name, value in invariant.arguments], 4)
    sections: list[tuple[str, Sequence[str]]] = [
        ("if", _disjuncts(invariant.precondition)),
        ("evidence", list(_measures(invariant.evidence))),
        ("severity", [invariant.severity]),
        ("persona", _persona(invariant)),
    ]
    head = f"invariant {invariant.template}({arguments})"
    return "\n".join([head, f"  {encode_string(invariant.title)}", *_sections(sections)])


def _example(example: syntax.Example) -> str:
    arguments = _wrapped([f"{name}: {print_term(value)}" for name, value in example.arguments], 4)
    sections: list[tuple[str, Sequence[str]]] = [
        ("if", _disjuncts(example.precondition)),
        ("use", example.uses),
        ("facts", list(map(print_formula, example.facts))),
    ]
    called = f"{example.law}({arguments})" if example.arguments else example.law
    head = f"example {called} {example.verdict} {encode_string(example.title)}"
    return "\n".join([head, *_sections(sections)])


def _persona(law: syntax.Template | syntax.Rule | syntax.Invariant) -> list[str]:
    return [law.persona] if law.persona != "regular" else []


def _within(within: syntax.Within | None) -> Iterator[str]:
    match within:
        case syntax.Within(kind="run"):
            yield "run"
        case syntax.Within(kind="call", name=str() as name):
            yield name
        case syntax.Within(kind=kind, name=name):
            yield f"{kind} {name}"


def _measures(evidence: syntax.Evidence | None) -> Iterator[str]:
    if evidence is not None:
        yield f"runs {evidence.runs}"
        yield f"examples {evidence.examples}"
        if evidence.exceptions:
            yield f"exceptions {evidence.exceptions}"
        yield f"confidence {float(evidence.confidence)!r}"
        yield f"false_alarms {float(evidence.false_alarms)!r}"


def _disjuncts(precondition: Sequence[Sequence[syntax.Condition]]) -> list[str]:
    """The conditions of a precondition as pieces to join with commas; ` or ` hangs on the piece before it."""
    pieces: list[str] = []
    for conjunction in precondition:
        first, *rest = map(print_condition, conjunction)
        if pieces:
            pieces[-1] += f" or {first}"
        else:
            pieces.append(first)
        pieces.extend(rest)
    return pieces


def _sections(sections: Iterable[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """Lines `  keyword  content` of those sections that have content, their contents aligned."""
    present = [(keyword, content) for keyword, content in sections if content]
    indent = 4 + max((len(keyword) for keyword, _ in present), default=0)
    for keyword, content in present:
        label = f"  {keyword}".ljust(indent)
        yield label + (encode_block(content[0], indent) if keyword in ("about", "next") else _wrapped(content, indent))


def _wrapped(pieces: Sequence[str], indent: int) -> str:
    """`pieces` joined with commas; a line that would pass WIDTH goes on below, `indent` columns in."""
    lines: list[str] = []
    current = ""
    for piece in pieces:
        if current and indent + len(current) + len(piece) + 3 > WIDTH:
            lines.append(f"{current},")
            current = piece
        else:
            current = f"{current}, {piece}" if current else piece
    return f"\n{' ' * indent}".join([*lines, current])
