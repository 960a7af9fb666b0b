"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear.

A scale and its zero point are of the whole tensor, of each place along an axis, or of each block along it. Gradients
go straight through the rounding: Bengio et al. (2013), arXiv:1308.3432. They are 0 where a number saturates.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from portable_nn.operators.base import (
    DTYPE_CODES,
    FLOATS,
    ONNX_DTYPES,
    Array,
    Attr,
    GradientContext,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Shape,
    Step,
    Symbol,
    Type,
    cast,
    cellwise_fields,
    constant,
    emit,
    format_shape,
    integers,
    register,
)
from portable_nn.operators.narrow import HELD_DTYPES, NARROW, rounded

STORED: Final = ("int8", "uint8", "int16", "uint16")
"""The element types that numbers are quantised to, and that hold those of 4 and 2 bits; float32 holds floats of 8."""

REAL: Final = ("float32", "float16")
"""The element types of scales."""

_LAYOUT: Final = {"axis": Attr(int, 1), "block_size": Attr(int, 0)}


def _check_scales(use: OperatorContext) -> None:
    """Check that the scale and the zero point have one element, or one for each place or block along ``axis``."""
    x, scale, block = use.type().shape, use.type(1).shape, use.at_least("block_size", 0)
    if use.has(2) and use.type(2).shape != scale and not {use.type(2).shape, scale} <= {(), (1,)}:
        use.fail(f"the zero point must have the shape of the scale, {format_shape(scale)}, not {use.type(2)}")
    if scale in {(), (1,)}:
        return
    axis = use.attribute_axis()
    size = x[axis]
    if block:
        blocks = -(-size // block) if isinstance(size, int) else size
        wanted: Shape = (*x[:axis], blocks, *x[axis + 1 :])
    else:
        wanted = (size,)
    if scale != wanted:
        use.fail(f"the scale must be {format_shape(wanted)} for an input of {format_shape(x)}, not {use.type(1)}")


def _quantize_type(use: OperatorContext) -> Type:
    use.choice("precision", (0, DTYPE_CODES["float32"]))
    use.check_dtype(use.type().dtype, {*REAL, "int32"})
    use.check_dtype(use.type(1).dtype, REAL)
    _check_scales(use)
    code = use.int("output_dtype")
    dtype = HELD_DTYPES.get(code, str(code)) if code else use.type(2).dtype if use.has(2) else "uint8"
    if use.has(2) and use.type(2).dtype != dtype:
        use.fail(f"the zero point must be {dtype}, as output_dtype is, not {use.type(2).dtype}")
    use.check_dtype(dtype, STORED if code not in NARROW else (*STORED, "float32"))
    return Type(dtype, use.type().shape)


def _dequantize_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, {*STORED, "int32", "float32"})
    use.check_dtype(use.type(1).dtype, REAL)
    _check_scales(use)
    if use.has(2) and use.type(2).dtype != use.type().dtype:
        use.fail(f"the zero point must be {use.type().dtype}, as the input is, not {use.type(2).dtype}")
    code = use.int("output_dtype")
    dtype = ONNX_DTYPES.get(code, str(code)) if code else use.type(1).dtype
    use.check_dtype(dtype, REAL)
    return Type(dtype, use.type().shape)


