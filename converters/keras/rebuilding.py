"""A network's graph as Keras layers: one row for each operator that has a layer, or an operation of ``keras.ops``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.recurrent import FUNCTIONS, KINDS
from portable_nn.core.graph import Graph, Node, Parameter, Value
from portable_nn.format.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.verify import run_numpy

_SUFFIXES: Final = (".linear", ".cell", ".cells", ".channels_first", ".pool")
"""What the names of nodes have behind the name of the Keras layer that they are a part of."""


class NoLayerError(Exception):
    """Why a node has no layer in Keras."""


class Fixed(NamedTuple):
    """A value that no input decides: a weight, what nodes make of one, or the constant of the node ``source``."""

    array: Array
    trained: bool
    names: tuple[str, ...]
    source: Node | None = None


class Laid(NamedTuple):
    """A Keras tensor for a value of the graph, whose axis i is axis ``axes[i]`` of the tensor."""

    tensor: Any
    axes: tuple[int, ...]


Made = Fixed | Laid


def plain(rank: int) -> tuple[int, ...]:
    """The axes of a tensor in the order of the graph."""
    return tuple(range(rank))


def last(rank: int) -> tuple[int, ...]:
    """The axes of a tensor with the channels last."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 1 else plain(rank)


class Rebuilder:
    """Makes the layers of a network.

    Args:
        network: the network.
        channels_last: whether inputs that convolutions read, and outputs that they make, have the channels last.
    """

    def __init__(self, network: Network, *, channels_last: bool) -> None:
        self.network, self.graph, self.channels_last = network, network.graph, channels_last
        self.values: dict[str, Made] = {}
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.done: set[str] = set()
        self._layers: dict[tuple[Any, ...], Any] = {}
        self._names: set[str] = set()
        self.inputs: dict[str, str] = {}
        self.turned: set[str] = set()
        self.consumers: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in node.inputs:
                self.consumers.setdefault(name, []).append(node)

    # -- the whole

    def build(self) -> Any:
        """The Keras model; faults are in ``faults``."""
        for parameter in self.graph.parameters:
            array = self.network.parameters.arrays[parameter.name]
            self.values[parameter.name] = Fixed(array, parameter.trainable, (parameter.name,))
        inputs = [self._input(value) for value in self.graph.inputs]
        for node in self.graph.nodes:
            if node.name in self.done or any(name and name not in self.values for name in node.inputs):
                continue
            try:
                self._make(node)
            except NoLayerError as error:
                self.faults.append(f"'{node.name}' ({node.operator}): {error}")
            except (TypeError, ValueError) as error:
                self.faults.append(f"'{node.name}' ({node.operator}): Keras refuses it: {error}")
        if self.faults:
            return None
        outputs = {name: self._output(name) for name in self.graph.outputs}
        found = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return keras().Model(inputs[0] if len(inputs) == 1 else inputs, found, name=_key(self.graph.name))

    def _input(self, value: Value) -> Any:
        shape = [size if isinstance(size, int) else None for size in value.shape]
        axes = last(len(shape)) if self.channels_last and self._is_spatial(value.name) else plain(len(shape))
        laid = [shape[axes.index(axis)] for axis in range(len(shape))]
        if axes != plain(len(shape)):
            self.turned.add(value.name)
        self.inputs[value.name] = self.key(value.name)
        tensor = keras().Input(batch_shape=laid, dtype=value.dtype, name=self.inputs[value.name])
        self.values[value.name] = Laid(tensor, axes)
        return tensor

    def _is_spatial(self, name: str) -> bool:
        """Whether what reads a value has the channels behind the batch."""
        found = self.consumers.get(name, [])
        return any(node.operator in _SPATIAL for node in found) and len(self.network.types[name].shape) > 2

    def _output(self, name: str) -> Any:
        value = self.values[name]
        if isinstance(value, Fixed):
            raise NoLayerError("an output does not depend on an input")
        if self.channels_last and len(value.axes) > 2 and value.axes == last(len(value.axes)):
            self.turned.add(name)
            return value.tensor
        return self.laid(name)

    def _make(self, node: Node) -> None:
        given = [self.values[name] for name in node.inputs if name]
        if all(isinstance(each, Fixed) for each in given):
            self._fold(node, given)
            return
        row = ROWS.get(node.operator)
        if row is None or node.domain:
            raise NoLayerError("has no layer in Keras")
        made = row(self, node)
        if made is not None:
            self.values[node.outputs[0]] = made

    def _fold(self, node: Node, given: Sequence[Made]) -> None:
        """The values of a node that reads weights alone."""
        fixed = {name: value for name, value in self.values.items() if name in node.inputs and isinstance(value, Fixed)}
        constants = [each.source for each in fixed.values() if each.source is not None]
        stored = {name: each for name, each in fixed.items() if each.source is None}
        values = tuple(Parameter(n, each.array.dtype.name, each.array.shape, False) for n, each in stored.items())
        outputs = tuple(name for name in node.outputs if name)
        graph = Graph((), outputs, values, (*constants, node))
        made = run_numpy(graph, {name: each.array for name, each in stored.items()}, {})
        trained, names = any(each.trained for each in fixed.values()), tuple(n for e in fixed.values() for n in e.names)
        for name, array in made.items():
            self.values[name] = Fixed(array, trained, names, None if fixed else node)

    # -- what rows ask for

    def key(self, name: str) -> str:
        """A name that Keras takes, and that is free; PyTorch, below it, takes no dots."""
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
        wanted = found = _key(name)
        number = 1
        while found in self._names:
            number += 1
            found = f"{wanted}_{number}"
        self._names.add(found)
        return found

    def name(self, node: Node) -> str:
        """The name of the layer of a node."""
        return self.key(node.name)

    def laid(self, name: str, axes: Sequence[int] | None = None) -> Any:
        """The tensor of a value with its axes in an order, by default that of the graph."""
        value = self.values[name]
        if isinstance(value, Fixed):
            raise NoLayerError(f"its input '{name}' is a weight, and Keras's layer takes none there")
        wanted = plain(len(value.axes)) if axes is None else tuple(axes)
        if value.axes == wanted:
            return value.tensor
        dims = [value.axes[wanted.index(axis)] for axis in range(len(wanted))]
        if dims[0] != 0:
            raise NoLayerError("it needs examples along another axis than the first, which Keras cannot turn")
        made = keras().layers.Permute(dims[1:], name=self.key(f"{name}.turned"))(value.tensor)
        self.values[name] = Laid(made, wanted)
        return made

    def fixed(self, node: Node, place: int) -> Array | None:
        """The weight that is an input of a node; ``None`` where it is left out."""
        if place >= len(node.inputs) or not node.inputs[place]:
            return None
        value = self.values[node.inputs[place]]
        if not isinstance(value, Fixed):
            raise NoLayerError(f"its input {place + 1} is computed, and Keras's layer has a weight there")
        return value.array

    def untrained(self, node: Node, place: int) -> Array | None:
        """A weight that becomes an option of a layer, which training cannot change."""
        found = self.fixed(node, place)
        if found is not None:
            value = self.values[node.inputs[place]]
            assert isinstance(value, Fixed)
            if value.trained:
                raise NoLayerError(f"the trained parameter '{value.names[0]}' has no place in a layer of Keras")
        return found

    def rank(self, name: str) -> int:
        """The number of axes of a value."""
        return len(self.network.types[name].shape)

    def size(self, name: str, axis: int) -> int | None:
        """A size of a value, where it is known."""
        found = self.network.types[name].shape[axis]
        return found if isinstance(found, int) else None

    def only_consumer(self, name: str) -> Node | None:
        """The node that alone reads a value, which is no output."""
        found = self.consumers.get(name, [])
        return found[0] if len(found) == 1 and name not in self.graph.outputs else None

    def call(
        self, node: Node, make: Callable[[str], Any], tensor: Any, weights: Sequence[tuple[int, Array | None]]
    ) -> Any:
        """A layer with weights called on a tensor; nodes that read the same parameters are calls of one layer.

        ``weights`` are the places of the node's inputs that they come from, and their values in Keras's layout.
        """
        names = tuple(
            name for place, _ in weights if place < len(node.inputs) and node.inputs[place]
            for name in _names(self.values[node.inputs[place]])
        )  # fmt: skip
        key = (node.operator, names, tuple(sorted((k, str(v)) for k, v in node.attributes.items())))
        if names and key in self._layers:
            return self._layers[key](tensor)
        layer = make(self.name(node))
        made = layer(tensor)
        given = [np.asarray(array) for _, array in weights if array is not None]
        layer.set_weights([*given, *layer.get_weights()[len(given) :]])
        trained = [value.trainable for value in self.graph.parameters if value.name in names]
        if trained and not any(trained):
            layer.trainable = False
        elif not all(trained) and node.operator not in _RUNNING:
            self.notes.append(f"'{node.name}': some of its weights are frozen, and all are trained in Keras")
        if names:
            self._layers[key] = layer
        return made

    def activation(self, node: Node, value: str) -> str | None:
        """The activation that alone reads the value of a node and bears the name of its layer; it is then made."""
        following = self.only_consumer(value)
        if following is None or following.name != node.name.removesuffix(".linear") or following.name == node.name:
            return None
        word = _plain_activation(following)
        if word is None:
            return None
        self.done.add(following.name)
        return word

    def given(self, node: Node, word: str | None, tensor: Any, axes: Sequence[int]) -> Laid | None:
        """The value of a node, or that of the activation behind it."""
        made = Laid(tensor, tuple(axes))
        if word is None:
            return made
        following = self.consumers[node.outputs[0]][0]
        self.values[following.outputs[0]] = made
        self.values[node.outputs[0]] = made
        return None


