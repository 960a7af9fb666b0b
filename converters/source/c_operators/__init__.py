"""The operators in C: a module for each family, with a row per operator that writes its lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portable_nn.converters.source.c_operators import (
    elementwise,
    layout,
    normalization,
    products,
    recurrent,
    reductions,
    windows,
)
from portable_nn.converters.source.c_operators.use import C_TYPES, CUse, Row
from portable_nn.core.errors import RefusalError
from portable_nn.operators import InvalidNode

ROWS: Final[Mapping[str, Row]] = dict(
    **products.ROWS,
    **windows.ROWS,
    **recurrent.ROWS,
    **elementwise.ROWS,
    **normalization.ROWS,
    **reductions.ROWS,
    **layout.ROWS,
)  # An operator that stands twice is a TypeError.
"""All operators that are written; of others, those that have a lowering are written as that."""


def missing(use: CUse) -> str | None:
    """The reason why a use is not written, or ``None``."""
    row = ROWS.get(use.operator.name) if not use.operator.domain else None
    if row is None:
        return "is not written in C"
    if strange := [t.dtype for t in (*use.types, *use.results) if t is not None and t.dtype not in C_TYPES]:
        return f"{strange[0]} is no type of C"
    try:
        row.write(use)
    except (RefusalError, InvalidNode) as error:
        return str(error)
    return None
