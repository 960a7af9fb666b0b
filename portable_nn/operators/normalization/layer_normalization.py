"""Normalisation over the last axes.

LayerNormalization: Ba et al., 2016. RMSNormalization: Zhang and Sennrich, NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import numpy as np

from portable_nn.core.dims import broadcast
from portable_nn.operators.base import (
    FLOATS,
    INTERNAL,
    Array,
    Attr,
    GradientContext,
    KernelContext,
    OperatorContext,
    Step,
    Symbol,
    Type,
    cast,
    emit,
    emit_all,
    fit,
    integers,
    register,
    trailing_axes_fields,
)
from portable_nn.operators.normalization.standardizing import STASH, check_precision, normalize, normalize_grad
from portable_nn.operators.normalization.statistics import (
    grad_types,
    normalization,
    standardized,
    through_standardized,
    wide,
)


def _check_broadcast(use: OperatorContext, indices: Iterable[int]) -> None:
    x, name = use.type(), use.operator.input_name(0)
    use.check_dtype(x.dtype, FLOATS)
    for index in indices:
        found = use.type(index)
        if found.dtype != x.dtype or broadcast(x.shape, found.shape) != x.shape:
            use.fail(f"{use.operator.input_name(index)} must be {x.dtype} that broadcasts to {name} {x}, not {found}")


def _last_axes(use: OperatorContext) -> tuple[int, ...]:
    rank = len(use.type().shape)
    return tuple(range(use.axis(use.int("axis"), rank), rank))


def _last_axes_type(use: OperatorContext) -> tuple[Type, ...]:
    check_precision(use)
    axes, x = _last_axes(use), use.type()
    _check_broadcast(use, range(1, len(use.types)))
    saved = Type("float32", (*x.shape[: axes[0]], *[1] * len(axes)))
    return (Type(x.dtype, x.shape), saved, saved)[: len(use.operator.outputs)]


def _as_wide(parameter: Array, x: Array) -> Array:
    """``parameter`` with as many dimensions as ``x``."""
    return parameter.reshape((1,) * (x.ndim - parameter.ndim) + parameter.shape)


def _over_last_axes(n: KernelContext, *, centred: bool) -> list[Step]:
    x, out = n.x[0], n.out(over=0)
    scale, bias = _as_wide(n.x[1], x), _as_wide(n.x[2], x) if n.has(2) else None
    mean, inverse, steps = normalize(n, x, out, scale, bias, _last_axes(n), centred=centred)
    saved = [partial(np.copyto, n.out(i), s) for i, s in enumerate((mean, inverse), 1) if n.output_count > i]
    return [*steps, *saved]


def _over_last_axes_gradient(n: GradientContext) -> list[Symbol]:
    flows = emit_all(
        f"{n.operator.name}Grad",
        n.dy,
        n.x[0],
        n.x[1],
        outputs=2,
        domain=INTERNAL,
        axis=n.int("axis"),
        epsilon=n.float("epsilon"),
    )
    return [*flows, fit(n.dy, n.x[2])] if n.has(2) else [*flows]


def _last_axes_grad_type(use: OperatorContext) -> tuple[Type, Type]:
    types = grad_types(use)
    _last_axes(use)
    _check_broadcast(use, [2])
    return types


def _over_last_axes_grad(n: KernelContext, *, centred: bool) -> list[Step]:
    dy, x, scale = n.x
    dx, dscale = n.out(over=0), n.out(1)
    return normalize_grad(n, dy, x, _as_wide(scale, x), dx, _as_wide(dscale, x), _last_axes(n), centred=centred)


def _over_last_axes_lowering(
    x: Symbol,
    scale: Symbol,
    bias: Symbol | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    centred: bool = True,
) -> list[Symbol]:
    axes = range(axis % len(x.shape), len(x.shape))
    [x_wide] = wide(x)
    normalized, inverse = standardized(x_wide, axes, epsilon, centred=centred)
    y = cast(normalized, x.dtype) * scale
    if not centred:
        return [y]
    mean = emit("ReduceMean", x_wide, integers(axes))
    return [y if bias is None else y + bias, cast(mean, "float32"), cast(inverse, "float32")]


def _over_last_axes_grad_lowering(
    dy: Symbol, x: Symbol, scale: Symbol, *, axis: int = -1, epsilon: float = 1e-5, centred: bool = True
) -> list[Symbol]:
    axes = range(axis % len(x.shape), len(x.shape))
    flow, x_wide, scale_wide = wide(dy, x, scale)
    normalized, inverse = standardized(x_wide, axes, epsilon, centred=centred)
    dx = through_standardized(flow * scale_wide, normalized, inverse, axes, centred=centred)
    return [cast(dx, x.dtype), cast(fit(flow * normalized, scale), scale.dtype)]


LAST_AXES: Final = {"axis": Attr(int, -1), "epsilon": Attr(float, 1e-5)}

for _name, _scale, _further, _outputs in (
    ("LayerNormalization", "Scale", ("B?",), ("Y", "Mean", "InvStdDev")),
    ("RMSNormalization", "scale", (), ("Y",)),
):
    _centred = _name == "LayerNormalization"
    register(
        normalization(
            _name,
            ("X", _scale, *_further),
            _last_axes_type,
            partial(_over_last_axes, centred=_centred),
            _over_last_axes_gradient,
            LAST_AXES | STASH,
            outputs=_outputs,
            lowering=partial(_over_last_axes_lowering, centred=_centred),
            receptive=trailing_axes_fields,
            weights=(1, 2) if _centred else (1,),
        )
    )
    register(
        normalization(
            f"{_name}Grad",
            ("dY", "X", _scale),
            _last_axes_grad_type,
            partial(_over_last_axes_grad, centred=_centred),
            "lowering",
            LAST_AXES,
            outputs=("dX", f"d{_scale}"),
            domain=INTERNAL,
            lowering=partial(_over_last_axes_grad_lowering, centred=_centred),
        )
    )
