"""Functions and modules of JAX as users write them: each with its parameters and inputs, in double precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

jax: Any = pytest.importorskip("jax")
jnp, lax = jax.numpy, jax.lax
linen: Any = pytest.importorskip("flax.linen")
nnx: Any = pytest.importorskip("flax.nnx")
eqx: Any = pytest.importorskip("equinox")
optax: Any = pytest.importorskip("optax")

RNG = np.random.default_rng(0)
IMAGES: Final = ("NHWC", "HWIO", "NHWC")


class Written(NamedTuple):
    """A model: a function of parameters and inputs, or a module, which ``params`` is None for until it is made."""

    model: Any
    params: Any
    inputs: tuple[Any, ...]


CASES: Final[dict[str, Written]] = {}


def floats(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def places(end: int, *shape: int) -> Any:
    return RNG.integers(0, end, shape)


def case(params: Any, *inputs: Any) -> Callable[[Any], Any]:
    """A decorator: a function, or a class of modules."""

    def register(model: Any) -> Any:
        CASES[model.__name__.strip("_")] = Written(model, params, inputs)
        return model

    return register


# -- functions


@case({name: floats(8, 8) for name in "qkv"}, floats(3, 5, 8), RNG.random((3, 5)) < 0.7)
def masked_attention(p: Any, x: Any, mask: Any) -> Any:
    q, k, v = (jnp.reshape(x @ p[name], (*x.shape[:2], 2, 4)) for name in "qkv")
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2
    seen = jnp.tril(jnp.ones((5, 5), bool)) & mask[:, None, None, :]
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(jnp.where(seen, scores, -1e9)), v).reshape(x.shape)


@case({"w": floats(3, 3, 2, 8)}, floats(2, 9, 8, 4))
def dilated_grouped_conv(p: Any, x: Any) -> Any:
    options: Any = {"rhs_dilation": (2, 1), "feature_group_count": 2, "dimension_numbers": IMAGES}
    return lax.conv_general_dilated(x, p["w"], (1, 2), "SAME", **options)


@case({"w": floats(3, 3, 2, 6)}, floats(2, 5, 6, 4))
def spread_grouped_conv(p: Any, x: Any) -> Any:
    """Cells apart, with groups, a stride and wide borders."""
    options: Any = {"lhs_dilation": (2, 3), "rhs_dilation": (1, 2), "feature_group_count": 2}
    return lax.conv_general_dilated(x, p["w"], (2, 1), [(4, 6), (0, 3)], dimension_numbers=IMAGES, **options)


@case({"w": floats(3, 3)}, floats(4, 6, 3))
def cumulative(p: Any, x: Any) -> Any:
    y = jnp.tanh(x @ p["w"])
    return {
        "sum": jnp.cumsum(y, 1), "product": jnp.cumprod(y, 1), "most": lax.cummax(y, 1),
        "least": lax.cummin(y, 1, reverse=True), "logs": lax.cumlogsumexp(y, 2),
    }  # fmt: skip


@case({"w": floats(3, 7)}, floats(4, 3))
def sorted_by_size(p: Any, x: Any) -> Any:
    y = x @ p["w"]
    (top, where), order = lax.top_k(y, 3), jnp.argsort(y, axis=-1)
    return {
        "sorted": jnp.sort(y, -1), "down": jnp.sort(y, -1, descending=True), "top": top, "where": where,
        "order": order, "taken": jnp.take_along_axis(y, order[:, :2], 1), "median": jnp.median(y, -1),
        "quantile": jnp.quantile(y, 0.3, axis=-1),
    }  # fmt: skip


@case({"table": floats(7, 4)}, places(7, 3, 5))
def embedding_and_one_hot(p: Any, tokens: Any) -> Any:
    return p["table"][tokens] + jax.nn.one_hot(tokens, 7) @ jnp.tanh(p["table"])


@case({"w": floats(3, 6)}, floats(5, 3), places(6, 5))
def losses_of_optax(p: Any, x: Any, y: Any) -> Any:
    scores = x @ p["w"]
    return {
        "likelihood": -jnp.take_along_axis(jax.nn.log_softmax(scores), y[:, None], axis=1)[:, 0],
        "entropy": optax.softmax_cross_entropy_with_integer_labels(scores, y),
        "logs": jax.scipy.special.logsumexp(scores, axis=1, b=jnp.arange(1.0, 7)),
        "huber": optax.huber_loss(scores, jnp.ones_like(scores)),
        "binary": optax.sigmoid_binary_cross_entropy(scores, jnp.ones_like(scores)),
        "cosine": optax.cosine_similarity(scores, scores[:, ::-1]),
        "picked": scores[jnp.arange(scores.shape[0]), y],
    }


@case({"w": floats(6, 6)}, floats(4, 7, 6), places(6, 4, 2))
def gathers(p: Any, x: Any, at: Any) -> Any:
    y, n = x @ p["w"], jnp.arange(x.shape[0])
    return {
        "pairs": y[n, at[:, 0], at[:, 1]], "rows": y[n, at[:, 0]], "cells": y[:, at[0], at[0, ::-1]],
        "apart": y[:, at[0], :, None][..., 0], "outer": y[:, at[0][:, None], jnp.array([[1, 2, 3]])],
        "known": y[:, [0, 2], [1, 3]], "cut": y[:, at[0], 2:4],
        "filled": jnp.take(y, at[0] * 3, axis=1, mode="fill", fill_value=0.5),
        "clipped": jnp.take(y, at[0] * 3, axis=1, mode="clip"),
        "largest": jnp.take_along_axis(y, jnp.argmax(y, 1, keepdims=True), 1),
        "windows": jax.vmap(lambda r, k: lax.dynamic_slice(r, (k[0], k[1]), (2, 3)))(y, at),
    }  # fmt: skip


@case({"w": floats(6, 6)}, floats(4, 6), places(6, 4, 4))
def slices_that_move(p: Any, x: Any, at: Any) -> Any:
    y, first = jnp.asarray(x @ p["w"]), at[0, 0]
    return {
        "read": lax.dynamic_slice_in_dim(y, first, 3, 1),
        "row": jax.vmap(lambda r, k: lax.dynamic_slice(r, (k,), (2,)))(y, at[:, 0]),
        "known": lax.dynamic_update_slice(y, y[:, :3] * 2, (0, 2)),
        "written": lax.dynamic_update_slice_in_dim(y, y[:, :2], first, 1),
        "each": jax.vmap(lambda r, k: lax.dynamic_update_slice(r, r[:2] * 3, (k[0],)))(y, at),
        "column": y.at[:, 2].set(y[:, 0] * 2), "added": y.at[:, 1::2].add(1.0), "times": y.at[:, :2].multiply(2.0),
    }  # fmt: skip


@case({"w": floats(4, 6)}, floats(3, 4), places(3, 3))
def segments(p: Any, x: Any, which: Any) -> Any:
    y = x @ p["w"]
    sums = jax.ops.segment_sum(y, which, num_segments=3)
    return {"back": sums[which], "counts": jnp.zeros(6).at[jnp.argmax(y, -1)].add(1.0)}


@jax.custom_jvp
def softer(x: Any) -> Any:
    return jnp.log1p(jnp.exp(-jnp.abs(x))) + jnp.maximum(x, 0)


softer.defjvps(lambda tangent, y, x: tangent * jax.nn.sigmoid(x))


@jax.custom_vjp
def cubed(x: Any) -> Any:
    return x**3


cubed.defvjp(lambda x: (x**3, x), lambda x, slope: (3 * x * x * slope,))


@case({"w": floats(3, 3)}, floats(4, 3))
def own_rules_and_checkpoints(p: Any, x: Any) -> Any:
    block = jax.checkpoint(lambda y: jnp.sin(y @ p["w"]) + y)
    return softer(block(block(x))) + cubed(x @ p["w"])


@case({"w": floats(4, 3, 3), "b": floats(4, 3)}, floats(5, 3))
def mapped_and_stacked_layers(p: Any, x: Any) -> Any:
    mean = jax.vmap(lambda w, b: jnp.tanh(x @ w + b))(p["w"], p["b"]).mean(0)
    return lax.scan(lambda h, q: (jnp.tanh(h @ q["w"] + q["b"]) + h, None), mean, p)[0]


@case({"w": floats(3, 16), "u": floats(4, 16), "b": floats(16)}, floats(2, 6, 3))
def lstm(p: Any, x: Any) -> Any:
    def step(state: Any, row: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(row @ p["w"] + h @ p["u"] + p["b"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[0], 4))
    return lax.scan(step, (zeros, zeros), x.swapaxes(0, 1))[1].swapaxes(0, 1)


@case({"w": floats(3, 3)}, floats(4, 3))
def forces(p: Any, x: Any) -> Any:
    """The gradient of an energy."""
    return -jax.grad(lambda r: jnp.sum(jax.nn.softplus(jnp.tanh(r @ p["w"])) ** 2))(x)


@case({"w": floats(5, 5)}, floats(6, 5))
def distances(p: Any, x: Any) -> Any:
    y = x @ p["w"]
    apart = jnp.linalg.norm(y[:, :, None] - y[:, None, :] + jnp.eye(5), axis=-1)
    return {"apart": apart, "near": jnp.argmin(apart, -1), "spread": jnp.var(y, -1, ddof=1), "std": jnp.std(y, -1)}


@case({"w": floats(4, 6)}, floats(3, 4))
def elementary(p: Any, x: Any) -> Any:
    y = x @ p["w"]
    functions = (
        jax.nn.gelu, partial(jax.nn.gelu, approximate=False), jax.nn.mish, jax.nn.selu, jax.nn.glu, jax.nn.relu6,
        jax.nn.log_sigmoid, jax.nn.squareplus, jnp.cbrt, jnp.sinc, jnp.exp2, jnp.expm1, jax.nn.sparse_plus,
        jax.nn.standardize, jax.nn.hard_tanh, jnp.trunc, partial(jnp.hypot, 1.0), partial(jnp.arctan2, 1.0),
        partial(jnp.logaddexp, 1.0), lambda z: jnp.mod(z, -1.5), lambda z: jnp.abs(z) ** 1.5, jnp.nan_to_num,
    )  # fmt: skip
    return jnp.concatenate([function(y) for function in functions], -1)


@case({"w": floats(4, 6)}, floats(3, 4))
def moved(p: Any, x: Any) -> Any:
    y = x @ p["w"]
    a, b = jnp.split(y, [2], axis=1)
    parts = [
        jnp.roll(y, 2, 1), jnp.repeat(b, 2, 1), jnp.pad(b, ((0, 0), (1, 2)), mode="reflect"),
        jnp.pad(b, ((0, 0), (1, 2)), mode="edge"), y[:, ::-2],
        y[:, jnp.array([3, 0, 0])], jnp.diff(y, axis=1), jnp.kron(a, jnp.ones((1, 2))),
        jnp.triu(jnp.einsum("ni,nj->nij", y, y), 1).reshape(x.shape[0], -1),
        jnp.select([y > 1, y > 0], [y * 2, y * 3], 0.0), jnp.interp(a, jnp.array([-1.0, 0, 1]), jnp.array([0.0, 3, 4])),
    ]  # fmt: skip
    return jnp.concatenate(parts, 1)


@case({"a": floats(4), "b": floats(4)}, floats(3, 8, 4))
def linear_recurrence(p: Any, x: Any) -> Any:
    decay = jax.nn.sigmoid(p["a"]) * jnp.ones_like(x)
    joined = lambda one, two: (one[0] * two[0], two[0] * one[1] + two[1])  # noqa: E731
    return lax.associative_scan(joined, (decay, x * p["b"]), axis=1)[1]


@case({"w": floats(6, 4)}, floats(3, 6))
def rotary(p: Any, x: Any) -> Any:
    y = (x @ p["w"]).reshape(x.shape[0], 2, 2)
    angle = jnp.arange(2.0)[:, None] / 10 ** jnp.arange(1)
    a, b = y[..., ::2], y[..., 1::2]
    return jnp.stack([a * jnp.cos(angle) - b * jnp.sin(angle), a * jnp.sin(angle) + b * jnp.cos(angle)], -1)


@case({"k": floats(2, 2, 3, 3)}, floats(2, 4, 5, 3))
def larger_pictures(p: Any, x: Any) -> Any:
    size = (x.shape[0], 8, 10, 3)
    spread = lax.conv_transpose(x, p["k"], (2, 2), "SAME")
    return spread + jax.image.resize(x, size, "nearest") + jax.image.resize(x, size, "bilinear")


@case({"w": floats(3)}, floats(2, 8, 8, 3))
def patches(p: Any, x: Any) -> Any:
    cut = lax.conv_general_dilated_patches(x * p["w"], (4, 4), (4, 4), "VALID", dimension_numbers=IMAGES)
    return jnp.concatenate(
        [cut, x.reshape(x.shape[0], 2, 4, 2, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(cut.shape)], -1
    )


@case({"w": floats(4, 4)}, floats(3, 4))
def reductions(p: Any, x: Any) -> Any:
    y = (x @ p["w"]).reshape(x.shape[0], 2, 2)
    return {
        "any": jnp.any(y > 0, 1), "first": jnp.argmax(y > 0, 1), "product": jnp.prod(y, 2),
        "count": jnp.sum(y > 0, 1), "trace": jnp.trace(y, axis1=1, axis2=2), "same": jnp.sum(y, ()),
        "bin": jnp.searchsorted(jnp.array([-1.0, 0, 1]), y[:, 0]), "diagonal": jnp.diagonal(y, axis1=1, axis2=2),
    }  # fmt: skip


# -- modules of linen


class Block(linen.Module):  # type: ignore[misc]
    size: int

    @linen.compact
    def __call__(self, x: Any, _: Any) -> Any:
        return x + linen.tanh(linen.Dense(self.size)(x)), None


@case(None, places(11, 2, 6))
class LanguageModel(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, tokens: Any) -> Any:
        x = linen.Embed(11, 8)(tokens) + self.param("positions", linen.initializers.normal(), (6, 8))
        attention = linen.MultiHeadDotProductAttention(2)
        x = x + attention(linen.LayerNorm()(x), mask=linen.make_causal_mask(tokens))
        x = x + linen.Dense(8)(linen.gelu(linen.Dense(16)(linen.LayerNorm(use_bias=False)(x))))
        return linen.Embed(11, 8, name="out").attend(linen.RMSNorm()(x))


@case(None, floats(2, 8, 8, 4))
class ConvNext(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        y = linen.LayerNorm(epsilon=1e-6)(linen.Conv(4, (7, 7), feature_group_count=4)(x))
        x = x + linen.Dense(4)(linen.gelu(linen.Dense(16)(y))) * self.param("gamma", linen.initializers.ones, (4,))
        x = linen.Conv(6, (3, 3), kernel_dilation=2, padding="CIRCULAR")(x)
        return x * linen.sigmoid(linen.Dense(6)(linen.relu(linen.Dense(2)(x.mean((1, 2))))))[:, None, None]


@case(None, floats(2, 6, 3))
class ScannedCell(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        scanned = linen.scan(
            linen.OptimizedLSTMCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1
        )
        cell = scanned(5, param_dtype=np.float64)
        (_, h), y = cell(cell.initialize_carry(jax.random.key(0), x[:, 0].shape), x)
        return linen.Dense(2)(y), h


@case(None, floats(2, 6, 3), places(5, 2) + 1)
class RaggedRecurrence(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any, lengths: Any) -> Any:
        carry, y = linen.RNN(linen.GRUCell(4, param_dtype=np.float64), return_carry=True)(x, seq_lengths=lengths)
        return y, carry


@case(None, floats(2, 12, 4), floats(2, 7, 4))
class CrossAttention(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any, z: Any) -> Any:
        y = linen.MultiHeadDotProductAttention(2, qkv_features=8, out_features=4)(x, z)
        y = linen.Conv(4, (3,), strides=2, padding="CAUSAL")(linen.GroupNorm(2)(y + x))
        return linen.avg_pool(y, (2,), (2,)), linen.ConvTranspose(3, (4,), (2,))(y)


@case(None, floats(4, 6))
class Experts(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        every = jnp.einsum("nd,edh->neh", x, self.param("w", linen.initializers.normal(1.0), (3, 6, 4)))
        value, which = lax.top_k(linen.softmax(linen.Dense(3)(x)), 2)
        return (jnp.take_along_axis(every, which[..., None], 1) * value[..., None]).sum(1)


@case(None, floats(4, 6))
class Lifted(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        axes: Any = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        x, _ = linen.scan(linen.remat(Block), length=3, **axes)(6)(x, None)
        heads = linen.vmap(linen.Dense, in_axes=None, out_axes=0, axis_size=3, **axes)
        return heads(4)(x).transpose(1, 0, 2)


# -- modules of nnx and equinox


@case(None, places(9, 2, 6))
class Tagger(nnx.Module):  # type: ignore[misc]
    def __init__(self, rngs: Any) -> None:
        options: Any = {"rngs": rngs, "param_dtype": np.float64, "dtype": np.float64}
        self.embed = nnx.Embed(9, 6, **options)
        self.gru = nnx.RNN(nnx.GRUCell(6, 5, **options))
        self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(5, 4, **options), reverse=True, keep_order=True)
        self.norm = nnx.LayerNorm(4, **options)
        self.dense = nnx.LoRALinear(4, 3, lora_rank=2, **options)

    def __call__(self, tokens: Any) -> Any:
        return self.dense(self.norm(self.lstm(self.gru(self.embed(tokens)))))


@case(None, floats(3, 4))
class Layers(nnx.Module):  # type: ignore[misc]
    def __init__(self, rngs: Any) -> None:
        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=0, out_axes=0)
        def made(each: Any) -> Any:
            return nnx.Linear(4, 4, rngs=each, param_dtype=np.float64)

        self.layers = made(rngs)

    def __call__(self, x: Any) -> Any:
        step = nnx.scan(lambda y, layer: jnp.tanh(layer(y)) + y, in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        return step(x, self.layers)


@case(None, floats(3, 6, 3))
class Cells(eqx.Module):  # type: ignore[misc]
    gru: Any
    lstm: Any

    def __init__(self, key: Any) -> None:
        self.gru, self.lstm = eqx.nn.GRUCell(3, 5, key=key), eqx.nn.LSTMCell(5, 4, key=key)

    def __call__(self, x: Any) -> Any:
        def step(state: Any, row: Any) -> Any:
            h = self.gru(row, state[0])
            inner = self.lstm(h, state[1])
            return (h, inner), inner[0]

        return lax.scan(step, (jnp.zeros(5), (jnp.zeros(4), jnp.zeros(4))), x)[1]


@case(None, floats(3, 2, 8, 8))
class Pictures(eqx.Module):  # type: ignore[misc]
    layers: list[Any]
    attention: Any

    def __init__(self, key: Any) -> None:
        self.layers = [
            eqx.nn.Conv2d(2, 4, 3, padding=1, groups=2, key=key), jax.nn.relu, eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Conv2d(4, 4, 3, dilation=2, padding="SAME", key=key), eqx.nn.GroupNorm(2, 4),
            eqx.nn.ConvTranspose2d(4, 3, 3, 2, padding=1, output_padding=1, key=key),
            eqx.nn.AdaptiveAvgPool2d(2), eqx.nn.PReLU(),
        ]  # fmt: skip
        self.attention = eqx.nn.MultiheadAttention(2, 4, key=key)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        tokens = x.reshape(3, 4)
        return self.attention(tokens, tokens, tokens, mask=jnp.tril(jnp.ones((3, 3), bool)))


@case(None, places(9, 3, 5))
class Tokens(eqx.Module):  # type: ignore[misc]
    parts: list[Any]

    def __init__(self, key: Any) -> None:
        mlp = eqx.nn.MLP(4, 3, 8, 2, activation=jax.nn.swish, key=key)
        self.parts = [eqx.nn.Embedding(9, 4, key=key), eqx.nn.RotaryPositionalEmbedding(4), eqx.nn.RMSNorm(4), mlp]

    def __call__(self, tokens: Any) -> Any:
        embed, turn, norm, mlp = self.parts
        return jax.vmap(mlp)(jax.vmap(norm)(turn(jax.vmap(embed)(tokens))))


# -- made


class Made(NamedTuple):
    """A case to run.

    Attributes:
        model: the function or module, as ``from_jax`` takes it.
        variables: its variables, which a module of nnx or equinox has inside.
        run: the outputs for variables and inputs.
    """

    model: Any
    variables: Any
    run: Callable[..., Any]


def made(written: Written) -> Made:
    """The model with parameters of double precision that are none of them 0."""
    model, params, inputs = written
    if not isinstance(model, type):
        return Made(model, params, model)
    rng = np.random.default_rng(0)
    if issubclass(model, linen.Module):
        module: Any = model()
        variables = jax.tree.map(
            lambda each: np.asarray(each + np.abs(rng.standard_normal(each.shape)) / 3, np.float64),
            module.init(jax.random.key(0), *inputs),
        )
        return Made(module, variables, module.apply)
    if issubclass(model, nnx.Module):
        module = model(nnx.Rngs(0))
        return Made(module, None, lambda _, *x: module(*x))
    module = jax.tree.map(
        lambda each: each.astype(np.float64) if eqx.is_inexact_array(each) else each, model(jax.random.key(0))
    )
    return Made(module, None, lambda _, *x: jax.vmap(module)(*x))
