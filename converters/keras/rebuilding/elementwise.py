"""Activations and arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.nodes import finite, real, whole
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, Made, last, plain
from portable_nn.converters.keras.rebuilding.words import WORDS, plain_activation
from portable_nn.core.graph import Node
from portable_nn.core.tensors import Array
from portable_nn.operators import FLOATS


def _activation(b: Rebuilder, node: Node) -> Laid:
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    layers, name = keras().layers, node.name
    if node.operator in ("Softmax", "LogSoftmax"):
        axis = whole(node, "axis", -1)
        x = b.laid(node.inputs[0])
        if node.operator == "Softmax":
            return Laid(layers.Softmax(axis=axis, name=b.key(name))(x), plain(len(value.axes)))
        return Laid(keras().ops.log_softmax(x, axis=axis), plain(len(value.axes)))
    word = plain_activation(node)
    if word == "relu":
        layer = layers.ReLU(name=b.key(name))
    elif word is not None:
        layer = layers.Activation(word, name=b.key(name))
    elif node.operator == "LeakyRelu":
        layer = layers.LeakyReLU(negative_slope=real(node, "alpha", 0.01), name=b.key(name))
    elif node.operator == "Elu":
        layer = layers.ELU(alpha=real(node, "alpha", 1.0), name=b.key(name))
    elif node.operator == "ThresholdedRelu":
        layer = layers.ReLU(threshold=real(node, "alpha", 1.0), name=b.key(name))
    elif node.operator == "Gelu":
        return value._replace(tensor=keras().ops.gelu(value.tensor, approximate=True))
    else:
        b.refuse("its options are none of Keras's")
    return value._replace(tensor=layer(value.tensor))


def _clip(b: Rebuilder, node: Node) -> Laid:
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    low, high = b.untrained(node, 1), b.untrained(node, 2)
    if low is not None and float(low) == 0 and high is not None:
        return value._replace(tensor=keras().layers.ReLU(max_value=float(high), name=b.key(node.name))(value.tensor))
    tensor = value.tensor
    if low is not None:
        tensor = keras().ops.maximum(tensor, float(low))
    return value._replace(tensor=tensor if high is None else keras().ops.minimum(tensor, float(high)))


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


def _shrink(b: Rebuilder, node: Node) -> Laid:
    value, limit, shift = b.values[node.inputs[0]], real(node, "lambd", 0.5), real(node, "bias", 0.0)
    assert isinstance(value, Laid)
    if shift not in (0, limit):
        b.refuse("its bias is neither 0 nor its lambd")
    function = keras().ops.soft_shrink if shift else keras().ops.hard_shrink
    return value._replace(tensor=function(value.tensor, threshold=limit))


def _dropout(b: Rebuilder, node: Node) -> Laid:
    value, rate = b.values[node.inputs[0]], b.untrained(node, 1)
    assert isinstance(value, Laid)
    if any(b.is_read(name) for name in node.outputs[1:]):
        b.refuse("its mask is none of Keras's outputs")
    layer = keras().layers.Dropout(0.5 if rate is None else float(rate), name=b.key(node.name))
    return value._replace(tensor=layer(value.tensor))


def _identity(b: Rebuilder, node: Node) -> Made:
    return b.values[node.inputs[0]]


# -- arithmetic


_MERGES: Final[Mapping[str, str]] = {
    "Add": "Add", "Sub": "Subtract", "Mul": "Multiply", "Max": "Maximum", "Min": "Minimum", "Mean": "Average",
    "Sum": "Add",
}  # fmt: skip
_OPS: Final[Mapping[str, str]] = {
    "Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide", "Pow": "power", "Max": "maximum",
    "Min": "minimum", "Equal": "equal", "Less": "less", "LessOrEqual": "less_equal", "Greater": "greater",
    "GreaterOrEqual": "greater_equal", "Mod": "mod", "And": "logical_and", "Or": "logical_or", "Xor": "logical_xor",
}  # fmt: skip


def _arithmetic(b: Rebuilder, node: Node) -> Laid:
    values = [b.values[name] for name in node.inputs]
    laid = [value for value in values if isinstance(value, Laid)]
    rank = b.rank(node.outputs[0])
    same_rank = all(len(value.axes) == rank for value in laid)
    axes = laid[0].axes if same_rank else plain(rank)
    tensors = [
        b.laid(name, axes if same_rank else None) if isinstance(value, Laid) else value
        for name, value in zip(node.inputs, values, strict=True)
    ]
    if len(laid) == len(values) and same_rank and node.operator in _MERGES:
        return Laid(getattr(keras().layers, _MERGES[node.operator])(name=b.key(node.name))(tensors), axes)
    if len(values) != 2 or node.operator not in _OPS or whole(node, "fmod", 0):
        b.refuse("has no layer in Keras for such inputs")
    operands = []
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, Fixed):
            operands.append(tensor)
            continue
        if not tensor.trained and tensor.array.size == 1:
            operands.append(finite(tensor.array).reshape(()).item())
            continue
        array, order = b.laid(node.inputs[place]), [axes.index(axis) for axis in range(rank)]
        if isinstance(array, np.ndarray):
            operands.append(np.transpose(array.reshape((1,) * (rank - array.ndim) + array.shape), order))
            continue
        missing = rank - tensor.array.ndim
        full = keras().ops.expand_dims(array, list(range(missing))) if missing else array
        operands.append(full if order == list(range(rank)) else keras().ops.transpose(full, order))
    scaled = _scaled(b, node, operands)
    return Laid(getattr(keras().ops, _OPS[node.operator])(*operands) if scaled is None else scaled, axes)


_SCALES: Final[Mapping[tuple[str, bool], Callable[[Array], tuple[Any, Any]]]] = {
    ("Add", False): lambda numbers: (1.0, numbers),
    ("Add", True): lambda numbers: (1.0, numbers),
    ("Sub", False): lambda numbers: (1.0, -numbers),
    ("Sub", True): lambda numbers: (-1.0, numbers),
    ("Mul", False): lambda numbers: (numbers, 0.0),
    ("Mul", True): lambda numbers: (numbers, 0.0),
    ("Div", False): lambda numbers: (1 / numbers, 0.0),
}
"""The factor and the shift that arithmetic with numbers is, by whether these come first."""


def _scaled(b: Rebuilder, node: Node, operands: Sequence[Any]) -> Any:
    """A sum, difference, product or quotient with numbers that are the same for all examples: Rescaling."""
    first = isinstance(operands[0], np.ndarray)
    numbers, tensor = (operands[0], operands[1]) if first else (operands[1], operands[0])
    make = _SCALES.get((node.operator, first))
    if (
        make is None
        or not isinstance(numbers, np.ndarray)
        or numbers.shape[0] != 1
        or b.types[node.outputs[0]].dtype not in FLOATS
    ):
        return None
    scale, offset = make(numbers)
    options = {
        name: value[0].tolist() if isinstance(value, np.ndarray) else value
        for name, value in (("scale", scale), ("offset", offset))
    }
    return keras().layers.Rescaling(name=b.key(node.name), **options)(tensor)


def _where(b: Rebuilder, node: Node) -> Laid:
    """The one where a condition holds, and the other elsewhere: tensors and numbers."""
    operands = []
    for name in node.inputs:
        value = b.values[name]
        is_number = isinstance(value, Fixed) and not value.trained and value.array.size == 1
        operands.append(finite(value.array).reshape(()).item() if is_number else b.laid(name))  # type: ignore[union-attr]
    return Laid(keras().ops.where(*operands), plain(b.rank(node.outputs[0])))


def _concat(b: Rebuilder, node: Node) -> Laid:
    values = [b.values[name] for name in node.inputs]
    first = next(value for value in values if isinstance(value, Laid))
    if any(isinstance(value, Fixed) for value in values):
        ops, rank = keras().ops, len(first.axes)
        parts = [b.laid(name) for name in node.inputs]
        return Laid(ops.concatenate(parts, axis=whole(node, "axis", 0) % rank), plain(rank))
    tensors = [b.laid(name, first.axes) for name in node.inputs]
    axis = first.axes[whole(node, "axis", 0) % len(first.axes)]
    return Laid(keras().layers.Concatenate(axis=axis, name=b.key(node.name))(tensors), first.axes)


ROWS: Final[Mapping[str, Row]] = {
    **dict.fromkeys(
        (
            *WORDS,
            "Swish",
            "Gelu",
            "Elu",
            "Celu",
            "LeakyRelu",
            "HardSigmoid",
            "ThresholdedRelu",
            "Softmax",
            "LogSoftmax",
        ),
        _activation,
    ),
    "Clip": _clip,
    "Dropout": _dropout,
    "PRelu": _prelu,
    "Shrink": _shrink,
    "Identity": _identity,
    **dict.fromkeys((*_MERGES, *_OPS), _arithmetic),
    "Concat": _concat,
    "Where": _where,
}
