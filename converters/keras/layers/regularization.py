"""Layers that act in training alone."""

from __future__ import annotations

from collections.abc import Sequence

from portable_nn import layers
from portable_nn.converters.keras.spec import LAYERS, Held, Spec, back, by_axes, by_channels, ones, to_first
from portable_nn.layers.layer import OperatorLayer
from portable_nn.operators import Symbol


@LAYERS.row("Dropout")
def dropout(spec: Spec, x: Held) -> Held:
    """Dropout of single elements, or, with ``noise_shape``, of all elements along some axes together."""
    rate, shape = spec.number("rate"), spec.get("noise_shape")
    spec.get("seed")
    if shape is None:
        return x.each(spec.once(lambda: layers.Dropout(rate, name=spec.name)))
    if (
        not isinstance(shape, list)
        or len(shape) != x.rank
        or any(each is not None and type(each) is not int for each in shape)
        or any(each not in (None, 1, size) for each, size in zip(shape, x.shape, strict=True))
    ):
        spec.refuse(f"its option noise_shape must be None or 1 for {x.rank} axes, not {shape!r:.60}")
    order = to_first(x.rank) if x.lies_moved else range(x.rank)
    return x.each(lambda symbol: _dropped(spec, symbol, rate, [shape[axis] for axis in order]))


def _dropped(spec: Spec, x: Symbol, rate: float, shape: Sequence[int | None]) -> Symbol:
    """``x`` times ones of a shape that are dropped."""
    kept = spec.once(lambda: layers.Dropout(rate, name=f"{spec.name}.kept"))(ones(x, shape))
    return spec.once(lambda: OperatorLayer("Mul", "mul", spec.name), "mul").emit("Mul", x, kept)


@LAYERS.row(*by_axes("SpatialDropout{}"))
def spatial_dropout(spec: Spec, x: Held) -> Held:
    """Dropout of whole channels."""
    rate = spec.number("rate")
    spec.get("seed")
    symbol, first = by_channels(spec, x, x.rank)
    return back(_dropped(spec, symbol, rate, [None, None, *[1] * (x.rank - 2)]), first, x.mask)


@LAYERS.row(
    GaussianNoise=("stddev",),
    GaussianDropout=("rate",),
    AlphaDropout=("rate", "noise_shape"),
    ActivityRegularization=("l1", "l2"),
)
def left_out(options: Sequence[str], spec: Spec, x: Held) -> Held:
    """A layer that does nothing but in training, and has no counterpart."""
    for option in (*options, "seed"):
        spec.get(option)
    spec.differs("")
    return x


@LAYERS.row("Identity")
def identity(spec: Spec, x: Held) -> Held:
    """The input as it is."""
    return x.each(spec.once(lambda: OperatorLayer("Identity", "identity", spec.name)))
