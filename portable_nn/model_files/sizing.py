"""The sizes of a model, whatever it is in."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from portable_nn.analysis.sizes import NetSizes, sizes_of_model
from portable_nn.analysis.survey import survey_graph
from portable_nn.core.binding import Sizes
from portable_nn.model_files.opening import open_model
from portable_nn.network import Network


def size_net(model: str | Path | Network, *, inputs: Sizes = None) -> NetSizes:
    """The sizes of every node of a network, a shipped model, a weight file or any ONNX file.

    Where the batch has no number, costs are those of one example.

    Args:
        model: what to look at.
        inputs: sizes for those that the model leaves open: ``("N", 3, 224, 224)``, or such by the name of the input.

    Raises:
        UsageError: no model has that name, or ``inputs`` do not fit it.
        FileError, FormatError: the file cannot be read.
    """
    if isinstance(model, Network):
        return sizes_of_model(model.graph.name, partial(survey_graph, model.graph, model.parameters), inputs)
    opened = open_model(model)
    return sizes_of_model(str(opened.path), opened.survey(), inputs)