def _names(value: Made) -> tuple[str, ...]:
    return value.names if isinstance(value, Fixed) else ()


def _key(name: str) -> str:
    return "".join(each if each.isalnum() or each in "_-" else "_" for each in name) or "layer"


def whole(node: Node, name: str, default: int) -> int:
    """An attribute that is a whole number."""
    found = node.attributes.get(name, default)
    assert isinstance(found, int)
    return found


def wholes(node: Node, name: str, default: Sequence[int]) -> list[int]:
    """An attribute that is whole numbers."""
    found = node.attributes.get(name)
    return [int(each) for each in found] if isinstance(found, tuple) else list(default)


def real(node: Node, name: str, default: float) -> float:
    """An attribute that is a number."""
    found = node.attributes.get(name, default)
    assert isinstance(found, int | float)
    return float(found)


# -- linear


def _gemm(b: Rebuilder, node: Node) -> Laid | None:
    weight, bias = b.fixed(node, 1), b.fixed(node, 2)
    odd = any(real(node, name, 1.0) != 1 for name in ("alpha", "beta")) or whole(node, "transA", 0)
    if (
        odd
        or weight is None
        or (bias is not None and bias.size not in (1, weight.shape[0 if whole(node, "transB", 0) else 1]))
    ):
        raise NoLayerError("its options are not those of Dense")
    kernel = weight.T if whole(node, "transB", 0) else weight
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), (kernel.shape[1],))
    return _dense(b, node, kernel, bias, node, ((1, kernel), (2, bias)))


