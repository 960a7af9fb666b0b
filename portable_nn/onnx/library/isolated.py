"""The onnx library's C++ code for whole models, in a process of its own: see ``core.isolated``.

Its shape inference aborts, for instance, where a computed size is negative, and may never end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from portable_nn.core.isolated import LibraryEndedError as LibraryEndedError
from portable_nn.core.isolated import LibraryError as LibraryError
from portable_nn.core.isolated import ask
from portable_nn.onnx.library import side


def infer_shapes(model: ModelProto, *, strict: bool = False) -> ModelProto:
    """``onnx.shape_inference.infer_shapes``, without propagation of data. Raises ``LibraryError``."""
    return _asked(side.inferred, model, strict=strict)


def inline_standard_function(model: ModelProto, domain: str, operator: str) -> ModelProto:
    """``model`` with an operator replaced by its definition in the standard. Raises ``LibraryError``."""
    return _asked(side.inlined, model, domain=domain, operator=operator)


def _asked(task: Any, model: ModelProto, **what: Any) -> ModelProto:
    try:
        data = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise LibraryError(f"the model cannot be passed to the onnx library: {error}") from None
    _, [found] = ask(task, len(data), np.frombuffer(data, np.uint8), **what)
    made = ModelProto()
    made.ParseFromString(found.data)
    return made
