"""Activations and arithmetic that are layers of Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.rebuilder import ROWS, Rebuilder
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, Made, last, plain
from portable_nn.converters.keras.rebuilding.words import WORDS, plain_activation
from portable_nn.core.graph import Node
from portable_nn.core.tensors import Array
from portable_nn.operators import FLOATS


@ROWS.row(*WORDS)
def _activation(b: Rebuilder, node: Node) -> Laid:
    value, layers, word = b.value(node), keras().layers, plain_activation(node)
    if node.operator == "Softmax":
        layer = layers.Softmax(axis=b.use(node).int("axis"), name=b.name(node))
        return Laid(layer(b.laid(node.inputs[0])), plain(len(value.axes)))
    if word == "relu":
        layer = layers.ReLU(name=b.name(node))
    elif word is not None:
        layer = layers.Activation(word, name=b.name(node))
    elif option := WORDS[node.operator].option:
        layer = getattr(layers, option[0])(name=b.name(node), **{option[1]: b.use(node).float("alpha")})
    else:
        b.refuse("its options are none of Keras's")
    return value._replace(tensor=layer(value.tensor))


@ROWS.row("Clip")
def _clip(b: Rebuilder, node: Node) -> Laid:
    low, high = b.untrained(node, 1), b.untrained(node, 2)
    if low is None or high is None or float(low) != 0:
        b.refuse("its limits are none of ReLU's")
    return b.applied(node, keras().layers.ReLU(max_value=float(high), name=b.name(node)))


@ROWS.row("PRelu")
def _prelu(b: Rebuilder, node: Node) -> Laid:
    """Slopes of the channels, which Keras has last, or of all entries."""
    slope, rank = b.fixed(node, 1), b.rank(node.inputs[0])
    assert slope is not None
    order = last(rank)
    full = slope.reshape((1,) * (rank - slope.ndim) + slope.shape)
    turned = np.transpose(full, [order.index(axis) for axis in range(rank)])[0]
    shared = [axis for axis, size in enumerate(turned.shape, 1) if size == 1]

    def make(name: str) -> Any:
        return keras().layers.PReLU(shared_axes=shared or None, name=name)

    return Laid(b.call(node, make, b.laid(node.inputs[0], order), ((1, turned),)), order)


@ROWS.row("Dropout")
def _dropout(b: Rebuilder, node: Node) -> Laid:
    rate = b.untrained(node, 1)
    if any(b.is_read(name) for name in node.outputs[1:]):
        b.refuse("its mask is none of Keras's outputs")
    return b.applied(node, keras().layers.Dropout(0.5 if rate is None else float(rate), name=b.name(node)))


@ROWS.row("Identity")
def _identity(b: Rebuilder, node: Node) -> Made:
    return b.values[node.inputs[0]]


@ROWS.row("StopGradient")
def _stop_gradient(b: Rebuilder, node: Node) -> Laid:
    return b.applied(node, keras().ops.stop_gradient)


# -- arithmetic


_SCALES: Final[Mapping[tuple[str, int], Callable[[Array], tuple[Any, Any]]]] = {
    ("Add", 1): lambda numbers: (1.0, numbers),
    ("Add", 0): lambda numbers: (1.0, numbers),
    ("Sub", 1): lambda numbers: (1.0, -numbers),
    ("Sub", 0): lambda numbers: (-1.0, numbers),
    ("Mul", 1): lambda numbers: (numbers, 0.0),
    ("Mul", 0): lambda numbers: (numbers, 0.0),
    ("Div", 1): lambda numbers: (1 / numbers, 0.0),
}
"""The factor and the shift that arithmetic with numbers is, by the place of these."""


@ROWS.row(Add="Add", Sub="Subtract", Mul="Multiply", Div=None, Max="Maximum", Min="Minimum", Mean="Average", Sum="Add")
def _arithmetic(kind: str | None, b: Rebuilder, node: Node) -> Laid:
    """A layer that merges tensors, or of a tensor and numbers, Rescaling."""
    values, rank = [b.values[name] for name in node.inputs], b.rank(node.outputs[0])
    laid = [value for value in values if isinstance(value, Laid)]
    if not laid or any(len(value.axes) != rank for value in laid):
        b.refuse("has no layer in Keras for such inputs")
    axes = laid[0].axes
    if len(laid) == len(values) and kind is not None:
        layer = getattr(keras().layers, kind)(name=b.name(node))
        return Laid(layer([b.laid(name, axes) for name in node.inputs]), axes)
    return _rescaled(b, node, axes)


def _rescaled(b: Rebuilder, node: Node, axes: tuple[int, ...]) -> Laid:
    """Arithmetic with numbers that are the same for all examples."""
    place = isinstance(b.values[node.inputs[-1]], Fixed)
    is_fixed, is_float = isinstance(b.values[node.inputs[place]], Fixed), b.types[node.outputs[0]].dtype in FLOATS
    numbers, make = b.laid(node.inputs[place], axes) if is_fixed else None, _SCALES.get((node.operator, place))
    if make is None or not is_float or len(node.inputs) != 2 or not isinstance(numbers, np.ndarray):
        b.refuse("has no layer in Keras for such inputs")
    if numbers.size == 1 or numbers.shape[0] != 1:
        b.refuse("has no layer in Keras for such numbers")
    scale, offset = (each[0].tolist() if isinstance(each, np.ndarray) else each for each in make(numbers))
    return Laid(keras().layers.Rescaling(scale, offset, name=b.name(node))(b.laid(node.inputs[not place], axes)), axes)


@ROWS.row("Concat")
def _concat(b: Rebuilder, node: Node) -> Laid:
    values, axis = [b.values[name] for name in node.inputs], b.use(node).attribute_axis()
    first = next(value for value in values if isinstance(value, Laid))
    if not all(isinstance(value, Laid) for value in values):
        b.refuse("one of its parts is a weight")
    layer = keras().layers.Concatenate(axis=first.axes[axis], name=b.name(node))
    return Laid(layer([b.laid(name, first.axes) for name in node.inputs]), first.axes)
