"""Concepts: which APIs the rule library maps to each word that rules use."""

from collections.abc import Mapping

from traincheck.dsl.checker import Checked
from traincheck.dsl.syntax import Atom, Value
from traincheck.schema import RELATIONS

CONCEPT = "concept"


def apis_by_concept(checked: Checked) -> Mapping[str, tuple[str, ...]]:
    """For each concept the API names and base APIs in its definitions, in their order.

    `define concept("torch.autograd.backward", "backward")` lends the name itself; a definition by `subclass(A, "base")`
    lends the base, which stands for everything that overrides it.
    """
    found: dict[str, dict[str, None]] = {}
    for define in checked.defines:
        if define.head.relation != CONCEPT:
            continue
        api, concept = define.head.positional
        if not isinstance(concept, Value):
            continue
        apis = found.setdefault(str(concept.value), {})
        if isinstance(api, Value):
            apis.setdefault(str(api.value))
        for formula in define.body:
            if isinstance(formula, Atom):
                apis.update(dict.fromkeys(_api_constants(formula)))
    return {concept: tuple(apis) for concept, apis in found.items()}


def _api_constants(atom: Atom) -> list[str]:
    relation = RELATIONS.get(atom.relation)
    if relation is None:
        return []
    terms = [*zip(relation.columns, atom.positional, strict=False)]
    terms += [(relation.columns[relation.index(name)], term) for name, term in atom.named]
    return [str(term.value) for column, term in terms if column.sort == "api" and isinstance(term, Value)]
