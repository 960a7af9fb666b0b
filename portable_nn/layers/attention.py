"""Layers for sequences whose elements look at each other: embeddings, positions, attention, transformers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import BelowOne, Count, NonNegative
from portable_nn.layers.dropout import Dropout
from portable_nn.layers.initializers import Initial
from portable_nn.layers.layer import Layer
from portable_nn.layers.normalization import LayerNorm
from portable_nn.operators import Symbol, cast, emit, integers
from portable_nn.operators.symbols import count_up, size_of

__all__ = ["Embedding", "LearnedPositions", "MultiHeadAttention", "SinusoidalPositions", "TransformerEncoderLayer"]


class Embedding(Layer):
    """A trained vector for each whole number from 0: (batch, …) → (batch, …, features).

    Parameters: ``weight`` (entries, features).

    Args:
        entries: how many numbers there are, PyTorch's ``num_embeddings``.
        features: the length of a vector, PyTorch's ``embedding_dim``.
        weight_initial: the first vectors: the name of an initializer, a number, an array, or a function of a random
            generator and the shape; by default, as in PyTorch, drawn from a standard normal distribution.
        dtype: the element type of the vectors, as numpy writes it.
        name: the name of the node.

    Raises ``UsageError`` for sizes that are no positive whole numbers. Calling the layer raises ``GraphError`` where
    the input is not of whole numbers. A number that has no vector is refused when the network runs; as in ONNX, and
    unlike in PyTorch, -1 is the last one, -2 the one before it, and so on.
    """

    def __init__(
        self,
        entries: Count,
        features: Count,
        *,
        weight_initial: Initial = lambda rng, shape: rng.normal(size=shape),
        dtype: str = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.entries = int(entries)
        self.features = int(features)
        self.weight_initial, self.dtype = weight_initial, dtype

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, …) → (batch, …, features)."""
        if x.dtype not in ("int32", "int64"):
            raise self.invalid(f"it needs whole numbers, int32 or int64, not {x.dtype}")
        weight = self.parameter("weight", (self.entries, self.features), self.dtype, self.weight_initial)
        return self.emit("Gather", weight, x)


class _Positions(Layer):
    """Adds a vector for each position: (batch, positions, features) → the same."""

    def __init__(self, length: Count, *, name: str | None = None) -> None:
        super().__init__(name)
        self.length = int(length)

    def _added(self, x: Symbol, initial: Initial, *, trainable: bool) -> Symbol:
        if len(x.shape) != 3 or not isinstance(x.shape[2], int):
            raise self.invalid(
                f"it needs (batch, positions, features) with known features, not {format_shape(x.shape)}"
            )
        if isinstance(x.shape[1], int) and x.shape[1] > self.length:
            raise self.invalid(f"it has vectors for {self.length} positions, and there are {x.shape[1]}")
        table = self.parameter("weight", (self.length, x.shape[2]), x.dtype, initial, trainable=trainable)
        return self.emit("Add", x, emit("Gather", table, count_up(size_of(x, 1))))


class SinusoidalPositions(_Positions):
    """Adds sines and cosines of the position: (batch, positions, features) → the same.

    Feature 2k of position p gets sin(p / 10000^(2k / features)), and feature 2k + 1 the cosine. Parameters: ``weight``
    (length, features), which is not trained. Source: Vaswani et al., "Attention is all you need" (NeurIPS 2017).

    Args:
        length: the most positions.
        name: the name of the node.

    Raises ``UsageError`` for a length that is no positive whole number, and ``GraphError`` for longer sequences.
    """

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        return self._added(x, _waves, trainable=False)


