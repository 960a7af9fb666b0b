"""Random modules of flax: layers for pictures and for sequences one after the other, with random options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import pytest

from portable_nn.operators.registry import Array

jax: Any = pytest.importorskip("jax")
linen: Any = pytest.importorskip("flax.linen")
nnx: Any = pytest.importorskip("flax.nnx")

Rng: TypeAlias = np.random.Generator
Draw: TypeAlias = Callable[[Rng], Any]
Table: TypeAlias = Mapping[str, Draw]

ACTIVATIONS: Final = ("relu", "gelu", "silu", "tanh", "sigmoid", "softplus", "elu", "hard_swish", "leaky_relu", "celu")


def number(rng: Rng, low: int, high: int) -> int:
    """A random number, both ends included."""
    return int(rng.integers(low, high + 1))


def yes(rng: Rng) -> bool:
    """One of two."""
    return bool(rng.integers(2))


def activation(rng: Rng) -> Any:
    """An activation function."""
    return getattr(linen, str(rng.choice(ACTIVATIONS)))


def _pool(rng: Rng) -> Any:
    name, strides, padding = str(rng.choice(["max_pool", "avg_pool"])), (1, number(rng, 1, 2)), _padding(rng)
    return lambda x: getattr(linen, name)(x, (2, 2), strides, padding)


def _padding(rng: Rng) -> str:
    return str(rng.choice(["SAME", "VALID"]))


PICTURES: Final[Table] = {
    "dense": lambda rng: linen.Dense(number(rng, 1, 8)),
    "conv": lambda rng: linen.Conv(
        2 * number(rng, 1, 4),
        (number(rng, 1, 3), number(rng, 1, 3)),
        strides=number(rng, 1, 2),
        kernel_dilation=number(rng, 1, 2),
        padding=_padding(rng),
        feature_group_count=number(rng, 1, 2),
        use_bias=yes(rng),
    ),
    "transposed": lambda rng: linen.ConvTranspose(
        2 * number(rng, 1, 3),
        (number(rng, 1, 3), number(rng, 1, 3)),
        strides=(number(rng, 1, 2), number(rng, 1, 2)),
        padding=_padding(rng),
    ),
    "batch_norm": lambda rng: linen.BatchNorm(use_running_average=True, use_scale=yes(rng), momentum=0.8),
    "layer_norm": lambda rng: linen.LayerNorm(use_bias=yes(rng), reduction_axes=(-3, -2, -1), feature_axes=(-1,)),
    "group_norm": lambda rng: linen.GroupNorm(num_groups=number(rng, 1, 2)),
    "activation": activation,
    "pool": _pool,
    "dropout": lambda rng: linen.Dropout(0.5, deterministic=True),
}
"""A layer of linen for pictures by name."""


def _cell(rng: Rng) -> Any:
    cells = ["LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell", "MGUCell"]
    return getattr(linen, str(rng.choice(cells)))(number(rng, 2, 5), param_dtype=np.float64)


def _recurrent(rng: Rng) -> Any:
    if rng.random() < 0.3:
        return linen.Bidirectional(linen.RNN(_cell(rng)), linen.RNN(_cell(rng)))
    return linen.RNN(_cell(rng), reverse=yes(rng), keep_order=yes(rng))


def _attention(rng: Rng) -> Any:
    heads = number(rng, 1, 3)
    layer = linen.MultiHeadDotProductAttention(heads, qkv_features=2 * heads, use_bias=yes(rng), deterministic=True)
    causal = yes(rng)
    return lambda x: layer(x, mask=linen.make_causal_mask(x[..., 0]) if causal else None)


SEQUENCES: Final[Table] = {
    "dense": lambda rng: linen.Dense(6),
    "conv": lambda rng: linen.Conv(6, (3,), padding=str(rng.choice(["SAME", "CAUSAL"])), kernel_dilation=2),
    "recurrent": _recurrent,
    "attention": _attention,
    "layer_norm": lambda rng: linen.LayerNorm(use_scale=yes(rng)),
    "rms_norm": lambda rng: linen.RMSNorm(epsilon=0.01),
    "activation": activation,
    "gated": lambda rng: lambda x: linen.glu(x) if x.shape[-1] % 2 == 0 and x.shape[-1] > 2 else x,
    "dropout": lambda rng: linen.Dropout(0.25, deterministic=True),
}
"""A layer of linen for sequences by name."""


class Pictures(linen.Module):  # type: ignore[misc]
    """Random layers for pictures, some of whose outputs are added to their inputs."""

    seed: int

    @linen.compact
    def __call__(self, x: Any) -> Any:
        rng = np.random.default_rng(self.seed)
        x = linen.Conv(4, (3, 3))(x)
        for _ in range(number(rng, 2, 6)):
            y = PICTURES[str(rng.choice(list(PICTURES)))](rng)
            y = y if isinstance(y, linen.GroupNorm | linen.Conv) and x.shape[-1] % 2 else y(x)
            if not callable(y) and min(y.shape[1:3]):
                x = x + y if x.shape == y.shape and rng.random() < 0.3 else y
        return linen.Dense(3)(x.mean((1, 2)) if yes(rng) else x.reshape(x.shape[0], -1))


class Sequences(linen.Module):  # type: ignore[misc]
    """Random layers for sequences, of numbers or of tokens."""

    seed: int

    @linen.compact
    def __call__(self, x: Any) -> Any:
        rng = np.random.default_rng(self.seed)
        x = linen.Embed(11, 6)(x) if x.ndim == 2 else linen.Dense(6)(x)
        for _ in range(number(rng, 2, 4)):
            y = SEQUENCES[str(rng.choice(list(SEQUENCES)))](rng)(x)
            x = x + y if x.shape == y.shape and rng.random() < 0.5 else y
        return linen.Dense(3)(x[:, -1] if yes(rng) else x)


def filled(tree: Any, rng: Rng) -> Any:
    """The variables with numbers of double precision everywhere; variances stay positive."""
    return jax.tree.map(lambda each: np.asarray(each + np.abs(rng.standard_normal(each.shape)) / 3, np.float64), tree)


def module_of_linen(seed: int) -> tuple[Any, Any, Array]:
    """A module, its variables and an example."""
    rng = np.random.default_rng(seed)
    x: Array = rng.standard_normal((2, 9, 8, 2))
    kind: Any = Pictures
    if seed % 2:
        kind, x = Sequences, rng.integers(0, 11, (2, 5)) if yes(rng) else rng.standard_normal((2, 5, 3))
    return kind(seed), filled(kind(seed).init(jax.random.key(seed), x), rng), x


class Chain(nnx.Module):  # type: ignore[misc]
    """Random layers of nnx one after the other."""

    def __init__(self, rng: Rng, *, pictures: bool) -> None:
        rngs = nnx.Rngs(0)
        self.steps, size, cells = nnx.List([]), 4, (7, 6)
        self.first = nnx.Conv(2, size, (3, 3), rngs=rngs) if pictures else nnx.Linear(3, size, rngs=rngs)
        for _ in range(number(rng, 2, 5)):
            name = str(rng.choice(["conv", "batch_norm", "group_norm"] if pictures else ["attention", "recurrent"]))
            name = name if yes(rng) else str(rng.choice(["dense", "layer_norm", "rms_norm", "dropout", "activation"]))
            layer, size = _layer(name, rng, size, rngs, cells)
            if name == "conv":
                cells = _left(cells, layer)
            self.steps.append(layer)
        self.last = nnx.Linear(size, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.first(x)
        for layer in self.steps:
            x = layer(x)
        return self.last(x.mean(tuple(range(1, x.ndim - 1))))


def _left(cells: tuple[int, ...], layer: Any) -> tuple[int, ...]:
    """The cells of a picture behind a convolution."""
    cut = layer.kernel_size if layer.padding == "VALID" else (1, 1)
    return tuple(-(-(n - k + 1) // layer.strides) for n, k in zip(cells, cut, strict=True))


def _layer(name: str, rng: Rng, size: int, rngs: Any, cells: tuple[int, ...]) -> tuple[Any, int]:
    """A layer of nnx for values with ``size`` channels, and its own number of channels.

    A kernel is not larger than a picture of so many ``cells``: JAX makes an empty one of it, and a graph has none.
    """
    wide = 2 * number(rng, 1, 3)
    match name:
        case "conv":
            strides, padding = number(rng, 1, 2), _padding(rng)
            padding = padding if cells[0] >= 3 and cells[1] >= 2 else "SAME"
            return nnx.Conv(size, wide, (3, 2), strides=strides, padding=padding, rngs=rngs), wide
        case "dense":
            return nnx.Linear(size, wide, use_bias=yes(rng), rngs=rngs), wide
        case "batch_norm":
            return nnx.BatchNorm(size, momentum=0.8, rngs=rngs), size
        case "group_norm":
            return nnx.GroupNorm(size, num_groups=2, rngs=rngs), size
        case "layer_norm":
            return nnx.LayerNorm(size, epsilon=0.01, rngs=rngs), size
        case "rms_norm":
            return nnx.RMSNorm(size, epsilon=0.01, rngs=rngs), size
        case "dropout":
            return nnx.Dropout(0.5, rngs=rngs), size
        case "attention":
            return nnx.MultiHeadAttention(2, size, qkv_features=4, decode=False, rngs=rngs), size
        case "recurrent":
            cell = getattr(nnx, str(rng.choice(["LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell"])))
            return nnx.RNN(cell(size, wide, dtype=np.float64, param_dtype=np.float64, rngs=rngs)), wide
    return activation(rng), size


def module_of_nnx(seed: int) -> tuple[Any, Array]:
    """A module with numbers of double precision, in the mode of inference, and an example."""
    rng = np.random.default_rng(seed)
    pictures = yes(rng)
    module = Chain(rng, pictures=pictures)
    module.eval()
    nnx.update(module, jax.tree.map(lambda each: filled(each, rng), nnx.state(module, (nnx.Param, nnx.BatchStat))))
    return module, rng.standard_normal((2, 7, 6, 2) if pictures else (2, 5, 3))
