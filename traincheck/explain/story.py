"""The story of a violation: its explanation as a tree of lines that a person reads from the top."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from traincheck.explain.model import Explanation, Fact, NearMiss, Node, Told
from traincheck.explain.words import INSIDE
from traincheck.schema import RELATIONS

__all__ = ["tell"]


def tell(explanation: Explanation) -> tuple[Told, ...]:
    """What is known, the proof, what was expected, what came nearest, and why the rule is believed."""
    return tuple(_sections(explanation))


def _sections(explanation: Explanation) -> Iterator[Told]:
    if explanation.known:
        yield Told("known:", explanation.known)
    seen: set[str] = set()
    proof = [*_proof(explanation.when, seen, 0, not explanation.complete)]
    proof += [Told(node.formula) for node in explanation.precondition]
    if not explanation.complete:
        proof.append(Told("(the facts around the violation do not prove this on their own)"))
    yield Told("because:", tuple(proof))
    if explanation.expect:
        yield Told("expected:", tuple(_expected(explanation.expect)))
        yield from _nearest(explanation.near_misses)
    if explanation.names:
        yield Told("where " + ", ".join(f"{name} is {text}" for name, text in explanation.names.items()))
    if explanation.held_before is not None:
        times = explanation.held_before
        before = f"held {times} time{'s' if times != 1 else ''} before" if times else "never held before"
        yield Told(f"{before} in this trace")
    if explanation.evidence:
        yield Told("learned from " + _evidence(explanation.evidence))
    if explanation.about:
        yield Told(f"about: {_about(explanation.about)}")


def _proof(nodes: Sequence[Node], seen: set[str], depth: int, marked: bool) -> Iterator[Told]:
    """The facts that make conditions hold, each once; helpers of the library that carry no news are left out."""
    for node in nodes:
        if marked and node.holds is not True:
            yield Told(f"[{_mark(node)}] {node.words or node.formula}")
        elif node.kind == "derived" and node.words is not None:
            seen |= {fact.text for fact in _calls(node)}
            yield from _once(Told(node.words + _place(node)), seen)
        elif node.kind == "derived":
            inside = tuple(_proof(node.because, seen, depth + 1, False))
            yield from inside if len(inside) == 1 else _once(Told(node.formula, inside), seen) if depth == 0 else inside
        elif node.kind == "fact":
            for fact in node.facts:
                yield from _once(_fact(fact), seen)
        elif node.kind == "absence":
            missing = node.formula.removeprefix("not ")
            if depth == 0 and missing.partition("(")[0] in RELATIONS:
                yield Told(f"there is no {missing}")
        else:
            yield Told(_with_note(node))


def _place(node: Node) -> str:
    """Step and line of the call that does something."""
    facts = _calls(node)
    if not facts:
        return ""
    step = f", in step {facts[0].step}" if facts[0].step is not None else ""
    return step + (f", called from {facts[0].site}" if facts[0].site else "")


def _calls(node: Node) -> list[Fact]:
    return [fact for child in node.because for fact in child.facts if fact.relation == "call"]


def _once(told: Told, seen: set[str]) -> Iterator[Told]:
    if told.text not in seen:
        seen.add(told.text)
        yield told


def _expected(nodes: Sequence[Node]) -> Iterator[Told]:
    """Each condition with its mark; one that only says inside of what the next thing must be goes with it."""
    around: Node | None = None
    for node in nodes:
        if node.words is not None and node.words.startswith(INSIDE) and node is not nodes[-1]:
            around = node
            continue
        text = node.words or node.formula
        if around is not None and around.words is not None:
            text += around.words.removeprefix(INSIDE.rpartition(" ")[0])
        marked = node if around is None or around.holds is True else replace(node, holds=around.holds)
        around = None
        note = f": {node.note}" if node.note else ""
        yield Told(f"[{_mark(marked)}] {text}{note}", tuple(_fact(fact) for fact in node.facts))


def _nearest(misses: Sequence[NearMiss]) -> Iterator[Told]:
    if not misses:
        yield Told("nearest: nothing came near")
    for miss in misses:
        lines = [_fact(fact) for fact in miss.facts]
        lines += [Told(f"{item.column}: expected {item.expected}, found {item.found}") for item in miss.differences]
        yield Told("nearest:" if miss is misses[0] else "also near:", tuple(lines))


def _mark(node: Node) -> str:
    if node.holds is None:
        return "not reached"
    return "ok" if node.holds else "missing" if node.kind in ("fact", "derived") else "fails"


def _with_note(node: Node) -> str:
    return f"{node.formula}: {node.note}" if node.note else node.formula


def _fact(fact: Fact) -> Told:
    inside = "inside " + " > ".join(f"'{api}'" for api in fact.path[:-1])
    return Told(fact.text, (Told(inside),) if len(fact.path) > 1 else ())


def _about(text: str) -> str:
    """The documentation in one line, without its example: here is one."""
    before, _, rest = " ".join(text.split()).partition("Example: ")
    _, doubt, after = rest.partition("Known false positives: ")
    return f"{before}{doubt}{after}".strip()


def _evidence(evidence: dict[str, float]) -> str:
    runs, examples, exceptions = (int(evidence[measure]) for measure in ("runs", "examples", "exceptions"))
    left = f" with {exceptions} exception{'s' if exceptions != 1 else ''}" if exceptions else ""
    return (
        f"{runs} run{'s' if runs != 1 else ''}, {examples} example{'s' if examples != 1 else ''}{left}; "
        f"confidence {evidence['confidence']:.3g}, estimated false alarms {evidence['false_alarms']:.2g}"
    )