def _beside(n: KernelContext, index: int) -> tuple[list[Step], Array]:
    """The scale or the zero point in a shape that broadcasts to that of the input, and the steps that repeat it."""
    found, shape, block = n.x[index], n.x[0].shape, n.int("block_size")
    if found.size == 1:
        return [], found.reshape(())
    axis = n.attribute_axis()
    if not block:
        return [], found[(None,) * axis + (slice(None),) + (None,) * (len(shape) - axis - 1)]
    whole = n.scratch(shape, found.dtype)

    def repeat() -> None:
        whole[...] = np.take(found, np.arange(shape[axis]) // block, axis)

    return [repeat], whole


def limits_of(dtype: str, code: int = 0) -> tuple[int, int]:
    """The smallest and the largest whole number of an element type, or of the narrow one that it holds."""
    info = np.iinfo(dtype)
    return NARROW[code].limits if code in NARROW else (int(info.min), int(info.max))


def saturated(work: Array, out: Array, code: int = 0) -> list[Step]:
    """The steps that bring rounded numbers into the range of ``out``, where NaN becomes the smallest."""
    low, high = map(work.dtype.type, limits_of(out.dtype.name, code))
    return [
        partial(np.fmax, work, low, out=work),
        partial(np.fmin, work, high, out=work),
        partial(np.copyto, out, work, casting="unsafe"),
    ]


def _quantize(n: KernelContext) -> list[Step]:
    steps, scale = _beside(n, 1)
    work, out, code, saturate = n.scratch(n.x[0].shape, np.float32), n.out(), n.int("output_dtype"), n.int("saturate")
    steps.append(partial(np.divide, n.x[0], scale, out=work, dtype=work.dtype))
    if out.dtype == np.float32:  # The zero point of floats is 0.
        return [*steps, lambda: np.copyto(out, rounded(work, code, saturate=bool(saturate)))]
    steps.append(partial(np.rint, work, out=work))
    if n.has(2):
        more, point = _beside(n, 2)
        steps += [*more, partial(np.add, work, point, out=work, dtype=work.dtype)]
    return steps + saturated(work, out, code)


def _dequantize(n: KernelContext) -> list[Step]:
    x, out = n.x[0], n.out()
    steps, scale = _beside(n, 1)
    work = out if out.dtype != np.float16 else n.scratch(x.shape, np.float32)
    if n.has(2) and x.dtype != np.float32:  # The zero point of floats is 0.
        more, point = _beside(n, 2)
        steps += [*more, partial(np.subtract, x, point, out=work, dtype=np.float64, casting="same_kind")]
    else:
        steps.append(partial(np.copyto, work, x, casting="unsafe"))
    steps.append(partial(np.multiply, work, scale, out=work, dtype=work.dtype))
    return steps if work is out else [*steps, partial(np.copyto, out, work, casting="same_kind")]


def _spread(value: Symbol, x: Symbol, axis: int, block: int) -> Symbol:
    """A scale or zero point in a shape that broadcasts to that of ``x``."""
    rank = len(x.shape)
    if value.shape == () or (value.shape == (1,) and rank):
        return value
    if len(value.shape) == 1 and not block:
        return emit("Reshape", value, integers([1] * (axis % max(rank, 1)) + [-1] + [1] * (rank - axis % rank - 1)))
    axis %= rank
    places = emit("Div", emit("Range", *(constant(each, "int64") for each in (0, x.shape[axis], 1))), integers([block]))
    return emit("Gather", value, places, axis=axis)


def _quantize_lowering(
    x: Symbol,
    scale: Symbol,
    point: Symbol | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    saturate: int = 1,
    **_: int,
) -> Symbol:
    dtype = HELD_DTYPES[output_dtype] if output_dtype else point.dtype if point else "uint8"
    place = cast(x, "float32") / cast(_spread(scale, x, axis, block_size), "float32")
    if dtype == "float32":
        return emit("Cast", place, to=output_dtype, saturate=saturate)
    found = emit("Round", place)
    found = found + cast(_spread(point, x, axis, block_size), "float32") if point else found
    return within(found, dtype, output_dtype)


def within(value: Symbol, dtype: str, code: int = 0) -> Symbol:
    """Floats as whole numbers of ``dtype``, or of the narrow type that it holds, which saturate."""
    low, high = (constant(float(each), value.dtype) for each in limits_of(dtype, code))
    if code:  # NaN becomes the smallest: a runtime would cast it to anything.
        value = emit("Where", emit("GreaterOrEqual", value, low), value, low)
    return cast(emit("Clip", value, low, high), dtype)


def _dequantize_lowering(
    x: Symbol,
    scale: Symbol,
    point: Symbol | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    **_: int,
) -> Symbol:
    wide = cast(x, "int32") if x.dtype != "float32" else x
    if point and x.dtype != "float32":
        wide = wide - cast(_spread(point, x, axis, block_size), "int32")
    dtype = ONNX_DTYPES[output_dtype] if output_dtype else scale.dtype
    scales = cast(_spread(scale, x, axis, block_size), "float32")
    return cast(cast(wide, "float32") * scales, dtype)


def _quantize_gradient(n: GradientContext) -> list[Symbol | None]:
    x = n.x[0]
    if x.dtype not in FLOATS:
        return []
    axis, block, code = n.int("axis"), n.int("block_size"), n.int("output_dtype")
    is_float = n.y[0].dtype == "float32"
    least, most = (-NARROW[code].largest, NARROW[code].largest) if is_float else limits_of(n.y[0].dtype, code)
    scale = cast(_spread(n.x[1], x, axis, block), x.dtype)
    place = x / scale
    if n.has(2):
        place = place + cast(_spread(n.x[2], x, axis, block), x.dtype)
    low, high = (constant(each, x.dtype) for each in (least - 0.5, most + 0.5))
    inside = emit("And", emit("GreaterOrEqual", place, low), emit("LessOrEqual", place, high))
    return [emit("Where", inside, cast(n.dy, x.dtype) / scale, constant(0.0, x.dtype))]


def _dynamic_type(use: OperatorContext) -> tuple[Type, ...]:
    use.check_dtype(use.type().dtype, {"float32"})
    return Type("uint8", use.type().shape), Type("float32", ()), Type("uint8", ())


def _dynamic(n: KernelContext) -> list[Step]:
    x, y, scale, point = n.x[0], *map(n.out, range(3))
    work = n.scratch(x.shape, np.float32)

    def measure() -> None:
        low, high = (np.float32(found(x, initial=0)) for found in (np.min, np.max))
        scale[...] = (high - low) / np.float32(255) if high > low else 1
        point[...] = np.clip(np.rint(-low / scale), 0, 255)
        np.add(np.rint(x / scale), point, out=work)

    return [measure, *saturated(work, y)]


def _dynamic_lowering(x: Symbol) -> tuple[Symbol, Symbol, Symbol]:
    nothing = constant(0.0, "float32")
    low, high = (
        emit(name, nothing, emit(of, x, keepdims=0)) for name, of in (("Min", "ReduceMin"), ("Max", "ReduceMax"))
    )
    extent = high - low
    scale = emit("Where", emit("Equal", extent, nothing), constant(1.0, "float32"), extent / 255.0)
    point = within(emit("Round", -low / scale), "uint8")
    return _quantize_lowering(x, scale, point), scale, point


register(
    Operator(
        "QuantizeLinear",
        ("x", "y_scale", "y_zero_point?"),
        _quantize_type,
        _quantize,
        _quantize_gradient,
        {**_LAYOUT, "output_dtype": Attr(int, 0), "precision": Attr(int, 0), "saturate": Attr(int, 1)},
        outputs=("y",),
        lowering=_quantize_lowering,
        portability=Portability(  # A wider type holds the result and the zero point of narrow ones.
            substitute=lambda use, opset: _quantize_lowering if use.int("output_dtype") in NARROW else None
        ),
        family="arithmetic",
        batch_inputs="first",
        receptive=cellwise_fields,
        settings=(1, 2),
    )
)
register(
    Operator(
        "DequantizeLinear",
        ("x", "x_scale", "x_zero_point?"),
        _dequantize_type,
        _dequantize,
        lambda n: [n.dy * cast(_spread(n.x[1], n.x[0], n.int("axis"), n.int("block_size")), n.dy.dtype)],
        {**_LAYOUT, "output_dtype": Attr(int, 0)},
        outputs=("y",),
        lowering=_dequantize_lowering,
        family="arithmetic",
        batch_inputs="first",
        receptive=cellwise_fields,
        settings=(1, 2),
    )
)
register(
    Operator(
        "DynamicQuantizeLinear",
        ("x",),
        _dynamic_type,
        _dynamic,
        # Nothing saturates, as the scale follows from the numbers; it and the zero point are taken as constants.
        lambda n: [cast(n.back[0], "float32") / n.y[1] if n.back[0] is not None else None],
        outputs=("y", "y_scale", "y_zero_point"),
        lowering=_dynamic_lowering,
        family="arithmetic",
        samples={0: Interval(-3, 3)},  # Of positive numbers alone, every zero point would be 0.
    )
)
