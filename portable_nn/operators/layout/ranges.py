"""Operators that make a 1-D array from its length: Range and window functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from portable_nn.core.dims import OPEN, difference, product, rounded_quotient
from portable_nn.operators.base import (
    DTYPE_CODES,
    INTEGERS,
    NUMBERS,
    ONNX_DTYPES,
    Array,
    Attr,
    Dim,
    Elements,
    Ends,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Symbol,
    Type,
    Unknown,
    as_dtype,
    cast,
    constant,
    count_up,
    elements,
    emit,
    length,
    register,
    whole,
)

_COUNTED: Final = frozenset({"float32", "float64", "int16", "int32", "int64"})


def _bounds(use: OperatorContext) -> tuple[Dim | float, Dim | float, float]:
    """Start, limit and step, of which the first two may be symbolic sizes."""
    types = [use.type(index) for index in range(3)]
    use.check_dtype(types[0].dtype, _COUNTED)
    if any(type.shape not in {(), (1,)} or type.dtype != types[0].dtype for type in types):
        use.fail(f"start, limit and delta must be one number each, of one type, not {', '.join(map(str, types))}")
    known = use.constant if types[0].dtype in INTEGERS else use.floats
    start, limit, delta = (known(index, _COUNTED)[0] for index in range(3))
    if isinstance(delta, str) or not delta or delta != delta:
        use.fail(f"delta must be a number that is not 0, not {delta}")
    return start, limit, delta


def _length(start: Dim | float, limit: Dim | float, delta: float) -> Dim:
    if isinstance(start, str) or isinstance(limit, str):
        way = difference(whole(limit), whole(start))
        return rounded_quotient("ceil", way if delta > 0 else product([-1, way]), whole(abs(delta)))
    return _steps(limit - start, delta)


def _steps(way: float, delta: float) -> int:
    steps = -(-way // delta) if isinstance(way, int) and isinstance(delta, int) else np.ceil(way / delta)
    return max(0, int(steps)) if math.isfinite(steps) else 0


def _range_type(use: OperatorContext) -> Type:
    start, limit, delta = _bounds(use)
    try:
        length = _length(start, limit, delta)
    except Unknown:
        use.fail(f"its length from {start} to {limit} in steps of {delta} is no sum of products of sizes")
    return Type(use.type().dtype, (max(0, length) if isinstance(length, int) else length,))


def _range(n: KernelContext) -> None:
    start, _, delta = _bounds(n)
    assert not isinstance(start, str)  # The output has a shape.
    [length] = n.output_shape()
    n.view((np.arange(length) * delta + start).astype(n.type().dtype))


_WINDOWS: Final = {"Hann": (0.5, 0.5, 0.0), "Hamming": (25 / 46, 21 / 46, 0.0), "Blackman": (0.42, 0.5, 0.08)}
"""The weights of the mean, of a cosine that is subtracted, and of one of twice the frequency that is added."""


def _window(name: str) -> None:
    weights = _WINDOWS[name]

    def made(use: OperatorContext, size: Sequence[Dim]) -> Type:
        code = use.int("output_datatype")
        if ONNX_DTYPES.get(code) not in NUMBERS:
            use.fail(f"attribute 'output_datatype' is {code}, an element type that is not supported")
        if use.type().shape not in {(), (1,)} or (isinstance(size[0], int) and size[0] < 0):
            use.fail(f"size must be one number of 0 or more, not {use.type()}")
        return Type(ONNX_DTYPES[code], tuple(size))

    def infer(use: OperatorContext) -> Type:
        return made(use, use.constant(0, ("int32", "int64")))

    def unsized(use: OperatorContext) -> Type:
        return made(use, [OPEN])

    def values(size: int, periodic: int) -> Array:
        angles = np.arange(size) * (2 * np.pi / (size if periodic else size - 1)) if size > 1 else np.zeros(size)
        return np.asarray(weights[0] - weights[1] * np.cos(angles) + weights[2] * np.cos(2 * angles))

    def kernel(n: KernelContext) -> None:
        [size] = n.output_shape()
        n.view(values(size, n.int("periodic")).astype(ONNX_DTYPES[n.int("output_datatype")]))

    def lowering(size: Symbol, *, periodic: int = 1, output_datatype: int = 1) -> Symbol:
        count = cast(count_up(size), "float32")
        # A window of one place has no way from its first place to its last.
        places = emit("Max", cast(size if periodic else size - 1, "float32"), constant(1.0, "float32"))
        angle = count * (2 * math.pi) / places
        found = weights[0] - emit("Cos", angle) * weights[1] + emit("Cos", angle * 2) * weights[2]
        return cast(found, ONNX_DTYPES[output_datatype])

    attributes = {"output_datatype": Attr(int, DTYPE_CODES["float32"]), "periodic": Attr(int, 1)}
    register(
        Operator(
            f"{name}Window",
            ("size",),
            infer,
            kernel,
            None,
            attributes,
            lowering=lowering,
            samples={0: Interval(2, 9)},
            unsized=unsized,
        )
    )


def _range_constant(use: OperatorContext, type: Type) -> Elements:
    start, _, step = (elements(use, index)[0] for index in range(3))
    if isinstance(start, str) or isinstance(step, str):
        raise Unknown
    return tuple(as_dtype(type.dtype, start + place * step) for place in range(length(type)))


def _range_ends(use: OperatorContext, _: Sequence[Ends | None]) -> Ends | None:
    start, limit, delta = (use.type(index).constant for index in range(3))
    if delta != (1,) or not limit or not start or not all(isinstance(each, (int, str)) for each in (*start, *limit)):
        return None
    return ((whole(start[0]), difference(whole(limit[0]), 1)),)


register(
    Operator(
        "Range",
        ("start", "limit", "delta"),
        _range_type,
        _range,
        None,
        settings=(0, 1, 2),
        constant=_range_constant,
        ends=_range_ends,
        unsized=lambda use: use.like([OPEN]),
    )
)
for _name in _WINDOWS:
    _window(_name)
