"""The weights of one model in another of the same architecture, in another code base or under other names.

Both have random weights. Those of the first are carried into the second, and each code base then computes the same with
its own code. Weights come into the second by their numbers, which are all different, so no layout is known here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")

import portable_nn as pnn
from portable_nn.converters.transfer import import_weights
from portable_nn.core.errors import UsageError, VerificationError
from portable_nn.operators import Array

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

torch: Any = pytest.importorskip("torch")
keras: Any = pytest.importorskip("keras")
linen: Any = pytest.importorskip("flax.linen")
nnx: Any = pytest.importorskip("flax.nnx")

PICTURE: Final = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype("float32")
STEPS: Final = np.random.default_rng(1).normal(size=(2, 6, 5)).astype("float32")
WORDS: Final = np.random.default_rng(2).integers(0, 20, size=(2, 7)).astype("int64")
ROWS: Final = np.random.default_rng(3).normal(size=(2, 8)).astype("float32")


class Model(NamedTuple):
    """A model of a code base: the network that it is read as, its own forward, and what puts weights into it."""

    network: pnn.Network
    forward: Callable[[Array], Array]
    put: Callable[[Callable[[Array], Array]], None]


Make: TypeAlias = Callable[[Array], Model]


def drawn(seed: int) -> Callable[[str, Any], Array]:
    """Random numbers for one weight after the other, none of them twice; those of variances are above 0."""
    rng = np.random.default_rng(seed)
    numbers = iter(rng.permutation(2**18) / 2**18)

    def draw(name: str, shape: Any) -> Array:
        found = np.array([next(numbers) for _ in range(int(np.prod(shape)))], "float32").reshape(shape)
        return found + 1 if "var" in name else found - 0.5

    return draw


def of_torch(build: Callable[[], Any]) -> Make:
    def make(x: Array) -> Model:
        from portable_nn.converters.torch import from_torch

        module, draw = build().eval(), drawn(1)

        def put(new: Callable[[Array], Array]) -> None:
            state = module.state_dict()
            module.load_state_dict(
                {k: torch.tensor(new(v.numpy())) if v.is_floating_point() else v for k, v in state.items()}
            )

        names = iter(k for k, v in module.state_dict().items() if v.is_floating_point())
        put(lambda array: draw(next(names), array.shape))

        def forward(x: Array) -> Array:
            with torch.no_grad():
                return module(torch.from_numpy(x)).numpy()

        return Model(from_torch(module, torch.from_numpy(x[:1]), verify=False), forward, put)

    return make


def channels_last(x: Array) -> Array:
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def of_keras(build: Callable[[Any], Any]) -> Make:
    def make(x: Array) -> Model:
        from portable_nn.converters.keras import from_keras

        given = keras.Input(channels_last(x).shape[1:], dtype="int32" if x.dtype == np.int64 else "float32")
        model, draw = keras.Model(given, build(given)), drawn(2)
        for each in model.weights:
            each.assign(draw(each.path, each.shape))

        def put(new: Callable[[Array], Array]) -> None:
            for each in model.weights:
                each.assign(new(keras.ops.convert_to_numpy(each)))

        def forward(x: Array) -> Array:
            return keras.ops.convert_to_numpy(model(channels_last(x)))

        return Model(from_keras(model, verify=False), forward, put)

    return make


def of_linen(module: Any) -> Make:
    def make(x: Array) -> Model:
        import jax

        from portable_nn.converters.jax import from_jax

        x = channels_last(x[:1])
        example = x.astype("int32") if x.dtype == np.int64 else x
        draw = drawn(3)
        held = [jax.tree_util.tree_map_with_path(
            lambda path, array: draw(str(path[-1]), array.shape), module.init(jax.random.key(0), example)
        )]  # fmt: skip

        def put(new: Callable[[Array], Array]) -> None:
            held[0] = jax.tree.map(lambda array: new(np.asarray(array)), held[0])

        return Model(
            from_jax(module, held[0], example, verify=False).network,
            lambda x: np.asarray(module.apply(held[0], channels_last(x))),
            put,
        )

    return make


def of_nnx(build: Callable[[Any], Any]) -> Make:
    def make(x: Array) -> Model:
        import jax

        from portable_nn.converters.jax import from_jax

        model, draw = build(nnx.Rngs(0)), drawn(4)
        model.eval()

        def put(new: Callable[[Array], Array]) -> None:
            state = nnx.state(model, (nnx.Param, nnx.BatchStat))
            nnx.update(model, jax.tree.map(lambda array: jax.numpy.asarray(new(np.asarray(array))), state))

        paths = [str(path[-1]) for path, _ in nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))]
        names = iter(paths)
        put(lambda array: draw(next(names), array.shape))
        example = channels_last(x[:1])
        return Model(
            from_jax(model, example=example, verify=False).network,
            lambda x: np.asarray(model(channels_last(x))),
            put,
        )

    return make


# -- the architectures in each code base


nn = torch.nn


class Fork(nn.Module):
    """A module whose parts have the names that are given, defined in the order that is given."""

    def __init__(self, run: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Any) -> Any:
        return self.run(self, x)


def fork(run: Callable[..., Any], parts: Callable[[], Mapping[str, Any]]) -> Make:
    return of_torch(lambda: Fork(run, **parts()))


# multilayer perceptrons: square matrices, whose layout no shape tells


def torch_mlp() -> Any:
    return nn.Sequential(
        nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)
    )


def keras_mlp(x: Any) -> Any:
    for activation in ("relu", "tanh", "relu"):
        x = keras.layers.Dense(8, activation=activation)(x)
    return keras.layers.Dense(4)(x)


class LinenMlp(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        for activation in (linen.relu, linen.tanh, linen.relu):
            x = activation(linen.Dense(8)(x))
        return linen.Dense(4)(x)


class NnxMlp(nnx.Module):
    def __init__(self, rngs: Any) -> None:
        self.head = nnx.Linear(8, 4, rngs=rngs)
        self.c, self.b, self.a = (nnx.Linear(8, 8, rngs=rngs) for _ in range(3))

    def __call__(self, x: Any) -> Any:
        return self.head(nnx.relu(self.c(nnx.tanh(self.b(nnx.relu(self.a(x)))))))


FORKED_MLP = fork(
    lambda m, x: m.out(torch.relu(m.first(torch.tanh(m.second(torch.relu(m.third(x))))))),
    lambda: {
        "out": nn.Linear(8, 4), "first": nn.Linear(8, 8), "second": nn.Linear(8, 8), "third": nn.Linear(8, 8)
    },
)  # fmt: skip


# convolutions with batch normalization, and what they make flattened


def torch_cnn() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6, eps=1e-3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6, eps=1e-3), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1),
        nn.BatchNorm2d(6, eps=1e-3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5),
    )  # fmt: skip


def keras_cnn(x: Any) -> Any:
    layers = keras.layers
    for block in range(3):
        x = layers.Conv2D(6, 3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D(2)(x) if block == 0 else x
    return layers.Dense(5)(layers.Flatten()(x))


class LinenCnn(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        for block in range(3):
            x = linen.Conv(6, (3, 3))(x)
            x = linen.relu(linen.BatchNorm(use_running_average=True, epsilon=1e-3)(x))
            x = linen.max_pool(x, (2, 2), (2, 2)) if block == 0 else x
        return linen.Dense(5)(x.reshape((x.shape[0], -1)))


class NnxCnn(nnx.Module):
    def __init__(self, rngs: Any) -> None:
        self.norms = nnx.List([nnx.BatchNorm(6, epsilon=1e-3, rngs=rngs) for _ in range(3)])
        self.convs = nnx.List([nnx.Conv(size, 6, (3, 3), rngs=rngs) for size in (3, 6, 6)])
        self.dense = nnx.Linear(96, 5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        for block in range(3):
            x = nnx.relu(self.norms[block](self.convs[block](x)))
            x = nnx.max_pool(x, (2, 2), (2, 2)) if block == 0 else x
        return self.dense(x.reshape((x.shape[0], -1)))


def _forked_cnn(m: Any, x: Any) -> Any:
    x = torch.relu(m.norm_b(m.conv_c(x)))
    x = nn.functional.max_pool2d(x, 2)
    x = torch.relu(m.norm_c(m.conv_a(x)))
    x = torch.relu(m.norm_a(m.conv_b(x)))
    return m.classifier(x.flatten(1))


FORKED_CNN = fork(
    _forked_cnn,
    lambda: {
        "classifier": nn.Linear(96, 5), **{f"norm_{n}": nn.BatchNorm2d(6, eps=1e-3) for n in "abc"},
        "conv_a": nn.Conv2d(6, 6, 3, padding=1), "conv_b": nn.Conv2d(6, 6, 3, padding=1),
        "conv_c": nn.Conv2d(3, 6, 3, padding=1),
    },
)  # fmt: skip


# residual blocks: in one the shortcut comes first, in the other last


class Block(nn.Module):
    def __init__(self, size: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(size, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide)
        self.conv2, self.bn2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(size, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Any) -> Any:
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + self.shortcut(x))


RESNET: Final = ((6, 6, 1), (6, 6, 1), (6, 8, 2), (8, 8, 1))


def torch_resnet() -> Any:
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return nn.Sequential(nn.Conv2d(3, 6, 3, 1, 1), *(Block(*sizes) for sizes in RESNET), *pool)


def _forked_block(m: Any, number: int, x: Any) -> Any:
    around = x
    if f"around_{number}" in m._modules:
        around = m._modules[f"around_norm_{number}"](m._modules[f"around_{number}"](x))
    for place in "xy":
        x = m._modules[f"norm_{place}_{number}"](m._modules[f"conv_{place}_{number}"](x))
        x = torch.relu(x if place == "x" else around + x)
    return x


def _forked_resnet(m: Any, x: Any) -> Any:
    x = m.stem(x)
    for number in range(4):
        x = _forked_block(m, number, x)
    return m.fc(x.mean((2, 3)))


def _resnet_parts() -> dict[str, Any]:
    found: dict[str, Any] = {"fc": nn.Linear(8, 4)}
    for number, (size, wide, stride) in reversed([*enumerate(RESNET)]):
        found |= {f"norm_{place}_{number}": nn.BatchNorm2d(wide) for place in "yx"}
        found |= {
            f"conv_y_{number}": nn.Conv2d(wide, wide, 3, 1, 1, bias=False),
            f"conv_x_{number}": nn.Conv2d(size, wide, 3, stride, 1, bias=False),
        }
        if stride > 1:
            found |= {
                f"around_norm_{number}": nn.BatchNorm2d(wide),
                f"around_{number}": nn.Conv2d(size, wide, 1, stride, bias=False),
            }
    return found | {"stem": nn.Conv2d(3, 6, 3, 1, 1)}


def keras_resnet(x: Any) -> Any:
    layers = keras.layers

    def conv(x: Any, wide: int, size: int, stride: int) -> Any:
        x = layers.ZeroPadding2D(size // 2)(x) if size > 1 else x
        x = layers.Conv2D(wide, size, stride, use_bias=False)(x)
        return layers.BatchNormalization(epsilon=1e-5)(x)

    x = layers.Conv2D(6, 3, padding="same")(x)
    for _, wide, stride in RESNET:
        around = conv(x, wide, 1, stride) if stride > 1 else x
        x = conv(layers.ReLU()(conv(x, wide, 3, stride)), wide, 3, 1)
        x = layers.ReLU()(layers.Add()([around, x]))
    return layers.Dense(4)(layers.GlobalAveragePooling2D()(x))


class LinenResnet(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        def conv(x: Any, wide: int, size: int, stride: int) -> Any:
            pad = [(size // 2, size // 2)] * 2
            x = linen.Conv(wide, (size, size), stride, padding=pad, use_bias=False)(x)
            return linen.BatchNorm(use_running_average=True)(x)

        x = linen.Conv(6, (3, 3))(x)
        for _, wide, stride in RESNET:
            around = conv(x, wide, 1, stride) if stride > 1 else x
            x = linen.relu(around + conv(linen.relu(conv(x, wide, 3, stride)), wide, 3, 1))
        return linen.Dense(4)(x.mean((1, 2)))


# recurrent layers


class TorchSteps(nn.Module):
    """Two recurrent layers."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.rnn = kind(5, 6, num_layers=2, batch_first=True, **options)
        self.head = nn.Linear(6 * (1 + self.rnn.bidirectional), 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.rnn(x)[0].mean(1))