def _dense(
    b: Rebuilder,
    node: Node,
    kernel: Array,
    bias: Array | None,
    named: Node,
    weights: Sequence[tuple[int, Array | None]],
) -> Laid | None:
    x = b.laid(node.inputs[0])
    word = b.activation(named, named.outputs[0])
    options = {"use_bias": bias is not None, "activation": word, "dtype": str(kernel.dtype)}
    made = b.call(named, lambda name: keras().layers.Dense(kernel.shape[1], name=name, **options), x, weights)
    return b.given(named, word, made, plain(b.rank(node.inputs[0])))


def _matmul(b: Rebuilder, node: Node) -> Laid | None:
    if not isinstance(b.values[node.inputs[1]], Fixed):
        one, other = (b.laid(name) for name in node.inputs)
        return Laid(keras().ops.matmul(one, other), plain(b.rank(node.outputs[0])))
    kernel = b.fixed(node, 1)
    assert kernel is not None
    if kernel.ndim != 2 or b.rank(node.inputs[0]) < 2:
        raise NoLayerError("its weight is no matrix")
    following = b.only_consumer(node.outputs[0])
    if following is not None and following.operator == "Add":
        place = 1 if following.inputs[0] == node.outputs[0] else 0
        shift = b.values.get(following.inputs[place])
        if isinstance(shift, Fixed) and shift.array.shape == (kernel.shape[1],):
            b.done.add(following.name)
            both = Node(
                following.name, "MatMul", (node.inputs[0], node.inputs[1], following.inputs[place]), following.outputs
            )
            made = _dense(b, both, kernel, shift.array, both, ((1, kernel), (2, shift.array)))
            if made is not None:
                b.values[following.outputs[0]] = made
            return None
    return _dense(b, node, kernel, None, node, ((1, kernel),))


