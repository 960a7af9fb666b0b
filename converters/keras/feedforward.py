"""Keras's layers without a memory: dense layers, convolutions, pools, normalisations, shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn import layers
from portable_nn.converters.keras.activations import activated, ones
from portable_nn.converters.keras.held import Held, to_last
from portable_nn.converters.keras.spec import LayerError, Spec
from portable_nn.core.graph import Dim
from portable_nn.format.tensors import Array
from portable_nn.layers.layer import Layer, OperatorLayer
from portable_nn.operators import Symbol, cast, constant, emit, integers
from portable_nn.operators.symbols import sizes

Pairs = list[tuple[int, int]]


def known(size: Dim, what: str) -> int:
    """A size that must be a number."""
    if not isinstance(size, int):
        raise LayerError(f"{what} of its input are not known")
    return size


def _first(spec: Spec) -> bool:
    """Whether the layer has the channels first."""
    return bool(spec.choice("data_format", ("channels_last", "channels_first", None), None) == "channels_first")


def _channels(spec: Spec, x: Held, rank: int) -> tuple[Symbol, bool]:
    """The symbol with the channels behind the batch, and whether Keras's tensor has them there."""
    if x.rank != rank:
        raise LayerError(f"it needs {rank} axes, and its input has {x.rank}")
    first = _first(spec)
    return (x.plain if first else x.moved), first


def _back(symbol: Symbol, first: bool, mask: Symbol | None = None) -> Held:
    return Held(symbol, mask=mask) if first else Held(moved=symbol, mask=mask)


# -- dense


def dense(spec: Spec, x: Held) -> Held:
    """y = x·W + b over the last axis; W is (in, units)."""
    units, bias = spec.whole("units"), spec.flag("use_bias", True)
    spec.only("lora_rank", None)
    inputs = known(x.shape[-1], "the features")

    def make() -> Layer:
        kernel = spec.weight(inputs, units)
        shift = spec.weight(units) if bias else 0
        return layers.Dense(units, bias=bias, weight_initial=kernel.T, bias_initial=shift, name=spec.name)

    return activated(spec, Held(spec.once(make)(x.plain), mask=x.mask))


class _EinsumDense(Layer):
    def __init__(self, name: str, equation: str, kernel: Array, bias: Array | None) -> None:
        super().__init__(name)
        self.equation, self.kernel, self.bias = equation, kernel, bias

    def __call__(self, x: Symbol) -> Symbol:
        weight = self.parameter("weight", self.kernel.shape, x.dtype, self.kernel)
        if self.bias is None:
            return self.emit("Einsum", x, weight, equation=self.equation)
        made = emit("Einsum", x, weight, equation=self.equation)
        return self.emit("Add", made, self.parameter("bias", self.bias.shape, x.dtype, self.bias))


def einsum_dense(spec: Spec, x: Held) -> Held:
    """An Einsum of the input and a weight, and a bias."""
    equation = spec["equation"]
    if not isinstance(equation, str) or len(equation) > 200:
        raise LayerError("its equation is none")
    spec.get("output_shape")
    axes = spec.get("bias_axes")

    def make() -> Layer:
        weights = spec.weights
        kernel = weights.take(spec.place, 0)
        bias = weights.take(spec.place, 1) if axes else None
        return _EinsumDense(spec.name, equation, kernel, bias)

    return activated(spec, Held(spec.once(make)(x.plain), mask=x.mask))


class _Embedding(Layer):
    def __init__(self, name: str, table: Array) -> None:
        super().__init__(name)
        self.table = table

    def __call__(self, x: Symbol) -> Symbol:
        dtype = self.table.dtype.name
        return self.emit("Gather", self.parameter("weight", self.table.shape, dtype, self.table), x)


def embedding(spec: Spec, x: Held) -> Held:
    """A vector for each whole number."""
    entries, features, masked = spec.whole("input_dim"), spec.whole("output_dim"), spec.flag("mask_zero")
    spec.get("input_length")
    spec.only("lora_rank", None)
    layer = spec.once(lambda: _Embedding(spec.name, spec.weight(entries, features)))
    index = x.plain if x.dtype in ("int32", "int64") else cast(x.plain, "int32")
    mask = emit("Not", emit("Equal", x.plain, constant(0, x.dtype))) if masked else None
    return Held(layer(index), mask=mask)


