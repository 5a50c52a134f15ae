"""Inference: hypotheses, examples, preconditions, selection, over any number of reference runs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from traincheck.datalog.engine import Engine
from traincheck.datalog.plan import plan
from traincheck.dsl.checker import Checked
from traincheck.dsl.features import FEATURES, identities_of, identity_name
from traincheck.dsl.ground import candidate_rule, example_rule, ground, mining_limits, positive_rule
from traincheck.dsl.program import lowering_of, program_of
from traincheck.dsl.syntax import Template
from traincheck.facts import load_facts
from traincheck.infer.callgraph import reduced_edges
from traincheck.infer.chance import Occurrence
from traincheck.infer.evidence import Run
from traincheck.infer.hypothesis import hypotheses_of
from traincheck.infer.implied import drop_implied
from traincheck.infer.selection import Dropped, Kept, Thresholds, judge
from traincheck.infer.tally import Tallier, Tally, hypotheses


@dataclass(frozen=True)
class Learned:
    """What a set of runs teaches: the survivors in order, and every drop with its reason."""

    kept: list[Kept]
    dropped: list[Dropped]


def observe(
    path: Path,
    checked: Checked,
    templates: Sequence[Template],
    engine: Engine,
    warn: Callable[[str], None] = lambda _: None,
) -> Run:
    """Count what one trace says of every hypothesis of these templates."""
    facts = load_facts(path)
    for line in facts.warnings:
        warn(line)
    return Run(facts.identity, tally_facts(facts, checked, templates, engine))


def tally_facts(
    facts: Mapping[str, pa.Table], checked: Checked, templates: Sequence[Template], engine: Engine
) -> dict[str, Tally]:
    """Counts of one run's facts, by template name."""
    groundings = [ground(template) for template in templates]
    lowering = lowering_of(checked)
    rules = [
        rule
        for grounding in groundings
        for rule in (
            example_rule(grounding, lowering),
            positive_rule(grounding, lowering, *mining_limits(grounding, lowering)),
            candidate_rule(grounding, lowering),
        )
    ]
    program = program_of(checked, lowering, rules)
    given = {checked.sorts(template)[name] for template in templates for name in template.given}
    features = {sort: predicate for sort, predicate in FEATURES.items() if sort in given}
    identities = _compared(checked, templates)
    goals = [*(goal for g in groundings for goal in (g.example, g.positive, g.candidate)), *features.values()]
    goals += [identity_name(sort, key) for sort, keys in identities.items() for key in keys]
    base: dict[str, pa.Table] = {name: facts[name] for name in plan(program, goals).base}
    if "invokes" in base:
        base["invokes"] = reduced_edges(facts["invokes"])
    tallier = Tallier(engine.solve(program, base, goals), features, identities)
    return {g.template.name: tallier.tally(g, checked.sorts(g.template)) for g in groundings}


def _compared(checked: Checked, templates: Sequence[Template]) -> Mapping[str, Mapping[str, str]]:
    """The identities that members of these templates may have in common; one member has nobody to compare with."""
    sorts = {
        checked.sorts(template)[name] for template in templates if len(template.given) > 1 for name in template.given
    }
    return {sort: keys for sort, keys in identities_of(checked.predicate_sorts).items() if sort in sorts}


def learn(
    runs: Sequence[Run],
    templates: Sequence[Template],
    thresholds: Thresholds | None = None,
    progress: Callable[[str], None] = lambda _: None,
    choices: Collection[str] = (),
) -> Learned:
    """The invariants that these runs share. `choices` are the features whose values people choose."""
    thresholds = thresholds or Thresholds()
    kept: list[Kept] = []
    dropped: list[Dropped] = []
    for template in templates:
        tallies = [run.tallies[template.name] for run in runs]
        rows = hypotheses(tallies)
        progress(f"weighing {len(rows)} hypotheses of '{template.name}'")
        grounding = ground(template)
        occurrence = Occurrence(grounding, tallies)
        for hypothesis in hypotheses_of(grounding, tallies, rows):
            verdict = judge(hypothesis, occurrence, thresholds, choices)
            if isinstance(verdict, Kept):
                kept.append(verdict)
            else:
                dropped.append(verdict)
    survivors, implied = drop_implied(kept)
    order = {template.name: index for index, template in enumerate(templates)}
    survivors.sort(key=lambda item: (order[item.invariant.template], item.invariant.title))
    return Learned(survivors, dropped + implied)