# -- convolutions and pools


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _padding(b: Rebuilder, node: Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Any:
    """``"valid"``, ``"same"``, ``"causal"``, or pairs of cells."""
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "VALID"):
        return "same" if auto == "SAME_UPPER" else "valid"
    if auto != "NOTSET":
        raise NoLayerError(f"its auto_pad {auto} is none of Keras's")
    axes = len(kernel)
    pads = wholes(node, "pads", [0] * 2 * axes)
    pairs = list(zip(pads[:axes], pads[axes:], strict=True))
    if not any(pads):
        return "valid"
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    known = [b.size(node.inputs[0], axis + 2) for axis in range(axes)]
    if all(
        pair == (_same(n, r, s) if n is not None else ((r - 1) // 2, r - 1 - (r - 1) // 2) if s == 1 else None)
        for pair, n, r, s in zip(pairs, known, reach, strides, strict=True)
    ):
        return "same"
    if axes == 1 and pairs == [(reach[0] - 1, 0)]:
        return "causal"
    return pairs


def _padded(b: Rebuilder, node: Node, x: Any, pairs: Sequence[tuple[int, int]]) -> Any:
    axes = len(pairs)
    layer = getattr(keras().layers, f"ZeroPadding{axes}D")
    return layer(pairs[0] if axes == 1 else pairs, name=b.key(f"{node.name}.pad"))(x)


def _conv(b: Rebuilder, node: Node) -> Laid | None:
    weight, bias = b.fixed(node, 1), b.fixed(node, 2)
    assert weight is not None
    axes, groups = weight.ndim - 2, whole(node, "group", 1)
    kernel, strides = list(weight.shape[2:]), wholes(node, "strides", [1] * axes)
    dilations = wholes(node, "dilations", [1] * axes)
    padding = _padding(b, node, kernel, strides, dilations)
    order = last(axes + 2)
    x = b.laid(node.inputs[0], order)
    if not isinstance(padding, str):
        x, padding = _padded(b, node, x, padding), "valid"
    word = b.activation(node, node.outputs[0])
    options = {
        "strides": strides, "padding": padding, "dilation_rate": dilations, "use_bias": bias is not None,
        "activation": word, "data_format": "channels_last",
    }  # fmt: skip
    layers = keras().layers
    if groups > 1 and weight.shape[1] == 1 and axes < 3 and len(set(strides)) == 1 and padding != "causal":
        times = weight.shape[0] // groups
        turned = np.moveaxis(weight.reshape(groups, times, *kernel), (0, 1), (-2, -1))

        def make(name: str) -> Any:
            return getattr(layers, f"DepthwiseConv{axes}D")(kernel, depth_multiplier=times, name=name, **options)
    else:
        turned = np.moveaxis(weight, (0, 1), (-1, -2))

        def make(name: str) -> Any:
            return getattr(layers, f"Conv{axes}D")(weight.shape[0], kernel, groups=groups, name=name, **options)

    return b.given(node, word, b.call(node, make, x, ((1, turned), (2, bias))), order)


def _conv_transpose(b: Rebuilder, node: Node) -> Laid | None:
    weight, bias = b.fixed(node, 1), b.fixed(node, 2)
    assert weight is not None
    axes = weight.ndim - 2
    if (
        whole(node, "group", 1) != 1
        or node.attributes.get("auto_pad", "NOTSET") != "NOTSET"
        or "output_shape" in node.attributes
    ):
        raise NoLayerError("groups, auto_pad and output_shape of a transposed convolution are none of Keras's")
    kernel, strides = list(weight.shape[2:]), wholes(node, "strides", [1] * axes)
    dilations, extra = wholes(node, "dilations", [1] * axes), wholes(node, "output_padding", [0] * axes)
    pads = wholes(node, "pads", [0] * 2 * axes)
    crop = []
    for axis in range(axes):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        end = pads[axes + axis] + max(strides[axis] - reach, 0) - extra[axis]
        if end < 0:
            raise NoLayerError("its output_padding reaches beyond what Keras computes")
        crop.append((pads[axis], end))
    order = last(axes + 2)
    turned = np.moveaxis(weight, (0, 1), (-1, -2))
    options = {
        "strides": strides,
        "dilation_rate": dilations,
        "use_bias": bias is not None,
        "data_format": "channels_last",
    }

    def make(name: str) -> Any:
        return getattr(keras().layers, f"Conv{axes}DTranspose")(weight.shape[1], kernel, name=name, **options)

    made = b.call(node, make, b.laid(node.inputs[0], order), ((1, turned), (2, bias)))
    if any(cells for pair in crop for cells in pair):
        layer = getattr(keras().layers, f"Cropping{axes}D")
        made = layer(crop[0] if axes == 1 else crop, name=b.key(f"{node.name}.crop"))(made)
    return Laid(made, order)


def _pool(word: str) -> Callable[[Rebuilder, Node], Laid]:
    def build(b: Rebuilder, node: Node) -> Laid:
        kernel = wholes(node, "kernel_shape", [])
        axes = len(kernel)
        strides, ones = wholes(node, "strides", [1] * axes), [1] * axes
        if whole(node, "ceil_mode", 0) or wholes(node, "dilations", ones) != ones or len(node.outputs) > 1:
            raise NoLayerError("ceil_mode, dilations and indices of a pool are none of Keras's")
        padding, order = _padding(b, node, kernel, strides, ones), last(axes + 2)
        x = b.laid(node.inputs[0], order)
        counts = word == "Average" and whole(node, "count_include_pad", 0)
        if counts and padding != "valid":
            pads = wholes(node, "pads", [0] * 2 * axes)
            padding = list(zip(pads[:axes], pads[axes:], strict=True))
        if not isinstance(padding, str) and counts:
            x, padding = _padded(b, node, x, padding), "valid"
        if padding not in ("valid", "same"):
            raise NoLayerError("its padding is none of Keras's")
        layer = getattr(keras().layers, f"{word}Pooling{axes}D")
        return Laid(layer(kernel, strides=strides, padding=padding, name=b.name(node))(x), order)

    return build


def _global_pool(word: str) -> Callable[[Rebuilder, Node], Laid | None]:
    def build(b: Rebuilder, node: Node) -> Laid | None:
        rank = b.rank(node.inputs[0])
        layer = getattr(keras().layers, f"Global{word}Pooling{rank - 2}D")
        x = b.laid(node.inputs[0], last(rank))
        following = b.only_consumer(node.outputs[0])
        if following is not None and following.operator == "Flatten" and whole(following, "axis", 1) == 1:
            b.done.add(following.name)
            b.values[following.outputs[0]] = Laid(layer(name=b.name(following))(x), (0, 1))
            return None
        return Laid(layer(keepdims=True, name=b.name(node))(x), last(rank))

    return build


# -- normalisations


def _affine(*arrays: Array | None) -> dict[str, Any]:
    return {"scale": arrays[0] is not None, "center": arrays[1] is not None}


def _batch_norm(b: Rebuilder, node: Node) -> Laid:
    if whole(node, "training_mode", 0):
        raise NoLayerError("statistics of the batch alone are none of Keras's")
    arrays = [b.fixed(node, place) for place in range(1, 5)]
    order = last(b.rank(node.inputs[0]))
    options = {"epsilon": real(node, "epsilon", 1e-5), "momentum": real(node, "momentum", 0.9)}

    def make(name: str) -> Any:
        return keras().layers.BatchNormalization(axis=-1, name=name, **options)

    return Laid(b.call(node, make, b.laid(node.inputs[0], order), tuple(enumerate(arrays, 1))), order)


def _layer_norm(b: Rebuilder, node: Node) -> Laid:
    rank = b.rank(node.inputs[0])
    axis = whole(node, "axis", -1) % rank
    scale, shift = b.fixed(node, 1), b.fixed(node, 2)
    options = {"epsilon": real(node, "epsilon", 1e-5), **_affine(scale, shift)}
    axes = list(range(axis, rank))

    def make(name: str) -> Any:
        return keras().layers.LayerNormalization(axis=axes if len(axes) > 1 else -1, name=name, **options)

    return Laid(b.call(node, make, b.laid(node.inputs[0]), ((1, scale), (2, shift))), plain(rank))


def _group_norm(b: Rebuilder, node: Node) -> Laid:
    order = last(b.rank(node.inputs[0]))
    options = {"groups": whole(node, "num_groups", 1), "epsilon": real(node, "epsilon", 1e-5)}

    def make(name: str) -> Any:
        return keras().layers.GroupNormalization(axis=-1, name=name, **options)

    arrays = ((1, b.fixed(node, 1)), (2, b.fixed(node, 2)))
    return Laid(b.call(node, make, b.laid(node.inputs[0], order), arrays), order)


# -- activations


_WORDS: Final[Mapping[str, str]] = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign",
    "Selu": "selu", "Mish": "mish", "HardSwish": "hard_silu", "Exp": "exponential",
}  # fmt: skip


def _plain_activation(node: Node) -> str | None:
    """The name of Keras's function that a node is."""
    if node.operator in _WORDS:
        return _WORDS[node.operator]
    if node.operator == "Swish" and real(node, "alpha", 1.0) == 1:
        return "silu"
    if node.operator == "Gelu" and node.attributes.get("approximate", "none") == "none":
        return "gelu"
    if node.operator == "Elu" and real(node, "alpha", 1.0) == 1:
        return "elu"
    if node.operator == "Celu" and real(node, "alpha", 1.0) == 1:
        return "celu"
    if node.operator == "LeakyRelu" and abs(real(node, "alpha", 0.01) - 0.2) < 1e-7:
        return "leaky_relu"
    if node.operator == "Softmax" and whole(node, "axis", -1) == -1:
        return "softmax"
    if node.operator == "HardSigmoid" and abs(real(node, "alpha", 0.2) - 1 / 6) < 1e-7:
        return "hard_sigmoid"
    return None


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
    word = _plain_activation(node)
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
        raise NoLayerError("its options are none of Keras's")
    return value._replace(tensor=layer(value.tensor))


def _clip(b: Rebuilder, node: Node) -> Laid:
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    low, high = b.untrained(node, 1), b.untrained(node, 2)
    if low is not None and float(low) == 0 and high is not None:
        return value._replace(tensor=keras().layers.ReLU(max_value=float(high), name=b.key(node.name))(value.tensor))
    ends = [float(end) if end is not None else edge for end, edge in ((low, -np.inf), (high, np.inf))]
    return value._replace(tensor=keras().ops.clip(value.tensor, *ends))


def _dropout(b: Rebuilder, node: Node) -> Laid:
    value, rate = b.values[node.inputs[0]], b.untrained(node, 1)
    assert isinstance(value, Laid)
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
    "Min": "minimum",
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
    if len(values) != 2 or node.operator not in _OPS:
        raise NoLayerError("has no layer in Keras for such inputs")
    operands = []
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, Fixed):
            operands.append(tensor)
            continue
        array = b.untrained(node, place)
        assert array is not None
        if array.size == 1:
            operands.append(array.reshape(()).item())
            continue
        full = array.reshape((1,) * (rank - array.ndim) + array.shape)
        operands.append(np.transpose(full, [axes.index(axis) for axis in range(rank)]))
    if any(isinstance(each, np.ndarray) for each in operands):
        return Laid(_scaled(b, node, operands, rank), axes)
    return Laid(getattr(keras().ops, _OPS[node.operator])(*operands), axes)


