"""What could have stood where the parser stopped, in words rather than names of terminals."""

from collections.abc import Collection, Iterator

SECTION_TERMINALS = {
    "_ABOUT": "about",
    "_NEXT": "next",
    "_WHEN": "when",
    "_EXPECT": "expect",
    "_NEVER": "never",
    "_WITHIN": "within",
    "_GIVEN": "given",
    "_PROPOSE": "propose",
    "_TRANSITIVE": "transitive",
    "_SEVERITY": "severity",
    "_PERSONA": "persona",
    "_IF": "if",
    "_EVIDENCE": "evidence",
    "_USE": "use",
    "_FACTS": "facts",
}
DECLARATION_TERMINALS = {
    "_DEFINE": "define",
    "_TEMPLATE": "template",
    "_RULE": "rule",
    "_INVARIANT": "invariant",
    "_EXAMPLE": "example",
    "_SETTING": "setting",
}

# Groups of terminals that read as one thing, the larger groups first; a group is there when all of it is.
_GROUPS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"WORD", "_NOT", "_COUNT", "NAME", "STRING", "INT", "FLOAT", "FLAG", "_LPAR"}), "a condition"),
    (frozenset({"WORD", "NAME", "STRING", "INT", "FLOAT", "FLAG", "ANYTHING"}), "a term or 'column: term'"),
    (frozenset({"NAME", "STRING", "INT", "FLOAT", "FLAG", "ANYTHING"}), "a variable, a constant or _"),
    (frozenset({"NAME", "STRING", "INT", "FLOAT", "FLAG", "_LPAR"}), "a variable, a constant or a calculation"),
    (frozenset({"NAME", "STRING", "INT", "FLOAT", "FLAG"}), "a constant or a property such as C.stage"),
    (frozenset({"NAME", "_EXISTS"}), 'a condition such as C.stage == "train"'),
    (frozenset({"NAME", "STEP", "EPOCH", "RUN"}), "a call variable, 'step S', 'epoch E' or 'run'"),
    (frozenset({"STRING", "INT", "FLOAT", "FLAG"}), "a constant"),
    (frozenset({"STRING", "LONG_STRING"}), 'a text in quotes or in """'),
    (frozenset({"STRING", "KEY"}), "the name of a property"),
    (frozenset({"EQUALITY", "ORDER"}), "a comparison such as =="),
    (frozenset({"PLUS", "MINUS", "TIMES", "PERCENT"}), "a calculation"),
    (frozenset({"TIMES", "PERCENT"}), ""),
    (frozenset({"INT", "FLOAT"}), "a number"),
    (frozenset(SECTION_TERMINALS), "a section"),
    (frozenset(DECLARATION_TERMINALS), "the next declaration"),
)
_SINGLE = {
    "WORD": "a name with a small first letter",
    "NAME": "a variable",
    "STRING": "a text in quotes",
    "EQUALITY": "== or !=",
    "_COMMA": "','",
    "_COLON": "':'",
    "_DOT": "'.'",
    "_LPAR": "'('",
    "_RPAR": "')'",
    "_LBRACE": "'{'",
    "_RBRACE": "'}'",
    "_IMPLIES": "':-'",
    "_OR": "'or'",
    "_VERSION": "'version'",
    "$END": "the end",
}


def describe(accepts: Collection[str]) -> str:
    """Words for a set of terminals: `',', a section or the end`."""
    words = [word for word in _words(set(accepts)) if word]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _words(left: set[str]) -> Iterator[str]:
    groups = []
    for terminals, word in _GROUPS:
        if terminals <= left:
            left -= terminals
            groups.append(word)
    if "the next declaration" in groups:
        left.discard("$END")
    for terminal in sorted(left):
        yield _SINGLE.get(terminal, f"'{terminal.strip('_').lower()}'")
    yield from groups
