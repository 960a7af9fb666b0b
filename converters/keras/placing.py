"""Arrays of a ``.weights.h5`` file as the parameters of a network of the same layers, without Keras.

Such a file says of each layer its class and its number among the layers of that class. So the layers of a class are
taken in the order that the network has them in, and each must have the parameters and shapes of its arrays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from portable_nn.converters.keras.layers.cells import KINDS, read_cell
from portable_nn.converters.keras.layers.convolutions import depthwise_kernel, kernel_first
from portable_nn.converters.keras.spec import LayerError, Spec, Weights
from portable_nn.core.graph import format_shape
from portable_nn.core.text import some
from portable_nn.format.tensors import Array
from portable_nn.network import Network


class _Layer(NamedTuple):
    """A layer of the network: the operators that read its parameters, their shapes, and those that are frozen."""

    name: str
    operators: frozenset[str]
    shapes: Mapping[str, tuple[int, ...]]
    frozen: frozenset[str]


_ROLE: Final = re.compile(
    r"(?P<layer>.+?)\.(?P<role>(forward_layer\.|backward_layer\.|cell\.|cells\.)\w+_l0|(query|key|value|output)\.(weight|bias)"
    r"|depthwise\.weight|\w+)"
)


def _layers(network: Network) -> list[_Layer]:
    """The layers that have parameters, in the order of the graph."""
    readers: dict[str, set[str]] = {}
    for node in network.graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, set()).add(node.operator)
    parts: dict[str, dict[str, str]] = {}
    for name in network.parameters:
        match = _ROLE.fullmatch(name)
        layer, role = (match["layer"], match["role"]) if match else (name, "")
        parts.setdefault(layer, {})[role] = name
    frozen = {value.name for value in network.graph.parameters if not value.trainable}
    return [
        _Layer(
            layer,
            frozenset(operator for name in roles.values() for operator in readers.get(name, ())),
            {role: network.parameters[name].shape for role, name in roles.items()},
            frozenset(role for role, name in roles.items() if name in frozen),
        )
        for layer, roles in parts.items()
    ]


def placed(network: Network, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters of the network by name, in its layouts. Raises ``LayerError`` where the layers are others."""
    weights, left, found = Weights(arrays), _layers(network), dict[str, Array]()
    for place in _places(weights):
        kind = re.sub(r"_\d+$", "", place.split("/")[1])
        if kind not in LAYERS:
            raise LayerError(f"'{place}' is a layer that is read with Keras alone: pip install keras")
        layer, made = _fitting(place, kind, weights, left)
        left.remove(layer)
        found |= {f"{layer.name}.{role}": array for role, array in made.items()}
    if unused := weights.left():
        raise LayerError(f"it holds {some([repr(name) for name in unused])}, which no layer of the network has")
    without = [f"'{layer.name}'" for layer in left if not layer.frozen.issuperset(layer.shapes)]
    if without:
        raise LayerError(f"it has no weights for {some(without)}")
    return found


def _places(weights: Weights) -> list[str]:
    """The layers of the file: by class, and by number in a class."""
    found = {"/".join(place.split("/")[:2]) for place in weights.places if place.startswith("layers/")}

    def order(place: str) -> tuple[str, int]:
        kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", place).groups()  # type: ignore[union-attr]
        return kind, int(number or 0)

    return sorted(found, key=order)


def _fitting(place: str, kind: str, weights: Weights, left: list[_Layer]) -> tuple[_Layer, dict[str, Array]]:
    """The first layer of the network that has the parameters that a layer of the file makes."""
    tried = list[str]()
    for layer in left:
        spec = Spec(kind, {}, layer.name, place, weights, [])
        try:
            made = LAYERS[kind](spec, layer)
        except (LayerError, ValueError, IndexError):
            continue
        shapes = {role: array.shape for role, array in made.items()}
        wanted = {role: shape for role, shape in layer.shapes.items() if role in shapes or role not in layer.frozen}
        if shapes == wanted:
            return layer, made
        tried.append(f"'{layer.name}' has {_told(wanted)}, and the file {_told(shapes)}")
    raise LayerError(f"the layer '{place}' fits none that is left in the network{': ' if tried else ''}{some(tried)}")


def _told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{role} {format_shape(shape)}" for role, shape in shapes.items())


# -- one row for each class


def _arrays(spec: Spec, *places: str) -> Iterator[Array]:
    """The arrays of a layer, or of a layer in it."""
    where = "/".join((spec.place, *places))
    yield from (spec.weights.take(where, index) for index in range(spec.weights.count(where)))


