"""Activation functions of straight pieces: the ReLUs, the hard ones, and Clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from portable_nn.core.dims import product
from portable_nn.operators.base import (
    FLOATS,
    INTERNAL,
    NUMBERS,
    WIDE,
    Array,
    Attr,
    Attribute,
    GradientContext,
    KernelContext,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    cast,
    emit,
    fit,
    format_shape,
    in_wider,
    integers,
    like,
    register,
    sizes,
)
from portable_nn.operators.elements import Element, Elements, elements, extreme
from portable_nn.operators.elementwise.activation import activation, clip, indicator
from portable_nn.operators.elementwise.blocks import in_blocks, number
from portable_nn.operators.elementwise.building import broadcast_type, same_type


def _relu(n: KernelContext) -> Step:
    # Against an array of zeros numpy's maximum runs up to three times faster than against one zero.
    return partial(np.maximum, n.x[0], n.filled_like(n.x[0], 0), out=n.out())


def _relu_grad(n: KernelContext) -> list[Step]:
    mask = n.scratch_like(n.x[1], np.bool_)
    zero = n.filled((), n.x[1].dtype, 0)
    return [partial(np.greater, n.x[1], zero, out=mask), partial(np.multiply, n.x[0], mask, out=n.out())]


def _leaky_relu(n: KernelContext) -> list[Step] | Step:
    """The greater of x and alpha·x, for alpha > 1 the less."""
    x, alpha = n.x[0], n.float("alpha")
    if alpha == 0:
        return _relu(n)
    scaled = n.scratch_like(x)
    choose = np.maximum if alpha < 1 else np.minimum
    return [partial(np.multiply, x, number(alpha, x), out=scaled), partial(choose, x, scaled, out=n.out())]


def _is_monotone(attributes: Mapping[str, Attribute]) -> bool:
    """Not so with a negative slope."""
    alpha = attributes.get("alpha")
    return not isinstance(alpha, (int, float)) or alpha >= 0


def _leaky_relu_gradient(n: GradientContext) -> Symbol:
    alpha = n.float("alpha")
    return n.dy * (indicator("Greater", n.x[0], 0) * (1 - alpha) + alpha)


def _parametric_relu_type(use: OperatorContext) -> Type:
    found = broadcast_type(use, WIDE)
    if found.shape != use.type().shape:
        x, slope = format_shape(use.type(0).shape), format_shape(use.type(1).shape)
        use.fail(f"slope {slope} does not broadcast to X {x}")
    return found


def _parametric_relu(n: KernelContext) -> list[Step]:
    x, slope = n.x
    below, zeros, out = n.scratch_like(x), n.filled_like(x, 0), n.out()
    return [
        partial(np.minimum, x, zeros, out=below),
        partial(np.multiply, below, slope, out=below),
        partial(np.maximum, x, zeros, out=out),
        partial(np.add, out, below, out=out),
    ]


def _parametric_relu_gradient(n: GradientContext) -> list[Symbol]:
    x, slope = n.x
    return [n.dy * (indicator("Greater", x, 0) * (1 - slope) + slope), fit(n.dy * clip(x, None, 0), slope)]


def _by_where(x: Symbol, *, bias: float = 0.0, lambd: float = 0.5) -> Symbol:
    """Shrink, which MNN 3.6 computes wrongly. Where ``lambd`` is negative, what is below -``lambd`` comes first."""
    moved = emit("Where", emit("Less", x, like(-lambd, x)), x + bias, x - bias) if bias else x
    return emit("Where", emit("Greater", emit("Abs", x), like(lambd, x)), moved, like(0, x))


@in_blocks()
def _hard_sigmoid(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """alpha·x + beta, between 0 and 1."""
    return [
        partial(np.multiply, x, number(n.float("alpha"), x), out=out),
        partial(np.add, out, number(n.float("beta"), x), out=out),
        partial(np.clip, out, number(0, x), number(1, x), out=out),
    ]


def _hard_sigmoid_gradient(n: GradientContext) -> Symbol:
    y = n.y[0]
    inside = emit("And", emit("Greater", y, like(0, y)), emit("Less", y, like(1, y)))
    return n.dy * (cast(inside, y.dtype) * n.float("alpha"))


@in_blocks(works=1)
def _hard_swish(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """x · min(max(x + 3, 0), 6) / 6, where x below -3 may as well be -3 (Howard et al., ICCV 2019)."""
    [gate] = work
    return [
        partial(np.maximum, x, n.filled_like(x, -3), out=out),
        partial(np.add, out, number(3, x), out=gate),
        partial(np.multiply, gate, number(1 / 6, x), out=gate),
        partial(np.minimum, gate, n.filled_like(x, 1), out=gate),
        partial(np.multiply, out, gate, out=out),
    ]


def _hard_swish_gradient(n: GradientContext) -> Symbol:
    """x / 3 + 1/2 between -3 and 3, 0 up to -3, 1 from 3 on: with x moved to that interval, x / 6 + 1/2 outside it."""
    x = n.x[0]
    return n.dy * (clip(x, -3, 3) * (indicator("Less", emit("Abs", x), 3) / 6 + 1 / 6) + 0.5)


def _thresholded_relu(n: KernelContext) -> list[Step]:
    x, alpha = n.x[0], number(n.float("alpha"), n.x[0])
    mask, out = n.scratch_like(x, np.bool_), n.out()
    return [
        partial(np.greater, x, alpha, out=mask),
        partial(np.maximum, x, alpha, out=out),
        partial(np.multiply, out, mask, out=out),
    ]


def _shrink(n: KernelContext) -> list[Step]:
    """x + bias below -lambd, otherwise x - bias above lambd, otherwise 0."""
    x, bias, lambd = n.x[0], n.float("bias"), n.float("lambd")
    low, high, out = n.scratch_like(x, np.bool_), n.scratch_like(x, np.bool_), n.out()
    steps: list[Step] = [
        partial(np.less, x, number(-lambd, x), out=low),
        partial(np.greater, x, number(lambd, x), out=high),
        partial(np.greater, high, low, out=high),
    ]
    if bias:
        shift = n.scratch_like(x)
        steps += [
            partial(np.subtract, low, high, out=shift, dtype=x.dtype),
            partial(np.multiply, shift, number(bias, x), out=shift),
            partial(np.add, x, shift, out=out),
        ]
        x = out
    return [*steps, partial(np.logical_or, low, high, out=high), partial(np.multiply, x, high, out=out)]


def _clip_type(use: OperatorContext) -> Type:
    found = use.type()
    use.check_dtype(found.dtype, NUMBERS)
    for index in (1, 2):
        if use.has(index) and (use.type(index).dtype != found.dtype or product(use.type(index).shape) != 1):
            use.fail(f"{use.operator.input_name(index)} must be one {found.dtype}, not {use.type(index)}")
    return Type(found.dtype, found.shape)


def _clip(n: KernelContext) -> Step | None:
    x = n.x[0]
    low, high = (n.x[index].reshape(()) if n.has(index) else None for index in (1, 2))
    if low is not None and high is not None:
        return partial(np.clip, x, low, high, out=n.out())
    if low is not None:
        return partial(np.maximum, x, low, out=n.out())
    return n.view(x) if high is None else partial(np.minimum, x, high, out=n.out())


def _clip_constant(use: OperatorContext, type: Type) -> Elements:
    found = elements(use, 0)
    for index, name, numbers in ((1, "max", max), (2, "min", min)):
        for bound in elements(use, index):
            either = partial(_clipped, name, numbers, bound)
            found = tuple(map(either, found))
    return found


def _clipped(name: str, numbers: Callable[[Any, Any], Element], bound: Element, item: Element) -> Element:
    symbolic = isinstance(bound, str) or isinstance(item, str)
    return extreme(name, bound, item) if symbolic else numbers(bound, item)


def _clip_gradient(n: GradientContext) -> list[Symbol | None]:
    """The gradient goes to the input between the bounds, elsewhere to the bound.

    At a bound it goes to the bound where there are two, as in PyTorch's ReLU6 and Hardtanh, which exporters write as
    Clip; and to the input where there is one, as in ``torch.clamp``.
    """
    x, y = n.x[0], n.y[0]
    if n.has(1) and n.has(2):
        bounds = [emit("Reshape", bound, integers([])) if bound.shape else bound for bound in n.x[1:]]
        flowing: list[Symbol | None] = [emit("ClipGrad", n.dy, y, *bounds, domain=INTERNAL)]
        cut = n.dy
    else:
        kept = indicator("Equal", x, y)
        flowing, cut = [n.dy * kept], n.dy * (1 - kept)
    for index in range(1, n.inputs):
        at_bound = cut * indicator("Equal", y, n.x[index]) if n.has(index) else None
        flowing.append(at_bound and emit("Reshape", emit("ReduceSum", at_bound, keepdims=0), sizes(n.x[index])))
    return flowing


def _clip_grad(n: KernelContext) -> list[Step]:
    dy, y, low, high = n.x
    inside, below = n.scratch_like(y, np.bool_), n.scratch_like(y, np.bool_)
    return [
        partial(np.greater, y, low, out=inside),
        partial(np.less, y, high, out=below),
        partial(np.logical_and, inside, below, out=inside),
        partial(np.multiply, dy, inside, out=n.out()),
    ]


register(
    activation(
        "Relu",
        ("X",),
        same_type,
        _relu,
        lambda n: emit("ReluGrad", n.dy, n.y[0], domain=INTERNAL),
        outputs=("Y",),
        monotone=True,
    )
)
register(
    activation(
        "ReluGrad",
        ("dY", "Y"),
        lambda use: broadcast_type(use, FLOATS),
        _relu_grad,
        lambda n: [emit("ReluGrad", n.dy, n.x[1], domain=INTERNAL), None],
        outputs=("dX",),
        domain=INTERNAL,
        lowering=lambda dy, y: dy * indicator("Greater", y, 0),
    )
)
register(
    activation(
        "LeakyRelu",
        ("X",),
        same_type,
        _leaky_relu,
        _leaky_relu_gradient,
        {"alpha": Attr(float, 0.01)},
        outputs=("Y",),
        monotone=_is_monotone,
    )
)
register(
    activation(
        "PRelu",
        ("X", "slope"),
        _parametric_relu_type,
        _parametric_relu,
        _parametric_relu_gradient,
        outputs=("Y",),
        weights=(1,),
    )
)
register(
    activation(
        "HardSigmoid",
        ("X",),
        same_type,
        _hard_sigmoid,
        _hard_sigmoid_gradient,
        {"alpha": Attr(float, 0.2), "beta": Attr(float, 0.5)},
        outputs=("Y",),
    )
)
register(
    activation(
        "HardSwish",
        ("X",),
        same_type,
        _hard_swish,
        _hard_swish_gradient,
        outputs=("Y",),
        lowering=lambda x: x * emit("HardSigmoid", x, alpha=1 / 6, beta=0.5),
    )
)
register(
    activation(
        "ThresholdedRelu",
        ("X",),
        same_type,
        _thresholded_relu,
        lambda n: n.dy * indicator("Greater", n.x[0], n.float("alpha")),
        {"alpha": Attr(float, 1.0)},
        outputs=("Y",),
    )
)
register(
    activation(
        "Shrink",
        ("input",),
        same_type,
        _shrink,
        lambda n: n.dy * indicator("Greater", emit("Abs", n.x[0]), n.float("lambd")),
        {"bias": Attr(float, 0.0), "lambd": Attr(float, 0.5)},
        portability=Portability(portable=lambda use: _by_where if use.type().dtype in FLOATS else None),
    )
)
register(
    activation(
        "Clip",
        ("input", "min?", "max?"),
        _clip_type,
        _clip,
        _clip_gradient,
        settings=(1, 2),
        portability=Portability(substitute=partial(in_wider, "Clip", ("int16", "uint16"))),
        monotone=True,
        constant=_clip_constant,
    )
)
register(
    activation(
        "ClipGrad",
        ("dY", "Y", "low", "high"),
        lambda use: broadcast_type(use, FLOATS),
        _clip_grad,
        lambda n: [emit("ClipGrad", n.dy, *n.x[1:], domain=INTERNAL), None, None, None],
        outputs=("dX",),
        domain=INTERNAL,
        lowering=lambda dy, y, low, high: (
            dy * cast(emit("And", emit("Greater", y, low), emit("Less", y, high)), dy.dtype)
        ),
    )
)
