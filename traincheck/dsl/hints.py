"""Syntax errors as a person would put them: what was expected, what stands there, and the slip it probably is."""

from collections.abc import Callable

from lark import UnexpectedInput

from traincheck.dsl.declare import did_you_mean, listing
from traincheck.dsl.expected import DECLARATION_TERMINALS, SECTION_TERMINALS, describe
from traincheck.dsl.place import DECLARATIONS, Place
from traincheck.dsl.source import Source
from traincheck.errors import RuleError

_KEYWORDS = frozenset({*SECTION_TERMINALS.values(), *DECLARATIONS, ""})

_SPELLINGS = {
    "'": "strings take double quotes",
    "=": "write == to compare",
    "=<": "write <=",
    "=>": "write >=",
    "<>": "write !=",
    "and": "separate conditions with a comma",
    "&": "separate conditions with a comma",
    "&&": "separate conditions with a comma",
    ";": "separate conditions with a comma",
    "or": "'or' is for preconditions; alternatives in a body are two definitions of one predicate",
    "|": "alternatives in a body are two definitions of one predicate",
    "||": "alternatives in a body are two definitions of one predicate",
    "!": "write 'not' before an atom, != between values",
    "/": "calculations have + - * and %",
    "//": "comments begin with #",
    "version": "'version' stands once, at the beginning of the file",
}


def explain(source: Source, error: UnexpectedInput) -> RuleError:
    """The RuleError for a lark error: the first slip that fits adds its hint and may move the caret."""
    place = Place(source, error)
    shown = place.found.text if place.found.text.isprintable() else ascii(place.found.text)[1:-1]
    found = f"'{shown}'" if shown else "the end of the text"
    what = f"expected {describe(place.accepts)}, found {found}"
    at = source.end() if not place.found.text else place.position(place.offset)
    for slip in _SLIPS:
        hint = slip(place)
        if hint is not None:
            text, offset = hint if isinstance(hint, tuple) else (hint, None)
            return source.error(what, at if offset is None else place.position(offset), text)
    return source.error(what, at)


_Hint = str | tuple[str, int] | None  # advice, perhaps with the offset where the caret belongs


def _open_string(place: Place) -> _Hint:
    if place.source.text.startswith('"""', place.offset) and place.found.text == '""':
        return 'the text block is never closed with """'
    return "the string is not closed on its line" if place.found.text == '"' else None


def _quote_inside(place: Place) -> _Hint:
    """`"a "b" c"`: the found word sticks to the string before it."""
    if place.previous.text.startswith('"') and place.previous.end == place.offset and place.found.text not in _KEYWORDS:
        return 'is the string before it closed in the right place? a quote inside a string is \\"'
    return None


def _column_without_colon(place: Place) -> _Hint:
    if place.accepts == {"_COLON"} and place.previous.small and place.found.text not in (",", ")", "("):
        return f"a column is named with a colon: '{place.previous.text}: ...'"
    return None


def _comma_too_many(place: Place) -> _Hint:
    if place.previous.text == "," and place.found.text in (*_KEYWORDS, ")", ".", "}"):
        return "nothing follows this comma", place.previous.start
    return None


def _empty_section(place: Place) -> _Hint:
    """A keyword where a condition belongs was read as a relation: the conditions before it are missing."""
    if place.accepts != {"_LPAR"} or place.previous.text not in _KEYWORDS or len(place.before) < 2:
        return None
    earlier = place.before[-2]
    if earlier.text == ",":
        return "nothing follows this comma", earlier.start
    return f"'{earlier.text}' has no conditions", earlier.start


