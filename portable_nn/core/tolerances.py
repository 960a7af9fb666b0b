"""The tolerances of all comparisons: how far two sides may part that compute, or train, the same network.

This module imports nothing of the package. ``onnx/verification`` says what a tolerance allows for an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ATOL: Final = 1e-5
"""The absolute tolerance of an output after a conversion."""

RTOL: Final = 1e-5
"""The tolerance of an output after a conversion, relative to its largest magnitude."""

RUNTIME_ATOL: Final = 1e-6
"""The absolute tolerance of an output of another runtime."""

RUNTIME_RTOL: Final = 1e-4
"""The tolerance of an output of another runtime, relative to its largest magnitude: runtimes use faster kernels."""

WRITTEN: Final[Mapping[str, float]] = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2}
"""The tolerance of an output that a formula or a written source computes, by the element type of the weights."""

ESTIMATED: Final[Mapping[str, float]] = {"float64": 1e-6}
"""The tolerance of an output of an estimator of scikit-learn, by the type of its inputs, where it is not ``ATOL``."""

TRAINED: Final[Mapping[str, float]] = {"float64": 1e-8, "float32": 1e-5, "float16": 1e-2}
"""The tolerance of a weight after five steps of training, relative to its tensor's largest magnitude or to 1."""