# -- convolutions


def _kernel(weight: Array) -> Array:
    """(…, in, out) → (out, in, …)."""
    return np.moveaxis(weight, (-1, -2), (0, 1))


def _options(spec: Spec, axes: int, paddings: Sequence[str] = ("valid", "same")) -> dict[str, Any]:
    dilation = spec.wholes("dilation_rate", axes, 1)
    return {
        "kernel": spec.wholes("kernel_size", axes),
        "stride": spec.wholes("strides", axes, 1),
        "dilation": dilation,
        "padding": spec.choice("padding", paddings, "valid"),
    }


_CONV: Final = (layers.Conv1d, layers.Conv2d, layers.Conv3d)
_TRANSPOSED: Final = (layers.ConvTranspose1d, layers.ConvTranspose2d, layers.ConvTranspose3d)


def _made_conv(axes: int, filters: int, options: dict[str, Any], **more: Any) -> Layer:
    if options["padding"] == "causal":
        options = {name: value for name, value in options.items() if name != "padding"} | {"causal": True}
    made: Layer = _CONV[axes - 1](filters, **options, **more)
    return made


def conv(axes: int) -> Callable[[Spec, Held], Held]:
    """Conv1D, Conv2D, Conv3D: the kernel is (…, in / groups, filters)."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = _channels(spec, x, axes + 2)
        filters, groups, bias = spec.whole("filters"), spec.whole("groups", 1), spec.flag("use_bias", True)
        options = _options(spec, axes, ("valid", "same", "causal") if axes == 1 else ("valid", "same"))
        spec.only("lora_rank", None)
        channels = known(symbol.shape[1], "the channels")

        def make() -> Layer:
            weight = spec.weight(*options["kernel"], channels // groups, filters)
            shift = spec.weight(filters) if bias else 0
            initial = {"weight_initial": _kernel(weight), "bias_initial": shift}
            return _made_conv(axes, filters, options, groups=groups, bias=bias, name=spec.name, **initial)

        return activated(spec, _back(spec.once(make)(symbol), first))

    return build


def _depthwise_kernel(weight: Array) -> Array:
    """(…, in, multiplier) → (in · multiplier, 1, …)."""
    turned = np.moveaxis(weight, (-2, -1), (0, 1))
    return turned.reshape(-1, 1, *turned.shape[2:])


def depthwise(axes: int) -> Callable[[Spec, Held], Held]:
    """DepthwiseConv1D and 2D: each channel by itself; the kernel is (…, in, multiplier)."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = _channels(spec, x, axes + 2)
        times, bias = spec.whole("depth_multiplier", 1), spec.flag("use_bias", True)
        options, channels = _options(spec, axes), known(symbol.shape[1], "the channels")

        def make() -> Layer:
            weight = spec.weight(*options["kernel"], channels, times)
            shift = spec.weight(channels * times) if bias else 0
            initial = {"weight_initial": _depthwise_kernel(weight), "bias_initial": shift}
            more = {"groups": channels, "bias": bias, "name": spec.name, **initial}
            return _made_conv(axes, channels * times, options, **more)

        for unused in ("filters", "groups"):
            spec.get(unused)
        return activated(spec, _back(spec.once(make)(symbol), first))

    return build