def _waves(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    length, features = shape
    columns = np.arange(features)
    angles = np.arange(length)[:, np.newaxis] / 10000.0 ** (2 * (columns // 2) / features)
    return np.where(columns % 2, np.cos(angles), np.sin(angles))


class LearnedPositions(_Positions):
    """Adds a trained vector for each position: (batch, positions, features) → the same.

    Parameters: ``weight`` (length, features). Source: Gehring et al., ICML 2017.

    Args:
        length: the most positions.
        weight_initial: the first vectors, as for ``Embedding``; by default normal with standard deviation 0.02.
        name: the name of the node.

    Raises ``UsageError`` for a length that is no positive whole number, and ``GraphError`` for longer sequences.
    """

    def __init__(
        self,
        length: Count,
        *,
        weight_initial: Initial = lambda rng, shape: rng.normal(0, 0.02, shape),
        name: str | None = None,
    ) -> None:
        super().__init__(length, name=name)
        self.weight_initial = weight_initial

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        return self._added(x, self.weight_initial, trainable=True)


class MultiHeadAttention(Layer):
    """Self-attention with several heads: (batch, positions, features) → the same.

    softmax(Q·Kᵀ / √size)·V for each head, where Q, K and V are linear in the input, and a linear layer after all of
    them. Parameters as PyTorch's ``MultiheadAttention`` has them: ``weight`` (3 · features, features) and ``bias``
    (3 · features,) of Q, K and V one after the other, ``out_weight`` (features, features) and ``out_bias`` (features,).
    Source: Vaswani et al., "Attention is all you need" (NeurIPS 2017).

    Args:
        heads: the number of heads, PyTorch's ``num_heads``, which must divide the features.
        bias: whether biases are added.
        causal: whether a position sees only those up to itself.
        weight_initial: the first values of both weights, as for ``Dense``.
        bias_initial: the first values of both biases.
        name: the name of the last node.

    Raises ``UsageError`` for heads that are no positive whole number. Calling the layer raises ``GraphError`` where the
    heads do not divide the features.
    """

    def __init__(
        self,
        heads: Count,
        *,
        bias: bool = True,
        causal: bool = False,
        weight_initial: Initial = "glorot_uniform",
        bias_initial: Initial = "zeros",
        name: str | None = None,
    ) -> None:
        super().__init__(name, "attention")
        self.heads, self.bias, self.causal = int(heads), bias, causal
        self.weight_initial, self.bias_initial = weight_initial, bias_initial

    def __call__(self, x: Symbol, mask: Symbol | None = None, *, lengths: Symbol | None = None) -> Symbol:
        """The same shape.

        Args:
            x: the sequences.
            mask: bool, false where a position must not be seen, or floats that are added to the scores; it broadcasts
                to (batch, heads, positions, positions): (batch, 1, 1, positions) hides the padding of each sequence.
            lengths: in place of a mask, how many positions of each sequence are not padding, whole numbers (batch,):
                those from there on are not seen.

        Raises ``GraphError`` where the features are not known, or both are given.
        """
        mask = self._mask(x, mask, lengths)
        features = x.shape[2] if len(x.shape) == 3 else None
        if not isinstance(features, int) or features % self.heads:
            raise self.invalid(
                f"it needs (batch, positions, features) with features that {self.heads} heads divide, not "
                f"{format_shape(x.shape)}"
            )
        joint = self._linear("", x, 3 * features)
        q, k, v = (
            emit("Slice", joint, integers([part * features]), integers([(part + 1) * features]), integers([2]))
            for part in range(3)
        )
        options = {"q_num_heads": self.heads, "kv_num_heads": self.heads, "is_causal": int(self.causal)}
        made = emit("Attention", q, k, v, mask, **options)
        return self._linear("out_", made, features, last=True)

    def _mask(self, x: Symbol, mask: Symbol | None, lengths: Symbol | None) -> Symbol | None:
        if lengths is None or len(x.shape) != 3:
            return mask
        if mask is not None:
            raise self.invalid("a mask and lengths are given, and it takes one of them")
        places = emit("Unsqueeze", count_up(size_of(x, 1)), integers([0]))
        seen = emit("Less", places, emit("Unsqueeze", cast(lengths, "int64"), integers([1])))
        return emit("Unsqueeze", seen, integers([1, 2]))

    def _linear(self, role: str, x: Symbol, units: int, *, last: bool = False) -> Symbol:
        features = x.shape[2]
        assert isinstance(features, int)
        weight = self.parameter(f"{role}weight", (units, features), x.dtype, self.weight_initial)
        bias = self.parameter(f"{role}bias", (units,), x.dtype, self.bias_initial) if self.bias else None
        turned, make = emit("Transpose", weight, perm=[1, 0]), self.emit if last else emit
        return make("MatMul", x, turned) if bias is None else make("Add", emit("MatMul", x, turned), bias)


class TransformerEncoderLayer(Layer):
    """Attention and a network of two layers for each position, each with a short cut and a layer normalization.

    (batch, positions, features) → the same. Source: Vaswani et al., "Attention is all you need" (NeurIPS 2017); with
    the normalization first: Xiong et al., ICML 2020.

    Args:
        heads: the number of heads, PyTorch's ``nhead``.
        units: the hidden units of the network, PyTorch's ``dim_feedforward``.
        dropout: the probability of zeros after the attention, and in and after the network, while training. PyTorch
            also drops weights of the attention, which is not done here.
        activation: ``relu`` or ``gelu``.
        norm_first: whether the normalization comes before the attention and the network, and not after the short cuts.
        causal: whether a position sees only those up to itself.
        eps: what the normalizations add to a variance.
        name: the name of the last node and the prefix of the names of all parts.

    Raises ``UsageError`` for an option that makes no sense. Calling the layer raises ``GraphError`` where the heads do
    not divide the features.
    """

    def __init__(
        self,
        heads: Count,
        *,
        units: Count = 2048,
        dropout: BelowOne = 0.1,
        activation: str = "relu",
        norm_first: bool = False,
        causal: bool = False,
        eps: NonNegative = 1e-5,
        name: str | None = None,
    ) -> None:
        super().__init__(name, "encoder")
        if activation not in ("relu", "gelu"):
            raise UsageError(f"TransformerEncoderLayer: activation must be relu or gelu, not {activation!r}")
        self.units, self.activation = int(units), activation
        self.norm_first, self.dropout = norm_first, dropout

        def named(part: str) -> str | None:
            return f"{name}.{part}" if name else None

        self.attention = MultiHeadAttention(heads, causal=causal, name=named("attention"))
        self.norms = [LayerNorm(eps=eps, name=named(f"norm_{place}")) for place in (1, 2)]
        self.drops = [Dropout(dropout, name=named(f"dropout_{place}")) for place in (1, 2, 3)]

    def __call__(self, x: Symbol, mask: Symbol | None = None, *, lengths: Symbol | None = None) -> Symbol:
        """The same shape; ``mask`` and ``lengths`` are those of ``MultiHeadAttention``."""
        first, second = self.norms
        if self.norm_first:
            x = x + self._dropped(0, self.attention(first(x), mask, lengths=lengths))
            return self.emit("Add", x, self._network(second(x)))
        x = first(x + self._dropped(0, self.attention(x, mask, lengths=lengths)))
        return self.emit("Identity", second(x + self._network(x)))

    def _network(self, x: Symbol) -> Symbol:
        features = x.shape[2]
        assert isinstance(features, int)

        def linear(role: str, value: Symbol, inner: int, outer: int) -> Symbol:
            weight = self.parameter(f"{role}.weight", (outer, inner), x.dtype, "glorot_uniform")
            bias = self.parameter(f"{role}.bias", (outer,), x.dtype, "zeros")
            return emit("MatMul", value, emit("Transpose", weight, perm=[1, 0])) + bias

        hidden = linear("linear_1", x, features, self.units)
        hidden = emit("Relu" if self.activation == "relu" else "Gelu", hidden)
        return self._dropped(2, linear("linear_2", self._dropped(1, hidden), self.units, features))

    def _dropped(self, place: int, x: Symbol) -> Symbol:
        return self.drops[place](x) if self.dropout else x
