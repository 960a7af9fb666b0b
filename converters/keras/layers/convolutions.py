"""Convolutions: ordinary, depthwise, separable, transposed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn import layers
from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.layers.activations import activated
from portable_nn.converters.keras.layers.channels import WORDS, back, by_channels, known
from portable_nn.converters.keras.spec import Spec
from portable_nn.core.tensors import Array
from portable_nn.layers.layer import Layer


def kernel_first(weight: Array) -> Array:
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


def made_conv(axes: int, filters: int, options: dict[str, Any], **more: Any) -> Layer:
    """A convolution over so many axes."""
    if options["padding"] == "causal":
        options = {name: value for name, value in options.items() if name != "padding"} | {"causal": True}
    made: Layer = _CONV[axes - 1](filters, **options, **more)
    return made


def conv(axes: int) -> Callable[[Spec, Held], Held]:
    """Conv1D, Conv2D, Conv3D: the kernel is (…, in / groups, filters)."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = by_channels(spec, x, axes + 2)
        filters, groups, bias = spec.whole("filters"), spec.whole("groups", 1), spec.flag("use_bias", True)
        options = _options(spec, axes, ("valid", "same", "causal") if axes == 1 else ("valid", "same"))
        spec.only("lora_rank", None)
        channels = known(symbol.shape[1], "the channels")

        def make() -> Layer:
            weight = spec.weight(*options["kernel"], channels // groups, filters)
            shift = spec.weight(filters) if bias else 0
            initial = {"weight_initial": kernel_first(weight), "bias_initial": shift}
            return made_conv(axes, filters, options, groups=groups, bias=bias, name=spec.name, **initial)

        return activated(spec, back(spec.once(make)(symbol), first))

    return build


def depthwise_kernel(weight: Array) -> Array:
    """(…, in, multiplier) → (in · multiplier, 1, …)."""
    turned = np.moveaxis(weight, (-2, -1), (0, 1))
    return turned.reshape(-1, 1, *turned.shape[2:])


def depthwise(axes: int) -> Callable[[Spec, Held], Held]:
    """DepthwiseConv1D and 2D: each channel by itself; the kernel is (…, in, multiplier)."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = by_channels(spec, x, axes + 2)
        times, bias = spec.whole("depth_multiplier", 1), spec.flag("use_bias", True)
        options, channels = _options(spec, axes), known(symbol.shape[1], "the channels")

        def make() -> Layer:
            weight = spec.weight(*options["kernel"], channels, times)
            shift = spec.weight(channels * times) if bias else 0
            initial = {"weight_initial": depthwise_kernel(weight), "bias_initial": shift}
            more = {"groups": channels, "bias": bias, "name": spec.name, **initial}
            return made_conv(axes, channels * times, options, **more)

        for unused in ("filters", "groups"):
            spec.get(unused)
        return activated(spec, back(spec.once(make)(symbol), first))

    return build


def separable(axes: int) -> Callable[[Spec, Held], Held]:
    """SeparableConv1D and 2D: a depthwise convolution without a bias, then one with a kernel of 1."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = by_channels(spec, x, axes + 2)
        times, filters, bias = spec.whole("depth_multiplier", 1), spec.whole("filters"), spec.flag("use_bias", True)
        options, channels = _options(spec, axes), known(symbol.shape[1], "the channels")

        def make() -> tuple[Layer, Layer]:
            each = depthwise_kernel(spec.weight(*options["kernel"], channels, times))
            point = kernel_first(spec.weight(*[1] * axes, channels * times, filters))
            shift = spec.weight(filters) if bias else 0
            more = {"groups": channels, "bias": False, "weight_initial": each, "name": f"{spec.name}.depthwise"}
            made = made_conv(axes, channels * times, options, **more)
            last: dict[str, Any] = {"weight_initial": point, "bias_initial": shift, "bias": bias, "name": spec.name}
            return made, _CONV[axes - 1](filters, 1, **last)

        spec.get("groups")
        one, other = spec.once(make)
        return activated(spec, back(other(one(symbol)), first))

    return build


def transposed(axes: int) -> Callable[[Spec, Held], Held]:
    """Conv1DTranspose, Conv2DTranspose, Conv3DTranspose: the kernel is (…, filters, in)."""

    def build(spec: Spec, x: Held) -> Held:
        symbol, first = by_channels(spec, x, axes + 2)
        filters, bias = spec.whole("filters"), spec.flag("use_bias", True)
        options, channels = _options(spec, axes), known(symbol.shape[1], "the channels")
        spec.get("groups")
        more = _cut(spec, axes, options)

        def make() -> Layer:
            weight = spec.weight(*options["kernel"], filters, channels)
            shift = spec.weight(filters) if bias else 0
            initial: dict[str, Any] = {"weight_initial": kernel_first(weight), "bias_initial": shift}
            given = {"kernel": options["kernel"], "stride": options["stride"], "dilation": options["dilation"]}
            made: Layer = _TRANSPOSED[axes - 1](filters, **given, **more, bias=bias, name=spec.name, **initial)
            return made

        return activated(spec, back(spec.once(make)(symbol), first))

    return build


def _cut(spec: Spec, axes: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """The cells that are cut off both ends of the output, and added to its end.

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
            spread = reach + reach % 2 - 2 + extra[axis]  # What is added at both ends of the input, as TensorFlow does.
            begin = min(spread - spread // 2, reach - 1)
            end = spread - begin
            cut.append((reach - 1 - begin, max(reach - 1 - end, 0)))
            added.append(max(end - reach + 1, 0))
            continue
        cut.append((total // 2, total - total // 2))
        added.append(more)
    return {"padding": cut, "output_padding": tuple(added)}


LAYERS: Final[Mapping[str, Callable[..., Held]]] = {
    **{f"Conv{word}": conv(axes) for axes, word in enumerate(WORDS, 1)},
    **{f"Conv{word}Transpose": transposed(axes) for axes, word in enumerate(WORDS, 1)},
    **{f"DepthwiseConv{word}": depthwise(axes) for axes, word in enumerate(WORDS[:2], 1)},
    **{f"SeparableConv{word}": separable(axes) for axes, word in enumerate(WORDS[:2], 1)},
}
"""The function that makes each layer: ``(layer, tensor) → tensor``."""
