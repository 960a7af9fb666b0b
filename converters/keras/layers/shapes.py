"""Layers that move, repeat, add or cut elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portable_nn import layers
from portable_nn.converters.keras.spec import (
    LAYERS,
    OPERATIONS,
    Held,
    Spec,
    back,
    by_axes,
    by_channels,
    channels_first,
    to_last,
)
from portable_nn.layers.layer import OperatorLayer
from portable_nn.operators import emit, integers, sizes, unsqueezed

Pairs = list[tuple[int, int]]


@LAYERS.row("Flatten")
def flatten(spec: Spec, x: Held) -> Held:
    """All axes but the batch as one, in Keras's order."""
    symbol = emit("Transpose", x.plain, perm=to_last(x.rank)) if channels_first(spec) and x.rank > 2 else x.plain
    if x.rank == 1:
        return Held(emit("Unsqueeze", x.plain, integers([1]), name=spec.next_name()))
    return Held(spec.once(lambda: layers.Flatten(name=spec.name))(symbol))


@LAYERS.row("Reshape")
def reshape(spec: Spec, x: Held) -> Held:
    """The same elements in another shape."""
    shape = spec.listed("target_shape", spec["target_shape"], may_be_open=True)
    given = [-1 if each is None else each for each in shape]
    return Held(spec.once(lambda: layers.Reshape(*given, name=spec.name))(x.plain))


@LAYERS.row("Permute")
def permute(spec: Spec, x: Held) -> Held:
    """Permuted axes."""
    dims = list(spec.wholes("dims", x.rank - 1))
    if sorted(dims) != list(range(1, x.rank)):
        spec.refuse(f"its option dims must be the axes 1 to {x.rank - 1}, not {dims}")
    return x.swapped([0, *dims]) or Held(
        spec.once(lambda: OperatorLayer("Transpose", "transpose", spec.name, perm=[0, *dims]))(x.plain)
    )


def _pairs(spec: Spec, option: str, axes: int) -> Pairs:
    """Numbers of cells at both ends of each axis: one number, one for each axis, or pairs."""
    value = spec[option]
    is_pair = axes == 1 and isinstance(value, list) and [*map(type, value)] == [int, int]
    several = [value] * axes if is_pair or type(value) is int else value
    pairs = [[each, each] if type(each) is int else each for each in several] if isinstance(several, list) else []
    if len(pairs) != axes:
        spec.refuse(f"its option {option} must be pairs for {axes} axes, not {value!r:.60}")
    are_pairs = all(isinstance(pair, list) and [*map(type, pair)] == [int, int] for pair in pairs)
    if not are_pairs or not all(0 <= number < 2**31 for pair in pairs for number in pair):
        spec.refuse(f"its option {option} must be pairs of whole numbers, not {value!r:.60}")
    return [(begin, end) for begin, end in pairs]


@LAYERS.row(**by_axes("ZeroPadding{}", "Cropping{}"))
def pad(axes: int, spec: Spec, x: Held) -> Held:
    """ZeroPadding and Cropping."""
    symbol, first = by_channels(spec, x, axes + 2)
    option, sign = ("padding", 1) if spec.kind.startswith("ZeroPadding") else ("cropping", -1)
    pairs = [(sign * begin, sign * end) for begin, end in _pairs(spec, option, axes)]
    return back(spec.once(lambda: layers.Pad(pairs, name=spec.name))(symbol), first)


_MODES: Final = {"nearest": ("nearest",) * 3, "bilinear": ("linear", "bilinear", "trilinear")}


@LAYERS.row(**by_axes("UpSampling{}"))
def up_sampling(axes: int, spec: Spec, x: Held) -> Held:
    """UpSampling by whole factors."""
    symbol, first = by_channels(spec, x, axes + 2)
    factors = spec.wholes("size", axes)
    mode = _MODES[spec.choice("interpolation", tuple(_MODES), "nearest")][axes - 1]
    layer = spec.once(lambda: layers.Upsample(scale_factor=factors, mode=mode, name=spec.name))
    return back(layer(symbol), first)


_RESIZED: Final[Mapping[str, Mapping[str, str]]] = {
    "bilinear": {"mode": "linear"},
    "nearest": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
}


@LAYERS.row("Resizing")
@OPERATIONS.row("Resize")
def resizing(spec: Spec, x: Held) -> Held:
    """Pictures in another size, of a batch: the centres of cells lie as in all backends of Keras."""
    symbol, first = by_channels(spec, x, 4)
    size = spec.wholes("size", 2) if spec.kind == "Resize" else (spec.whole("height"), spec.whole("width"))
    if spec.get("interpolation", "bilinear") == "bicubic":
        spec.refuse("interpolation='bicubic' is another one in each of Keras's backends: take 'bilinear'")
    mode = _RESIZED[spec.choice("interpolation", tuple(_RESIZED), "bilinear")]
    for option in ("crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        spec.only(option, False)
    spec.only("fill_mode", "constant")
    spec.get("fill_value")
    smaller = [new for new, old in zip(size, symbol.shape[2:], strict=True) if not isinstance(old, int) or new < old]
    if spec.flag("antialias") and smaller:
        spec.refuse("antialias=True has no counterpart here where pictures become smaller")
    wanted = emit("Concat", sizes(symbol, [0, 1]), integers(size), axis=0)
    made = emit("Resize", symbol, None, None, wanted, name=spec.next_name(), **mode)
    return back(made, first)


@LAYERS.row("RepeatVector")
def repeat_vector(spec: Spec, x: Held) -> Held:
    """(batch, features) → (batch, n, features)."""
    steps = spec.whole("n")
    if x.rank != 2:
        spec.refuse(f"it needs 2 axes, and its input has {x.rank}")
    lifted = unsqueezed(x.plain, 1)
    shape = emit("Concat", sizes(x.plain, [0]), integers([steps]), sizes(x.plain, [1]), axis=0)
    return Held(spec.once(lambda: OperatorLayer("Expand", "expand", spec.name)).emit("Expand", lifted, shape))
