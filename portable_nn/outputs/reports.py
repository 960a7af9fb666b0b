"""Reports on a model, whatever it is in: its contents, its faults, and its sizes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from portable_nn.analysis import Finding, Report, check_survey
from portable_nn.analysis.portability import portability_findings
from portable_nn.analysis.survey import survey_graph
from portable_nn.core.arguments import check_kinds
from portable_nn.core.binding import Sizes
from portable_nn.core.errors import FormatError
from portable_nn.core.files import open_regular
from portable_nn.inspection import Inspection, inspect_manifest
from portable_nn.inspection.rows import FileRow
from portable_nn.network import Network
from portable_nn.opening.kinds import open_any, open_model
from portable_nn.opening.origin import weights_beside
from portable_nn.plain.matching import Match, match

if TYPE_CHECKING:
    from portable_nn.analysis.sizes import NetSizes

__all__ = ["check", "inspect"]


@check_kinds
def inspect(model: str | Path | Network) -> Inspection:
    """The contents of a network, a shipped model, a weight file or any ONNX file, also one that cannot be imported.

    Of a file of arrays that another program wrote (``plain.KINDS``): the names, types and shapes of the arrays. No
    tensor is kept in memory.

    Raises:
        UsageError: no model has that name.
        FileError: the file cannot be read.
        FormatError: the file is damaged, or of another format.
    """
    if isinstance(model, Network):
        return inspect_manifest(model.manifest(hashed=False))
    opened = open_any(model)
    found = opened.inspection()
    with open_regular(opened.path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        signature = Path(f"{opened.path}.sig")
        beside = str(signature) if signature.is_file() else None
        files = {name: opened.path.parent / name for name in weights_beside(opened.path)}
        weights = {name: each.stat().st_size for name, each in files.items() if each.is_file()}
        return replace(found, file=FileRow(str(opened.path), os.fstat(file.fileno()).st_size, digest, beside, weights))


def against(file: str | Path, model: str | Path) -> Match:
    """The tensors of ``file`` that the network ``model`` could take, and the names that may match the others.

    Args:
        file: a file of arrays that another program wrote, a weight file, an ONNX file or a shipped model.
        model: a shipped model, a weight file or an ONNX file.

    Raises as ``inspect`` does, and ``UnsupportedError`` where the model is an ONNX file that cannot be imported.
    """
    return match(open_any(file).entries(), open_model(model).parameters())


def manifest_text(model: str | Path) -> str:
    """The manifest of a shipped model, a weight file or an ONNX file that this package wrote, as canonical JSON.

    Raises as ``inspect`` does, and ``UsageError`` where a file of arrays or an ONNX file has none.
    """
    return open_any(model).manifest_text()


@check_kinds
def check(model: str | Path | Network, *, inputs: Sizes = None) -> Report:
    """Everything about a model that is wrong (error), will be in some places (warning), or is good to know (note).

    Args:
        model: a network, a shipped model, a weight file, or any ONNX file, whatever operators it has.
        inputs: sizes for symbolic dimensions of the inputs: ``("N", 3, 224, 224)``, or a dict of such by input name.

    Raises:
        UsageError: no model has that name, or ``inputs`` do not fit it.
        FileError: the file cannot be read.
        FormatError: the file is not a model.
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
    return opened.agreed(check_survey(name, survey, opened.standard_findings(), nonfinite=opened.nonfinite), inputs)


def known_limits(model: str | Path | Network) -> tuple[Finding, ...]:
    """The known faults of runtimes that lack, refuse or miscompute nodes of a model. Raises as ``check`` does."""
    if isinstance(model, Network):
        survey = survey_graph(model.graph, model.parameters, None)
    else:
        survey = open_model(model).survey()(None)
    return tuple(portability_findings(survey, known=True))


def size_net(model: str | Path | Network, *, inputs: Sizes = None) -> NetSizes:
    """The sizes of every node of a network, a shipped model, a weight file or any ONNX file.

    Where the batch has no number, costs are those of one example.

    Args:
        model: the model.
        inputs: sizes for symbolic dimensions of the inputs: ``("N", 3, 224, 224)``, or a dict of such by input name.

    Raises:
        UsageError: no model has that name, or ``inputs`` do not fit it.
        FileError: the file cannot be read.
        FormatError: the file is not a model.
    """
    from portable_nn.analysis.sizes import sizes_of_model

    if isinstance(model, Network):
        return sizes_of_model(model.graph.name, partial(survey_graph, model.graph, model.parameters), inputs)
    opened = open_model(model)
    return sizes_of_model(str(opened.path), opened.survey(), inputs)
