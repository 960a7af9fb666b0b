"""Convolutions: ordinary, depthwise, separable, transposed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from portable_nn import layers
from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.layers.activations import activated
from portable_nn.converters.keras.layers.channels import back, by_axes, by_channels, known
from portable_nn.converters.keras.layers.rows import LAYERS
from portable_nn.converters.keras.spec import Spec
from portable_nn.converters.layers.weights import depthwise, kernel
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol


def options_of(spec: Spec, axes: int, paddings: Sequence[str] = ("valid", "same")) -> dict[str, Any]:
    """The options of the window of a layer."""
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


Make: TypeAlias = Callable[[Spec, int, int], Callable[[Symbol], Symbol]]


def _row(name: str, *, most: int = 3) -> Callable[[Make], Make]:
    """Decorate ``make(layer, axes, channels)``, which makes a layer with the channels behind the batch."""

    def add(make: Make) -> Make:
        LAYERS.row(**by_axes(name, most=most))(partial(_convolution, make))
        return make

    return add


def _convolution(make: Make, axes: int, spec: Spec, x: Held) -> Held:
    """A layer with the channels behind the batch, and its activation."""
    symbol, first = by_channels(spec, x, axes + 2)
    for unused in ("filters", "groups"):
        spec.get(unused)
    spec.only("lora_rank", None)
    channels = known(symbol.shape[1], "the channels")
    return activated(spec, back(spec.once(lambda: make(spec, axes, channels))(symbol), first))


@_row("Conv{}")
def _conv(spec: Spec, axes: int, channels: int) -> Layer:
    """The kernel is (…, in / groups, filters)."""
    filters, groups = spec.whole("filters"), spec.whole("groups", 1)
    options = options_of(spec, axes, ("valid", "same", "causal") if axes == 1 else ("valid", "same"))
    weights = spec.linear(kernel, (*options["kernel"], channels // groups, filters), filters)
    return made_conv(axes, filters, options, groups=groups, name=spec.name, **weights)


@_row("DepthwiseConv{}", most=2)
def _depthwise(spec: Spec, axes: int, channels: int) -> Layer:
    """Each channel by itself; the kernel is (…, in, multiplier)."""
    times, options = spec.whole("depth_multiplier", 1), options_of(spec, axes)
    weights = spec.linear(depthwise, (*options["kernel"], channels, times), channels * times)
    return made_conv(axes, channels * times, options, groups=channels, name=spec.name, **weights)


@_row("SeparableConv{}", most=2)
def _separable(spec: Spec, axes: int, channels: int) -> Callable[[Symbol], Symbol]:
    """A depthwise convolution without a bias, then one with a kernel of 1."""
    times, filters, options = spec.whole("depth_multiplier", 1), spec.whole("filters"), options_of(spec, axes)
    weight = depthwise(spec.weight(*options["kernel"], channels, times))
    more = {"groups": channels, "bias": False, "weight_initial": weight, "name": f"{spec.name}.depthwise"}
    one = made_conv(axes, channels * times, options, **more)
    weights = spec.linear(kernel, (*[1] * axes, channels * times, filters), filters)
    other = _CONV[axes - 1](filters, 1, name=spec.name, **weights)
    return lambda symbol: other(one(symbol))


@_row("Conv{}Transpose")
def _transposed(spec: Spec, axes: int, channels: int) -> Layer:
    """The kernel is (…, filters, in)."""
    filters, options = spec.whole("filters"), options_of(spec, axes)
    weights = spec.linear(kernel, (*options["kernel"], filters, channels), filters)
    options |= _cut(spec, axes, options)
    made: Layer = _TRANSPOSED[axes - 1](filters, name=spec.name, **options, **weights)
    return made


def _cut(spec: Spec, axes: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """The cells that are cut off both ends of the output, and added to its end.

    Without ``output_padding``, "valid" gives size · stride + max(kernel - stride, 0) and "same" size · stride, as
    Keras's documentation has it.
    """
    extra = None if spec.get("output_padding") is None else spec.wholes("output_padding", axes, least=0)
    cut, added = [], []
    for axis, (size, stride, dilation) in enumerate(
        zip(options["kernel"], options["stride"], options["dilation"], strict=True)
    ):
        reach = dilation * (size - 1) + 1
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
