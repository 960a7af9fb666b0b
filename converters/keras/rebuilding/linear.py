"""Products: ``Dense``, ``EinsumDense`` and products of two tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.nodes import real, whole
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, plain
from portable_nn.core.graph import Node
from portable_nn.core.tensors import Array


def _gemm(b: Rebuilder, node: Node) -> Laid | None:
    weight, bias = b.fixed(node, 1), b.fixed(node, 2)
    odd = any(real(node, name, 1.0) != 1 for name in ("alpha", "beta")) or whole(node, "transA", 0)
    if (
        odd
        or weight is None
        or (bias is not None and bias.size not in (1, weight.shape[0 if whole(node, "transB", 0) else 1]))
    ):
        b.refuse("its options are not those of Dense")
    if b.free.is_tied(b.values[node.inputs[1]]):
        ops, tensor = keras().ops, b.laid(node.inputs[1])
        made = ops.matmul(b.laid(node.inputs[0]), ops.transpose(tensor) if whole(node, "transB", 0) else tensor)
        return Laid(made if bias is None else ops.add(made, b.laid(node.inputs[2])), plain(2))
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
    if not isinstance(b.values[node.inputs[1]], Fixed) or b.free.is_tied(b.values[node.inputs[1]]):
        one, other = (b.laid(name) for name in node.inputs)
        return Laid(keras().ops.matmul(one, other), plain(b.rank(node.outputs[0])))
    kernel = b.fixed(node, 1)
    assert kernel is not None
    if kernel.ndim != 2 or b.rank(node.inputs[0]) < 2:
        b.refuse("its weight is no matrix")
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


def _einsum(b: Rebuilder, node: Node) -> Laid:
    """Of two tensors an operation, of a tensor and a weight ``EinsumDense``."""
    equation, rank = str(node.attributes["equation"]).replace(" ", ""), b.rank(node.outputs[0])
    if "." in equation or "->" not in equation:
        b.refuse("its equation leaves axes out")
    if not any(isinstance(b.values[name], Fixed) for name in node.inputs):
        return Laid(keras().ops.einsum(equation, *(b.laid(name) for name in node.inputs)), plain(rank))
    if len(node.inputs) != 2 or isinstance(b.values[node.inputs[0]], Fixed):
        b.refuse("its weight is not the second of two inputs")
    kernel, letters = b.fixed(node, 1), equation.split("->")[1]
    sizes = [size if isinstance(size, int) else None for size in b.types[node.outputs[0]].shape[1:]]
    following = b.only_consumer(node.outputs[0])
    bias, named, weights = None, node, [(1, kernel)]
    if following is not None and following.operator == "Add":
        shift = b.values.get(following.inputs[1])
        if following.inputs[0] == node.outputs[0] and isinstance(shift, Fixed) and 0 < shift.array.ndim < rank:
            bias = "".join(
                letter for letter, size in zip(letters[-shift.array.ndim :], shift.array.shape, strict=True) if size > 1
            )
            b.done.add(following.name)
            inputs = (*node.inputs, following.inputs[1])
            named = Node(following.name, "Einsum", inputs, following.outputs, node.attributes)
            weights.append((2, shift.array))

    def make(name: str) -> Any:
        return keras().layers.EinsumDense(equation, output_shape=sizes, bias_axes=bias, name=name)

    made = Laid(b.call(named, make, b.laid(node.inputs[0]), weights), plain(rank))
    b.values[named.outputs[0]] = made
    return made


ROWS: Final[Mapping[str, Row]] = {
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
