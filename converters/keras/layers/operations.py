"""The operations of ``keras.ops``, which arithmetic on tensors makes too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from portable_nn.converters.keras.held import Held, aligned
from portable_nn.converters.keras.layers.activations import applied
from portable_nn.converters.keras.layers.merging import either
from portable_nn.converters.keras.spec import LayerError, Spec
from portable_nn.operators import constant, emit, integers


def binary(operator: str) -> Callable[..., Held]:
    """Arithmetic on two tensors, or on a tensor and a number."""

    def build(spec: Spec, one: Any, other: Any) -> Held:
        values = [each for each in (one, other) if isinstance(each, Held)]
        if not values or any(not isinstance(e, Held) and type(e) not in (int, float) for e in (one, other)):
            raise LayerError("it takes tensors and numbers")
        if len({each.rank for each in values}) > 1:
            symbols, moved = [each.plain for each in values], False
        else:
            symbols, moved = aligned(values)
        rest = iter(symbols)
        dtype = values[0].dtype
        operands = [next(rest) if isinstance(e, Held) else constant(e, dtype) for e in (one, other)]
        made = emit(operator, *operands, name=spec.next_name())
        mask = values[0].mask if len(values) == 1 else either([each.mask for each in values])
        return Held(moved=made, mask=mask) if moved else Held(made, mask=mask)

    return build


def unary(operator: str) -> Callable[..., Held]:
    """A function of each element."""
    return lambda spec, x: x.each(lambda symbol: emit(operator, symbol, name=spec.next_name()))


def function(name: str) -> Callable[..., Held]:
    """An activation."""
    return lambda spec, x: applied(spec, name, x, spec.next_name())


def get_item(spec: Spec, x: Held, key: Any) -> Held:
    """x[…]: slices and single places."""
    keys = key if isinstance(key, list | tuple) else [key]
    if len(keys) > x.rank:
        raise LayerError("it takes more axes than there are")
    starts, ends, axes = list[int](), list[int](), list[int]()
    steps, gone = list[int](), list[int]()
    for axis, each in enumerate(keys):
        if type(each) is int:
            starts, ends = [*starts, each], [*ends, each + 1 if each != -1 else 2**31]
            axes, steps, gone = [*axes, axis], [*steps, 1], [*gone, axis]
        elif isinstance(each, slice):
            if each == slice(None):
                continue
            if any(part is not None and type(part) is not int for part in (each.start, each.stop, each.step)):
                raise LayerError("its slices are not of whole numbers")
            step = 1 if each.step is None else each.step
            first, last = (0, 2**31) if step > 0 else (2**31, -(2**31))
            starts.append(first if each.start is None else each.start)
            ends.append(last if each.stop is None else each.stop)
            axes, steps = [*axes, axis], [*steps, step]
        else:
            raise LayerError(f"its place {each!r:.60} is no number or slice")
    value = x.plain
    if axes:
        value = emit("Slice", value, *(integers(each) for each in (starts, ends, axes, steps)))
    if gone:
        value = emit("Squeeze", value, integers(gone))
    return Held(emit("Identity", value, name=spec.next_name()))


def reduction(operator: str) -> Callable[..., Held]:
    """Mean, Sum, Max, Min over axes."""

    def build(spec: Spec, x: Held, *rest: Any, **options: Any) -> Held:
        axis = spec.get("axis")
        if rest or options:
            raise LayerError("it takes one tensor")
        axes = [axis] if type(axis) is int else axis
        if axes is not None and not (isinstance(axes, list) and all(type(each) is int for each in axes)):
            raise LayerError(f"its option axis must be axes, not {axis!r:.60}")
        places = list(range(x.rank)) if axes is None else [each % x.rank for each in axes]
        keep = int(spec.flag("keepdims"))
        return Held(emit(operator, x.plain, integers(places), keepdims=keep, name=spec.next_name()))

    return build


OPERATIONS: Final[Mapping[str, Callable[..., Held]]] = {
    "Add": binary("Add"),
    "Subtract": binary("Sub"),
    "Multiply": binary("Mul"),
    "Divide": binary("Div"),
    "TrueDivide": binary("Div"),
    "Power": binary("Pow"),
    "Maximum": binary("Max"),
    "Minimum": binary("Min"),
    "Matmul": binary("MatMul"),
    "Negative": unary("Neg"),
    "Absolute": unary("Abs"),
    "Abs": unary("Abs"),
    "Exp": unary("Exp"),
    "Log": unary("Log"),
    "Sqrt": unary("Sqrt"),
    "Sin": unary("Sin"),
    "Cos": unary("Cos"),
    "Square": lambda spec, x: x.each(lambda symbol: emit("Mul", symbol, symbol, name=spec.next_name())),
    "Relu": function("relu"),
    "Relu6": function("relu6"),
    "Sigmoid": function("sigmoid"),
    "Tanh": function("tanh"),
    "Silu": function("silu"),
    "Softplus": function("softplus"),
    "GetItem": get_item,
    "Mean": reduction("ReduceMean"),
    "Sum": reduction("ReduceSum"),
    "Max": reduction("ReduceMax"),
    "Min": reduction("ReduceMin"),
}
"""What makes each operation of ``keras.ops``, by the name of its class: ``(operation, argument, …) → tensor``."""
