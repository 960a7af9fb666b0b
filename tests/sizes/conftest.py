"""PyTorch on one thread: for arrays of a few cells, waking the others takes many times as long as the work."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def on_one_thread(one_thread: None) -> None:
    """All tests of this folder."""