def _scaled(b: Rebuilder, node: Node, operands: Sequence[Any], rank: int) -> Any:
    """A sum, difference, product or quotient with numbers: Rescaling."""
    first = isinstance(operands[0], np.ndarray)
    numbers, tensor = (operands[0], operands[1]) if first else (operands[1], operands[0])
    scale, offset = {
        ("Add", False): (1.0, numbers), ("Add", True): (1.0, numbers), ("Sub", False): (1.0, -numbers),
        ("Sub", True): (-1.0, numbers), ("Mul", False): (numbers, 0.0), ("Mul", True): (numbers, 0.0),
        ("Div", False): (1 / numbers, 0.0),
    }.get((node.operator, first), (None, None))  # fmt: skip
    if scale is None:
        raise NoLayerError("numbers for each entry have no place in a layer of Keras here")
    options = {
        name: value[0].tolist() if isinstance(value, np.ndarray) else value
        for name, value in (("scale", scale), ("offset", offset))
    }
    return keras().layers.Rescaling(name=b.key(node.name), **options)(tensor)


def _concat(b: Rebuilder, node: Node) -> Laid:
    values = [b.values[name] for name in node.inputs]
    first = next(value for value in values if isinstance(value, Laid))
    tensors = [b.laid(name, first.axes) for name in node.inputs]
    axis = first.axes[whole(node, "axis", 0) % len(first.axes)]
    return Laid(keras().layers.Concatenate(axis=axis, name=b.key(node.name))(tensors), first.axes)


