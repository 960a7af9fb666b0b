"""Normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portable_nn import layers
from portable_nn.converters.keras.spec import LAYERS, Held, Spec, back, known
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, constant, emit, integers


def _scale_and_shift(spec: Spec, name: str, *shape: int) -> dict[str, Array]:
    """The weights gamma and beta of a normalisation, of which either may be left out: then it is frozen at 1 or 0."""
    scale, center = spec.flag("scale", True), spec.flag("center", True)
    found = {
        "weight": spec.weight(*shape) if scale else np.ones(spec.bounded(*shape)),
        "bias": spec.weight(*shape) if center else np.zeros(spec.bounded(*shape)),
    }
    spec.freeze(*(f"{name}.{role}" for role, there in (("weight", scale), ("bias", center)) if not there))
    return found


def _begun(layer: Layer, x: Symbol, values: NamedArrays, fixed: Sequence[str] = ()) -> Layer:
    """``layer`` with parameters that begin with ``values``; those that are ``fixed`` are never trained."""
    for role, value in values.items():
        layer.parameter(role, value.shape, x.dtype, value, trainable=role not in fixed)
    return layer


def _axis(spec: Spec, rank: int, default: int = -1) -> int:
    """The option ``axis`` as a number from 0, of one axis."""
    found = spec.get("axis", default)
    found = found[0] if isinstance(found, list) and len(found) == 1 else found
    if type(found) is not int or not -rank <= found < rank:
        spec.refuse(f"its option axis must be one axis of {rank}, not {found!r:.60}")
    return found % rank


def _by_channel(spec: Spec, x: Held) -> tuple[Symbol, bool]:
    """The symbol with the axis of a normalisation behind the batch, and whether Keras's tensor has it there."""
    axis = _axis(spec, x.rank)
    if axis not in (1, x.rank - 1):
        spec.refuse(f"its axis {axis} is neither the last nor the one behind the batch")
    first = axis == 1 and x.rank > 2
    return (x.plain if first else x.moved), first


@LAYERS.row("BatchNormalization")
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
    if x.rank not in (2, 3, 4, 5):
        spec.refuse(f"its input has {x.rank} axes; 2 to 5 are taken over")

    def make() -> Layer:
        # Frozen scales would freeze the layer, so that its statistics would not follow: then it has none.
        affine = spec.flag("scale", True) or spec.flag("center", True) or not spec.trainable
        values = _scale_and_shift(spec, spec.name, channels) if affine else {}
        spec.bounded(channels)
        values |= {"running_mean": spec.weight(channels), "running_var": spec.weight(channels)}
        kind = getattr(layers, f"BatchNorm{max(x.rank - 2, 1)}d")
        layer = kind(eps=eps, momentum=1 - momentum, affine=affine, name=spec.name)
        return _begun(layer, symbol, values, ("running_mean", "running_var"))

    return back(spec.once(make)(symbol), first, x.mask)


@LAYERS.row("LayerNormalization")
def layer_norm(spec: Spec, x: Held) -> Held:
    """Layer normalisation over some axes, which are brought to the end and back if they are not there."""
    spec.only("rms_scaling", False)
    places = spec.axes("axis", spec.get("axis", -1), x.rank)
    if not places or places != sorted(set(places)) or not places[0]:
        spec.refuse(f"its axes {places} are not in order, or that of the batch is among them")
    shape = [known(x.shape[place], "the sizes") for place in places]
    order = [axis for axis in range(x.rank) if axis not in places] + places
    are_last = order == list(range(x.rank))
    symbol = x.plain if are_last else emit("Transpose", x.plain, perm=order)

    def make() -> Layer:
        values = _scale_and_shift(spec, spec.name, *shape)
        return _begun(layers.LayerNorm(-len(shape), eps=spec.number("epsilon", 1e-3), name=spec.name), symbol, values)

    made = spec.once(make)(symbol)
    return Held(made if are_last else emit("Transpose", made, perm=np.argsort(order).tolist()), mask=x.mask)


@LAYERS.row("RMSNormalization")
def rms_norm(spec: Spec, x: Held) -> Held:
    """Root-mean-square normalisation over the last axis."""
    if _axis(spec, x.rank) != x.rank - 1:
        spec.refuse("its axis is not the last one")
    size = known(x.shape[-1], "the features")

    def make() -> Layer:
        layer = layers.RMSNorm(-1, eps=spec.number("epsilon", 1e-6), name=spec.name)
        return _begun(layer, x.plain, {"weight": spec.weight(size)})

    return Held(spec.once(make)(x.plain))


@LAYERS.row("GroupNormalization")
def group_norm(spec: Spec, x: Held) -> Held:
    """Group normalisation; -1 groups are as many as channels."""
    symbol, first = _by_channel(spec, x)
    channels = known(symbol.shape[1], "the channels")
    groups = channels if spec.get("groups", 32) == -1 else spec.whole("groups", 32)

    def make() -> Layer:
        values = _scale_and_shift(spec, spec.name, channels)
        return _begun(layers.GroupNorm(groups, eps=spec.number("epsilon", 1e-3), name=spec.name), symbol, values)

    return back(spec.once(make)(symbol), first, x.mask)


@LAYERS.row("UnitNormalization")
def unit_norm(spec: Spec, x: Held) -> Held:
    """x / max(√Σx², 1e-12) along an axis; the square of the bound is inside the root, whose slope at 0 is infinite."""
    axis = _axis(spec, x.rank)
    square = emit("ReduceSum", x.plain * x.plain, integers([axis]), keepdims=1)
    root = emit("Sqrt", emit("Max", square, constant(1e-24, x.dtype)))
    return Held(emit("Div", x.plain, root, name=spec.next_name()), mask=x.mask)
