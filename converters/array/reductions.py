"""Reductions in numpy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from portable_nn.converters.array.elementwise import numpy_type
from portable_nn.converters.array.use import ArrayUse, Row
from portable_nn.operators import FLOATS
from portable_nn.operators.reduction.reduce import reduced_axes

_ALONG: Final = re.compile(r"\.\w+\(\{how\}\)")
"""The call in a row that reduces: without it, the row is what one element becomes."""


def _axes(use: ArrayUse) -> tuple[int, ...] | str:
    """The axes that are reduced, as numbers or as an expression."""
    return use.counted(1) if use.has(1) and not use.knows(1) and use.type(1).shape != (0,) else reduced_axes(use)


def _reduced(write: str, alone: str, use: ArrayUse) -> str:
    """``{how}`` is the axis and keepdims; ``alone`` what one element becomes, if that is no part of ``write``."""
    axes, dtype = _axes(use), use.type().dtype
    how = f"axis={axes[0] if len(axes) == 1 else axes}{', keepdims=True' if use.int('keepdims') else ''}"
    text = (write if axes else alone or _ALONG.sub("", write)).format(x=use.x(), how=how)
    return text if dtype in FLOATS or text == use.x() else f"{text}.astype(np.{numpy_type(dtype)})"


def _along_words(what: str, use: ArrayUse) -> str:
    axes = _axes(use)
    named = "that are computed" if isinstance(axes, str) else ", ".join(map(str, axes)) or "none"
    return f"{what} along {'axis' if len(axes) == 1 else 'axes'} {named}"


def _row(what: str, write: str, alone: str = "") -> Row:
    return Row(partial(_reduced, write, alone), partial(_along_words, what))


def _place(name: str, use: ArrayUse) -> str:
    x, axis = use.x(), use.attribute_axis()
    keep = ", keepdims=True" if use.int("keepdims") else ""
    if use.int("select_last_index"):
        return f"{x}.shape[{axis}] - 1 - np.flip({x}, ({axis},)).{name}(axis={axis}{keep})"
    return f"{x}.{name}(axis={axis}{keep})"


def _top_k(use: ArrayUse) -> str:
    [k] = use.whole(1) if use.knows(1) else [f"int({use.x(1)}[0])"]
    return use.several(f"top_k({use.x()}, {k}, {use.attribute_axis()}, {bool(use.int('largest'))})")


def _cumulative(use: ArrayUse) -> str:
    axis = use.whole(1)[0] if use.knows(1) else f"int({use.x(1)})"
    if not use.int("exclusive") and not use.int("reverse"):
        return f"np.cumsum({use.x()}, axis={axis}, dtype={use.x()}.dtype)"
    return f"cumulative_sum({use.x()}, {axis}, {bool(use.int('exclusive'))}, {bool(use.int('reverse'))})"


ROWS: Final[Mapping[str, Row]] = {
    "ReduceSum": _row("the sum", "{x}.sum({how})"),
    "ReduceMean": _row("the mean", "{x}.mean({how})"),
    "ReduceProd": _row("the product", "{x}.prod({how})"),
    "ReduceMax": _row("the largest", "{x}.max({how})"),
    "ReduceMin": _row("the smallest", "{x}.min({how})"),
    "ReduceSumSquare": _row("the sum of squares", "({x} * {x}).sum({how})"),
    "ReduceL1": _row("the sum of magnitudes", "np.abs({x}).sum({how})"),
    "ReduceL2": _row("the length", "length({x}, {how})", "np.abs({x})"),
    "ReduceLogSum": _row("the logarithm of the sum", "np.log({x}.sum({how}))"),
    "ReduceLogSumExp": _row("the logarithm of the sum of exp", "log_sum_exp({x}, {how})", "{x}"),
    "ArgMax": Row(partial(_place, "argmax"), "where the largest number stands"),
    "ArgMin": Row(partial(_place, "argmin"), "where the smallest number stands"),
    "TopK": Row(_top_k, "the largest or smallest numbers, and where they stand"),
    "CumSum": Row(_cumulative, "the sum of everything before"),
}
