"""Layers with weights in other code bases: classes, and the names, places and axes of their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.tensors import Array

Layout: TypeAlias = Callable[[Array], Array]
"""A weight of Keras with its axes as the standard has them."""


def same(weight: Array) -> Array:
    """As it is."""
    return weight


def flat(weight: Array) -> Array:
    """(heads, size) → (heads · size,)."""
    return weight.reshape(-1)


def inward(weight: Array) -> Array:
    """(in, out) → (out, in); the outputs of a layer may be those of several heads."""
    return weight.reshape(len(weight), -1).T


def outward(weight: Array) -> Array:
    """(in, out) → (out, in); the inputs of a layer may be those of several heads."""
    return weight.reshape(-1, weight.shape[-1]).T


def kernel(weight: Array) -> Array:
    """(…, in, out) → (out, in, …)."""
    return np.moveaxis(weight, (-1, -2), (0, 1))


def depthwise(weight: Array) -> Array:
    """(…, in, multiplier) → (in · multiplier, 1, …)."""
    return kernel(weight.reshape(*weight.shape[:-2], 1, -1))


class Row(NamedTuple):
    """A class of layers.

    Attributes:
        keras: its name in Keras, with a place for the number of axes.
        operators: the operators that read its weights, if others do not.
        weights: the layout of each weight in Keras, by its name here; those of one place are in their order there.
        places: where the weights are, by the beginnings of their names, if the layer does not hold them itself.
    """

    keras: str
    operators: tuple[str, ...]
    weights: Mapping[str, Layout]
    places: Mapping[str, str] = {}

    def place(self, name: str) -> str:
        """The place of a weight in the layer."""
        return next((place for begin, place in self.places.items() if name.startswith(begin)), "")


_LINEAR: Final[Mapping[str, Layout]] = {"weight": inward, "bias": same}
_PLAIN: Final[Mapping[str, Layout]] = {"weight": same, "bias": same}
_KERNEL: Final[Mapping[str, Layout]] = {"weight": kernel, "bias": same}
_HEADS: Final[Mapping[str, Layout]] = {
    f"{role}.{end}": layout
    for role in ("query", "key", "value", "output")
    for end, layout in (("weight", outward if role == "output" else inward), ("bias", flat))
}
_ATTENTION: Final = (_HEADS, {role: f"{role}_dense" for role in ("query", "key", "value", "output")})

ROWS: Final = (
    Row("Dense", ("Gemm", "MatMul", "Transpose"), _LINEAR),
    Row("EinsumDense", ("Einsum",), _PLAIN),
    Row("Embedding", ("Gather",), _PLAIN),
    Row("Conv{}D", ("Conv",), _KERNEL),
    Row("Conv{}DTranspose", ("ConvTranspose",), _KERNEL),
    Row("DepthwiseConv{}D", ("Conv",), {"weight": depthwise, "bias": same}),
    Row("SeparableConv{}D", (), {"depthwise.weight": depthwise, **_KERNEL}),
    Row("ConvLSTM{}D", (), {"input.weight": kernel, "recurrent.weight": kernel, "input.bias": same}, {"": "cell"}),
    Row("BatchNormalization", (), {**_PLAIN, "running_mean": same, "running_var": same}),
    Row("LayerNormalization", (), _PLAIN),
    Row("GroupNormalization", (), _PLAIN),
    Row("RMSNormalization", (), {"weight": same}),
    Row("MultiHeadAttention", (), *_ATTENTION),
    Row("GroupedQueryAttention", (), *_ATTENTION),
    Row("Attention", (), {"scale": same, "concat": same}),
    Row("AdditiveAttention", (), {"scale": same}),
    Row("PReLU", ("PRelu",), {"weight": same}),
)
"""The classes whose weights are those of the network in another order of axes."""