def separable(axes: int) -> Callable[[Spec, Held], Held]:
    """SeparableConv1D and 2D: a depthwise convolution without a bias, then one with a kernel of 1."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = _channels(spec, x, axes + 2)
        times, filters, bias = spec.whole("depth_multiplier", 1), spec.whole("filters"), spec.flag("use_bias", True)
        options, channels = _options(spec, axes), known(symbol.shape[1], "the channels")

        def make() -> tuple[Layer, Layer]:
            each = _depthwise_kernel(spec.weight(*options["kernel"], channels, times))
            point = _kernel(spec.weight(*[1] * axes, channels * times, filters))
            shift = spec.weight(filters) if bias else 0
            more = {"groups": channels, "bias": False, "weight_initial": each, "name": f"{spec.name}.depthwise"}
            made = _made_conv(axes, channels * times, options, **more)
            last: dict[str, Any] = {"weight_initial": point, "bias_initial": shift, "bias": bias, "name": spec.name}
            return made, _CONV[axes - 1](filters, 1, **last)

        spec.get("groups")
        one, other = spec.once(make)
        return activated(spec, _back(other(one(symbol)), first))

    return build


def transposed(axes: int) -> Callable[[Spec, Held], Held]:
    """Conv1DTranspose, Conv2DTranspose, Conv3DTranspose: the kernel is (…, filters, in)."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = _channels(spec, x, axes + 2)
        filters, bias = spec.whole("filters"), spec.flag("use_bias", True)
        options, channels = _options(spec, axes), known(symbol.shape[1], "the channels")
        spec.get("groups")
        more = _cut(spec, axes, options)

        def make() -> Layer:
            weight = spec.weight(*options["kernel"], filters, channels)
            shift = spec.weight(filters) if bias else 0
            initial: dict[str, Any] = {"weight_initial": _kernel(weight), "bias_initial": shift}
            given = {"kernel": options["kernel"], "stride": options["stride"], "dilation": options["dilation"]}
            made: Layer = _TRANSPOSED[axes - 1](filters, **given, **more, bias=bias, name=spec.name, **initial)
            return made

        return activated(spec, _back(spec.once(make)(symbol), first))

    return build


