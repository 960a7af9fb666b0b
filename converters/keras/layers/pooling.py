"""Pools, of windows and of all cells."""

from __future__ import annotations

from portable_nn import layers
from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.layers.channels import back, by_axes, by_channels, channels_first
from portable_nn.converters.keras.layers.rows import LAYERS
from portable_nn.converters.keras.spec import Spec
from portable_nn.operators import cast, emit, integers


@LAYERS.row(**by_axes("MaxPooling{}", "AveragePooling{}"))
def pool(axes: int, spec: Spec, x: Held) -> Held:
    """MaxPooling and AveragePooling: means do not count the cells of the padding."""
    symbol, first = by_channels(spec, x, axes + 2)
    kernel = spec.wholes("pool_size", axes)
    stride = kernel if spec.get("strides") is None else spec.wholes("strides", axes)
    given = {"stride": stride, "padding": spec.choice("padding", ("valid", "same"), "valid"), "name": spec.name}
    kind, more = ("Avg", {"count_include_pad": False}) if "Average" in spec.kind else ("Max", {})
    return back(spec.once(lambda: getattr(layers, f"{kind}Pool{axes}d")(kernel, **given, **more))(symbol), first)


@LAYERS.row(**by_axes("GlobalMaxPooling{}", "GlobalAveragePooling{}"))
def global_pool(axes: int, spec: Spec, x: Held) -> Held:
    """GlobalAveragePooling and GlobalMaxPooling."""
    symbol, first = by_channels(spec, x, axes + 2)
    average = "Average" in spec.kind
    if x.mask is not None and average:
        return _masked_mean(spec, x)
    make = layers.GlobalAvgPool if average else layers.GlobalMaxPool
    if spec.flag("keepdims"):
        return back(spec.once(lambda: make(name=spec.name))(symbol), first)
    made = spec.once(lambda: make(name=f"{spec.name}.pool"))(symbol)
    return Held(spec.once(lambda: layers.Flatten(name=spec.name), "flat")(made))


def _masked_mean(spec: Spec, x: Held) -> Held:
    """The mean of the steps that count."""
    assert x.mask is not None
    if spec.flag("keepdims") or channels_first(spec):
        spec.refuse("a mean of masked steps is offered with the channels last, and without keepdims")
    counted = emit("Unsqueeze", cast(x.mask, x.dtype), integers([2]))
    total = emit("ReduceSum", x.plain * counted, integers([1]), keepdims=0)
    return Held(emit("Div", total, emit("ReduceSum", counted, integers([1]), keepdims=0), name=spec.next_name()))
