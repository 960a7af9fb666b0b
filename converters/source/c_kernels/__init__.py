"""The functions that a C file of ``write_c`` is given, as they are printed there: those that it uses.

They are written for ``float``; ``in_type`` makes the same for ``double``. All arrays are row-major.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from portable_nn.converters.source.c_formulas import MATH
from portable_nn.converters.source.c_kernels import (
    elementwise,
    layout,
    normalization,
    products,
    recurrent,
    reductions,
    windows,
)

_FAMILIES: Final = (elementwise, products, windows, normalization, reductions, layout, recurrent)

KERNELS: Final[Mapping[str, str]] = {name: text for family in _FAMILIES for name, text in family.KERNELS.items()}
"""The source of each function by its name, in the order in which they are printed: none calls a later one."""


def name_of(kernel: str, dtype: str) -> str:
    """The name of a function for numbers of a type."""
    return kernel if dtype == "float32" else f"{kernel}_double"


def in_type(code: str, dtype: str) -> str:
    """Code that is written for ``float``, for a type."""
    if dtype == "float32":
        return code
    code = re.sub(r"\bfloat\b", "double", code)
    code = re.sub(rf"\b({MATH})f\(", r"\1(", code)
    code = re.sub(r"(\d)f\b", r"\1", code)
    return re.sub(rf"\b({'|'.join(KERNELS)})\(", r"\1_double(", code)


def kernels_in(wanted: set[tuple[str, str]]) -> list[str]:
    """The source of functions by name and type, with those that they call."""
    every = set(wanted)
    for name, dtype in wanted:
        every |= {(other, dtype) for other in KERNELS if re.search(rf"\b{other}\(", KERNELS[name])}
    return [
        in_type(KERNELS[name].strip("\n"), dtype)
        for name in KERNELS
        for dtype in ("float32", "float64")
        if (name, dtype) in every
    ]
