"""Random syntax trees: every shape that the parser can return, with nasty strings and keywords as names."""

from hypothesis import strategies as st

from traincheck.dsl import syntax
from traincheck.dsl.declare import MEASURES, PERSONAS, SEVERITIES, VERDICTS
from traincheck.dsl.expected import DECLARATION_TERMINALS, SECTION_TERMINALS

KEYWORDS = [
    *SECTION_TERMINALS.values(),
    *DECLARATION_TERMINALS.values(),
    "or",
    "exists",
    "count",
    "step",
    "run",
    "class",
]

words = st.sampled_from([*KEYWORDS, *MEASURES]) | st.sampled_from(["x", "api", "aB_9", "notes", "count_of", "trueish"])
relations = words.filter(lambda word: word not in ("not", "true", "false"))
columns = words.filter(lambda word: word not in ("true", "false"))
capitals = st.sampled_from(["A", "X", "Step", "N_1", "NOT", "TRUE", "Q2"])
nasty = st.sampled_from(
    ['"', "\\", "\n", '"""', "\\n", "*", "#", "{X}", "\u2028", "\x1b[0m", "é\u0301", "𝕏", ":-", " ", ""]
)
texts = st.text(max_size=12) | st.lists(nasty | st.text(max_size=3), max_size=5).map("".join)

names = st.builds(syntax.Name, capitals)
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.builds(syntax.Value, integers | floats | texts)
terms = names | values | st.builds(syntax.Anything)
expressions = st.recursive(
    names | values,
    lambda inner: st.builds(syntax.Calculation, st.sampled_from(["+", "-", "*", "%"]), inner, inner),
    max_leaves=6,
)
compare_ops = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


def tuples(strategy: st.SearchStrategy, least: int = 1, most: int = 3, **options: object) -> st.SearchStrategy:
    return st.lists(strategy, min_size=least, max_size=most, **options).map(tuple)


atoms = st.builds(
    syntax.Atom,
    relations,
    tuples(terms, 0),
    tuples(st.tuples(columns, terms), 0, unique_by=lambda slot: slot[0]),
)
formulas = st.recursive(
    atoms | st.builds(syntax.Not, atoms) | st.builds(syntax.Compare, compare_ops, expressions, expressions),
    lambda inner: st.builds(syntax.CountOf, tuples(names), tuples(inner), compare_ops, expressions),
    max_leaves=4,
)
bodies = tuples(formulas)
abouts = texts | st.lists(st.text(alphabet="abc .,'\"\\", max_size=30), max_size=4).map("\n".join)
withins = st.builds(syntax.Within, st.just("run")) | st.builds(
    syntax.Within, st.sampled_from(["call", "step", "epoch"]), capitals
)
severities = st.sampled_from(SEVERITIES)
personas = st.sampled_from(PERSONAS)

defines = st.builds(syntax.Define, atoms, tuples(formulas, 0, 4))
templates = st.builds(
    syntax.Template,
    name=words,
    parameters=tuples(st.builds(syntax.Parameter, capitals, words), 0, 9),
    title=texts,
    when=bodies,
    expect=bodies,
    within=withins,
    given=tuples(capitals, 0),
    propose=tuples(formulas, 0),
    transitive=tuples(capitals, 0),
    severity=severities,
    persona=personas,
    about=abouts,
    next=abouts,
)
said = {"persona": personas, "about": abouts, "next": abouts}
rules = st.builds(syntax.Rule, words, texts, severities, when=bodies, within=st.none() | withins, **said) | st.builds(
    syntax.Rule, words, texts, severities, when=bodies, expect=bodies, within=withins, **said
)
features = st.builds(syntax.Feature, capitals, texts | words | st.sampled_from(["arg.shuffle", "result.0.dtype", "0"]))
conditions = st.builds(syntax.Condition, st.sampled_from(["==", "!="]), features, features | values) | st.builds(
    syntax.Condition, st.just("exists"), features
)
evidence = st.builds(syntax.Evidence, integers, integers, floats, floats, integers)
invariants = st.builds(
    syntax.Invariant,
    words,
    tuples(st.tuples(capitals, values), 0, 5),
    texts,
    tuples(tuples(conditions), 0),
    st.none() | evidence,
    severities,
    personas,
)
examples = st.builds(
    syntax.Example,
    words,
    tuples(st.tuples(capitals, values), 0, 5),
    st.sampled_from(VERDICTS),
    texts,
    tuples(tuples(conditions), 0),
    uses=tuples(words, 0),
    facts=tuples(atoms, 0),
)
settings = st.builds(syntax.Setting, words, texts, tuples(atoms))
declarations = defines | templates | rules | invariants | examples | settings
files = st.builds(
    syntax.RuleFile, tuples(declarations, 0, 4), st.none() | st.integers(0, 99).map(lambda minor: f"1.{minor}")
)