def _kernel_and_bias(turned: Callable[[Array], Array], *operators: str) -> Callable[[Spec, _Layer], dict[str, Array]]:
    """A kernel in another order of axes, and a bias if there is one."""

    def read(spec: Spec, layer: _Layer) -> dict[str, Array]:
        if layer.operators.isdisjoint(operators):
            raise LayerError("another operator")
        kernel, *bias = _arrays(spec)
        return {"weight": turned(kernel), **({"bias": bias[0]} if bias else {})}

    return read


def _separable(spec: Spec, _: _Layer) -> dict[str, Array]:
    each, point, *bias = _arrays(spec)
    made = {"depthwise.weight": depthwise_kernel(each), "weight": kernel_first(point)}
    return made | ({"bias": bias[0]} if bias else {})


def _normalised(*statistics: str) -> Callable[[Spec, _Layer], dict[str, Array]]:
    """Gamma and beta, of which a layer may have one or none, and running statistics."""

    def read(spec: Spec, layer: _Layer) -> dict[str, Array]:
        found = list(_arrays(spec))
        roles = ["weight", "bias"]
        if len(found) < len(statistics) + 2:
            roles = [role for role in roles if role not in layer.frozen]
        return dict(zip([*roles, *statistics], found, strict=True))

    return read


def _cell(spec: Spec, layer: _Layer, *places: str) -> tuple[Array, ...]:
    """The weights of a cell, as the standard's operator has them."""
    where = "/".join((spec.place, *places, "cell"))
    kind = next((kind for kind in KINDS.values() if kind.operator in layer.operators), None)
    if kind is None:
        raise LayerError("another operator")
    kernel, recurrent, *bias = _arrays(spec, *places, "cell")
    config = {
        "units": len(recurrent), "use_bias": bool(bias), "reset_after": bool(bias) and bias[0].ndim == 2,
    }  # fmt: skip
    cell = read_cell(Spec("", config, spec.name, where, spec.weights, []), kind, len(kernel))
    return tuple(each for each in (cell.weight, cell.recurrent, cell.bias) if each is not None)


_CELL: Final = ("weight_l0", "recurrent_l0", "bias_l0")


def _recurrent(spec: Spec, layer: _Layer) -> dict[str, Array]:
    return {f"cell.{role}": array[None] for role, array in zip(_CELL, _cell(spec, layer), strict=False)}


def _bidirectional(spec: Spec, layer: _Layer) -> dict[str, Array]:
    both = [_cell(spec, layer, place) for place in ("forward_layer", "backward_layer")]
    if any(role.startswith("cells.") for role in layer.shapes):
        return {f"cells.{role}": np.stack(pair) for role, pair in zip(_CELL, zip(*both, strict=True), strict=False)}
    return {
        f"{place}.{role}": array[None]
        for place, cell in zip(("forward_layer", "backward_layer"), both, strict=True)
        for role, array in zip(_CELL, cell, strict=False)
    }


def _attention(spec: Spec, _: _Layer) -> dict[str, Array]:
    made = dict[str, Array]()
    for role in ("query", "key", "value", "output"):
        kernel, *bias = _arrays(spec, f"{role}_dense")
        flat = kernel.reshape(-1, kernel.shape[-1]) if role == "output" else kernel.reshape(len(kernel), -1)
        made |= {f"{role}.weight": flat.T, **({f"{role}.bias": bias[0].reshape(-1)} if bias else {})}
    return made


def _same(array: Array) -> Array:
    return array


LAYERS: Final[Mapping[str, Callable[[Spec, _Layer], dict[str, Array]]]] = {
    "dense": _kernel_and_bias(np.transpose, "Gemm", "MatMul", "Transpose"),
    "einsum_dense": _kernel_and_bias(_same, "Einsum"),
    "embedding": _kernel_and_bias(_same, "Gather"),
    **{f"conv{axes}d": _kernel_and_bias(kernel_first, "Conv") for axes in (1, 2, 3)},
    **{f"conv{axes}d_transpose": _kernel_and_bias(kernel_first, "ConvTranspose") for axes in (1, 2, 3)},
    **{f"depthwise_conv{axes}d": _kernel_and_bias(depthwise_kernel, "Conv") for axes in (1, 2)},
    **{f"separable_conv{axes}d": _separable for axes in (1, 2)},
    "batch_normalization": _normalised("running_mean", "running_var"),
    "layer_normalization": _normalised(),
    "group_normalization": _normalised(),
    "rms_normalization": lambda spec, _: {"weight": next(_arrays(spec))},
    **dict.fromkeys(("lstm", "gru", "simple_rnn"), _recurrent),
    "bidirectional": _bidirectional,
    "multi_head_attention": _attention,
    "p_re_lu": _kernel_and_bias(_same, "PRelu"),
}
"""What makes the parameters of a layer, by the name of its class in paths: ``(arrays, layer) → arrays by role``."""
