"""Operators that make tensors of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from portable_nn.converters.torch.aten.rows import Size, Use, filled, row, scalar, shape_of, vector
from portable_nn.operators import Symbol, cast, constant, emit

LONGEST = 4096
"""The most elements of a sequence that is written down."""


@row("zeros", "ones", "empty", "new_zeros", "new_ones", "new_empty", "empty.memory_format")
def _plain(use: Use, *arguments: Any, **options: Any) -> Symbol:
    size: Sequence[Size] = next(each for each in arguments if isinstance(each, (list, tuple)))
    return filled(int("ones" in use.target), size, use.dtype)


@row("zeros_like", "ones_like", "empty_like")
def _plain_like(use: Use, x: Symbol, **options: Any) -> Symbol:
    return _full_like(use, x, int("ones" in use.target))


@row("full")
def _full(use: Use, size: Sequence[Size], fill_value: Any, **options: Any) -> Symbol:
    return filled(fill_value, size, use.dtype)


@row("new_full")
def _new_full(use: Use, x: Symbol, size: Sequence[Size], fill_value: Any, **options: Any) -> Symbol:
    return filled(fill_value, size, use.dtype)


@row("full_like")
def _full_like(use: Use, x: Symbol, fill_value: Any, **options: Any) -> Symbol:
    return filled(fill_value, shape_of(x), use.dtype)


@row("fill", "fill_", "zero_", "zero")
def _fill(use: Use, x: Symbol, value: Any = 0) -> Symbol:
    return _full_like(use, x, value)


@row("scalar_tensor")
def _scalar_tensor(use: Use, value: Any, **options: Any) -> Symbol:
    return scalar(value, use.dtype)


@row("arange")
def _arange(use: Use, *limits: Any, **options: Any) -> Symbol:
    """The numbers are added up as whole numbers where all are."""
    start, end, step = ((*limits, 1) if len(limits) == 2 else limits) if len(limits) > 1 else (0, *limits, 1)
    numbers = [each for each in (start, end, step) if not isinstance(each, Symbol)]
    if len(numbers) == 3 and math.ceil((end - start) / step) <= LONGEST:
        return constant(np.arange(start, end, step), use.dtype)
    whole = use.dtype if any(isinstance(each, float) for each in numbers) else "int64"
    return cast(emit("Range", *(scalar(each, whole) for each in (start, end, step))), use.dtype)


@row("linspace")
def _linspace(use: Use, start: float, end: float, steps: int, **options: Any) -> Symbol:
    if any(isinstance(each, Symbol) for each in (start, end, steps)) or steps > LONGEST:
        use.refuse("numbers that are known only when the network runs")
    import torch

    return constant(torch.linspace(start, end, steps, dtype=getattr(torch, use.dtype)).numpy(), use.dtype)


@row("eye")
def _eye(use: Use, n: Size, m: Size | None = None, **options: Any) -> Symbol:
    made = emit("ConstantOfShape", vector([n, n if m is None else m]))
    return cast(emit("EyeLike", made), use.dtype)
