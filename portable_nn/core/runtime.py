"""The package onnxruntime."""

from __future__ import annotations

import os
from typing import Any, Final

TELEMETRY: Final = "ORT_DISABLE_TELEMETRY"
"""The environment variable that keeps onnxruntime from reporting its uses, and from a device id in the user's cache."""


def runtime() -> Any:
    """The package onnxruntime, without its telemetry, unless the user has set ``TELEMETRY`` to another value.

    All of this package imports it here.
    """
    os.environ.setdefault(TELEMETRY, "1")  # It is read at the first import.
    import onnxruntime

    return onnxruntime
