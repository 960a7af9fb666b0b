"""The columns of a history, as early stopping and schedules know them."""

from __future__ import annotations


def sign_of(column: str) -> int:
    """1 where smaller is better in a column of the history, -1 where larger is."""
    return 1 if column.endswith(("loss", "error")) else -1