# -- shapes


def _transpose(b: Rebuilder, node: Node) -> Laid:
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    rank = len(value.axes)
    perm = wholes(node, "perm", range(rank)[::-1])
    return Laid(value.tensor, tuple(value.axes[axis] for axis in perm))


def _flatten(b: Rebuilder, node: Node) -> Laid:
    if whole(node, "axis", 1) != 1:
        raise NoLayerError("it flattens from another axis than 1")
    return Laid(keras().layers.Flatten(name=b.name(node))(b.laid(node.inputs[0])), (0, 1))


def _reshape(b: Rebuilder, node: Node) -> Laid:
    shape = b.untrained(node, 1)
    assert shape is not None
    wanted = [int(size) for size in shape]
    for place, size in enumerate(wanted):
        if size == 0 and place:
            known = b.size(node.inputs[0], place)
            if known is None:
                raise NoLayerError("it keeps a size that is open")
            wanted[place] = known
    before, after = b.network.types[node.inputs[0]].shape, b.network.types[node.outputs[0]].shape
    if (
        not wanted
        or (wanted[0] not in (0, -1) and before[:1] != after[:1])
        or (wanted[0] == -1 and before[:1] != after[:1])
    ):
        raise NoLayerError("it changes the number of examples, which Keras's Reshape keeps")
    return Laid(keras().layers.Reshape(wanted[1:], name=b.name(node))(b.laid(node.inputs[0])), plain(len(wanted)))


def _squeeze(b: Rebuilder, node: Node) -> Laid:
    axes = b.untrained(node, 1)
    rank = b.rank(node.inputs[0])
    places = [int(axis) % rank for axis in axes] if axes is not None else []
    if not places:
        raise NoLayerError("its axes are not said")
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    gone = sorted(value.axes[place] for place in places)
    kept = [axis for place, axis in enumerate(value.axes) if place not in places]
    return Laid(keras().ops.squeeze(value.tensor, tuple(gone)), tuple(sorted(kept).index(axis) for axis in kept))


def _unsqueeze(b: Rebuilder, node: Node) -> Laid:
    axes = b.untrained(node, 1)
    assert axes is not None
    rank = b.rank(node.outputs[0])
    tensor = b.laid(node.inputs[0])
    for axis in sorted(int(each) % rank for each in axes):
        tensor = keras().ops.expand_dims(tensor, axis)
    return Laid(tensor, plain(rank))


def _pad(b: Rebuilder, node: Node) -> Laid:
    pads, value = b.untrained(node, 1), b.untrained(node, 2)
    rank = b.rank(node.inputs[0])
    is_zero = node.attributes.get("mode", "constant") == "constant" and (value is None or float(value) == 0)
    if (
        pads is None
        or not is_zero
        or len(node.inputs) > 3
        or len(pads) != 2 * rank
        or any(pads[[0, 1, rank, rank + 1]])
    ):
        raise NoLayerError("Keras pads with zeros, and axes behind the channels alone")
    pairs = [(int(pads[axis]), int(pads[rank + axis])) for axis in range(2, rank)]
    x = b.laid(node.inputs[0], last(rank))
    for word, sign in (("ZeroPadding", 1), ("Cropping", -1)):
        cells = [(max(sign * begin, 0), max(sign * end, 0)) for begin, end in pairs]
        if any(each for pair in cells for each in pair):
            layer = getattr(keras().layers, f"{word}{rank - 2}D")
            x = layer(cells[0] if rank == 3 else cells, name=b.key(node.name))(x)
    return Laid(x, last(rank))


