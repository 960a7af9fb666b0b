"""Modules of PyTorch that are functions, for the tests of what comes from there and goes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")


class Of(torch.nn.Module):  # type: ignore[misc]
    """A module from a function of itself and any arguments, with parts."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.function(self, *given, **named)
