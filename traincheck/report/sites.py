"""Source lines as other tools want them."""

from collections.abc import Iterator

from traincheck.check.findings import findings
from traincheck.check.verdict import Report, Violation

__all__ = ["in_order", "split_site"]


def split_site(site: str | None) -> tuple[str, int] | None:
    """File and line of a site such as `train.py:41`; None when there is none."""
    file, colon, line = (site or "").rpartition(":")
    return (file, int(line)) if colon and file and line.isdecimal() else None


def in_order(report: Report) -> Iterator[Violation]:
    """All violations in the order to read them: each finding's headline, then what it explains."""
    for finding in findings(report.violations):
        yield finding.headline
        yield from finding.others