def _slice(b: Rebuilder, node: Node) -> Laid:
    starts, ends, axes, steps = (b.untrained(node, place) for place in range(1, 5))
    assert starts is not None
    assert ends is not None
    rank = b.rank(node.inputs[0])
    places = [int(axis) % rank for axis in axes] if axes is not None else list(range(len(starts)))
    tensor = b.laid(node.inputs[0])
    parts = [slice(None)] * rank
    for at, axis in enumerate(places):
        step = 1 if steps is None else int(steps[at])
        if step == -1 and int(starts[at]) in (-1, 2**31, 2**63 - 1) and int(ends[at]) <= -(2**31):
            tensor = keras().ops.flip(tensor, axis)
        elif step < 1:
            raise NoLayerError("it counts backwards over a part of an axis")
        else:
            end = int(ends[at])
            parts[axis] = slice(int(starts[at]), None if end >= 2**31 - 1 else end, step)
    return Laid(tensor if parts == [slice(None)] * rank else tensor[tuple(parts)], plain(rank))


def _gather(b: Rebuilder, node: Node) -> Laid:
    table = b.values[node.inputs[0]]
    if not isinstance(table, Fixed) or table.array.ndim != 2 or whole(node, "axis", 0):
        raise NoLayerError("it is no Embedding: rows of a matrix of weights")
    entries, features = table.array.shape

    def make(name: str) -> Any:
        return keras().layers.Embedding(entries, features, name=name)

    made = b.call(node, make, b.laid(node.inputs[1]), ((0, table.array),))
    return Laid(made, plain(b.rank(node.outputs[0])))


def _cast(b: Rebuilder, node: Node) -> Laid:
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    return value._replace(tensor=keras().ops.cast(value.tensor, b.network.types[node.outputs[0]].dtype))


def _function(word: str) -> Callable[[Rebuilder, Node], Laid]:
    def build(b: Rebuilder, node: Node) -> Laid:
        value = b.values[node.inputs[0]]
        assert isinstance(value, Laid)
        return value._replace(tensor=getattr(keras().ops, word)(value.tensor))

    return build


def _reduced(word: str) -> Callable[[Rebuilder, Node], Laid]:
    def build(b: Rebuilder, node: Node) -> Laid:
        axes = b.untrained(node, 1)
        rank = b.rank(node.inputs[0])
        places = tuple(int(axis) % rank for axis in axes) if axes is not None else tuple(range(rank))
        made = getattr(keras().ops, word)(
            b.laid(node.inputs[0]), axis=places, keepdims=bool(whole(node, "keepdims", 1))
        )
        return Laid(made, plain(b.rank(node.outputs[0])))

    return build


def _resize(b: Rebuilder, node: Node) -> Laid:
    scales, rank = b.untrained(node, 2), b.rank(node.inputs[0])
    mode = str(node.attributes.get("mode", "nearest"))
    place = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    if (
        scales is None
        or len(scales) != rank
        or any(float(each) % 1 or each < 1 for each in scales)
        or any(s != 1 for s in scales[:2])
    ):
        raise NoLayerError("Keras's UpSampling has whole factors")
    factors = [int(each) for each in scales[2:]]
    if mode == "nearest" and (place, node.attributes.get("nearest_mode")) != ("asymmetric", "floor"):
        raise NoLayerError("Keras's UpSampling repeats cells")
    if mode not in ("nearest", "linear") or (mode == "linear" and (rank != 4 or place != "half_pixel")):
        raise NoLayerError("its mode is none of Keras's")
    layer = getattr(keras().layers, f"UpSampling{rank - 2}D")
    options = {"interpolation": "bilinear"} if mode == "linear" else {}
    size = factors[0] if rank == 3 else factors
    return Laid(layer(size, name=b.key(node.name), **options)(b.laid(node.inputs[0], last(rank))), last(rank))


# -- recurrent


