"""Baselines: violations that are known and accepted, so that only new ones are told."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from traincheck.check.verdict import Report, Violation
from traincheck.errors import UsageError

VERSION = 1


class Known(msgspec.Struct, frozen=True):
    """One accepted violation: of which law, in which function, on which variables. The title is for people."""

    invariant: str
    title: str = ""
    api: str | None = None
    variables: tuple[str, ...] = ()
    variable_count: int = 0

    def covers(self, violation: Violation) -> bool:
        """Whether a violation is this one, or a part of it."""
        return (
            violation.law.id == self.invariant
            and violation.first.api == self.api
            and set(violation.variables) <= set(self.variables)
            and violation.variable_count <= self.variable_count
        )


class Baseline(msgspec.Struct, frozen=True):
    """The accepted violations of one project, as the file holds them."""

    schema_version: int = VERSION
    violations: tuple[Known, ...] = ()

    def knows(self, violation: Violation) -> bool:
        """Whether a violation is accepted."""
        return any(known.covers(violation) for known in self.violations)


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file; UsageError when there is none to read."""
    try:
        baseline = msgspec.json.decode(path.read_bytes(), type=Baseline)
    except OSError as error:
        advice = "--write-baseline FILE makes one"
        raise UsageError(f"cannot read: {error.strerror}", where=str(path), next_step=advice) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not a baseline: {error}", where=str(path)) from error
    if baseline.schema_version > VERSION:
        what = f"a baseline of version {baseline.schema_version}, this TrainCheck reads {VERSION}"
        raise UsageError(what, where=str(path), next_step="upgrade TrainCheck")
    return baseline


def baseline_of(violations: Iterable[Violation]) -> Baseline:
    """A baseline that knows all of these, in a stable order."""
    known = {
        Known(
            violation.law.id,
            violation.law.invariant.title,
            violation.first.api,
            tuple(violation.variables),
            violation.variable_count,
        )
        for violation in violations
    }
    return Baseline(violations=tuple(sorted(known, key=lambda entry: entry.invariant)))


def written(baseline: Baseline) -> str:
    """The file's text, indented so that changes are seen in a diff."""
    return msgspec.json.format(msgspec.json.encode(baseline), indent=1).decode() + "\n"


def quieten(report: Report, baseline: Baseline) -> list[Known]:
    """Move what is known out of the report's violations; returns the entries that nothing matched."""
    known = [violation for violation in report.violations if baseline.knows(violation)]
    report.violations = [violation for violation in report.violations if not baseline.knows(violation)]
    report.known += known
    return [entry for entry in baseline.violations if not any(entry.covers(violation) for violation in known)]
