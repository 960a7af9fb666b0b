"""The table of operators as array code: for each one an expression of numpy and its words.

``write_numpy`` prints the expressions; what they call is in ``helpers``. Other dialects read the same rows, and have
functions of their own only where they differ: those of C are in ``source/c_operators``, those of Keras in
``keras/rebuilding/arrays``, and those of PyTorch, with its words for the rest, in ``torch/source_rows`` and
``torch/words``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

from portable_nn.converters.array import (
    control,
    elementwise,
    indexing,
    layout,
    normalization,
    products,
    recurrent,
    reductions,
    windows,
)
from portable_nn.converters.array.use import ArrayUse, Row
from portable_nn.core.errors import RefusalError
from portable_nn.operators import InvalidNode, Symbol, constant, emit, integers

ROWS: Final[Mapping[str, Row]] = dict(
    **products.ROWS,
    **windows.ROWS,
    **recurrent.ROWS,
    **elementwise.ROWS,
    **normalization.ROWS,
    **reductions.ROWS,
    **layout.ROWS,
    **indexing.ROWS,
    **control.ROWS,
)  # An operator that stands twice is a TypeError.
"""All operators that are written; of others, those that have a lowering are written as that."""

ELEMENTARY: Final[Mapping[str, str]] = {
    re.sub("^arc", "a", found[1]): name
    for name, row in ROWS.items()
    if isinstance(row.write, str) and (found := re.fullmatch(r"(?:np\.)?(\w+)\(\{0\}\)", row.write))
}
"""The operators that are one function of an array alone, by its name in other libraries: ``{"asin": "Asin", …}``."""

FORMULAS: Final[Mapping[str, Callable[[Symbol], Symbol]]] = {
    "erfc": lambda x: 1.0 - emit("Erf", x),
    "exp2": lambda x: emit("Exp", x * math.log(2)),
    "expm1": lambda x: emit("Exp", x) - 1.0,
    "log10": lambda x: emit("Log", x) * (1 / math.log(10)),
    "log1p": lambda x: emit("Log", x + 1.0),
    "log2": lambda x: emit("Log", x) * (1 / math.log(2)),
    "rsqrt": lambda x: emit("Reciprocal", emit("Sqrt", x)),
    "square": lambda x: x * x,
}
"""The functions of an array alone, by their names in other libraries, that are several operators."""


def angle(y: Symbol, x: Symbol) -> Symbol:
    """atan2: the angle of the point (x, y), by the arc tangent of the smaller coordinate divided by the larger.

    So nothing is lost in a difference, and all slopes are finite.
    """
    zero, half = constant(0, x.dtype), constant(math.pi / 2, x.dtype)
    side = emit("Where", emit("Less", y, zero), -half, half)
    steep, left = emit("Less", emit("Abs", x), emit("Abs", y)), emit("Less", x, zero)
    larger = emit("Where", steep, y, x)
    ratio = emit("Where", steep, x, y) / emit("Where", emit("Equal", larger, zero), constant(1, x.dtype), larger)
    flat = emit("Atan", ratio)
    return emit("Where", steep, side - flat, flat + emit("Where", left, side * 2, zero))


def cumulated(
    combine: Callable[[Symbol, Symbol], Symbol], x: Symbol, axis: int, size: int, *, reverse: bool = False
) -> Symbol:
    """All entries so far along an axis, combined by a function of two.

    In steps of 1, 2, 4, …: each entry with that so far before it, which has all of its own before it.
    """
    at, step = integers([axis]), 1
    while step < size:
        cuts = ((0, step), (step, size), (0, size - step), (size - step, size))
        first, behind, before, last = (emit("Slice", x, integers([a]), integers([b]), at) for a, b in cuts)
        joined = combine(before, behind)
        x, step = emit("Concat", *((joined, last) if reverse else (first, joined)), axis=axis), 2 * step
    return x


def missing(use: ArrayUse) -> str | None:
    """The reason why a use is not written, or ``None``."""
    row = ROWS.get(use.operator.name) if not use.operator.domain else None
    if row is None:
        return "is not written in numpy"
    try:
        row.expression(use)
    except (RefusalError, InvalidNode) as error:
        return str(error)
    return None
