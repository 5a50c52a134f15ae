"""What one run says of every hypothesis of a template: counts of examples by profile.

Counts add up over runs, so nothing of a trace is needed once it is tallied. Negative examples are never
enumerated: those of a hypothesis are all examples of its `when` less its positives.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations, count

import duckdb
import pyarrow as pa

from traincheck.dsl.features import identity_name
from traincheck.dsl.ground import Grounding
from traincheck.infer.profile import Profile

Row = tuple[int | float | str, ...]
Counts = dict[Row, Counter[Profile]]

# Unprintable separators: no key or value of a feature holds them.
_PAIR, _ITEM = "\x1f", "\x1e"


@dataclass
class Tally:
    """One run's counts for one template."""

    examples: Counts = field(default_factory=dict)
    positives: Counts = field(default_factory=dict)
    # Hypotheses that this run proposes. Positives count for every other one too, which another run may propose.
    candidates: set[Row] = field(default_factory=set)


class Tallier:
    """Counts the examples of one run; `tables` are an engine's answers to the templates' programs."""

    def __init__(
        self, tables: Mapping[str, pa.Table], features: Mapping[str, str], identities: Mapping[str, Mapping[str, str]]
    ) -> None:
        """`features` maps a sort (call, variable, window) to the predicate of its features.

        `identities` has for each sort the keys by which its members may be compared, and the sort of what they name.
        """
        self._connection = duckdb.connect()
        self._tables = tables
        self._features = features
        self._identities = identities
        self._names: dict[str, str] = {}
        self._serial = count()
        self._connection.execute("SET enable_progress_bar = false")

    def tally(self, grounding: Grounding, sorts: Mapping[str, str]) -> Tally:
        """Counts for one template whose variables have these sorts."""
        given = [(name, sorts[name]) for name in grounding.template.given]
        examples = self._counts(grounding.example, grounding.when_parameters, grounding.key, given)
        positives = self._counts(grounding.positive, grounding.parameters, grounding.key, given)
        width = len(grounding.parameters)
        listed = ", ".join(f"c{index}" for index in range(width)) or "0"
        candidates = self._connection.execute(f"SELECT DISTINCT {listed} FROM {self._table(grounding.candidate)}")
        return Tally(examples, positives, {row[:width] for row in candidates.fetchall()})

    def _counts(
        self,
        predicate: str,
        leading: Sequence[str],
        key: Sequence[str],
        given: Sequence[tuple[str, str]],
    ) -> Counts:
        columns = {name: f"e.c{index}" for index, name in enumerate((*leading, *key))}
        selected = [columns[name] for name in leading]
        joins = []
        for index, (name, sort) in enumerate(given):
            joins.append(f"LEFT JOIN {self._profiles(sort)} p{index} ON p{index}.id = {columns[name]}")
            selected.append(f"p{index}.profile")
        links = self._links(given)
        for index, (first, second, _, tables) in enumerate(links):
            for side, name, table in zip("ab", (first, second), tables, strict=True):
                joins.append(f"LEFT JOIN {table} {side}{index} ON {side}{index}.id = {columns[name]}")
            selected.append(f"a{index}.what = b{index}.what")
        source = f"{self._table(predicate)} e {' '.join(joins)}"
        query = f"SELECT {', '.join(selected) or '0'}, count(*) FROM {source} GROUP BY ALL"
        counts: Counts = defaultdict(Counter)
        names, compared = tuple(name for name, _ in given), tuple(link[:3] for link in links)
        for *row, number in self._connection.execute(query).fetchall():
            if number:
                texts, same = row[len(leading) : len(leading) + len(names)], row[len(leading) + len(names) :]
                profile = _profile(names, tuple(texts), compared, tuple(same[: len(compared)]))
                counts[tuple(row[: len(leading)])][profile] += number
        return counts

    def _links(self, given: Sequence[tuple[str, str]]) -> list[tuple[str, str, str, tuple[str, str]]]:
        """What pairs of `given` may have in common: their names, the key, and the tables that say what each has."""
        found = []
        for (first, sort), (second, other) in combinations(given, 2):
            theirs = self._identities.get(other, {})
            for key, kind in self._identities.get(sort, {}).items():
                if theirs.get(key) == kind:
                    found.append((first, second, key, (self._identity(sort, key), self._identity(other, key))))
        return found

    def _identity(self, sort: str, key: str) -> str:
        """A table of (id, what) for everything of this sort; built once."""
        name = f"link_{sort}_{key}"
        if name not in self._names:
            self._names[name] = name
            self._connection.execute(
                f"CREATE TEMP TABLE {name} AS SELECT c0 AS id, min(c1) AS what "
                f"FROM {self._table(identity_name(sort, key))} GROUP BY c0"
            )
        return name

    def _table(self, predicate: str) -> str:
        if predicate not in self._names:
            self._names[predicate] = name = f"t{next(self._serial)}"
            self._connection.register(name, self._tables[predicate])
        return self._names[predicate]

    def _profiles(self, sort: str) -> str:
        """A table of (id, profile text) for everything of this sort; built once."""
        predicate = self._features[sort]
        name = f"profile_{sort}"
        if name not in self._names:
            self._names[name] = name
            self._connection.execute(
                f"CREATE TEMP TABLE {name} AS SELECT c0 AS id, "
                f"string_agg(c1 || '{_PAIR}' || c2, '{_ITEM}' ORDER BY c1, c2) AS profile "
                f"FROM {self._table(predicate)} GROUP BY c0"
            )
        return name


@cache
def _pairs(text: str | None) -> frozenset[tuple[str, str]]:
    if not text:
        return frozenset()
    return frozenset((key, value) for key, _, value in (item.partition(_PAIR) for item in text.split(_ITEM)))


@cache
def _profile(
    names: tuple[str, ...],
    texts: tuple[str | None, ...],
    compared: tuple[tuple[str, str, str], ...],
    same: tuple[bool | None, ...],
) -> Profile:
    shared = frozenset((*pair, known) for pair, known in zip(compared, same, strict=True) if known is not None)
    return Profile(tuple((name, _pairs(text)) for name, text in zip(names, texts, strict=True)), shared)


def negatives(tally: Tally, when_row: Row, row: Row) -> Counter[Profile]:
    """Examples of a hypothesis' `when` (its leading `when_row`) that are not positive for `row`."""
    left = Counter(tally.examples.get(when_row, Counter()))
    left.subtract(tally.positives.get(row, Counter()))
    return +left


def hypotheses(tallies: Iterable[Tally]) -> list[Row]:
    """Every hypothesis that some run proposed, in a stable order."""
    return sorted({row for tally in tallies for row in tally.candidates}, key=lambda row: tuple(map(str, row)))
