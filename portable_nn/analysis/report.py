"""The findings of a check, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any, Final, Literal, TypeAlias

from portable_nn.core.html import html_of
from portable_nn.core.text import GAP, looking, quantity, table

Level: TypeAlias = Literal["error", "warning", "note"]

LEVELS: Final[tuple[Level, ...]] = ("error", "warning", "note")
"""From faults that make a model unusable to remarks."""

NARROWEST: Final = 40
"""The narrowest column in which text is wrapped."""


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        level: how serious it is.
        node: the name of the node; ``""`` for the whole model.
        message: what was found.
        hint: what to do about it; may be empty.
    """

    level: Level
    node: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Report:
    """The findings on a model, errors first; ``nodes`` is the number of its nodes."""

    model: str
    nodes: int
    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        """The number of findings of that level."""
        return sum(finding.level == level for finding in self.findings)

    def passes(self, *, strict: bool = False) -> bool:
        """True if there is no error, and with ``strict`` no warning."""
        return not self.count("error") and not (strict and self.count("warning"))

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return html_of(lambda: as_text(self))


def as_text(report: Report, width: int | None = None) -> str:
    """The report as text: a table with each hint below its message, and a summary.

    Messages are wrapped so that no line is longer than ``width``, where that leaves room for them.
    """
    heads = [("level", "node"), *((each.level, each.node) for each in report.findings)]
    taken = [max(map(len, cells)) for cells in zip(*heads, strict=True)]
    room = width - sum(taken) - 2 * len(GAP) if width else 0
    rows = [row for finding in report.findings for row in _rows(finding, room)]
    summary = f"{_summary(report)}\n"
    with looking(None, None):  # The lines are as long as they must be, and nothing of a message is left out.
        return f"{table(('level', 'node', 'message'), rows)}\n{summary}" if rows else summary


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "model": report.model,
        "nodes": report.nodes,
        **{f"{level}s": report.count(level) for level in LEVELS},
        "findings": [asdict(finding) for finding in report.findings],
    }


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width``; in one where that is too narrow to read."""
    return wrap(text, width, break_long_words=False, break_on_hyphens=False) if width >= NARROWEST else [text]


def _rows(finding: Finding, width: int) -> Iterator[tuple[str, str, str]]:
    """The lines of a finding; the hint is indented below the message."""
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
