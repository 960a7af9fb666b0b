"""Faults of a model, and limits of its portability: everything that one pass can find."""

from __future__ import annotations

from collections.abc import Iterable

from portable_nn.analysis.portability import portability_findings
from portable_nn.analysis.report import LEVELS, Finding, Level, Report, as_json, as_text
from portable_nn.analysis.rules import dead_ends, names_of_nodes, numbers, outputs_without_source, unknown_sizes, unread
from portable_nn.analysis.spatial import coverage_findings
from portable_nn.analysis.survey import Survey

__all__ = ["Finding", "Report", "as_json", "as_text", "check_survey"]


def check_survey(name: str, survey: Survey, more: Iterable[Finding] = (), *, nonfinite: Level = "error") -> Report:
    """All findings on a model and ``more``, errors first; NaN and infinity in weights are of level ``nonfinite``."""
    found = [
        *survey.findings,
        *outputs_without_source(survey),
        *dead_ends(survey),
        *unread(survey),
        *numbers(survey, nonfinite),
        *coverage_findings(survey),
        *portability_findings(survey),
        *names_of_nodes(survey),
        *unknown_sizes(survey),
        *more,
    ]
    places = {node.name: place for place, node in reversed([*enumerate(survey.nodes)])}
    ordered = sorted(dict.fromkeys(found), key=lambda each: (LEVELS.index(each.level), places.get(each.node, -1)))
    return Report(name, len(survey.nodes), tuple(ordered))
