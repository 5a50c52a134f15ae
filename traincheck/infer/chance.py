"""How likely chance alone explains what a hypothesis holds, given how often such things hold elsewhere."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import exp, fsum, lgamma, log

from traincheck.dsl.ground import Grounding
from traincheck.infer.tally import Row, Tally


class Occurrence:
    """How often what a hypothesis expects holds in the other places of its template.

    A place is what `when` binds of the parameters, such as one argument of one function; what `expect` says is the
    rest, such as the value `false`. All places count the same, however many examples they have.
    """

    def __init__(self, grounding: Grounding, tallies: Sequence[Tally]) -> None:
        parameters = grounding.parameters
        self._place = [parameters.index(name) for name in grounding.when_parameters]
        self._said = [index for index, name in enumerate(parameters) if name not in grounding.when_parameters]
        examples: dict[Row, int] = defaultdict(int)
        positives: dict[Row, dict[Row, int]] = defaultdict(lambda: defaultdict(int))
        for tally in tallies:
            for place, counts in tally.examples.items():
                examples[place] += counts.total()
            for row, counts in tally.positives.items():
                positives[self._part(row, self._said)][self._part(row, self._place)] += counts.total()
        self._places = frozenset(examples)
        self._shares: Mapping[Row, Mapping[Row, float]] = {
            said: {place: number / examples[place] for place, number in by_place.items() if examples[place]}
            for said, by_place in positives.items()
        }
        self._sums = {said: fsum(shares.values()) for said, shares in self._shares.items()}

    def rate(self, row: Row) -> float:
        """The share of examples of another place that hold what this hypothesis says; 1/2 where nothing is known.

        By Laplace's rule of succession, so that it is neither 0 nor 1.
        """
        place, said = self._part(row, self._place), self._part(row, self._said)
        own = self._shares.get(said, {}).get(place, 0.0)
        return (1 + self._sums.get(said, 0.0) - own) / (2 + len(self._places) - (place in self._places))

    @staticmethod
    def _part(row: Row, positions: Sequence[int]) -> Row:
        return tuple(row[position] for position in positions)


def confidence(held: int, exceptions: int, rate: float, choices: int) -> float:
    """One less the chance that as many of as many examples hold, each of them with this probability.

    `choices` is how many hypotheses were tried to find this one (Bonferroni). In [0, 1).
    """
    total = held + exceptions
    ways = (lgamma(total + 1) - lgamma(left + 1) - lgamma(total - left + 1) for left in range(exceptions + 1))
    chances = (exp(way + (total - left) * log(rate) + left * log(1 - rate)) for left, way in enumerate(ways))
    return min(0.999, round(1 - min(1.0, choices * fsum(chances)), 3))
