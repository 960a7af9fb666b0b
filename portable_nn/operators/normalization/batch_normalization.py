"""Normalisation of each channel over the batch (Ioffe and Szegedy, ICML 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from portable_nn.operators.base import (
    INTERNAL,
    Array,
    Attr,
    Attribute,
    GradientContext,
    KernelContext,
    Leaf,
    Limit,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    cast,
    cellwise_fields,
    emit,
    emit_all,
    format_shape,
    integers,
    register,
)
from portable_nn.operators.normalization.statistics import (
    CHANNELS,
    centred_values,
    check_channels,
    grad_types,
    inverse_root,
    normalization,
    parts,
    per_channel,
    precision,
    spread,
    standardized,
    sum_over,
    through_standardized,
    work_parts,
)


def _rest(rank: int) -> list[int]:
    """All axes but that of the channels."""
    return [axis for axis in range(rank) if axis != CHANNELS]


def _type(use: OperatorContext) -> tuple[Type, ...]:
    check_channels(use, range(1, 5), mixed=True)
    wanted = 3 if use.int("training_mode") else 1
    if use.output_count != wanted:
        use.fail(f"with training_mode {use.int('training_mode')} its outputs are {wanted}, not {use.output_count}")
    return (use.like(use.type().shape), *(Type(*use.type(index)[:2]) for index in (3, 4)))[:wanted]


def _kernel(n: KernelContext) -> list[Step]:
    x, scale, bias, mean, variance = n.x
    places, steps = parts(x, [CHANNELS]), list[Step]()
    values, nears = [x[place] for place in places], list[list[Step]]([] for _ in places)
    if n.int("training_mode"):
        if not all(n.is_constant(index) for index in (3, 4)):
            _check_count(n, x)
        batch, exact = _statistics(n, x, steps), n.scratch(mean.shape, precision(x.dtype))
        steps.append(partial(np.add, batch.near, batch.more, out=exact))
        for index, (before, now) in enumerate(((mean, exact), (variance, batch.variance)), 1):
            steps += _moved(n, before, now, n.out(index, over=index + 2))
        mean, variance, values, nears = batch.more, batch.variance, batch.apart, batch.subtractions
    out, dtype = n.out(), precision(x.dtype)
    factor, shift = n.scratch(scale.shape, dtype), n.scratch(scale.shape, dtype)
    steps += [
        *inverse_root(n, variance, factor),
        partial(np.multiply, scale, factor, out=factor),
        partial(np.multiply, mean, factor, out=shift),
        partial(np.subtract, bias, shift, out=shift),
    ]
    spreads = [spread(n, _column(each, x), x, places, steps) for each in (factor, shift)]
    for place, value, near, factors, shifts in zip(places, values, nears, *spreads, strict=True):
        steps += [
            *near,
            partial(np.multiply, value, factors, out=out[place]),
            partial(np.add, out[place], shifts, out=out[place]),
        ]
    return steps


def _check_count(n: KernelContext, x: Array) -> None:
    """Fail where training would learn nothing, and running statistics would become a variance of 0."""
    if x.size < 2 * x.shape[CHANNELS]:
        n.fail(
            f"the variance of a batch needs two values or more of each channel, and X {format_shape(x.shape)} has "
            f"{x.size // x.shape[CHANNELS]}: choose a batch_size that leaves no example over by itself"
        )


def _moved(n: KernelContext, before: Array, now: Array, out: Array) -> list[Step]:
    """A running statistic, moved towards that of the batch."""
    momentum = n.float("momentum")
    share = n.scratch(now.shape, now.dtype)
    return [
        partial(np.multiply, now, n.filled((), now.dtype, 1 - momentum), out=share),
        partial(np.multiply, before, n.filled((), before.dtype, momentum), out=out),
        partial(np.add, out, share, out=out),
    ]


class _Statistics(NamedTuple):
    """Statistics of each channel of a batch, computed by steps.

    Attributes:
        near: a number near the mean, which is subtracted from the values first.
        more: what the mean is more than that.
        variance: the population variance.
        flows: Σ dy and Σ dy·(x - mean), if there is a dy.
        apart: for each part, memory of the values less that number.
        subtractions: for each part, the steps that fill it; none where it still holds them.
    """

    near: Array
    more: Array
    variance: Array
    flows: list[Array]
    apart: list[Array]
    subtractions: list[list[Step]]


def _statistics(n: KernelContext, x: Array, steps: list[Step], dy: Array | None = None) -> _Statistics:
    """The statistics, which ``steps`` compute in two passes.

    In a single one, the squares of a large mean would drown the variance. The mean that is subtracted first is off by
    its rounding, which may exceed the differences of nearly equal numbers.
    """
    channels, dtype, places, rest = x.shape[CHANNELS], precision(x.dtype), parts(x, [CHANNELS]), _rest(x.ndim)
    results = n.scratch((3 if dy is None else 5, channels), dtype)
    near, more, variance, *flows = results
    totals = n.scratch((len(results), len(places), channels), dtype) if len(places) > 1 else results[:, np.newaxis]
    size = n.filled((), dtype, max(x.size // max(channels, 1), 1))
    steps += [sum_over(rest, total, x[place]) for total, place in zip(totals[0], places, strict=True)]
    steps += _added(totals[:1], results[:1])
    steps.append(partial(np.divide, near, size, out=near))
    nears, works = spread(n, _column(near, x), x, places, steps), work_parts(n, x, places, dtype)
    subtractions = [
        partial(np.subtract, x[place], close, out=apart)
        for place, close, apart in zip(places, nears, works, strict=True)
    ]
    for place, subtraction, apart, *into in zip(places, subtractions, works, *totals[1:], strict=True):
        steps += [subtraction, sum_over(rest, into[0], apart), sum_over(rest, into[1], apart, apart)]
        if dy is not None:
            steps += [sum_over(rest, into[2], dy[place]), sum_over(rest, into[3], dy[place], apart)]
    steps += _added(totals[1:], results[1:])
    work = n.scratch((channels,), dtype)
    steps += [
        partial(np.divide, results[1:3], size, out=results[1:3]),
        partial(np.multiply, more, more, out=work),
        partial(np.subtract, variance, work, out=variance),
    ]
    if flows:
        steps += [partial(np.multiply, more, flows[0], out=work), partial(np.subtract, flows[1], work, out=flows[1])]
    again: list[list[Step]] = [[each] if len(places) > 1 else [] for each in subtractions]
    return _Statistics(near, more, variance, flows, works, again)


def _added(totals: Array, results: Array) -> list[Step]:
    """The sums of the totals of parts; none where those of the only part are the results themselves."""
    return [partial(np.add.reduce, totals, axis=1, out=results)] if totals.shape[1] > 1 else []


def _column(channel: Array, x: Array) -> Array:
    """One number a channel, (C,), reshaped to broadcast to ``x``."""
    return channel.reshape(-1, *[1] * (x.ndim - 2))


def _gradient(n: GradientContext) -> Sequence[Symbol | None]:
    epsilon, rank = n.float("epsilon"), len(n.x[0].shape)
    if n.int("training_mode"):
        return emit_all("BatchNormalizationGrad", n.dy, *n.x[:2], outputs=3, domain=INTERNAL, epsilon=epsilon)
    dtype, rest = precision(n.dy.dtype), integers(_rest(rank))
    dy, x, scale, _, mean, variance = (cast(value, dtype) for value in (n.dy, *n.x))
    inverse = 1 / emit("Sqrt", variance + epsilon)
    factor = scale * inverse
    to_bias = emit("ReduceSum", dy, rest, keepdims=0)
    to_scale = emit("ReduceSum", dy * (x - per_channel(mean, rank)), rest, keepdims=0) * inverse
    to_variance = to_scale * factor * inverse * -0.5
    flows = [dy * per_channel(factor, rank), to_scale, to_bias, -factor * to_bias, to_variance]
    return [cast(flow, value.dtype) for flow, value in zip(flows, n.x, strict=True)]


def _training(inputs: Sequence[Symbol | None], attributes: Mapping[str, Attribute], name: str) -> Sequence[Symbol]:
    """With the statistics of the batch, unless the running ones are no parameters, or scale and bias are frozen."""
    moving = all(value and _is_state(value) for value in inputs[3:]) and not all(map(_is_frozen, inputs[1:3]))
    mode = attributes.get("training_mode") or int(moving)
    options: dict[str, Any] = {**attributes, "training_mode": mode}
    return emit_all("BatchNormalization", *inputs, outputs=3 if mode else 1, name=name, **options)


def _is_state(value: Symbol) -> bool:
    """True if the value is a parameter, or the new value of one that an earlier node computes."""
    if isinstance(value, Leaf):
        return value.parameter
    return value.origin.operator is not None and value.origin.operator.name == "BatchNormalization"


def _is_frozen(value: Symbol | None) -> bool:
    return isinstance(value, Leaf) and value.parameter and not value.trainable


def _grad_type(use: OperatorContext) -> tuple[Type, ...]:
    x, scale = grad_types(use)
    check_channels(use, [2], mixed=True)
    return x, scale, scale


def _grad(n: KernelContext) -> list[Step]:
    """dx = a·dy + b·(x - near) + c, with a = scale / √(variance + ε); near, b and c belong to a channel as well."""
    (dy, x, scale), steps = n.x, list[Step]()
    if x.size:
        _check_count(n, x)
    batch = _statistics(n, x, steps, dy)
    to_bias, product = batch.flows
    dx, dscale, dbias = n.out(), n.out(1), n.out(2)
    dtype, size = product.dtype, n.filled((), product.dtype, -max(x.size // max(x.shape[CHANNELS], 1), 1))
    inverse, a, b, c, work = (n.scratch(product.shape, dtype) for _ in range(5))
    steps += [
        *inverse_root(n, batch.variance, inverse),
        partial(np.multiply, scale, inverse, out=a),
        partial(np.multiply, product, inverse, out=product),
        partial(np.copyto, dscale, product),
        partial(np.copyto, dbias, to_bias),
        partial(np.divide, a, size, out=c),
        partial(np.multiply, product, inverse, out=b),
        partial(np.multiply, b, c, out=b),
        partial(np.multiply, c, to_bias, out=c),
        partial(np.multiply, b, batch.more, out=work),
        partial(np.subtract, c, work, out=c),
    ]
    places = parts(x, [CHANNELS])
    spreads = [spread(n, _column(each, x), x, places, steps) for each in (a, b, c)]
    for place, share, near, *here in zip(places, batch.apart, batch.subtractions, *spreads, strict=True):
        steps += [
            *near,
            partial(np.multiply, share, here[1], out=share),
            partial(np.add, share, here[2], out=share),
            partial(np.multiply, dy[place], here[0], out=dx[place]),
            partial(np.add, dx[place], share, out=dx[place]),
        ]
    return steps


def _grad_lowering(dy: Symbol, x: Symbol, scale: Symbol, *, epsilon: float = 1e-5) -> list[Symbol]:
    rank, dtype = len(x.shape), precision(x.dtype)
    rest = _rest(rank)
    flow, x_wide, scale_wide = (cast(value, dtype) for value in (dy, x, scale))
    normalized, inverse = standardized(x_wide, rest, epsilon)
    dx = through_standardized(flow * per_channel(scale_wide, rank), normalized, inverse, rest)
    to_scale, to_bias = (emit("ReduceSum", value, integers(rest), keepdims=0) for value in (flow * normalized, flow))
    return [cast(dx, x.dtype), cast(to_scale, scale.dtype), cast(to_bias, scale.dtype)]


_IN_PLACE = Limit(
    "training_mode",
    lambda use, shape: bool(use.int("training_mode")),
    "onnxruntime 1.32 writes the new running statistics over the old ones, which other nodes may share",
    "compute the statistics of the batch in plain operators, as export does",
)


def _plain(
    x: Symbol,
    scale: Symbol,
    bias: Symbol,
    mean: Symbol,
    variance: Symbol,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 1,
) -> list[Symbol]:
    """With the statistics of the batch, in plain operators."""
    rank, rest = len(x.shape), integers(_rest(len(x.shape)))
    x_wide, scale_wide, bias_wide = (cast(value, precision(x.dtype)) for value in (x, scale, bias))
    centred, mean_now = centred_values(x_wide, _rest(rank))
    variance_now = emit("ReduceMean", centred * centred, rest)
    factor = per_channel(scale_wide, rank) / emit("Sqrt", variance_now + epsilon)
    y = cast(centred * factor + per_channel(bias_wide, rank), x.dtype)
    squeezed = (
        cast(emit("Squeeze", now, rest), old.dtype) for now, old in ((mean_now, mean), (variance_now, variance))
    )
    moved = [old * momentum + now * (1 - momentum) for now, old in zip(squeezed, (mean, variance), strict=True)]
    return [y, *moved]


register(
    normalization(
        "BatchNormalization",
        ("X", "scale", "B", "input_mean", "input_var"),
        _type,
        _kernel,
        _gradient,
        {"epsilon": Attr(float, 1e-5), "momentum": Attr(float, 0.9), "training_mode": Attr(int, 0)},
        outputs=("Y", "running_mean", "running_var"),
        training=_training,
        portability=Portability(  # onnxruntime writes new statistics over the old ones, which other nodes may read.
            substitute=lambda use, opset: _plain if use.int("training_mode") else None, limits=(_IN_PLACE,)
        ),
        state={1: 3, 2: 4},
        batch_inputs="first",
        receptive=cellwise_fields,
        weights=(1, 2, 3, 4),
    )
)
register(
    normalization(
        "BatchNormalizationGrad",
        ("dY", "X", "scale"),
        _grad_type,
        _grad,
        "lowering",
        {"epsilon": Attr(float, 1e-5)},
        outputs=("dX", "dscale", "dB"),
        domain=INTERNAL,
        lowering=_grad_lowering,
    )
)
