"""What each operator is in numpy: a module for each family, with a row per operator, an expression and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from portable_nn.converters.source.lowered import Use
from portable_nn.converters.source.numpy_operators import (
    elementwise,
    indexing,
    layout,
    normalization,
    products,
    recurrent,
    reductions,
    windows,
)
from portable_nn.converters.source.numpy_operators.use import NumpyUse, Row
from portable_nn.core.errors import RefusalError
from portable_nn.operators import InvalidNode

_FAMILIES: Final = (products, windows, recurrent, elementwise, normalization, reductions, layout, indexing)

ROWS: Final[Mapping[str, Row]] = {name: row for family in _FAMILIES for name, row in family.ROWS.items()}
"""All operators that are written; of others, those that have a lowering are written as that."""


def bound(use: Use, inputs: Sequence[str | None], sizes: Mapping[str, str]) -> NumpyUse:
    """A node with the expressions of its inputs."""
    return NumpyUse(use.context, inputs, sizes, use.results)


def missing(use: NumpyUse) -> str | None:
    """What of a use is not written, or ``None``."""
    row = ROWS.get(use.operator.name) if not use.operator.domain else None
    if row is None:
        return "is not written in numpy"
    try:
        row.expression(use)
    except (RefusalError, InvalidNode) as error:
        return str(error)
    return None
