"""Which hypotheses are worth keeping, and the reason for every one that is not."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from traincheck.dsl.syntax import Condition, Evidence, Feature, Invariant, Value
from traincheck.infer.chance import Occurrence, confidence
from traincheck.infer.hypothesis import Hypothesis, estimated_rate
from traincheck.infer.profile import Clause, Conjunction
from traincheck.infer.wording import counted, fill, in_words


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The least evidence an invariant may stand on, and how many exceptions it may have where nothing is exact."""

    examples: int = 3
    runs: int = 2
    confidence: float = 0.5
    exceptions: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """A hypothesis that did not survive, and why."""

    hypothesis: Hypothesis
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A hypothesis that survived, as it will be written."""

    hypothesis: Hypothesis
    invariant: Invariant


def judge(
    hypothesis: Hypothesis, occurrence: Occurrence, thresholds: Thresholds, choices: Collection[str] = ()
) -> Kept | Dropped:
    """Learn the precondition and weigh the evidence. `choices` are the features whose values people choose."""
    precondition = hypothesis.learn(hypothesis.runs, thresholds.exceptions)
    if precondition is None:
        return Dropped(hypothesis, _inseparable(hypothesis))
    supports = [run.support(precondition) for run in hypothesis.runs]
    runs, examples = sum(held > 0 for held, _ in supports), sum(held for held, _ in supports)
    exceptions = sum(broken for _, broken in supports)
    needed_runs = min(thresholds.runs, len(hypothesis.runs))
    if runs < needed_runs:
        return Dropped(
            hypothesis, f"holds in {runs} of {counted(len(hypothesis.runs), 'run')}, {needed_runs} are needed"
        )
    needed = _examples_needed(hypothesis, thresholds)
    if examples < needed:
        return Dropped(hypothesis, f"only {counted(examples, 'example')}, {needed} are needed")
    rate = hypothesis.rate() if precondition else occurrence.rate(hypothesis.row)
    sure = confidence(examples, exceptions, rate, hypothesis.choices(precondition))
    if sure < thresholds.confidence:
        return Dropped(hypothesis, _chance(examples, rate, bool(precondition), sure, thresholds.confidence))
    failures, folds = hypothesis.false_alarms(thresholds.exceptions)
    if failures:
        return Dropped(hypothesis, f"learned without one run, that run breaks it ({failures} of {folds} times)")
    if len(hypothesis.runs) > 1 and not folds:
        return Dropped(hypothesis, "no run could confirm what the others teach")
    evidence = Evidence(runs, examples, sure, estimated_rate(failures, folds), exceptions)
    return Kept(hypothesis, _invariant(hypothesis, precondition, evidence, choices))


def _examples_needed(hypothesis: Hypothesis, thresholds: Thresholds) -> int:
    """A law of the whole run has an example a run: two runs say as much of it as there is to say."""
    if hypothesis.grounding.template.within.kind == "run":
        return min(thresholds.examples, max(2, min(thresholds.runs, len(hypothesis.runs))))
    return thresholds.examples


def _inseparable(hypothesis: Hypothesis) -> str:
    held = sum(run.positives.total() for run in hypothesis.runs)
    broken = sum(run.negatives.total() for run in hypothesis.runs)
    verb = "holds" if held == 1 else "hold"
    return f"no precondition separates the {counted(held, 'example')} that {verb} from the {broken} that do not"


def _chance(examples: int, rate: float, chosen: bool, sure: float, needed: float) -> str:
    where = "without its precondition" if chosen else "elsewhere"
    return (
        f"could be chance: {counted(examples, 'example')} of what holds for {rate:.0%} {where} "
        f"give a confidence of {sure:g}, {needed:g} is needed"
    )


def _invariant(
    hypothesis: Hypothesis, precondition: Sequence[Conjunction], evidence: Evidence, choices: Collection[str]
) -> Invariant:
    template = hypothesis.grounding.template
    arguments = hypothesis.arguments
    chosen = any(clause.key in choices for conjunction in precondition for clause in conjunction)
    return Invariant(
        template=template.name,
        arguments=tuple((name, Value(value)) for name, value in arguments.items()),
        title=fill(template.title, arguments.items()) + in_words(precondition),
        precondition=tuple(tuple(_condition(clause) for clause in conjunction) for conjunction in precondition),
        evidence=evidence,
        severity="note" if chosen or evidence.exceptions else template.severity,
        persona="pedantic" if chosen else template.persona,
    )


def _condition(clause: Clause) -> Condition:
    left = Feature(clause.variable, clause.key)
    if clause.other is not None:
        return Condition(clause.op, left, Feature(clause.other, clause.key))
    assert clause.value is not None
    return Condition(clause.op, left, Value(clause.value))
