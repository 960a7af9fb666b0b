"""Normalisation over the last axes, and over groups of channels.

LayerNormalization: Ba et al., 2016. RMSNormalization: Zhang and Sennrich, NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import numpy as np

from portable_nn.core.dims import broadcast, product
from portable_nn.operators.base import (
    FLOATS,
    INTERNAL,
    REQUIRED,
    Array,
    Attr,
    GradientContext,
    KernelContext,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    cast,
    emit,
    emit_all,
    fit,
    integers,
    per_example_fields,
    register,
    sizes,
    trailing_axes_fields,
)
from portable_nn.operators.normalization.standardizing import STASH, check_precision, normalize, normalize_grad
from portable_nn.operators.normalization.statistics import (
    check_channels,
    grad_types,
    normalization,
    per_channel,
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


def _check_groups(use: OperatorContext) -> None:
    channels, groups = use.type().shape[1], use.int("num_groups")
    if not isinstance(channels, int) or groups < 1 or channels % groups:
        use.fail(f"num_groups must divide the number of channels, which is {channels}, not be {groups}")


def _group_type(use: OperatorContext) -> Type:
    check_precision(use)
    check_channels(use, [1, 2])
    _check_groups(use)
    return use.like(use.type().shape)


def _group_grad_type(use: OperatorContext) -> tuple[Type, Type]:
    types = grad_types(use)
    check_channels(use, [2])
    _check_groups(use)
    return types


def _instance_type(use: OperatorContext) -> Type:
    check_channels(use, [1, 2], least=3)
    return use.like(use.type().shape)


def _in_groups(array: Array, groups: int) -> Array:
    """(batch, channels, …) as (batch, groups, channels of a group, …): the same memory."""
    batch, channels, *sizes = array.shape
    return array.reshape(batch, groups, channels // groups if groups else 0, *sizes)


def _of_groups(parameter: Array, groups: int, x: Array) -> Array:
    """A parameter (channels,) as it broadcasts to ``x``, which is in groups: the same memory."""
    return parameter.reshape(groups, *x.shape[2:3], *[1] * (x.ndim - 3))[np.newaxis]


def _over_groups(n: KernelContext, groups: int) -> list[Step]:
    x, out = _in_groups(n.x[0], groups), _in_groups(n.out(), groups)
    scale, bias = (_of_groups(parameter, groups, x) for parameter in n.x[1:])
    return normalize(n, x, out, scale, bias, tuple(range(2, x.ndim)))[2]


def _over_groups_grad(n: KernelContext) -> list[Step]:
    groups = n.int("num_groups")
    dy, x, dx = (_in_groups(array, groups) for array in (*n.x[:2], n.out()))
    scale, dscale = (_of_groups(parameter, groups, x) for parameter in (n.x[2], n.out(1)))
    return normalize_grad(n, dy, x, scale, dx, dscale, tuple(range(2, x.ndim)))


def _over_groups_gradient(n: GradientContext, groups: int) -> list[Symbol]:
    x, scale, _ = n.x
    flows = emit_all(
        "GroupNormalizationGrad",
        n.dy,
        x,
        scale,
        outputs=2,
        domain=INTERNAL,
        num_groups=groups,
        epsilon=n.float("epsilon"),
    )
    return [*flows, emit("ReduceSum", n.dy, integers([0, *range(2, len(x.shape))]), keepdims=0)]


def _instance_gradient(n: GradientContext) -> list[Symbol]:
    channels = n.x[0].shape[1]
    if not isinstance(channels, int):
        n.fail(f"its gradient needs a known number of channels, and it is {channels}")
    return _over_groups_gradient(n, channels)


def _flat_groups(x: Symbol, groups: int) -> Symbol:
    """(batch, channels, …) as (batch, groups, everything else)."""
    rest = product(x.shape[1:])
    return emit("Reshape", x, integers([0, groups, rest // groups if isinstance(rest, int) else -1]))


def _over_groups_lowering(
    x: Symbol, scale: Symbol, bias: Symbol, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Symbol:
    [x_wide] = wide(x)
    normalized, _ = standardized(_flat_groups(x_wide, num_groups), [2], epsilon)
    y = cast(emit("Reshape", normalized, sizes(x)), x.dtype)
    return y * per_channel(scale, len(x.shape)) + per_channel(bias, len(x.shape))


def _over_groups_grad_lowering(
    dy: Symbol, x: Symbol, scale: Symbol, *, num_groups: int, epsilon: float = 1e-5
) -> list[Symbol]:
    flow, x_wide, scale_wide = wide(dy, x, scale)
    normalized, inverse = standardized(_flat_groups(x_wide, num_groups), [2], epsilon)
    scaled = _flat_groups(flow * per_channel(scale_wide, len(x.shape)), num_groups)
    dx = emit("Reshape", through_standardized(scaled, normalized, inverse, [2]), sizes(x))
    products = flow * emit("Reshape", normalized, sizes(x))
    dscale = emit("ReduceSum", products, integers([0, *range(2, len(x.shape))]), keepdims=0)
    return [cast(dx, x.dtype), cast(dscale, scale.dtype)]


GROUPS: Final = {"num_groups": Attr(int, REQUIRED), "epsilon": Attr(float, 1e-5)}
register(
    normalization(
        "GroupNormalization",
        ("X", "scale", "bias"),
        _group_type,
        lambda n: _over_groups(n, n.int("num_groups")),
        lambda n: _over_groups_gradient(n, n.int("num_groups")),
        GROUPS | STASH,
        outputs=("Y",),
        lowering=_over_groups_lowering,
        # onnxruntime expands it to a variance of one pass, which may be negative.
        portability=Portability(substitute=lambda use, opset: _over_groups_lowering),
        receptive=per_example_fields,
        batch_inputs="first",
        weights=(1, 2),
    )
)
register(
    normalization(
        "InstanceNormalization",
        ("input", "scale", "B"),
        _instance_type,
        lambda n: _over_groups(n, n.x[0].shape[1]),
        _instance_gradient,
        {"epsilon": Attr(float, 1e-5)},
        receptive=per_example_fields,
        batch_inputs="first",
        weights=(1, 2),
    )
)
register(
    normalization(
        "GroupNormalizationGrad",
        ("dY", "X", "scale"),
        _group_grad_type,
        _over_groups_grad,
        "lowering",
        GROUPS,
        outputs=("dX", "dscale"),
        domain=INTERNAL,
        lowering=_over_groups_grad_lowering,
    )
)
