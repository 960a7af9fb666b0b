"""Element types: Cast and CastLike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from portable_nn.operators.base import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    ONNX_DTYPES,
    REQUIRED,
    Array,
    Attr,
    Elements,
    GradientContext,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    Unknown,
    as_dtype,
    cast,
    constant,
    elements,
    emit,
    register,
)
from portable_nn.operators.elements import Element
from portable_nn.operators.elements import rounded as rounded_size
from portable_nn.operators.narrow import E8M0, FLOAT4, HELD_DTYPES, NARROW, rounded

ROUNDING = {"saturate": Attr(int, 1), "round_mode": Attr(str, "up")}
"""Options for element types of 8 bits and fewer; they change nothing for others."""


def _cast_type(use: OperatorContext) -> Type:
    code = use.int("to")
    if code not in HELD_DTYPES:
        use.fail(f"attribute 'to' is {code}, an element type that is not supported")
    if code == E8M0:
        use.choice("round_mode", ("up", "down", "nearest"))
    return Type(HELD_DTYPES[code], use.type().shape)


def narrow_code(use: OperatorContext) -> int:
    """The number of the narrow type that a use casts to; 0 for other types."""
    return code if use.operator.name == "Cast" and (code := use.int("to")) in NARROW else 0


def _rounded(use: OperatorContext, code: int, x: Array) -> Array:
    mode = use.string("round_mode") if code == E8M0 else "nearest"
    return rounded(x, code, saturate=bool(use.int("saturate")), mode=mode)


def _cast(n: KernelContext) -> Step | None:
    if code := narrow_code(n):
        x, out = n.x[0], n.out()
        return lambda: np.copyto(out, _rounded(n, code, x))
    wanted = n.x[1].dtype if n.has(1) else ONNX_DTYPES[n.int("to")]
    if n.x[0].dtype == wanted:
        return n.view(n.x[0])
    return partial(np.copyto, n.out(), n.x[0], casting="unsafe")


def _cast_gradient(n: GradientContext) -> list[Symbol | None]:
    x = n.x[0]
    flows = n.y[0].dtype in FLOATS and (x.dtype in FLOATS or _is_of_bytes(x))
    return [cast(n.dy, x.dtype if x.dtype in FLOATS else "float32") if flows else None, None][: n.inputs]


def _is_of_bytes(x: Symbol) -> bool:
    """True for sums of products of bytes, also with a bias: a gradient goes on through them as if they were floats."""
    origin = x.origin
    sums = origin.inputs if origin.operator and origin.operator.name == "Add" else (x,)
    makers = [(each.origin.operator, each.origin.inputs[0]) for each in sums if each and each.origin.inputs]
    return x.dtype == "int32" and any(
        maker and maker.family == "linear" and of and of.dtype in ("int8", "uint8") for maker, of in makers
    )


def _cast_constant(use: OperatorContext, type: Type) -> Elements:
    """A size stays the same; a fraction of one that becomes an integer is rounded down."""
    code = narrow_code(use)
    floor = (
        partial(rounded_size, "floor") if type.dtype in INTEGERS and use.type().dtype in FLOATS else lambda item: item
    )

    def one(item: Element) -> Element:
        if not isinstance(item, str):
            return as_dtype(type.dtype, _rounded(use, code, np.asarray(item)) if code else item)
        if type.dtype not in NUMBERS or code:
            raise Unknown
        return floor(item)

    return tuple(map(one, elements(use, 0)))


def _substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """Arithmetic in place of float4, for which onnxruntime has no kernel; and what cuts off where it would round."""
    code = narrow_code(use)
    if code in NARROW and not NARROW[code].is_float and use.type().dtype in FLOATS:
        return lambda x, **options: emit("Cast", cast(x, "int32"), **options)
    return _to_float4 if code == FLOAT4 else None


def _to_float4(x: Symbol, **_: int | str) -> Symbol:
    wide = cast(x, "float32")
    known = emit("Where", emit("IsNaN", wide), constant(0.0, "float32"), wide)
    near = emit("Clip", known, constant(-6.0, "float32"), constant(6.0, "float32"))
    step, size = constant(2.0, "float32"), emit("Abs", near)
    for limit in (4.0, 2.0):
        step = emit("Where", emit("Less", size, constant(limit, "float32")), constant(limit / 4, "float32"), step)
    return emit("Round", near / step) * step


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
        portability=Portability(substitute=_substitute),
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
