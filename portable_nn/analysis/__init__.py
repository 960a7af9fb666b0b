"""What is wrong with a model, or will be somewhere else: every fault that one pass can find."""

from __future__ import annotations

from collections.abc import Iterable

from portable_nn.analysis.portability import portability_findings
from portable_nn.analysis.report import LEVELS, Finding, Level, Report, as_json, as_text
from portable_nn.analysis.rules import names_of_nodes, numbers, open_sizes, outputs_without_source, unread
from portable_nn.analysis.spatial import coverage_findings
from portable_nn.analysis.survey import Survey

__all__ = ["Finding", "Report", "as_json", "as_text", "check_survey"]


def check_survey(name: str, survey: Survey, more: Iterable[Finding] = (), *, infinite: Level = "error") -> Report:
    """All findings on a model and ``more``, the gravest first; infinite weights are of the level ``infinite``."""
    found = [
        *survey.findings,
        *outputs_without_source(survey),
        *unread(survey),
        *numbers(survey, infinite),
        *coverage_findings(survey),
        *portability_findings(survey),
        *names_of_nodes(survey),
        *open_sizes(survey),
        *more,
    ]
    return Report(name, len(survey.nodes), tuple(_sorted(found, survey)))


def _sorted(findings: Iterable[Finding], survey: Survey) -> list[Finding]:
    """The worst first, and those of one level as their nodes come; each once."""
    places = {node.name: place for place, node in reversed([*enumerate(survey.nodes)])}
    return sorted(dict.fromkeys(findings), key=lambda each: (LEVELS.index(each.level), places.get(each.node, -1)))