class ForkedSteps(nn.Module):
    """The same in two modules, the later one first."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.project = nn.Linear(6, 3)
        self.upper = kind(6, 6, batch_first=True)
        self.lower = kind(5, 6, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.project(self.upper(self.lower(x)[0])[0].mean(1))


def keras_steps(kind: str, *, both: bool = False, **options: Any) -> Callable[[Any], Any]:
    def build(x: Any) -> Any:
        layers = keras.layers
        for _ in range(2):
            layer = getattr(layers, kind)(6, return_sequences=True, **options)
            x = (layers.Bidirectional(layer) if both else layer)(x)
        return layers.Dense(3)(layers.GlobalAveragePooling1D()(x))

    return build


class LinenSteps(linen.Module):
    cell: str

    @linen.compact
    def __call__(self, x: Any) -> Any:
        for _ in range(2):
            x = linen.RNN(getattr(linen, self.cell)(6))(x)
        return linen.Dense(3)(x.mean(1))


# transformers, whose kernels are all alike


class Packed(nn.Module):
    """Queries, keys and values in one product, as PyTorch has them."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.attn(x, x, x, need_weights=False)[0]


class Split(nn.Module):
    """The same in three, in another order."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        for name in reversed(names):
            setattr(self, name, nn.Linear(8, 8))

    def forward(self, x: Any) -> Any:
        q, k, v = (
            self._modules[name](x).reshape(*x.shape[:2], 2, 4).transpose(1, 2) for name in self.names[:3]
        )  # fmt: skip
        out = nn.functional.scaled_dot_product_attention(q, k, v)
        return self._modules[self.names[3]](out.transpose(1, 2).reshape(x.shape))


class TorchTransformer(nn.Module):
    def __init__(self, attention: Callable[[], Any]) -> None:
        super().__init__()
        self.wte = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 3)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "ln2": nn.LayerNorm(8), "down": nn.Linear(8, 8), "up": nn.Linear(8, 8), "ln1": nn.LayerNorm(8),
                "attention": attention(),
            })
            for _ in range(2)
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        x = self.wte(x)
        for block in self.blocks:
            x = x + block["attention"](block["ln1"](x))
            x = x + block["down"](torch.relu(block["up"](block["ln2"](x))))
        return self.head(x.mean(1))


def keras_transformer(x: Any) -> Any:
    layers = keras.layers
    x = layers.Embedding(20, 8)(x)
    for _ in range(2):
        normed = layers.LayerNormalization(epsilon=1e-5)(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(normed, normed)])
        normed = layers.LayerNormalization(epsilon=1e-5)(x)
        x = layers.Add()([x, layers.Dense(8)(layers.Dense(8, activation="relu")(normed))])
    return layers.Dense(3)(layers.GlobalAveragePooling1D()(x))


class LinenTransformer(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.Embed(20, 8)(x)
        for _ in range(2):
            x = x + linen.MultiHeadDotProductAttention(2)(linen.LayerNorm(epsilon=1e-5)(x))
            x = x + linen.Dense(8)(linen.relu(linen.Dense(8)(linen.LayerNorm(epsilon=1e-5)(x))))
        return linen.Dense(3)(x.mean(1))


# depthwise and transposed convolutions


def torch_mobile() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.GroupNorm(2, 8, eps=1e-3), nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 3),
    )  # fmt: skip


def keras_mobile(x: Any) -> Any:
    layers = keras.layers
    x = layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(8, 1)(x))
    x = layers.ReLU()(layers.GroupNormalization(2)(x))
    x = layers.ReLU()(layers.Conv2DTranspose(4, 2, 2)(x))
    return layers.Dense(3)(layers.Flatten()(x))


class LinenMobile(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.Conv(8, (3, 3), feature_group_count=8)(linen.Conv(8, (1, 1))(x))
        x = linen.relu(linen.GroupNorm(2, epsilon=1e-3)(x))
        x = linen.relu(linen.ConvTranspose(4, (2, 2), (2, 2), padding="VALID")(x))
        return linen.Dense(3)(x.reshape((x.shape[0], -1)))


def torch_transformer(attention: Callable[[], Any]) -> Make:
    return of_torch(lambda: TorchTransformer(attention))


MLP: Final = of_torch(torch_mlp), of_keras(keras_mlp), of_linen(LinenMlp()), of_nnx(NnxMlp), FORKED_MLP
CNN: Final = of_torch(torch_cnn), of_keras(keras_cnn), of_linen(LinenCnn()), of_nnx(NnxCnn), FORKED_CNN
RESNETS: Final = (
    of_torch(torch_resnet), of_keras(keras_resnet), of_linen(LinenResnet()), fork(_forked_resnet, _resnet_parts)
)  # fmt: skip
PACKED = torch_transformer(Packed)
QKV = torch_transformer(lambda: Split("query", "key", "value", "output"))
PROJ = torch_transformer(lambda: Split("q_proj", "k_proj", "v_proj", "o_proj"))
KERAS_TRANSFORMER, LINEN_TRANSFORMER = of_keras(keras_transformer), of_linen(LinenTransformer())
LSTM = of_torch(lambda: TorchSteps(nn.LSTM)), of_keras(keras_steps("LSTM")), of_linen(LinenSteps("OptimizedLSTMCell"))
GRU = of_torch(lambda: TorchSteps(nn.GRU)), of_keras(keras_steps("GRU")), of_linen(LinenSteps("GRUCell"))
BOTH = (
    of_torch(lambda: TorchSteps(nn.LSTM, bidirectional=True)), of_keras(keras_steps("LSTM", both=True))
)  # fmt: skip
RNN = of_torch(lambda: TorchSteps(nn.RNN)), of_keras(keras_steps("SimpleRNN"))
MOBILE: Final = of_torch(torch_mobile), of_keras(keras_mobile), of_linen(LinenMobile())

PAIRS: Final[Mapping[str, tuple[Make, Make, Array]]] = {
    "mlp torch keras": (MLP[0], MLP[1], ROWS),
    "mlp torch linen": (MLP[0], MLP[2], ROWS),
    "mlp torch nnx": (MLP[0], MLP[3], ROWS),
    "mlp keras torch": (MLP[1], MLP[4], ROWS),
    "mlp forks": (MLP[0], MLP[4], ROWS),
    "cnn torch keras": (CNN[0], CNN[1], PICTURE),
    "cnn keras torch": (CNN[1], CNN[0], PICTURE),
    "cnn torch linen": (CNN[0], CNN[2], PICTURE),
    "cnn nnx torch": (CNN[3], CNN[4], PICTURE),
    "cnn forks": (CNN[0], CNN[4], PICTURE),
    "resnet torch keras": (RESNETS[0], RESNETS[1], PICTURE),
    "resnet keras torch": (RESNETS[1], RESNETS[3], PICTURE),
    "resnet torch linen": (RESNETS[0], RESNETS[2], PICTURE),
    "resnet forks": (RESNETS[0], RESNETS[3], PICTURE),
    "lstm torch keras": (LSTM[0], LSTM[1], STEPS),
    "lstm keras torch": (LSTM[1], LSTM[0], STEPS),
    "lstm torch linen": (LSTM[0], LSTM[2], STEPS),
    "lstm linen keras": (LSTM[2], LSTM[1], STEPS),
    "lstm forks": (LSTM[0], of_torch(lambda: ForkedSteps(nn.LSTM)), STEPS),
    "lstm both ways torch keras": (*BOTH, STEPS),
    "rnn torch keras": (*RNN, STEPS),
    "gru torch keras": (GRU[0], GRU[1], STEPS),
    "gru keras torch": (GRU[1], of_torch(lambda: ForkedSteps(nn.GRU)), STEPS),
    "gru linen torch": (GRU[2], GRU[0], STEPS),
    "transformer torch keras": (PACKED, KERAS_TRANSFORMER, WORDS),
    "transformer keras torch": (KERAS_TRANSFORMER, PROJ, WORDS),
    "transformer torch linen": (QKV, LINEN_TRANSFORMER, WORDS),
    "transformer linen torch": (LINEN_TRANSFORMER, PACKED, WORDS),
    "transformer forks": (QKV, PROJ, WORDS),
    "transformer packed forks": (PACKED, PROJ, WORDS),
    "mobile torch keras": (MOBILE[0], MOBILE[1], PICTURE),
    "mobile torch linen": (MOBILE[0], MOBILE[2], PICTURE),
}
QUICK: Final = ("mlp forks", "mlp torch keras", "cnn forks", "resnet forks", "lstm forks", "transformer forks")


def carried(before: pnn.Network, after: pnn.Network) -> Callable[[Array], Array]:
    """The new numbers of a weight of a code base, by the places of its old ones, which are all different."""
    old, new = (np.concatenate([x.ravel() for x in net.parameters.values()]) for net in (before, after))
    order = np.argsort(old, kind="stable")

    def of(array: Array) -> Array:
        place = order[np.searchsorted(old, array.ravel(), sorter=order)]
        np.testing.assert_array_equal(old[place], array.ravel())
        return new[place].reshape(array.shape)

    return of


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.quick if name in QUICK else pytest.mark.long) for name in PAIRS]
)
def test_weights_are_those_of_the_other_model(name: str, tmp_path: Path) -> None:
    there, here, x = PAIRS[name]
    theirs, ours = there(x), here(x)
    found = import_weights(theirs.network, into=ours.network, map=tmp_path / "map.json")
    ours.put(carried(ours.network, found.network))
    np.testing.assert_allclose(ours.forward(x), theirs.forward(x), atol=2e-5, rtol=1e-4)
    mapping = json.loads((tmp_path / "map.json").read_text())
    assert mapping.keys() == set(theirs.network.parameters)
    for old, new in mapping.items():  # A transposition that is written is the one that was made.
        if new.endswith(".T"):
            array = found.network.parameters[new.removesuffix(".T")]
            np.testing.assert_array_equal(theirs.network.parameters[old].T, array)
    again = import_weights(theirs.network, into=ours.network, map=tmp_path / "map.json").network
    assert all(np.array_equal(array, again.parameters[key]) for key, array in found.network.parameters.items())


# -- what the graphs do not tell


class Halves(nn.Module):
    """Two layers that nothing tells apart but their places, which may be read in either order."""

    def __init__(self, *names: str, turned: bool = False) -> None:
        super().__init__()
        self.names, self.turned = names, turned
        for name in names:
            setattr(self, name, nn.Linear(8, 4))
        self.out = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        order = self.names[::-1] if self.turned else self.names
        found = {name: self._modules[name](x) for name in order}
        return self.out(torch.cat([found[name] for name in self.names], 1))


def test_what_names_do_not_tell_is_tried_and_proved(tmp_path: Path) -> None:
    theirs = of_torch(lambda: Halves("p", "q"))(ROWS)
    ours = of_torch(lambda: Halves("left", "right", turned=True))(ROWS)
    found = import_weights(theirs.network, into=ours.network, map=tmp_path / "map.json")
    np.testing.assert_array_equal(found.network.parameters["left.weight"], theirs.network.parameters["p.weight"])
    assert any(re.search(r"which of p\.weight, q\.weight .*: proved by the outputs", note) for note in found.notes)
    # Unproved, the first that is likely is taken, and said.
    other = import_weights(theirs.network, into=ours.network, verify=False)
    assert any("not proved" in note for note in other.notes)
    told = import_weights(theirs.network, into=ours.network, rename={"q.weight": "right.weight"}, verify=False)
    np.testing.assert_array_equal(told.network.parameters["left.bias"], theirs.network.parameters["p.bias"])


class Alike(nn.Module):
    """Layers of one shape, with a difference that no weight makes up for."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.scale = scale

    def forward(self, x: Any) -> Any:
        return self.a(x) * self.scale + torch.tanh(self.b(x))


