"""Checking a model, whatever it is in."""

from __future__ import annotations

from pathlib import Path

from portable_nn.analysis import Finding, Report, check_survey
from portable_nn.analysis.survey import survey_graph
from portable_nn.core.binding import Sizes
from portable_nn.core.errors import FormatError
from portable_nn.model_files.opening import open_model
from portable_nn.network import Network

__all__ = ["check"]


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
    if isinstance(model, Network):
        return check_survey(model.graph.name, survey_graph(model.graph, model.parameters, inputs))
    opened = open_model(model)
    name = str(opened.path)
    try:
        survey = opened.survey()(inputs)
    except FormatError as error:
        if not error.faults:
            raise
        return Report(name, 0, tuple(Finding("error", "", fault) for fault in error.faults))
    return check_survey(name, survey, opened.standard_findings(), infinite=opened.infinite)
