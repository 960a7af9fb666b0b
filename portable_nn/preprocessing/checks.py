"""The checks of the parameters of steps, which come from untrusted files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 8192
MAX_ELEMENTS = MAX_SIDE**2
"""The largest plane of one example, in elements: a file must not exhaust the memory of whoever opens it."""

MAX_FLOAT = 1e30
"""The largest parameter of a step: a pixel times this fits into a float32."""


def check_sides(**sides: int) -> None:
    """Raise ``ValueError`` for a side that no picture can have."""
    for field, side in sides.items():
        if not 1 <= side <= MAX_SIDE:
            raise ValueError(f"{field} must be from 1 to {MAX_SIDE} pixels, not {side}")


def check_finite(**fields: Sequence[float]) -> None:
    """Raise ``ValueError`` for a number that a pixel cannot be multiplied by."""
    for field, value in ((field, value) for field, values in fields.items() for value in values):
        if not abs(value) <= MAX_FLOAT:
            raise ValueError(f"{field} must be finite, at most {MAX_FLOAT:g} in size, not {value}")


def check_choice(field: str, value: str, choices: Any) -> None:
    """Raise ``ValueError`` for a value that is none of those of the literal type ``choices``."""
    if value not in get_args(choices):
        raise ValueError(f"{field} must be one of {', '.join(get_args(choices))}, not {value!r}")


def check_fit(size: int, box: int) -> None:
    """Raise ``ValueError`` for a box that does not fit in a square of ``size``."""
    check_sides(size=size, box=box)
    if box > size:
        raise ValueError(f"box must fit in size, {size}, not {box}")


def grey(step: str, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """``pixels``. Raises ``ValueError`` for a picture in colour, which ``step`` does not take."""
    if pixels.ndim != 2:
        raise ValueError(f"{step} needs a grey picture (height, width), found shape {pixels.shape}")
    return pixels