def test_a_map_that_is_not_proved_is_not_written_unless_asked(tmp_path: Path) -> None:
    theirs, ours = (of_torch(lambda scale=scale: Alike(scale))(ROWS).network for scale in (1.0, 2.0))
    with pytest.raises(VerificationError, match=r"(?s)no map is proved, and none is written.*which of .*--rename dec"):
        import_weights(theirs, into=ours, map=tmp_path / "map.json")
    assert not (tmp_path / "map.json").exists()
    import_weights(theirs, into=ours, map=tmp_path / "map.json", verify=False)
    assert json.loads((tmp_path / "map.json").read_text()).keys() == set(theirs.parameters)


def test_what_has_no_counterpart_is_asked_for_by_name(tmp_path: Path) -> None:
    theirs = of_torch(torch_mlp)(ROWS).network
    ours = of_torch(lambda: nn.Sequential(*torch_mlp(), nn.ReLU(), nn.Linear(4, 4)))(ROWS).network
    with pytest.raises(UsageError, match=r"(?s)'8\.weight' \(4, 4\) has no counterpart"):
        import_weights(theirs, into=ours, map=tmp_path / "map.json")
    assert not (tmp_path / "map.json").exists()
    with pytest.raises(UsageError, match="there is no tensor 'x' to rename"):
        import_weights(theirs, into=ours, rename={"x": "0.weight"})
    for left, into in (("theirs.h5", ours), (theirs, "ours.h5"), (torch_mlp(), ours)):
        with pytest.raises(UsageError, match="must be of the type Network, not "):
            import_weights(left, into=into)  # type: ignore[arg-type]


