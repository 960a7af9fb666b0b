"""Products: ``Dense``, ``EinsumDense`` and products of two tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.rebuilder import ROWS, Rebuilder
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, plain
from portable_nn.core.graph import Node
from portable_nn.core.tensors import Array


@ROWS.row("Gemm")
def _gemm(b: Rebuilder, node: Node) -> Laid | None:
    weight, bias, use = b.fixed(node, 1), b.fixed(node, 2), b.use(node)
    turned = bool(use.int("transB"))
    if (
        weight is None
        or (use.float("alpha"), use.float("beta"), use.int("transA")) != (1, 1, 0)
        or (bias is not None and bias.size not in (1, weight.shape[not turned]))
    ):
        b.refuse("its options are not those of Dense")
    if b.free.is_tied(b.values[node.inputs[1]]):
        b.refuse("its weight is that of an Embedding")
    kernel = weight.T if turned else weight
    return _dense(b, node, kernel, None if bias is None else np.broadcast_to(bias.reshape(-1), kernel.shape[1:]))


def _dense(b: Rebuilder, node: Node, kernel: Array, bias: Array | None) -> Laid | None:
    x, word = b.laid(node.inputs[0]), b.activation(node, node.outputs[0])
    options = {"use_bias": bias is not None, "activation": word, "dtype": str(kernel.dtype)}
    weights = ((1, kernel), (2, bias))
    made = b.call(node, lambda name: keras().layers.Dense(kernel.shape[1], name=name, **options), x, weights)
    return b.given(node, word, made, plain(b.rank(node.inputs[0])))


def _with_bias(b: Rebuilder, node: Node) -> tuple[Node, Array | None]:
    """A product and the sum with a weight that alone follows it, as one node; and that weight."""
    following = b.only_consumer(node.outputs[0])
    if following is None or following.operator != "Add":
        return node, None
    [place] = [place for place, name in enumerate(following.inputs) if name != node.outputs[0]]
    shift = b.values.get(following.inputs[place])
    if not isinstance(shift, Fixed):
        return node, None
    inputs = (*node.inputs, following.inputs[place])
    return Node(following.name, node.operator, inputs, following.outputs, node.attributes), shift.array


@ROWS.row("MatMul")
def _matmul(b: Rebuilder, node: Node) -> Laid | None:
    kernel = b.fixed(node, 1)
    if kernel is None or kernel.ndim != 2 or b.rank(node.inputs[0]) < 2 or b.free.is_tied(b.values[node.inputs[1]]):
        b.refuse("its weight is no matrix of its own")
    both, bias = _with_bias(b, node)
    if bias is None or bias.shape != (kernel.shape[1],):
        return _dense(b, node, kernel, None)
    b.done.add(both.name)
    if (made := _dense(b, both, kernel, bias)) is not None:
        b.values[both.outputs[0]] = made
    return None


@ROWS.row("Einsum")
def _einsum(b: Rebuilder, node: Node) -> Laid:
    """Of a tensor and a weight ``EinsumDense``."""
    equation, rank = b.use(node).string("equation").replace(" ", ""), b.rank(node.outputs[0])
    if "." in equation or "->" not in equation:
        b.refuse("its equation leaves axes out")
    if len(node.inputs) != 2 or [isinstance(b.values[name], Fixed) for name in node.inputs] != [False, True]:
        b.refuse("its weight is not the second of two inputs")
    sizes = [size if isinstance(size, int) else None for size in b.types[node.outputs[0]].shape[1:]]
    (both, bias), axes = _with_bias(b, node), ""
    if bias is None or not 0 < bias.ndim < rank:
        both, bias = node, None
    else:
        letters = equation.split("->")[1][-bias.ndim :]
        axes = "".join(letter for letter, size in zip(letters, bias.shape, strict=True) if size > 1)
        b.done.add(both.name)

    def make(name: str) -> Any:
        return keras().layers.EinsumDense(equation, output_shape=sizes, bias_axes=axes or None, name=name)

    made = Laid(b.call(both, make, b.laid(node.inputs[0]), ((1, b.fixed(node, 1)), (2, bias))), plain(rank))
    b.values[both.outputs[0]] = made
    return made
