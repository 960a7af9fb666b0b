"""The questions to the onnx library about whole models, in a process of its own: see ``core.isolated``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Model = NDArray[np.uint8]
"""The bytes of a model."""


def prepare() -> None:
    """Import the library."""
    from onnx import inliner, shape_inference  # noqa: F401


def inferred(model: Model, *, strict: bool) -> tuple[None, list[NDArray[Any]]]:
    """The model with the types that inference finds."""
    from onnx import ModelProto, shape_inference

    # Without data_prop, which takes any amount of memory for absurd sizes.
    return _bytes_of(shape_inference.infer_shapes(ModelProto.FromString(model.tobytes()), strict_mode=strict))


def inlined(model: Model, *, domain: str, operator: str) -> tuple[None, list[NDArray[Any]]]:
    """The model with an operator replaced by its definition in the standard."""
    from onnx import ModelProto, inliner

    return _bytes_of(
        inliner.inline_selected_functions(
            ModelProto.FromString(model.tobytes()), [(domain, operator)], exclude=False, inline_schema_functions=True
        )
    )


def _bytes_of(model: Any) -> tuple[None, list[NDArray[Any]]]:
    return None, [np.frombuffer(model.SerializeToString(), np.uint8)]


TASKS: Final = (inferred, inlined)
"""All that may be asked."""