def test_what_is_left_over_is_named_where_both_do_not_agree() -> None:
    """Pixels that one network divides by 255, and the other takes as they are."""
    layers = (pnn.Dense(3, name="first"), pnn.Tanh(), pnn.Dense(2, name="second"))
    theirs = pnn.Sequential(pnn.Input(8), pnn.Rescaling(1 / 255, name="pixels"), *layers, seed=0)
    with pytest.raises(VerificationError, match=r"nothing here takes 'pixels\.scale' of the other model"):
        import_weights(theirs, into=pnn.Sequential(pnn.Input(8), *layers, seed=1))


def test_sizes_are_open_in_one_and_fixed_in_the_other() -> None:
    def steps(x: Any) -> Any:
        return keras.layers.Dense(3)(keras.layers.GRU(6, return_sequences=True)(x))

    theirs = of_keras(steps)(STEPS).network
    ours = pnn.Sequential(pnn.Input("steps", 5), pnn.GRU(6, name="upper"), pnn.Dense(3, name="head"), seed=1)
    found = import_weights(theirs, into=ours).network
    np.testing.assert_allclose(found.predict(STEPS), theirs.predict(STEPS), atol=1e-5)
    with pytest.raises(UsageError, match="has 1 inputs and 1 outputs, and the network 1 inputs and 2 outputs"):
        import_weights(theirs, into=of_torch(lambda: Fork(lambda m, x: (m.a(x), x), a=nn.Linear(5, 5)))(STEPS).network)


@pytest.mark.quick
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from portable_nn.cli import main

    monkeypatch.chdir(tmp_path)
    theirs, ours = FORKED_MLP(ROWS).network, of_torch(torch_mlp)(ROWS).network
    theirs.save("theirs.safetensors")
    ours.save("ours.h5")
    assert main(["import", "theirs.safetensors", "mine.npz", "--against", "ours.h5", "--rename", "map.json"]) == 0
    np.testing.assert_allclose(pnn.load("mine.npz").predict(ROWS), theirs.predict(ROWS), atol=1e-5)
    assert json.loads(Path("map.json").read_text())["third.weight"] == "0.weight"
    capsys.readouterr()
    assert main(["import", "theirs.safetensors", "other.npz", "--against", "ours.h5", "--layers", "8-8-4"]) == 2
    assert "--layers is an option of" in capsys.readouterr().err
