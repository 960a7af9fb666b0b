"""Convolution and transposed convolution, in any number of spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from portable_nn.core.dims import product
from portable_nn.operators import limits
from portable_nn.operators.base import (
    FLOATS,
    INTERNAL,
    REQUIRED,
    Array,
    Attr,
    Dim,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Shape,
    Step,
    Streamed,
    Symbol,
    Type,
    emit,
    format_shape,
    integers,
    lookup,
    register,
    sizes,
)
from portable_nn.operators.spatial.channels_last import channels_innermost, channels_last
from portable_nn.operators.spatial.sliding import Geometry, to_big, to_small, to_weight
from portable_nn.operators.spatial.window import (
    ATTRIBUTES,
    per_axis,
    plain_windows,
    slide,
    spatial_sizes,
    spread,
    windows,
)
from portable_nn.sizes.operation import Window


def _kernel(use: OperatorContext, rank: int) -> tuple[int, ...]:
    """The taps of the weight along each axis; fails where the inputs, ``kernel_shape`` or ``group`` do not fit."""
    weight = use.type(1).shape
    use.common_dtype(FLOATS)
    use.at_least("group")
    if len(weight) != rank + 2:
        use.fail(f"W must have {rank + 2} dimensions, as X has, not {format_shape(weight)}")
    kernel = tuple(dim for dim in weight[2:] if isinstance(dim, int))
    if len(kernel) != rank or 0 in kernel:
        use.fail(f"W must have a kernel of known sizes, not {format_shape(weight)}")
    given = use.ints("kernel_shape")
    if given not in {None, kernel}:
        use.fail(f"kernel_shape is {given}, but W {format_shape(weight)} has a kernel of {format_shape(kernel)}")
    return kernel


def _check_channels(use: OperatorContext, reads: Dim, gives: Dim, groups: int) -> None:
    """Check that X has the channels that W reads, that their number and that of the output make groups, and that B
    fits."""
    x, w = use.type().shape, format_shape(use.type(1).shape)
    if not isinstance(x[1], int) or x[1] != reads:
        use.fail(f"X {format_shape(x)} has {x[1]} channels, but W {w} reads {reads}, in {groups} groups")
    if not isinstance(gives, int) or gives % groups or x[1] % groups:
        use.fail(f"{groups} groups divide {x[1]} channels of X and {gives} of the output, by W {w}, unevenly")
    if use.has(2) and use.type(2).shape != (gives,):
        use.fail(f"B must be {format_shape((gives,))}, one for each channel of the output, not {use.type(2)}")


def conv_windows(use: OperatorContext) -> list[Window]:
    """The window of a convolution along each axis."""
    found = spatial_sizes(use)
    return windows(use, _kernel(use, len(found)), found)


def _conv_type(use: OperatorContext) -> Type:
    found, group = conv_windows(use), use.int("group")
    filters, inner = use.type(1).shape[:2]
    _check_channels(use, product([inner, group]), filters, group)
    return use.like([use.type().shape[0], filters, *slide(use, found, use.type().shape[2:])])


def transpose_windows(use: OperatorContext) -> list[Window]:
    """The window of a transposed convolution along each axis, with the pads that its attributes lead to."""
    found = spatial_sizes(use)
    kernel = _kernel(use, len(found))
    mode, wanted = use.string("auto_pad"), use.ints("output_shape")
    more = per_axis(use, "output_padding", len(found), 0, 0)
    if wanted is not None:
        wanted = per_axis(use, "output_shape", len(found))
    plain = windows(use, kernel, ("",) * len(found))
    if any(p >= max(w.stride, w.dilation) for w, p in zip(plain, more, strict=True)):
        use.fail(f"output_padding {more} must be less than the stride or the dilation along each axis")
    plain = [replace(w, output_padding=p) for w, p in zip(plain, more, strict=True)]
    if wanted is None and not mode.startswith("SAME"):
        return plain
    result = []
    for axis, (w, size) in enumerate(zip(plain, found, strict=True)):
        if not isinstance(size, int):
            use.fail(f"its pads follow from the size along axis {axis + 2}, which is the unknown {size}")
        output = wanted[axis] if wanted is not None else None
        result.append(w.transpose_same(size, upper=mode == "SAME_UPPER", output_size=output))
    return result


def _transpose_type(use: OperatorContext) -> Type:
    found, group = transpose_windows(use), use.int("group")
    reads, inner = use.type(1).shape[:2]
    filters = product([inner, group])
    _check_channels(use, reads, filters, group)
    return use.like([use.type().shape[0], filters, *spread(use, found, use.type().shape[2:])])


def _with_bias(n: KernelContext, out: Array) -> list[Step]:
    if not n.has(2):
        return []
    bias = n.x[2].reshape(-1, *(1,) * (out.ndim - 2))
    return [partial(np.add, out, bias, out=out)]


def _conv_streamed(use: OperatorContext) -> Streamed | None:
    """Of a causal convolution over one axis, whose padding is all at the beginning: the last steps are kept."""
    found = conv_windows(use)
    if len(found) != 1 or found[0].kernel == 1 or use.string("auto_pad") != "NOTSET":
        return None
    [window] = found
    past = window.dilation * (window.kernel - 1)
    if window.pads != (past, 0) or window.stride != 1:
        return None
    batch, channels, _ = use.type().shape
    attributes = {name: value for name, value in use.attributes.items() if name != "pads"}

    def build(
        inputs: Sequence[Symbol | None], states: Sequence[Symbol], name: str
    ) -> tuple[Sequence[Symbol], Sequence[Symbol]]:
        whole = emit("Concat", *states, inputs[0], axis=2)
        last = emit("Slice", whole, integers([-past]), integers([np.iinfo(np.int64).max]), integers([2]))
        return [emit("Conv", whole, *inputs[1:], name=name, **attributes)], [last]

    return Streamed(2, {"past": (batch, channels, past)}, build)


def _conv(n: KernelContext) -> list[Step]:
    geometry = Geometry(n.x[0].shape, n.output_shape(), tuple(conv_windows(n)), n.int("group"))
    if by_channel := channels_innermost(n, geometry):
        out = n.out(order=channels_last(geometry.rank))
        return [*by_channel(n, geometry, out), *_with_bias(n, out)]
    out = n.out(order=geometry.order)
    return [*to_small(n, geometry, 0, n.x[1], out), *_with_bias(n, out)]


def _conv_transpose(n: KernelContext) -> list[Step]:
    geometry = Geometry(n.output_shape(), n.x[0].shape, tuple(transpose_windows(n)), n.int("group"))
    out = n.out(order=geometry.order)
    return [*to_big(n, geometry, 0, n.x[1], out), *_with_bias(n, out)] if out.size else []


def _conv_weight_grad(n: KernelContext) -> list[Step]:
    found = tuple(_weight_grad_windows(n))
    geometry = Geometry(n.x[1].shape, n.x[0].shape, found, n.int("group"))
    return to_weight(n, geometry, 1, 0, n.out())


# -- gradients


def _attributes(found: Sequence[Window], group: int) -> dict[str, object]:
    """The attributes of a convolution with these windows, whose pads are explicit."""
    return {
        "strides": [w.stride for w in found],
        "dilations": [w.dilation for w in found],
        "pads": [w.pad_begin for w in found] + [w.pad_end for w in found],
        "group": group,
    }


def _explicit(n: GradientContext, found: Sequence[Window], big: Shape) -> None:
    unknown = [dim for dim in big[2:] if not isinstance(dim, int)]
    if unknown and (n.string("auto_pad").startswith("SAME") or any(w.stride > 1 for w in found)):
        n.fail(f"its gradient needs known sizes where it strides or auto_pad decides the pads, and one is {unknown[0]}")


def _onto_big(small: Symbol, weight: Symbol, found: Sequence[Window], group: int, big: Shape) -> Symbol:
    """The values of ``small`` on the big side: the cells behind the last window, which none has read, get zeros."""
    pairs = [(w, size) for w, size in zip(found, big[2:], strict=True)]
    rest = [(size + w.pad_begin + w.pad_end - w.extent) % w.stride if isinstance(size, int) else 0 for w, size in pairs]
    return emit("ConvTranspose", small, weight, **_attributes(found, group), output_padding=rest)


def _onto_weight(small: Symbol, big: Symbol, found: Sequence[Window], group: int) -> Symbol:
    kernel = [w.kernel for w in found]
    return emit("ConvWeightGrad", small, big, domain=INTERNAL, kernel_shape=kernel, **_attributes(found, group))


def _onto_bias(n: GradientContext) -> list[Symbol | None]:
    if not n.has(2):
        return []
    return [emit("ReduceSum", n.dy, integers([0, *range(2, len(n.dy.shape))]), keepdims=0)]


def _conv_gradient(n: GradientContext) -> list[Symbol | None]:
    found, group = conv_windows(n), n.int("group")
    _explicit(n, found, n.x[0].shape)
    to_x = _onto_big(n.dy, n.x[1], found, group, n.x[0].shape)
    return [to_x, _onto_weight(n.dy, n.x[0], found, group), *_onto_bias(n)]


def _conv_transpose_gradient(n: GradientContext) -> list[Symbol | None]:
    found, group = transpose_windows(n), n.int("group")
    plain, dy = [], n.dy
    for axis, w in enumerate(found, start=2):
        # Output padding gives back what the end pad took away; what goes beyond has met no window.
        more = w.output_padding if w.output_padding >= w.stride else 0
        if more > w.pad_end:
            dy = emit("Slice", dy, integers([0]), integers([w.pad_end - more]), integers([axis]))
        plain.append(Window(w.kernel, w.stride, w.dilation, w.pad_begin, max(0, w.pad_end - more)))
    to_x = emit("Conv", dy, n.x[1], **_attributes(plain, group))
    return [to_x, _onto_weight(n.x[0], dy, plain, group), *_onto_bias(n)]


def _weight_grad_windows(use: OperatorContext) -> list[Window]:
    return plain_windows(use, per_axis(use, "kernel_shape", len(spatial_sizes(use))))


def _weight_grad_type(use: OperatorContext) -> Type:
    small, big = use.type(0), use.type(1)
    use.check_dtype(small.dtype, FLOATS)
    found, group = _weight_grad_windows(use), use.int("group")
    filters, channels = small.shape[1], (big.shape[1:] or ("",))[0]
    if small.dtype != big.dtype or len(small.shape) != len(big.shape) or small.shape[0] != big.shape[0]:
        use.fail(f"dY and X must have one element type, rank and batch, not {small} and {big}")
    if (
        not isinstance(filters, int)
        or not isinstance(channels, int)
        or group < 1
        or filters % group
        or channels % group
    ):
        use.fail(f"group {group} does not divide the {filters} channels of dY and the {channels} of X")
    fitting = (small.shape[0], filters, *slide(use, found, big.shape[2:]))
    if small.shape != fitting:
        use.fail(f"dY must be {format_shape(fitting)} for an X of {format_shape(big.shape)}, not {small}")
    return use.like([filters, channels // group, *(w.kernel for w in found)])


def _weight_grad_gradient(n: GradientContext) -> list[Symbol | None]:
    found, group = _weight_grad_windows(n), n.int("group")
    to_small = emit("Conv", n.x[1], n.dy, **_attributes(found, group))
    return [to_small, _onto_big(n.x[0], n.dy, found, group, n.x[1].shape)]


def _weight_grad_lowering(small: Symbol, big: Symbol, **attributes: Any) -> Symbol:
    """A convolution in which batch and channels have changed places, and strides and dilations."""
    kernel, group = list(attributes["kernel_shape"]), int(attributes.get("group", 1))
    rank = len(kernel)

    axes = list(range(2, 2 + rank))

    def grouped(value: Symbol, order: Sequence[int]) -> Symbol:
        """(batch, group · channels, …) with batch, group and channels apart and in ``order``."""
        shape = emit("Concat", integers([0, group, -1]), sizes(value, axes), axis=0)
        return emit("Transpose", emit("Reshape", value, shape), perm=[*order, *range(3, 3 + rank)])

    def joined(value: Symbol, lead: Sequence[int], like: Symbol) -> Symbol:
        return emit("Reshape", value, emit("Concat", integers(lead), sizes(like, axes), axis=0))

    image = joined(grouped(big, (2, 1, 0)), (0, -1), big)
    filters = emit("Transpose", small, perm=[1, 0, *axes])
    found = emit(
        "Conv",
        image,
        filters,
        strides=attributes.get("dilations"),
        dilations=attributes.get("strides"),
        pads=attributes.get("pads"),
        group=group,
    )
    found = emit("Slice", found, integers([0] * rank), integers(kernel), integers(axes))
    return emit("Transpose", found, perm=[1, 0, *axes])


def _transpose_substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """onnxruntime refuses an ``output_padding`` that is not less than the stride, although less than the dilation."""
    if not any(use.ints("output_padding") or ()):
        return None
    return _transpose_padded if any(w.output_padding >= w.stride for w in transpose_windows(use)) else None


def _transpose_padded(x: Symbol, weight: Symbol, bias: Symbol | None = None, **attributes: Any) -> Symbol:
    """The cells that ``output_padding`` adds are cut off less, or are zeros behind the others; then the bias."""
    use = OperatorContext(lookup("ConvTranspose"), [x.type, weight.type], attributes)
    found = transpose_windows(use)
    more = [max(0, w.output_padding - w.pad_end) for w in found]
    cut = [Window(w.kernel, w.stride, w.dilation, w.pad_begin, max(0, w.pad_end - w.output_padding)) for w in found]
    y = emit("ConvTranspose", x, weight, **_attributes(cut, use.int("group")))
    if any(more):
        y = emit("Pad", y, integers([0] * (len(y.shape) + 2) + more))
    if bias is None:
        return y
    return y + emit("Unsqueeze", bias, integers(range(1, len(y.shape) - 1)))


register(
    Operator(
        "Conv",
        ("X", "W", "B?"),
        _conv_type,
        _conv,
        _conv_gradient,
        {**ATTRIBUTES, "group": Attr(int, 1)},
        outputs=("Y",),
        streamed=_conv_streamed,
        family="linear",
        window=("conv", "max"),
        batch_inputs="first",
        weights=(1, 2),
        multiply_adds=lambda use, y: (*y, *use.type(1).shape[1:]),
        portability=Portability(limits=(limits.CONV,)),
    )
)
register(
    Operator(
        "ConvTranspose",
        ("X", "W", "B?"),
        _transpose_type,
        _conv_transpose,
        _conv_transpose_gradient,
        {**ATTRIBUTES, "group": Attr(int, 1), "output_padding": Attr(tuple), "output_shape": Attr(tuple)},
        outputs=("Y",),
        portability=Portability(substitute=_transpose_substitute, limits=(limits.GROUPED,)),
        family="linear",
        window=("convt", "max"),
        batch_inputs="first",
        weights=(1, 2),
        multiply_adds=lambda use, y: (*use.type().shape, *use.type(1).shape[1:]),
    )
)
register(
    Operator(
        "ConvWeightGrad",
        ("dY", "X"),
        _weight_grad_type,
        _conv_weight_grad,
        _weight_grad_gradient,
        {name: attr for name, attr in ATTRIBUTES.items() if name != "auto_pad"}
        | {
            "kernel_shape": Attr(tuple, REQUIRED),
            "group": Attr(int, 1),
        },
        outputs=("dW",),
        domain=INTERNAL,
        lowering=_weight_grad_lowering,
        family="linear",
    )
)
