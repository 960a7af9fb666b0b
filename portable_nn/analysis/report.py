"""What a check finds, and how it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any, Final, Literal, TypeAlias

from portable_nn.core.text import GAP, quantity, table

Level: TypeAlias = Literal["error", "warning", "note"]

LEVELS: Final[tuple[Level, ...]] = ("error", "warning", "note")
"""From what makes a model unusable to what is good to know."""

NARROWEST: Final = 40
"""The narrowest column in which text is broken into lines."""

SHOWN: Final = 5
"""How many names are told where many are meant."""


@dataclass(frozen=True)
class Finding:
    """One thing about a model: at which node (``""`` where it is about the whole), and what to do about it."""

    level: Level
    node: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Report:
    """All that was found in a model of so many nodes, the worst first."""

    model: str
    nodes: int
    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        """How many findings are of that level."""
        return sum(finding.level == level for finding in self.findings)

    def passes(self, *, strict: bool = False) -> bool:
        """Whether there is no error, and with ``strict`` no warning either."""
        return not self.count("error") and not (strict and self.count("warning"))


def as_text(report: Report, width: int | None = None) -> str:
    """The report for people: a table with the hints below what they are about, and a line that sums up.

    Messages are broken so that no line is longer than ``width``, where that leaves room for them.
    """
    taken = [max(map(len, cells)) for cells in zip(*((each.level, each.node) for each in report.findings), strict=True)]
    room = width - sum(taken) - 2 * len(GAP) if width else 0
    rows = [row for finding in report.findings for row in _rows(finding, room)]
    summary = f"{_summary(report)}\n"
    return f"{table(('level', 'node', 'message'), rows)}\n{summary}" if rows else summary


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs."""
    return {
        "model": report.model,
        "nodes": report.nodes,
        **{f"{level}s": report.count(level) for level in LEVELS},
        "findings": [asdict(finding) for finding in report.findings],
    }


def some(names: Iterable[str]) -> str:
    """The first few of many names."""
    found = list(dict.fromkeys(names))
    return ", ".join(found[:SHOWN]) + (", …" if len(found) > SHOWN else "")


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width``; in one where that is too narrow to read."""
    return wrap(text, width, break_long_words=False, break_on_hyphens=False) if width >= NARROWEST else [text]


def _rows(finding: Finding, width: int) -> Iterator[tuple[str, str, str]]:
    """The lines of a finding; the hint stands indented below the message."""
    lines = wrapped(finding.message, width)
    if finding.hint:
        lines += [GAP + line for line in wrapped(finding.hint, width - len(GAP))]
    yield finding.level, finding.node, lines[0]
    yield from (("", "", line) for line in lines[1:])


def _summary(report: Report) -> str:
    """``2 errors, 1 warning in 53 nodes``."""
    counts = Counter(finding.level for finding in report.findings)
    found = ", ".join(quantity(counts[level], level) for level in LEVELS if counts[level]) or "nothing found"
    return f"{found} in {quantity(report.nodes, 'node')}" if report.nodes else found
