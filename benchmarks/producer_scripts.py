"""Functions with branches and loops, and networks of TensorFlow, JAX and Paddle, which ``producer_files`` exports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]


def real(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


# -- scripted modules; TorchScript reads their source, without annotations that it does not know


def _branch() -> tuple[Any, Sequence[Array]]:
    import torch

    class Branch(torch.nn.Module):
        def __init__(self):  # type: ignore[no-untyped-def]
            super().__init__()
            self.low, self.high = torch.nn.Linear(6, 5), torch.nn.Linear(6, 5)

        def forward(self, x):  # type: ignore[no-untyped-def]
            if bool(x.sum() > 0):  # noqa: SIM108 - TorchScript
                y = torch.relu(self.high(x))
            else:
                y = self.low(x) * 0.5
            return y

    return Branch(), [real(4, 6)]


def _while() -> tuple[Any, Sequence[Array]]:
    import torch

    class Halved(torch.nn.Module):
        def __init__(self):  # type: ignore[no-untyped-def]
            super().__init__()
            self.out = torch.nn.Linear(6, 6)

        def forward(self, x):  # type: ignore[no-untyped-def]
            while bool(x.abs().max() > 0.5):
                x = self.out(x) * 0.4
            return x

    return Halved(), [real(4, 6)]


def _steps() -> tuple[Any, Sequence[Array]]:
    import torch

    class Steps(torch.nn.Module):
        def __init__(self):  # type: ignore[no-untyped-def]
            super().__init__()
            self.into, self.on = torch.nn.Linear(6, 8), torch.nn.Linear(8, 8)

        def forward(self, x):  # type: ignore[no-untyped-def]
            h = torch.zeros(1, 8)
            for t in range(x.size(0)):
                h = torch.tanh(self.into(x[t : t + 1]) + self.on(h))
            return h

    return Steps(), [real(9, 6)]


def _both() -> tuple[Any, Sequence[Array]]:
    import torch

    class Both(torch.nn.Module):
        def __init__(self):  # type: ignore[no-untyped-def]
            super().__init__()
            self.a, self.b = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)

        def forward(self, x):  # type: ignore[no-untyped-def]
            y = torch.tanh(self.a(x))
            if bool(y.mean() < 5):
                for _ in range(20):
                    y = y + torch.sigmoid(self.b(y)) * 0.1
            else:
                y = y - x
            return y

    return Both(), [real(4, 6)]


SCRIPTS: Final[dict[str, Callable[[], Any]]] = {"branch": _branch, "while": _while, "steps": _steps, "both": _both}


# -- torch.cond and the like


def _cond() -> tuple[Any, Sequence[Array]]:
    import torch

    class Cond(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low, self.high = torch.nn.Linear(6, 5), torch.nn.Linear(6, 5)

        def forward(self, x: Any) -> Any:
            return torch.cond(x.sum() > 0, lambda x: self.high(x).relu(), lambda x: self.low(x).sigmoid(), (x,))

    return Cond(), [real(4, 6)]


def _nested() -> tuple[Any, Sequence[Array]]:
    import torch

    class Nested(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (torch.nn.Linear(6, 6) for _ in range(3))

        def forward(self, x: Any) -> Any:
            def inner(x: Any) -> Any:
                return torch.cond(x.mean() > 0.1, lambda x: self.a(x).sin(), lambda x: self.b(x).cos(), (x,))

            return torch.cond(x.max() > 0, inner, lambda x: self.c(x), (x,)) + x

    return Nested(), [real(4, 6)]


def _while_loop() -> tuple[Any, Sequence[Array]]:
    import torch
    from torch._higher_order_ops import while_loop

    class While(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.on = torch.nn.Linear(6, 6)

        def forward(self, x: Any) -> Any:
            def turn(n: Any, x: Any) -> Any:
                return n + 1, torch.tanh(self.on(x))

            return while_loop(lambda n, x: n < 20, turn, (torch.tensor(0), x))[1]

    return While(), [real(4, 6)]


def _scan() -> tuple[Any, Sequence[Array]]:
    import torch
    from torch._higher_order_ops.scan import scan

    class Scan(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.on = torch.nn.Linear(6, 8), torch.nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            def step(h: Any, x: Any) -> Any:
                h = torch.tanh(self.into(x) + self.on(h))
                return h, h.clone()

            return scan(step, torch.zeros(4, 8), x, dim=0)[1]

    return Scan(), [real(9, 4, 6)]


HIGHER: Final[dict[str, Callable[[], Any]]] = {"cond": _cond, "nested": _nested, "while": _while_loop, "scan": _scan}


# -- TensorFlow: a function, its signature, inputs


def _keras(layers: Callable[[Any], list[Any]], *shape: int) -> tuple[Any, Any, Sequence[Array]]:
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential([tf.keras.Input(shape), *layers(tf.keras.layers)])
    function = tf.function(lambda x: model(x, training=False))
    return function, [tf.TensorSpec((None, *shape), tf.float32, "x")], [real(4, *shape)]


def _tf_attention() -> tuple[Any, Any, Sequence[Array]]:
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    x = tf.keras.Input((7, 16))
    h = tf.keras.layers.LayerNormalization()(x + tf.keras.layers.MultiHeadAttention(4, 4)(x, x))
    model = tf.keras.Model(x, tf.keras.layers.Dense(5, "swish")(h))
    function = tf.function(lambda x: model(x, training=False))
    return function, [tf.TensorSpec((None, 7, 16), tf.float32, "x")], [real(4, 7, 16)]


def _tf_while() -> tuple[Any, Any, Sequence[Array]]:
    import tensorflow as tf

    @tf.function
    def function(x: Any) -> Any:
        weight = tf.constant(real(6, 6) / 3)
        return tf.while_loop(lambda n, x: n < 20, lambda n, x: (n + 1, tf.tanh(x @ weight)), (tf.constant(0), x))[1]

    return function, [tf.TensorSpec((None, 6), tf.float32, "x")], [real(4, 6)]


TENSORFLOW: Final[dict[str, Callable[[], Any]]] = {
    "conv": lambda: _keras(
        lambda of: [
            of.Conv2D(8, 3, strides=2, padding="same"), of.BatchNormalization(), of.ReLU(), of.DepthwiseConv2D(3),
            of.UpSampling2D(interpolation="bilinear"), of.GlobalAveragePooling2D(), of.Dense(5, "softmax"),
        ],
        13, 13, 3,
    ),
    "lstm": lambda: _keras(lambda of: [of.LSTM(12, return_sequences=True), of.GRU(8), of.Dense(5)], 7, 6),
    "attention": _tf_attention,
    "while": _tf_while,
}  # fmt: skip


# -- JAX: a function, inputs


def _jax_mlp() -> tuple[Any, Sequence[Array]]:
    from flax import nnx

    rngs = nnx.Rngs(0)
    return nnx.Sequential(nnx.Linear(6, 16, rngs=rngs), nnx.gelu, nnx.LayerNorm(16, rngs=rngs)), [real(4, 6)]


def _jax_conv() -> tuple[Any, Sequence[Array]]:
    import jax

    weight, out = real(3, 3, 3, 8), real(8, 5)

    def function(x: Any) -> Any:
        h = jax.lax.conv_general_dilated(x, weight, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.softmax(jax.nn.silu(h).mean((1, 2)) @ out)

    return function, [real(4, 12, 12, 3)]


def _jax_scan() -> tuple[Any, Sequence[Array]]:
    import jax
    import jax.numpy as jnp

    into, on = real(6, 8), real(8, 8) / 3

    def function(x: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = jnp.tanh(x @ into + h @ on)
            return h, h

        return jax.lax.scan(step, jnp.zeros((4, 8)), x)[1]

    return function, [real(9, 4, 6)]


def _jax_cond() -> tuple[Any, Sequence[Array]]:
    import jax
    import jax.numpy as jnp

    weight = real(6, 6)

    def function(x: Any) -> Any:
        return jax.lax.cond(x.sum() > 0, lambda x: jnp.tanh(x @ weight), lambda x: x * 2 - 1, x)

    return function, [real(4, 6)]


JAX: Final[dict[str, Callable[[], Any]]] = {"mlp": _jax_mlp, "conv": _jax_conv, "scan": _jax_scan, "cond": _jax_cond}


# -- Paddle: a layer, its signature, inputs


def _paddle_conv() -> tuple[Any, Any, Sequence[Array]]:
    import paddle
    from paddle import nn

    layers = (
        nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8), nn.Hardswish(), nn.MaxPool2D(2),
        nn.Conv2DTranspose(8, 8, 2, 2), nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(8, 5), nn.Softmax(),
    )  # fmt: skip
    return nn.Sequential(*layers), [paddle.static.InputSpec([-1, 3, 12, 12], "float32", "x")], [real(4, 3, 12, 12)]


def _paddle_lstm() -> tuple[Any, Any, Sequence[Array]]:
    import paddle
    from paddle import nn

    class Tagger(nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(6, 8, direction="bidirect"), nn.Linear(16, 5)

        def forward(self, x: Any) -> Any:
            return self.out(self.lstm(x)[0])

    return Tagger(), [paddle.static.InputSpec([-1, 7, 6], "float32", "x")], [real(4, 7, 6)]


PADDLE: Final[dict[str, Callable[[], Any]]] = {"conv": _paddle_conv, "lstm": _paddle_lstm}
