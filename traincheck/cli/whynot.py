"""`traincheck check --why-not ID`: why an invariant was not triggered."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from traincheck.check.law import Law
from traincheck.cli.common import say, warn
from traincheck.datalog.engine import Engine
from traincheck.dsl.checker import Checked
from traincheck.dsl.declare import did_you_mean
from traincheck.errors import UsageError
from traincheck.facts import load_facts


def tell_why_not(
    checked: Checked, laws: Mapping[str, Sequence[Law]], traces: Sequence[Path], wanted: Sequence[str], engine: Engine
) -> None:
    """Print, for each wanted id and trace, which condition finds nothing; UsageError for an unknown id."""
    from traincheck.explain.whynot import why_not  # loads the reference engine, which only this needs

    every = {law.id: law for group in laws.values() for law in group}
    for name in wanted:
        if name not in every:
            advice = did_you_mean(name, list(every)) or "the JSON report lists the ids under 'not_triggered'"
            raise UsageError(f"no invariant '{name}' among those to check", next_step=advice)
    for trace in traces:
        facts = load_facts(trace)
        for line in facts.warnings:
            warn(line)
        for name in wanted:
            law = every[name]
            say(f"{law.invariant.title} [{law.id}] in {trace}")
            for told in why_not(checked, law, facts, engine):
                click.echo("\n".join(told.lines(1)))
