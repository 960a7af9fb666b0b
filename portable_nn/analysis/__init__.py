"""What is wrong with a model, or will be somewhere else: every fault that one pass can find."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from portable_nn.analysis.portability import portability_findings
from portable_nn.analysis.report import LEVELS, Finding, Level, Report, as_json, as_text
from portable_nn.analysis.rules import names_of_nodes, numbers, open_sizes, outputs_without_source, unread
from portable_nn.analysis.spatial import coverage_findings
from portable_nn.analysis.survey import Survey, open_source
from portable_nn.core.binding import Sizes
from portable_nn.core.errors import FormatError
from portable_nn.model_files.resolve import is_onnx, resolve

if TYPE_CHECKING:
    from portable_nn.network import Network

__all__ = ["Finding", "Report", "as_json", "as_text", "check"]


def check(model: str | Path | Network, *, inputs: Sizes = None) -> Report:
    """Everything about a model that is wrong (error), will be in some places (warning), or is good to know (note).

    Args:
        model: a network, a shipped model, a weight file, or any ONNX file, whatever operators it has.
        inputs: sizes for those that the model leaves open: ``("N", 3, 224, 224)``, or such by the name of the input.

    Raises:
        UsageError: no model has that name, or ``inputs`` do not fit it.
        FileError: the file cannot be read.
        FormatError: the file is none of a model.
    """
    path = resolve(model) if isinstance(model, str | Path) else None
    name = str(path) if isinstance(model, str | Path) else model.graph.name
    try:
        survey = open_source(model)(inputs)
    except FormatError as error:
        if not error.faults:
            raise
        return Report(name, 0, tuple(Finding("error", "", fault) for fault in error.faults))
    foreign = path if path and is_onnx(path) else None
    infinite: Level = "warning" if foreign else "error"  # A weight file with them is refused.
    found = [
        *survey.findings,
        *outputs_without_source(survey),
        *unread(survey),
        *numbers(survey, infinite),
        *coverage_findings(survey),
        *portability_findings(survey),
        *names_of_nodes(survey),
        *open_sizes(survey),
    ]
    if foreign:
        from portable_nn.analysis.onnx import check_by_standard

        found += check_by_standard(foreign)
    return Report(name, len(survey.nodes), tuple(_sorted(found, survey)))


def _sorted(findings: Iterable[Finding], survey: Survey) -> list[Finding]:
    """The worst first, and those of one level as their nodes come; each once."""
    places = {node.name: place for place, node in reversed([*enumerate(survey.nodes)])}
    return sorted(dict.fromkeys(findings), key=lambda each: (LEVELS.index(each.level), places.get(each.node, -1)))
