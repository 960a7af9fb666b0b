"""Checks of the numbers that options of losses, optimizers and schedules hold."""

from __future__ import annotations

import math

from portable_nn.core.errors import UsageError


def check_number(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise ``UsageError`` unless ``value`` is at least ``low`` and less than ``high``."""
    if not low <= value < high:
        limits = f"at least {low:g}" if high == math.inf else f"from {low:g} to less than {high:g}"
        raise UsageError(f"{name} must be {limits}, not {value:g}")


def sign_of(column: str) -> int:
    """1 where smaller is better in a column of the history, -1 where larger is."""
    return 1 if column.endswith(("loss", "error")) else -1
