"""Inference: hypotheses, examples, preconditions, selection, over any number of reference runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from traincheck.datalog.engine import Engine
from traincheck.datalog.plan import plan
from traincheck.dsl.checker import Checked
from traincheck.dsl.ground import Grounding, candidate_rule, example_rule, ground, mining_limits, positive_rule
from traincheck.dsl.program import FEATURES, lowering_of, program_of
from traincheck.dsl.syntax import Template
from traincheck.facts import load_facts
from traincheck.infer.callgraph import reduced_edges
from traincheck.infer.hypothesis import hypotheses_of
from traincheck.infer.selection import Dropped, Kept, Thresholds, drop_implied, judge
from traincheck.infer.tally import Tallier, Tally, hypotheses


@dataclass(frozen=True)
class Learned:
    """What a set of runs teaches: the survivors in order, and every drop with its reason."""

    kept: list[Kept]
    dropped: list[Dropped]


def tally_run(path: Path, checked: Checked, groundings: Sequence[Grounding], engine: Engine) -> dict[str, Tally]:
    """Counts of one trace for every template, by template name."""
    facts = load_facts(path)
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
    given = {checked.sorts(g.template)[name] for g in groundings for name in g.template.given}
    features = {sort: predicate for sort, predicate in FEATURES.items() if sort in given}
    goals = [*(goal for g in groundings for goal in (g.example, g.positive, g.candidate)), *features.values()]
    base: dict[str, pa.Table] = {name: facts[name] for name in plan(program, goals).base}
    if "invokes" in base:
        base["invokes"] = reduced_edges(facts["invokes"])
    tables = engine.solve(program, base, goals)
    tallier = Tallier(tables, features)
    return {g.template.name: tallier.tally(g, checked.sorts(g.template)) for g in groundings}


def learn(
    paths: Sequence[Path],
    checked: Checked,
    templates: Sequence[Template],
    engine: Engine,
    thresholds: Thresholds | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Learned:
    """Infer the invariants that these reference runs share."""
    thresholds = thresholds or Thresholds()
    groundings = [ground(template) for template in templates]
    runs = []
    for path in paths:
        progress(f"reading {path}")
        runs.append(tally_run(path, checked, groundings, engine))
    kept: list[Kept] = []
    dropped: list[Dropped] = []
    for grounding in groundings:
        tallies = [run[grounding.template.name] for run in runs]
        rows = hypotheses(tallies)
        progress(f"weighing {len(rows)} hypotheses of '{grounding.template.name}'")
        for hypothesis in hypotheses_of(grounding, tallies, rows):
            verdict = judge(hypothesis, thresholds)
            if isinstance(verdict, Kept):
                kept.append(verdict)
            else:
                dropped.append(verdict)
    survivors, implied = drop_implied(kept)
    order = {template.name: index for index, template in enumerate(templates)}
    survivors.sort(key=lambda item: (order[item.invariant.template], item.invariant.title))
    return Learned(survivors, dropped + implied)
