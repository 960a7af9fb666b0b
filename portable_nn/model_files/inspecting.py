"""Inspecting a model, whatever it is in."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from portable_nn.core.files import open_regular
from portable_nn.inspection import Inspection, inspect_manifest
from portable_nn.inspection.rows import FileRow
from portable_nn.model_files.opening import open_any, open_model
from portable_nn.network import Network
from portable_nn.plain.matching import Match, match

__all__ = ["inspect"]


def inspect(model: str | Path | Network) -> Inspection:
    """What is in a network, a shipped model, a weight file or any ONNX file, also one that cannot be imported.

    Of another project's file of arrays (``plain.KINDS``), the names, types and shapes of the arrays. No tensor is kept
    in memory.

    Raises:
        UsageError: no model has that name.
        FileError, FormatError: the file cannot be read.
    """
    if isinstance(model, Network):
        return inspect_manifest(model.manifest(hashed=False))
    opened = open_any(model)
    return replace(opened.inspection(), file=_file_row(opened.path))


def against(file: str | Path, model: str | Path) -> Match:
    """Which tensors of ``file`` the network ``model`` could take, and what the others may be called.

    Args:
        file: a file of arrays of another project, a weight file, an ONNX file or a shipped model.
        model: a shipped model, a weight file or an ONNX file.

    Raises as ``inspect`` does, and ``UnsupportedError`` where the model is an ONNX file that cannot be imported.
    """
    return match(open_any(file).entries(), open_model(model).parameters())


def manifest_text(model: str | Path) -> str:
    """The manifest of a shipped model, a weight file or an ONNX file that this package wrote, as canonical JSON.

    Raises ``UsageError`` where a file of arrays or an ONNX file has none, and otherwise as ``inspect``.
    """
    return open_any(model).manifest_text()


def _file_row(path: Path) -> FileRow:
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRow(str(path), os.fstat(file.fileno()).st_size, digest)
