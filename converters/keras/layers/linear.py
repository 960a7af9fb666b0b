"""Dense layers, products by Einstein's notation, embeddings."""

from __future__ import annotations

from portable_nn import layers
from portable_nn.converters.keras.layers.activations import Composed, activated
from portable_nn.converters.keras.spec import LAYERS, Held, Spec, known
from portable_nn.converters.layers.weights import inward
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, cast, constant, emit


@LAYERS.row("Dense")
def dense(spec: Spec, x: Held) -> Held:
    """y = x·W + b over the last axis; W is (in, units)."""
    units, inputs = spec.whole("units"), known(x.shape[-1], "the features")
    spec.only("lora_rank", None)
    layer = spec.once(lambda: layers.Dense(units, name=spec.name, **spec.linear(inward, (inputs, units), units)))
    return activated(spec, Held(layer(x.plain), mask=x.mask))


@LAYERS.row("EinsumDense")
def einsum_dense(spec: Spec, x: Held) -> Held:
    """An Einsum of the input and a weight, and a bias."""
    equation = spec["equation"]
    if not isinstance(equation, str) or len(equation) > 200:
        spec.refuse("its equation is none")
    spec.get("output_shape")
    axes = spec.get("bias_axes")

    def make() -> Layer:
        kernel, *shift = (spec.weights.take(spec.place, index) for index in range(2 if axes else 1))

        def made(layer: Layer, x: Symbol) -> Symbol:
            weights = x, layer.parameter("weight", kernel.shape, x.dtype, kernel)
            if not shift:
                return layer.emit("Einsum", *weights, equation=equation)
            bias = layer.parameter("bias", shift[0].shape, x.dtype, shift[0])
            return layer.emit("Add", emit("Einsum", *weights, equation=equation), bias)

        return Composed(spec.name, made)

    return activated(spec, Held(spec.once(make)(x.plain)))


@LAYERS.row("Embedding")
def embedding(spec: Spec, x: Held) -> Held:
    """A vector for each whole number."""
    entries, features, masked = spec.whole("input_dim"), spec.whole("output_dim"), spec.flag("mask_zero")
    spec.get("input_length")
    spec.only("lora_rank", None)

    def make() -> Layer:
        table = spec.weight(entries, features)
        shape, dtype = table.shape, table.dtype.name
        return Composed(
            spec.name, lambda layer, x: layer.emit("Gather", layer.parameter("weight", shape, dtype, table), x)
        )

    layer = spec.once(make)
    index = x.plain if x.dtype in ("int32", "int64") else cast(x.plain, "int32")
    mask = emit("Not", emit("Equal", x.plain, constant(0, x.dtype))) if masked else None
    return Held(layer(index), mask=mask)
