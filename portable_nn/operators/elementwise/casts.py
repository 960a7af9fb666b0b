"""Element types: Cast and CastLike."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.operators.base import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    ONNX_DTYPES,
    REQUIRED,
    Attr,
    Elements,
    GradientContext,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    Unknown,
    as_dtype,
    cast,
    elements,
    register,
)
from portable_nn.operators.elements import Element, rounded

ROUNDING = {"saturate": Attr(int, 1), "round_mode": Attr(str, "up")}
"""Options for element types of 8 bits and fewer, which are not supported: any value of theirs changes nothing."""


def _cast_type(use: OperatorContext) -> Type:
    code = use.int("to")
    if code not in ONNX_DTYPES:
        use.fail(f"attribute 'to' is {code}, an element type that is not supported")
    return Type(ONNX_DTYPES[code], use.type().shape)


def _cast(n: KernelContext) -> Step | None:
    wanted = n.x[1].dtype if n.has(1) else ONNX_DTYPES[n.int("to")]
    if n.x[0].dtype == wanted:
        return n.view(n.x[0])
    return partial(np.copyto, n.out(), n.x[0], casting="unsafe")


def _cast_gradient(n: GradientContext) -> list[Symbol | None]:
    flows = n.x[0].dtype in FLOATS and n.y[0].dtype in FLOATS
    return [cast(n.dy, n.x[0].dtype) if flows else None, None][: n.inputs]


def _cast_constant(use: OperatorContext, type: Type) -> Elements:
    """A size stays the same; a fraction of one that becomes an integer is rounded down."""
    floor = rounded("floor") if type.dtype in INTEGERS and use.type().dtype in FLOATS else lambda item: item

    def one(item: Element) -> Element:
        if not isinstance(item, str):
            return as_dtype(type.dtype, item)
        if type.dtype not in NUMBERS:
            raise Unknown
        return floor(item)

    return tuple(map(one, elements(use, 0)))


def _cast_samples(use: OperatorContext) -> Interval | None:
    """Bytes that become floats are grey levels."""
    return Interval(0, 255) if use.type().dtype == "uint8" and ONNX_DTYPES.get(use.int("to")) in FLOATS else None


register(
    Operator(
        "Cast",
        ("input",),
        _cast_type,
        _cast,
        _cast_gradient,
        {"to": Attr(int, REQUIRED), **ROUNDING},
        elementwise=True,
        passes=(0,),
        constant=_cast_constant,
        samples={0: _cast_samples},
    )
)
register(
    Operator(
        "CastLike",
        ("input", "target_type"),
        lambda use: Type(use.type(1).dtype, use.type().shape),
        _cast,
        _cast_gradient,
        ROUNDING,
        lowering=lambda x, target, **_: cast(x, target.dtype),
        elementwise=True,
        constant=_cast_constant,
    )
)
