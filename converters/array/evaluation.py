"""Array code that is run: with another library in the place of numpy, and with its own functions where they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import FunctionType
from typing import Any

from portable_nn.converters.array import ROWS, missing
from portable_nn.converters.array.helpers import functions
from portable_nn.converters.array.use import ArrayUse


class Dialect:
    """The functions that array code calls in another library.

    Args:
        numpy: what the code calls ``np``.
        own: helpers that are other functions there, by their names.
    """

    def __init__(self, numpy: Any, own: Mapping[str, Callable[..., Any]]) -> None:
        self.names: dict[str, Any] = {"np": numpy, "math": math}
        for name, function in functions().items():
            self.names[name] = FunctionType(function.__code__, self.names, name, function.__defaults__)
        self.helpers = dict(self.names)
        self.names.update(own)
        self._compiled = lru_cache(maxsize=4096)(self._function)

    def _function(self, text: str, inputs: int) -> Callable[..., Any]:
        names = ", ".join(f"x{place}" for place in range(inputs))
        return eval(f"lambda {names}: {text}", self.names)  # type: ignore[no-any-return]

    def compute(self, use: ArrayUse) -> Callable[..., Any] | None:
        """The function of the inputs that a row is, of ``x0``, ``x1``, …; ``None`` where nothing is written."""
        return None if missing(use) else self._compiled(ROWS[use.operator.name].expression(use), len(use.types))