def _cut(spec: Spec, axes: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """What is cut off both ends of the output, and added to its end.

    Without ``output_padding``, "valid" gives size · stride + max(kernel - stride, 0) and "same" size · stride, as
    Keras's documentation has it.
    """
    extra = None if spec.get("output_padding") is None else spec.wholes("output_padding", axes, least=0)
    cut, added = [], []
    for axis, (kernel, stride, dilation) in enumerate(
        zip(options["kernel"], options["stride"], options["dilation"], strict=True)
    ):
        reach = dilation * (kernel - 1) + 1
        over = reach - stride
        if options["padding"] == "valid":
            total, more = 0, max(-over, 0) if extra is None else extra[axis]
        elif extra is None:
            total, more = max(over, 0), max(-over, 0)
        else:
            total, more = 2 * (reach // 2), extra[axis]
        cut.append((total // 2, total - total // 2))
        added.append(more)
    return {"padding": cut, "output_padding": tuple(added)}


# -- pools


_MAX: Final = (layers.MaxPool1d, layers.MaxPool2d, layers.MaxPool3d)
_AVERAGE: Final = (layers.AvgPool1d, layers.AvgPool2d, layers.AvgPool3d)


def pool(axes: int, average: bool) -> Callable[[Spec, Held], Held]:
    """MaxPooling and AveragePooling: means do not count the cells of the padding."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = _channels(spec, x, axes + 2)
        kernel = spec.wholes("pool_size", axes)
        stride = kernel if spec.get("strides") is None else spec.wholes("strides", axes)
        given = {"stride": stride, "padding": spec.choice("padding", ("valid", "same"), "valid"), "name": spec.name}
        if average:
            return _back(spec.once(lambda: _AVERAGE[axes - 1](kernel, count_include_pad=False, **given))(symbol), first)
        return _back(spec.once(lambda: _MAX[axes - 1](kernel, **given))(symbol), first)

    return build


def global_pool(axes: int, average: bool) -> Callable[[Spec, Held], Held]:
    """GlobalAveragePooling and GlobalMaxPooling."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = _channels(spec, x, axes + 2)
        if x.mask is not None and average:
            return _masked_mean(spec, x)
        make = layers.GlobalAvgPool if average else layers.GlobalMaxPool
        if spec.flag("keepdims"):
            return _back(spec.once(lambda: make(name=spec.name))(symbol), first)
        made = spec.once(lambda: make(name=f"{spec.name}.pool"))(symbol)
        return Held(spec.once(lambda: layers.Flatten(name=spec.name), "flat")(made))

    return build


def _masked_mean(spec: Spec, x: Held) -> Held:
    """The mean of the steps that count."""
    assert x.mask is not None
    if spec.flag("keepdims") or _first(spec):
        raise LayerError("a mean of masked steps is offered with the channels last, and without keepdims")
    counted = emit("Unsqueeze", cast(x.mask, x.dtype), integers([2]))
    total = emit("ReduceSum", x.plain * counted, integers([1]), keepdims=0)
    return Held(emit("Div", total, emit("ReduceSum", counted, integers([1]), keepdims=0), name=spec.name))


# -- normalisations


def _scale_and_shift(spec: Spec, name: str, *shape: int) -> dict[str, Array]:
    """The weights gamma and beta of a normalisation, of which either may be left out: then it is frozen at 1 or 0."""
    scale, center = spec.flag("scale", True), spec.flag("center", True)
    found = {
        "weight": spec.weight(*shape) if scale else np.ones(shape),
        "bias": spec.weight(*shape) if center else np.zeros(shape),
    }
    spec.freeze(*(f"{name}.{role}" for role, there in (("weight", scale), ("bias", center)) if not there))
    return found


def _begun(layer: Layer, x: Symbol, values: Mapping[str, Array], fixed: Sequence[str] = ()) -> Layer:
    """``layer`` with parameters that begin with ``values``; those that are ``fixed`` are never trained."""
    for role, value in values.items():
        layer.parameter(role, value.shape, x.dtype, value, trainable=role not in fixed)
    return layer


_BATCH: Final[Mapping[int, Callable[..., Layer]]] = {
    2: layers.BatchNorm1d, 3: layers.BatchNorm1d, 4: layers.BatchNorm2d, 5: layers.BatchNorm3d,
}  # fmt: skip


def _axis(spec: Spec, rank: int, default: int = -1) -> int:
    """The option ``axis`` as a number from 0, of one axis."""
    found = spec.get("axis", default)
    found = found[0] if isinstance(found, list) and len(found) == 1 else found
    if type(found) is not int or not -rank <= found < rank:
        raise LayerError(f"its option axis must be one axis of {rank}, not {found!r:.60}")
    return found % rank


def _by_channel(spec: Spec, x: Held) -> tuple[Symbol, bool]:
    """The symbol with the axis of a normalisation behind the batch, and whether Keras's tensor has it there."""
    axis = _axis(spec, x.rank)
    if axis not in (1, x.rank - 1):
        raise LayerError(f"its axis {axis} is neither the last nor the one behind the batch")
    first = axis == 1 and x.rank > 2
    return (x.plain if first else x.moved), first


def batch_norm(spec: Spec, x: Held) -> Held:
    """Batch normalisation; Keras's momentum is the share of the old statistics."""
    if x.mask is not None:
        spec.note("statistics of training include masked steps")
    symbol, first = _by_channel(spec, x)
    spec.only("renorm", False)
    spec.only("virtual_batch_size", None)
    for unused in ("renorm_clipping", "renorm_momentum", "fused"):
        spec.get(unused)
    channels, eps = known(symbol.shape[1], "the channels"), spec.number("epsilon", 1e-3)
    momentum = spec.number("momentum", 0.99)
    if x.rank not in _BATCH:
        raise LayerError(f"its input has {x.rank} axes; 2 to 5 are taken over")

    def make() -> Layer:
        values = _scale_and_shift(spec, spec.name, channels)
        values |= {"running_mean": spec.weight(channels), "running_var": spec.weight(channels)}
        layer = _BATCH[x.rank](eps=eps, momentum=1 - momentum, name=spec.name)
        return _begun(layer, symbol, values, ("running_mean", "running_var"))

    return _back(spec.once(make)(symbol), first, x.mask)


def layer_norm(spec: Spec, x: Held) -> Held:
    """Layer normalisation over the last axes."""
    spec.only("rms_scaling", False)
    axes = spec.get("axis", -1)
    axes = [axes] if type(axes) is int else axes
    if not isinstance(axes, list) or any(type(axis) is not int for axis in axes):
        raise LayerError(f"its option axis must be whole numbers, not {axes!r:.60}")
    places = sorted(axis % x.rank for axis in axes)
    if not places or places != list(range(places[0], x.rank)) or not places[0]:
        raise LayerError(f"its axes {axes} are not the last ones")
    shape = [known(x.shape[place], "the sizes") for place in places]

    def make() -> Layer:
        values = _scale_and_shift(spec, spec.name, *shape)
        return _begun(layers.LayerNorm(-len(shape), eps=spec.number("epsilon", 1e-3), name=spec.name), x.plain, values)

    return Held(spec.once(make)(x.plain), mask=x.mask)


def rms_norm(spec: Spec, x: Held) -> Held:
    """Root-mean-square normalisation over the last axis."""
    if _axis(spec, x.rank) != x.rank - 1:
        raise LayerError("its axis is not the last one")
    size = known(x.shape[-1], "the features")

    def make() -> Layer:
        layer = layers.RMSNorm(-1, eps=spec.number("epsilon", 1e-6), name=spec.name)
        return _begun(layer, x.plain, {"weight": spec.weight(size)})

    return Held(spec.once(make)(x.plain), mask=x.mask)


def group_norm(spec: Spec, x: Held) -> Held:
    """Group normalisation; -1 groups are as many as channels."""
    symbol, first = _by_channel(spec, x)
    channels = known(symbol.shape[1], "the channels")
    groups = channels if spec.get("groups", 32) == -1 else spec.whole("groups", 32)

    def make() -> Layer:
        values = _scale_and_shift(spec, spec.name, channels)
        return _begun(layers.GroupNorm(groups, eps=spec.number("epsilon", 1e-3), name=spec.name), symbol, values)

    return _back(spec.once(make)(symbol), first)


def unit_norm(spec: Spec, x: Held) -> Held:
    """x / √(max(Σx², 1e-12)) along an axis."""
    axis = _axis(spec, x.rank)
    square = emit("ReduceSum", x.plain * x.plain, integers([axis]), keepdims=1)
    return Held(emit("Div", x.plain, emit("Sqrt", emit("Max", square, constant(1e-12, x.dtype))), name=spec.name))


# -- what only training does


def dropout(spec: Spec, x: Held) -> Held:
    """Dropout of single elements."""
    rate = spec.number("rate")
    spec.only("noise_shape", None)
    spec.get("seed")
    return x.each(spec.once(lambda: layers.Dropout(rate, name=spec.name)))


def spatial_dropout(spec: Spec, x: Held) -> Held:
    """Dropout of whole channels: they are multiplied by ones that are dropped."""
    rate = spec.number("rate")
    spec.get("seed")
    first = _first(spec)
    symbol = x.plain if first else x.moved
    kept = spec.once(lambda: layers.Dropout(rate, name=f"{spec.name}.kept"))(ones(symbol, x.rank))
    return _back(spec.once(lambda: OperatorLayer("Mul", "mul", spec.name), "mul").emit("Mul", symbol, kept), first)


def left_out(*options: str) -> Callable[[Spec, Held], Held]:
    """A layer that does nothing but in training, and has no counterpart."""

    def build(spec: Spec, x: Held) -> Held:
        for option in (*options, "seed"):
            spec.get(option)
        spec.note("is left out: it acts in training alone, and has no counterpart here")
        return x

    return build


def identity(spec: Spec, x: Held) -> Held:
    """The input as it is."""
    return x.each(spec.once(lambda: OperatorLayer("Identity", "identity", spec.name)))


# -- shapes


def flatten(spec: Spec, x: Held) -> Held:
    """All axes but the batch as one, in Keras's order."""
    symbol = emit("Transpose", x.plain, perm=to_last(x.rank)) if _first(spec) and x.rank > 2 else x.plain
    if x.rank == 1:
        return Held(emit("Unsqueeze", x.plain, integers([1]), name=spec.name))
    return Held(spec.once(lambda: layers.Flatten(name=spec.name))(symbol))


def reshape(spec: Spec, x: Held) -> Held:
    """The same elements in another shape."""
    shape = spec["target_shape"]
    if not isinstance(shape, list) or any(each is not None and type(each) is not int for each in shape):
        raise LayerError(f"its option target_shape must be whole numbers, not {shape!r:.60}")
    given = [-1 if each is None else each for each in shape]
    return Held(spec.once(lambda: layers.Reshape(*given, name=spec.name))(x.plain))


def permute(spec: Spec, x: Held) -> Held:
    """Permuted axes."""
    dims = list(spec.wholes("dims", x.rank - 1))
    if sorted(dims) != list(range(1, x.rank)):
        raise LayerError(f"its option dims must be the axes 1 to {x.rank - 1}, not {dims}")
    return x.swapped([0, *dims]) or Held(
        spec.once(lambda: OperatorLayer("Transpose", "transpose", spec.name, perm=[0, *dims]))(x.plain)
    )


def _pairs(spec: Spec, option: str, axes: int) -> Pairs:
    """Numbers of cells at both ends of each axis: one number, one for each axis, or pairs."""
    value = spec[option]
    if axes == 1 and isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value):
        value = [value]
    several = [value] * axes if type(value) is int else value
    if not isinstance(several, list) or len(several) != axes:
        raise LayerError(f"its option {option} must be pairs for {axes} axes, not {value!r:.60}")
    pairs = [[each, each] if type(each) is int else each for each in several]
    if any(
        not isinstance(pair, list) or len(pair) != 2 or any(type(n) is not int or not 0 <= n < 2**31 for n in pair)
        for pair in pairs
    ):
        raise LayerError(f"its option {option} must be pairs of whole numbers, not {value!r:.60}")
    return [(pair[0], pair[1]) for pair in pairs]


def pad(axes: int, option: str, sign: int) -> Callable[[Spec, Held], Held]:
    """ZeroPadding and Cropping."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = _channels(spec, x, axes + 2)
        pairs = [(sign * begin, sign * end) for begin, end in _pairs(spec, option, axes)]
        return _back(spec.once(lambda: layers.Pad(pairs, name=spec.name))(symbol), first)

    return build


_MODES: Final = {"nearest": ("nearest",) * 3, "bilinear": ("linear", "bilinear", "trilinear")}


def up_sampling(axes: int) -> Callable[[Spec, Held], Held]:
    """UpSampling by whole factors."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = _channels(spec, x, axes + 2)
        factors = spec.wholes("size", axes)
        mode = _MODES[spec.choice("interpolation", tuple(_MODES), "nearest")][axes - 1]
        layer = spec.once(lambda: layers.Upsample(scale_factor=factors, mode=mode, name=spec.name))
        return _back(layer(symbol), first)

    return build


def repeat_vector(spec: Spec, x: Held) -> Held:
    """(batch, features) → (batch, n, features)."""
    steps = spec.whole("n")
    if x.rank != 2:
        raise LayerError(f"it needs 2 axes, and its input has {x.rank}")
    lifted = emit("Unsqueeze", x.plain, integers([1]))
    shape = emit("Concat", sizes(x.plain, [0]), integers([steps]), sizes(x.plain, [1]), axis=0)
    return Held(spec.once(lambda: OperatorLayer("Expand", "expand", spec.name)).emit("Expand", lifted, shape))


# -- preparation of inputs


class _Affine(Layer):
    """x · scale + offset, with frozen numbers for each entry of the last axis."""

    def __init__(self, name: str, scale: Array, offset: Array) -> None:
        super().__init__(name)
        self.scale, self.offset = scale, offset

    def __call__(self, x: Symbol) -> Symbol:
        scale = self.parameter("scale", self.scale.shape, x.dtype, self.scale, trainable=False)
        offset = self.parameter("offset", self.offset.shape, x.dtype, self.offset, trainable=False)
        return self.emit("Add", emit("Mul", x, scale), offset)


def rescaling(spec: Spec, x: Held) -> Held:
    """x · scale + offset."""
    scale, offset = spec.get("scale"), spec.get("offset", 0.0)
    if any(isinstance(each, list | Mapping) for each in (scale, offset)):
        both = [_numbers(each, spec) for each in (scale, offset)]
        values = [np.broadcast_to(each, np.broadcast_shapes(*(b.shape for b in both), (1,))) for each in both]
        return Held(spec.once(lambda: _Affine(spec.name, *values))(x.plain))
    one, other = spec.number("scale"), spec.number("offset")
    return x.each(spec.once(lambda: layers.Rescaling(one, other, name=spec.name)))


def _numbers(value: Any, spec: Spec) -> Array:
    """Numbers as a configuration has them: one, nested lists, or an object that holds them."""
    if isinstance(value, Mapping) and value.get("class_name") in ("__numpy__", "__tensor__"):
        value = (value.get("config") or {}).get("value")
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if not np.isfinite(found).all():
        raise LayerError("its numbers are none")
    return found


def normalization(spec: Spec, x: Held) -> Held:
    """(x - mean) / std for each entry of some axes; the deviation is at least 1e-7."""
    axes = spec.get("axis", -1)
    axes = [] if axes is None else [axes] if type(axes) is int else axes
    if not isinstance(axes, list) or any(type(axis) is not int or not -x.rank <= axis < x.rank for axis in axes):
        raise LayerError(f"its option axis must be axes of {x.rank}, not {axes!r:.60}")
    kept = sorted(axis % x.rank for axis in axes)
    shape = [known(x.shape[axis], "the sizes") if axis in kept else 1 for axis in range(1, x.rank)]
    own = [size for axis, size in enumerate(shape, 1) if axis in kept]
    if spec.get("mean") is None:
        mean, variance = spec.weight(*own), spec.weight(*own)
        if spec.weights.count(spec.place) > 2:
            spec.weights.take(spec.place, 2)
    else:
        mean, variance = _numbers(spec["mean"], spec), _numbers(spec["variance"], spec)
    mean, variance = (
        np.broadcast_to(each.reshape(shape) if each.size == np.prod(shape) else each, shape)
        for each in (mean, variance)
    )
    std = np.maximum(np.sqrt(variance), 1e-7)
    invert = spec.flag("invert")
    scale, offset = (std, mean) if invert else (1 / std, -mean / std)
    return Held(spec.once(lambda: _Affine(spec.name, scale, offset))(x.plain))


def masking(spec: Spec, x: Held) -> Held:
    """Steps whose features all have one value do not count; they become 0."""
    value = constant(spec.number("mask_value"), x.dtype)
    differs = cast(emit("Not", emit("Equal", x.plain, value)), x.dtype)
    counted = emit("ReduceMax", differs, integers([x.rank - 1]), keepdims=1)
    mask = emit("Cast", emit("Squeeze", counted, integers([x.rank - 1])), to=9)
    return Held(emit("Mul", x.plain, counted, name=spec.name), mask=mask)


_WORDS: Final = ("1D", "2D", "3D")

LAYERS: Final[Mapping[str, Callable[..., Held]]] = {
    "Dense": dense,
    "EinsumDense": einsum_dense,
    "Embedding": embedding,
    **{f"Conv{word}": conv(axes) for axes, word in enumerate(_WORDS, 1)},
    **{f"Conv{word}Transpose": transposed(axes) for axes, word in enumerate(_WORDS, 1)},
    **{f"DepthwiseConv{word}": depthwise(axes) for axes, word in enumerate(_WORDS[:2], 1)},
    **{f"SeparableConv{word}": separable(axes) for axes, word in enumerate(_WORDS[:2], 1)},
    **{f"MaxPooling{word}": pool(axes, average=False) for axes, word in enumerate(_WORDS, 1)},
    **{f"AveragePooling{word}": pool(axes, average=True) for axes, word in enumerate(_WORDS, 1)},
    **{f"GlobalMaxPooling{word}": global_pool(axes, average=False) for axes, word in enumerate(_WORDS, 1)},
    **{f"GlobalAveragePooling{word}": global_pool(axes, average=True) for axes, word in enumerate(_WORDS, 1)},
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "GroupNormalization": group_norm,
    "UnitNormalization": unit_norm,
    "Dropout": dropout,
    **{f"SpatialDropout{word}": spatial_dropout for word in _WORDS},
    "GaussianNoise": left_out("stddev"),
    "GaussianDropout": left_out("rate"),
    "AlphaDropout": left_out("rate", "noise_shape"),
    "ActivityRegularization": left_out("l1", "l2"),
    "Identity": identity,
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    **{f"ZeroPadding{word}": pad(axes, "padding", 1) for axes, word in enumerate(_WORDS, 1)},
    **{f"Cropping{word}": pad(axes, "cropping", -1) for axes, word in enumerate(_WORDS, 1)},
    **{f"UpSampling{word}": up_sampling(axes) for axes, word in enumerate(_WORDS, 1)},
    "RepeatVector": repeat_vector,
    "Rescaling": rescaling,
    "Normalization": normalization,
    "Masking": masking,
}
"""What makes each layer: ``(layer, tensor) → tensor``."""
