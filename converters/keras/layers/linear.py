"""Dense layers, products by Einstein's notation, embeddings."""

from __future__ import annotations

from portable_nn import layers
from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.layers.activations import activated
from portable_nn.converters.keras.layers.channels import known
from portable_nn.converters.keras.layers.rows import LAYERS
from portable_nn.converters.keras.spec import Spec
from portable_nn.converters.layers.weights import inward
from portable_nn.core.tensors import Array
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, cast, constant, emit


@LAYERS.row("Dense")
def dense(spec: Spec, x: Held) -> Held:
    """y = x·W + b over the last axis; W is (in, units)."""
    units, inputs = spec.whole("units"), known(x.shape[-1], "the features")
    spec.only("lora_rank", None)
    layer = spec.once(lambda: layers.Dense(units, name=spec.name, **spec.linear(inward, (inputs, units), units)))
    return activated(spec, Held(layer(x.plain), mask=x.mask))


class _EinsumDense(Layer):
    def __init__(self, name: str, equation: str, kernel: Array, bias: Array | None) -> None:
        super().__init__(name)
        self.equation, self.kernel, self.bias = equation, kernel, bias

    def __call__(self, x: Symbol) -> Symbol:
        weight = self.parameter("weight", self.kernel.shape, x.dtype, self.kernel)
        if self.bias is None:
            return self.emit("Einsum", x, weight, equation=self.equation)
        made = emit("Einsum", x, weight, equation=self.equation)
        return self.emit("Add", made, self.parameter("bias", self.bias.shape, x.dtype, self.bias))


@LAYERS.row("EinsumDense")
def einsum_dense(spec: Spec, x: Held) -> Held:
    """An Einsum of the input and a weight, and a bias."""
    equation = spec["equation"]
    if not isinstance(equation, str) or len(equation) > 200:
        spec.refuse("its equation is none")
    spec.get("output_shape")
    axes = spec.get("bias_axes")

    def make() -> Layer:
        weights = spec.weights
        kernel = weights.take(spec.place, 0)
        bias = weights.take(spec.place, 1) if axes else None
        return _EinsumDense(spec.name, equation, kernel, bias)

    return activated(spec, Held(spec.once(make)(x.plain)))


class _Embedding(Layer):
    def __init__(self, name: str, table: Array) -> None:
        super().__init__(name)
        self.table = table

    def __call__(self, x: Symbol) -> Symbol:
        dtype = self.table.dtype.name
        return self.emit("Gather", self.parameter("weight", self.table.shape, dtype, self.table), x)


@LAYERS.row("Embedding")
def embedding(spec: Spec, x: Held) -> Held:
    """A vector for each whole number."""
    entries, features, masked = spec.whole("input_dim"), spec.whole("output_dim"), spec.flag("mask_zero")
    spec.get("input_length")
    spec.only("lora_rank", None)
    layer = spec.once(lambda: _Embedding(spec.name, spec.weight(entries, features)))
    index = x.plain if x.dtype in ("int32", "int64") else cast(x.plain, "int32")
    mask = emit("Not", emit("Equal", x.plain, constant(0, x.dtype))) if masked else None
    return Held(layer(index), mask=mask)