def _small_variable(place: Place) -> _Hint:
    """A small letter where a variable or constant belongs; found itself, or the word before when that fits no more."""
    if place.accepts == {"_COLON"} and place.previous.small and place.found.text in (",", ")"):
        return _spell_variable(place.previous.text), place.previous.start
    comparing = place.found.text in ("==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "%", "=")
    if "_LPAR" in place.accepts and len(place.accepts) == 1 and place.previous.small and comparing:
        return _spell_variable(place.previous.text), place.previous.start
    if place.found.small and "NAME" in place.accepts and "WORD" not in place.accepts:
        near = did_you_mean(place.found.text, ("step", "epoch", "run")) if "STEP" in place.accepts else None
        return near or _spell_variable(place.found.text)
    return None


def _spell_variable(word: str) -> str:
    variable = f"{word[:1].upper()}{word[1:]}"
    return f'a variable begins with a capital letter: {variable}; a text stands in quotes: "{word}"'


def _capital_relation(place: Place) -> _Hint:
    if place.found.text == "(" and place.previous.capital:
        name = place.previous.text
        return f"relations begin with a small letter: '{name[0].lower()}{name[1:]}'", place.previous.start
    if place.found.capital and place.accepts == {"WORD"}:
        return f"this name begins with a small letter: '{place.found.text[0].lower()}{place.found.text[1:]}'"
    return None


def _implies(place: Place) -> _Hint:
    if place.found.text == ":-" and place.declaration != "define":
        return "':-' belongs to 'define'; a template says 'when' and 'expect'"
    return None


def _open_bracket(place: Place) -> _Hint:
    bracket = place.unclosed
    inside = place.found.text in (*_KEYWORDS, ".") or (place.found.text == "(" and place.accepts == {"_COLON"})
    if bracket is None or not inside:
        return None
    at = place.position(bracket.start)
    return f"the '{bracket.text}' in line {at.line}, column {at.column} is not closed"


def _missing_period(place: Place) -> _Hint:
    if place.declaration == "define" and "_DOT" in place.accepts and place.found.text in _KEYWORDS:
        if place.found.text in SECTION_TERMINALS.values():
            return f"a definition has no section '{place.found.text}': write 'define head :- conditions.'"
        return "a definition ends with a period", place.previous.end
    return None


def _missing_sort(place: Place) -> _Hint:
    if (
        place.accepts != {"_COLON"}
        or not place.previous.capital
        or place.declaration not in ("template", "invariant", "example")
    ):
        return None
    if place.declaration == "template":
        return f"every parameter has a sort: '{place.previous.text}: concept'"
    return f"every parameter has a value: '{place.previous.text}: \"...\"'"


def _missing_title(place: Place) -> _Hint:
    if place.accepts == {"STRING"} and place.declaration == "example":
        return "after its verdict an example says what happens, in quotes"
    if place.accepts == {"STRING"} and place.declaration:
        return f"after its name a {place.declaration} says what it means, in quotes"
    return None


def _missing_verdict(place: Place) -> _Hint:
    if place.declaration == "example" and place.accepts <= {"WORD", "_LPAR"} and place.found.text.startswith('"'):
        return "before its title an example says its verdict: held, violated or untriggered"
    return None


def _not_an_atom(place: Place) -> _Hint:
    if place.previous.text == "not":
        return "'not' stands before an atom; turn a comparison around instead"
    return None


def _count(place: Place) -> _Hint:
    if place.previous.text == "{":
        return "a count says what it counts: 'count { C : call(C) } > 1'"
    if place.previous.text == "}" and "EQUALITY" in place.accepts:
        return "a count is compared with a number: 'count { C : call(C) } > 1'"
    return None


def _bare_point(place: Place) -> _Hint:
    """`1.` or `.5`."""
    digits = (
        place.found.text == "." and place.previous.text.lstrip("-").isdigit() and place.previous.end == place.offset
    )
    if (digits and "_DOT" not in place.accepts) or (place.found.text == "." and place.following.isdigit()):
        return "a number has digits on both sides of its point: 1.0, 0.5"
    return None


def _missing_comma(place: Place) -> _Hint:
    if "_COMMA" not in place.accepts or not place.found.text:
        return None
    starts = (
        place.found.capital or place.found.text in ("not", "count", "exists") or place.found.text[0] in '"_0123456789'
    )
    if starts or (place.found.small and place.following in ("(", ":")):
        return f"is a comma missing before '{place.found.text}'?", place.previous.end
    return None


def _unknown_keyword(place: Place) -> _Hint:
    """A word where only a section or a declaration can begin."""
    known = [word for terminal, word in _KEYWORD_TERMINALS.items() if terminal in place.accepts]
    if not known or not place.found.small or place.found.text in _KEYWORDS:
        return None
    what = "section" if place.declaration in DECLARATIONS[1:] else "declaration"
    names = [word for word in known if (word in DECLARATIONS) == (what == "declaration")]
    return (
        did_you_mean(place.found.text, known) or f"no {what} is called '{place.found.text}'; there are {listing(names)}"
    )


def _precondition(place: Place) -> _Hint:
    if place.accepts == {"EQUALITY"}:
        return "a precondition compares with == or !=, or says 'exists C.key'"
    if place.accepts == {"_DOT"} and place.previous.capital:
        return f'a precondition speaks of a property: {place.previous.text}.stage == "train"'
    return None


def _spelling(place: Place) -> _Hint:
    return _SPELLINGS.get(place.found.text)


_KEYWORD_TERMINALS = {**SECTION_TERMINALS, **DECLARATION_TERMINALS}

# In the order of how sure each is of itself.
_SLIPS: tuple[Callable[[Place], _Hint], ...] = (
    _open_string,
    _quote_inside,
    _column_without_colon,
    _comma_too_many,
    _empty_section,
    _count,
    _bare_point,
    _not_an_atom,
    _implies,
    _missing_sort,
    _small_variable,
    _capital_relation,
    _open_bracket,
    _missing_period,
    _missing_verdict,
    _missing_title,
    _spelling,
    _missing_comma,
    _precondition,
    _unknown_keyword,
)