def _recurrent(b: Rebuilder, node: Node) -> None:
    """LSTM, GRU, RNN, and the nodes behind that bring their states into another form."""
    kind_name = next(name for name, kind in KINDS.items() if kind.operator == node.operator)
    kind = KINDS[kind_name]
    w, r, shift = (b.fixed(node, place) for place in (1, 2, 3))
    if any(node.inputs[4:]) or w is None or r is None or whole(node, "layout", 0) or "clip" in node.attributes:
        raise NoLayerError("lengths, initial states, clip and layout of a recurrent node are not taken over")
    directions, rows, _ = w.shape
    units = rows // len(kind.gates)
    backwards = node.attributes.get("direction") == "reverse"
    after = bool(whole(node, "linear_before_reset", 0))
    words = _functions(node, kind_name, directions)
    options: dict[str, Any] = {"activation": words[-1], "use_bias": shift is not None}
    if node.operator != "RNN":
        options["recurrent_activation"] = words[0]
    if node.operator == "GRU":
        options["reset_after"] = after
    weights: list[tuple[int, Array | None]] = []
    for at in range(directions):
        weights += [(1, _back(w[at], kind.gates, units).T), (2, _back(r[at], kind.gates, units).T)]
        if shift is not None:
            one, other = (_back(each, kind.gates, units) for each in np.split(shift[at], 2))
            if after or not np.any(other):
                weights.append((3, np.stack([one, other]) if after else one))
            else:
                b.notes.append(f"'{node.name}': both of its biases become one, which trains half as fast")
                weights.append((3, one + other))
    sequence, ends = (
        node.outputs[0],
        [name for name in node.outputs[1:] if name in b.consumers or name in b.graph.outputs],
    )
    all_steps = bool(sequence) and (sequence in b.consumers or sequence in b.graph.outputs)
    if (
        len(ends) > 1
        or (ends and all_steps)
        or (ends and ends[0] != node.outputs[1])
        or (backwards and directions == 1)
    ):
        raise NoLayerError("both all states and the last ones are read, or those of c: not taken over")
    x = b.laid(node.inputs[0], (1, 0, 2))

    def make(name: str) -> Any:
        layer = getattr(keras().layers, kind_name)
        if directions == 1:
            return layer(units, return_sequences=all_steps, name=name, **options)
        inner = layer(units, return_sequences=all_steps, **options)
        return keras().layers.Bidirectional(inner, name=name)

    # The nodes behind: they bring the states into (batch, steps, features) or (batch, features).
    value = sequence if all_steps else ends[0]
    following = b.only_consumer(value)
    made = b.call(node, make, x, weights)
    if directions == 1 and following is not None and following.operator == "Squeeze":
        b.done.add(following.name)
        b.values[following.outputs[0]] = Laid(made, (1, 0, 2) if all_steps else (0, 1))
        return
    if following is not None and following.operator == "Transpose":
        reshaped = b.only_consumer(following.outputs[0])
        if reshaped is not None and reshaped.operator == "Reshape":
            if not all_steps and wholes(following, "perm", []) == [1, 0, 2]:
                b.done |= {following.name, reshaped.name}
                b.values[reshaped.outputs[0]] = Laid(made, (0, 1))
                return
            if all_steps and directions == 2 and wholes(following, "perm", []) == [0, 2, 1, 3]:
                b.done |= {following.name, reshaped.name}
                b.values[reshaped.outputs[0]] = Laid(made, (1, 0, 2))
                return
    raise NoLayerError("its states are brought into a form that is none of Keras's")


def _back(rows: Array, gates: Sequence[int], units: int) -> Array:
    """Rows of the standard's gates in Keras's order."""
    found = np.empty_like(rows)
    for place, gate in enumerate(gates):
        found[gate * units : (gate + 1) * units] = rows[place * units : (place + 1) * units]
    return found


def _functions(node: Node, kind: str, directions: int) -> tuple[str, ...]:
    default = {"SimpleRNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}[kind]
    given = node.attributes.get("activations")
    if not isinstance(given, tuple):
        return default
    back = {ours[0].lower(): name for name, ours in FUNCTIONS.items()}
    words = [back.get(str(name).lower(), "") for name in given]
    one = tuple(words[: len(default)])
    simple = {"tanh", "sigmoid", "relu", "softsign", "softplus"}
    if not set(words) <= simple or tuple(words) != one * directions or (kind == "LSTM" and one[1] != one[2]):
        raise NoLayerError("its activations are none that Keras's layer has together")
    return one


_SPATIAL: Final = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool"})
_RUNNING: Final = frozenset({"BatchNormalization"})

ROWS: Final[Mapping[str, Callable[[Rebuilder, Node], Made | None]]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("Max"),
    "AveragePool": _pool("Average"),
    "GlobalMaxPool": _global_pool("Max"),
    "GlobalAveragePool": _global_pool("Average"),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    **dict.fromkeys(
        (
            *_WORDS,
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
    "Neg": _function("negative"),
    "Abs": _function("absolute"),
    "Sqrt": _function("sqrt"),
    "Log": _function("log"),
    "Dropout": _dropout,
    "Identity": _identity,
    **dict.fromkeys((*_MERGES, *_OPS), _arithmetic),
    "Concat": _concat,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Pad": _pad,
    "Gather": _gather,
    "Slice": _slice,
    "Cast": _cast,
    "ReduceMean": _reduced("mean"),
    "ReduceSum": _reduced("sum"),
    "ReduceMax": _reduced("max"),
    "ReduceMin": _reduced("min"),
    "Resize": _resize,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
"""What makes the layers of each operator: ``(what has been made, node) → the value of its first output``."""
