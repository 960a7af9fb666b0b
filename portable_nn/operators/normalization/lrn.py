"""Normalisation without a mean: by the response of near channels (LRN), or by a norm (LpNormalization)."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.operators import limits
from portable_nn.operators.base import (
    FLOATS,
    REQUIRED,
    Attr,
    GradientContext,
    KernelContext,
    Limit,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    axis_fields,
    cast,
    cellwise_fields,
    emit,
    integers,
    register,
    sizes,
)
from portable_nn.operators.normalization.statistics import (
    CHANNELS,
    check_channels,
    normalization,
    parts,
    precision,
    statistic,
    sum_over,
    wide,
    work_parts,
)


def _reach(use: OperatorContext) -> tuple[int, int]:
    """The numbers of earlier and of later channels in the window."""
    size = use.int("size")
    return (size - 1) // 2, size // 2


def _lrn_type(use: OperatorContext) -> Type:
    check_channels(use, [])
    use.at_least("size")
    return use.like(use.type().shape)


def _lrn(n: KernelContext) -> list[Step]:
    """x·(bias + alpha / size · Σ x²) ** -beta: Krizhevsky, Sutskever and Hinton, NeurIPS 2012."""
    x, out, dtype = n.x[0], n.out(), precision(n.x[0].dtype)
    before, after = _reach(n)
    share, bias, power = (
        n.filled((), dtype, value) for value in (n.float("alpha") / n.int("size"), n.float("bias"), -n.float("beta"))
    )
    places = parts(x, [CHANNELS])
    steps: list[Step] = []
    for place, squares, total in zip(places, *(work_parts(n, x, places, dtype) for _ in range(2)), strict=True):
        steps += [
            partial(np.multiply, x[place], x[place], out=squares, dtype=dtype),
            partial(np.copyto, total, squares),
        ]
        for distance in range(1, min(max(before, after), x.shape[CHANNELS] - 1) + 1):
            near, far = (slice(None), slice(None, -distance)), (slice(None), slice(distance, None))
            if distance <= after:
                steps.append(partial(np.add, total[near], squares[far], out=total[near]))
            if distance <= before:
                steps.append(partial(np.add, total[far], squares[near], out=total[far]))
        steps += [
            partial(np.multiply, total, share, out=total),
            partial(np.add, total, bias, out=total),
            partial(np.power, total, power, out=total),
            partial(np.multiply, x[place], total, out=out[place]),
        ]
    return steps


def _mean_of_window(value: Symbol, before: int, after: int) -> Symbol:
    """The sum over the window, divided by its size: a pool along the channels."""
    many = len(value.shape) > 4  # Runtimes pool over three axes at most.
    flat = emit("Reshape", value, integers([0, 0, -1])) if many else value
    alone = emit("Unsqueeze", flat, integers([CHANNELS]))
    others = [0] * (len(flat.shape) - 2)
    mean = emit(
        "AveragePool",
        alone,
        kernel_shape=[before + after + 1, *[1] * len(others)],
        pads=[before, *others, after, *others],
        count_include_pad=1,
    )
    found = emit("Squeeze", mean, integers([CHANNELS]))
    return emit("Reshape", found, sizes(value)) if many else found


def _lrn_gradient(n: GradientContext) -> Symbol:
    """dy·r + 2x·mean'(-αβ·dy·y / s), where y = x·r, r = s ** -β, and mean' is over the windows that x is in."""
    x, y, dy = wide(n.x[0], n.y[0], n.dy)
    before, after = _reach(n)
    alpha, beta = n.float("alpha"), n.float("beta")
    total = _mean_of_window(x * x, before, after) * alpha + n.float("bias")
    back = _mean_of_window(dy * y / total * (-alpha * beta), after, before)
    return cast(dy * total**-beta + x * back * 2, n.dy.dtype)


def lrn_plain(x: Symbol, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Symbol:
    """LRN by a pool along the channels."""
    return x * response_factor(x, (size - 1) // 2, size // 2, alpha=alpha, beta=beta, bias=bias)


def response_factor(x: Symbol, before: int, after: int, *, alpha: float, beta: float, bias: float) -> Symbol:
    """(bias + alpha·mean(x²)) ** -beta, over a window that reaches to earlier and to later channels."""
    [x_wide] = wide(x)
    return cast((_mean_of_window(x_wide * x_wide, before, after) * alpha + bias) ** -beta, x.dtype)


def _lp_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    use.attribute_axis()
    use.choice("p", (1, 2))
    return use.like(use.type().shape)


def _lp(n: KernelContext) -> list[Step]:
    """The output, 0 where the norm is 0: 0 / 1."""
    x, out, axis = n.x[0], n.out(), n.attribute_axis()
    norm = statistic(n, x, [axis])
    zero = n.scratch_like(norm, np.bool_)
    if n.int("p") == 1:
        magnitudes = n.scratch_like(x)
        steps: list[Step] = [partial(np.absolute, x, out=magnitudes), sum_over([axis], norm, magnitudes)]
    else:
        steps = [sum_over([axis], norm, x, x), partial(np.sqrt, norm, out=norm)]
    return [
        *steps,
        partial(np.equal, norm, 0, out=zero),
        partial(np.copyto, norm, 1, where=zero),
        partial(np.divide, x, norm, out=out),
    ]


def _lp_gradient(n: GradientContext) -> Symbol:
    """(dy - ∂norm/∂x · Σ dy·y) / norm; 0 where the norm is."""
    x, y, axis = n.x[0], n.y[0], integers([n.int("axis")])
    norm = emit(f"ReduceL{n.int('p')}", x, axis)
    inverse = emit("Where", emit("Greater", norm, norm * 0), 1 / norm, norm * 0)
    slope = y if n.int("p") == 2 else emit("Sign", x)
    return (n.dy - slope * emit("ReduceSum", n.dy * y, axis, keepdims=1)) * inverse


_EVEN = Limit(
    "size",
    lambda use, shape: use.int("size") % 2 == 0,
    "onnxruntime 1.32 and OpenCV 5.0 refuse even ones",
    "use an odd one",
)

register(
    normalization(
        "LRN",
        ("X",),
        _lrn_type,
        _lrn,
        _lrn_gradient,
        {"alpha": Attr(float, 1e-4), "beta": Attr(float, 0.75), "bias": Attr(float, 1.0), "size": Attr(int, REQUIRED)},
        outputs=("Y",),
        portability=Portability(  # onnxruntime takes (batch, channels, height, width) alone, and odd sizes.
            substitute=lambda use, opset: lrn_plain if len(use.type().shape) != 4 or use.int("size") % 2 == 0 else None,
            limits=(_EVEN, limits.ROUNDING),
        ),
        visits=lambda use, y: (*y, use.int("size")),
        receptive=cellwise_fields,
        batch_inputs="all",
    )
)
register(
    normalization(
        "LpNormalization",
        ("input",),
        _lp_type,
        _lp,
        _lp_gradient,
        {"axis": Attr(int, -1), "p": Attr(int, 2)},
        receptive=axis_fields,
    )
)
