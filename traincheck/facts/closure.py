"""Transitive nesting: which calls enclose which calls and updates."""

import numpy as np

from traincheck.facts.raw import Ints
from traincheck.trace.layout import NULL


def enclosing(ids: Ints, parents: Ints) -> tuple[Ints, Ints]:
    """All pairs (outer, inner) of the relation whose innermost pairs are (parents, ids).

    One pass per level of nesting, each over all that are nested that deep: every id is paired with its parent,
    then with its parent's parent, until the outermost calls are reached.
    """
    order = np.argsort(ids, kind="stable")
    sorted_ids, sorted_parents = ids[order], parents[order]
    outers: list[Ints] = []
    inners: list[Ints] = []
    inner, outer = ids, parents
    while True:
        nested = outer != NULL
        inner, outer = inner[nested], outer[nested]
        if not len(inner):
            break
        outers.append(outer)
        inners.append(inner)
        position = np.minimum(np.searchsorted(sorted_ids, outer), len(sorted_ids) - 1)
        # a parent whose own row was lost with the end of the trace ends the chain
        outer = np.where(sorted_ids[position] == outer, sorted_parents[position], NULL)
    if not outers:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(outers), np.concatenate(inners)
