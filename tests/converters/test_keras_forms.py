"""What Keras has no layer for goes there as operations, as other operators, or as a row of an ``Embedding``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.keras import from_keras, read_keras, read_keras_weights, to_keras, write_keras
from portable_nn.core.errors import UnsupportedError, UsageError, VerificationError
from portable_nn.format.meaning import Column
from tests.keras_models import computed, keras, randomised, sequential

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def _both_ways(network: pnn.Network, path: Path, *, prove_training: bool = True) -> Any:
    """The model: it computes and trains as the network, and comes back from its file as a network that does."""
    model = to_keras(network, prove_training=prove_training)
    write_keras(network, path, verify=False)
    read_keras(path)  # Compared with what Keras builds of the same file.
    return model


PICTURE, ROW = (4, 8, 6), (5,)
LAYERS: dict[str, tuple[Callable[[], pnn.Layer], tuple[int | str, ...]]] = {
    "max pool, ceil": (lambda: pnn.MaxPool2d(2, stride=3, ceil_mode=True), PICTURE),
    "max pool, ceil, over the end": (lambda: pnn.MaxPool3d(2, stride=3, ceil_mode=True), (4, 4, 5, 6)),
    "max pool, dilated": (lambda: pnn.MaxPool2d(2, stride=2, dilation=2, padding=1), PICTURE),
    "average pool, ceil": (lambda: pnn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True), PICTURE),
    "average of what is there": (lambda: pnn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), PICTURE),
    "average of what is there, open": (
        lambda: pnn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (4, "height", "width")
    ),
    "lp pool": (lambda: pnn.LPPool2d(3, 2, stride=1), PICTURE),
    "global lp pool": (lambda: pnn.GlobalLPPool(), PICTURE),
    "transposed, groups": (
        lambda: pnn.ConvTranspose2d(6, 3, stride=2, padding=1, output_padding=1, groups=2), PICTURE
    ),
    "response norm": (lambda: pnn.LocalResponseNorm(3), PICTURE),
    "reflect": (lambda: pnn.Pad((2, 1), mode="reflect"), PICTURE),
    "replicate, open": (lambda: pnn.Pad(2, mode="replicate"), (4, "height", "width")),
    "reflect, open": (lambda: pnn.Pad(2, mode="reflect"), (4, "height", "width")),
    "circular, open": (lambda: pnn.Pad(2, mode="circular"), (4, "height", "width")),
    "shuffle": (lambda: pnn.PixelShuffle(2), PICTURE),
    "unshuffle": (lambda: pnn.PixelUnshuffle(2), PICTURE),
    "bicubic": (lambda: pnn.Upsample(size=(5, 9), mode="bicubic", align_corners=True), PICTURE),
    "nearest to a size": (lambda: pnn.Upsample(size=(5, 9), mode="nearest"), PICTURE),
    "learned positions": (lambda: pnn.LearnedPositions(9), (6, 8)),
    "learned positions, open": (lambda: pnn.LearnedPositions(9), ("steps", 8)),
    "sinusoidal positions, open": (lambda: pnn.SinusoidalPositions(9), ("steps", 8)),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_keras_has_not_are_operations_there_and_come_back(name: str, tmp_path: Path) -> None:
    keras()
    make, shape = LAYERS[name]
    kernel = [pnn.Conv2d(4, 1)] if len(shape) == 3 else []  # Something to train, and a gradient to pass on.
    _both_ways(pnn.Sequential(pnn.Input(*shape), *kernel, make(), seed=0), tmp_path / "m.keras")


@pytest.mark.long
def test_cells_of_pictures_of_any_size_are_shuffled(tmp_path: Path) -> None:
    if not hasattr(keras().ops, "depth_to_space"):
        pytest.skip("this version of Keras has no depth_to_space")
    network = pnn.Sequential(pnn.Input(3, "height", "width"), pnn.Conv2d(8, 3, padding=1), pnn.PixelShuffle(2), seed=0)
    _both_ways(network, tmp_path / "m.keras")


@pytest.mark.long
@pytest.mark.parametrize("index", [[[0], [-1]], [[1], [2]]])
def test_entries_are_put_among_those_of_each_example(index: list[list[int]], tmp_path: Path) -> None:
    x, places = pnn.Input(3, 4, name="x"), pnn.Input(2, 4, dtype="int64", name="places")
    made = pnn.emit(
        "ScatterElements", pnn.Dense(4)(x), places, pnn.emit("Slice", x, *map(_numbers, ([1], [3], [1]))), axis=1
    )
    network = pnn.Network([x, places], made, seed=0)
    model = _both_ways(network, tmp_path / "m.keras")
    given = {"x": np.arange(24, dtype="float32").reshape(2, 3, 4), "places": np.tile(np.array(index), (2, 1, 4))}
    [ours] = network.predict(given).values()
    np.testing.assert_allclose(computed(model, *given.values())[0], ours, atol=1e-5)


@pytest.mark.long
def test_columns_of_a_table_with_missing_numbers_go_to_keras(tmp_path: Path) -> None:
    table = [Column("a"), Column("b", categories=("x", "y")), Column("c", missing="mean")]
    rows = np.arange(12).reshape(4, 3) % 5
    network = pnn.Sequential(pnn.Input(3), pnn.Columns(table, rows), pnn.Dense(2), seed=0)
    model = _both_ways(network, tmp_path / "m.keras")
    x = np.array([[1, 0, np.nan], [2, 1, 3]], "float32")
    np.testing.assert_allclose(computed(model, x)[0], network.predict(x), atol=1e-6)


class Scaled(pnn.Layer):
    """A class token before the steps, x · (1 + scale) + shift, with trained weights that no layer of Keras has."""

    def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
        """(batch, steps, 4) → (batch, steps + 1, 4)."""
        token = self.parameter("token", (1, 1, 4), x.dtype, initial=0.5)
        scale = self.parameter("scale", (4,), x.dtype, initial=0.1)
        shift = self.parameter("shift", (), x.dtype, initial=0.2)
        shape = pnn.emit("Concat", pnn.emit("Shape", x, start=0, end=1), _numbers([1, 4]), axis=0)
        joined = pnn.emit("Concat", pnn.emit("Expand", token, shape), x, axis=1)
        return self.emit("Add", joined * (scale + 1.0), shift)


def _numbers(values: list[int]) -> pnn.Symbol:
    from portable_nn.core.graph import Tensor

    return pnn.emit("Constant", value=Tensor("int64", (len(values),), tuple(values)))


def test_trained_weights_that_no_layer_has_are_rows_of_embeddings(tmp_path: Path) -> None:
    keras()
    x = pnn.Input("steps", 4)
    network = pnn.Network(x, pnn.Dense(2)(Scaled()(x)))
    model = _both_ways(network, tmp_path / "m.keras")
    trained = {weight.path.rpartition("/")[0]: weight.shape for weight in model.trainable_weights}
    assert trained["scaled_1_token"] == (1, 4)
    assert trained["scaled_1_shift"] == (1, 1)
    model.save(tmp_path / "saved.keras")
    again = keras().models.load_model(tmp_path / "saved.keras")  # Keras itself reads what it wrote, without code.
    given = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_allclose(computed(again, given)[0], network.predict(given), atol=1e-6)


@pytest.mark.long
def test_the_words_of_an_embedding_are_scored_by_the_same_weights(tmp_path: Path) -> None:
    """Tied weights, as of GPT-2, stay one weight in Keras, and train as one."""
    keras()
    ids = pnn.Input("steps", dtype="int32")

    class Words(pnn.Layer):
        """Vectors of words, and what words they are."""

        def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
            weight = self.parameter("weight", (7, 4), "float32", initial=lambda rng, shape: rng.normal(size=shape))
            vectors = pnn.Dense(4, name="inner")(pnn.emit("Gather", weight, x))
            return self.emit("MatMul", vectors, pnn.emit("Transpose", weight, perm=[1, 0]))

    network = pnn.Network(ids, Words("words")(ids))
    model = _both_ways(network, tmp_path / "m.keras")
    assert sorted(weight.shape for weight in model.trainable_weights) == [(4,), (4, 4), (7, 4)]


@pytest.mark.long
def test_weights_that_are_computed_from_others_are_noted() -> None:
    """A weight norm is g · v / |v|; Keras has a layer with its result."""
    keras()
    x = pnn.Input(4)

    class Normed(pnn.Layer):
        """A product with a matrix that is twice a parameter."""

        def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
            weight = self.parameter("weight", (4, 3), x.dtype, initial=lambda rng, shape: rng.normal(size=shape))
            return self.emit("MatMul", x, weight * 2.0)

    with pytest.raises(VerificationError, match="after 5 steps of training"):
        to_keras(pnn.Network(x, Normed()(x)), prove_training=True)


@pytest.mark.parametrize("turned", [False, True])
def test_a_weight_of_two_layers_is_noted(turned: bool) -> None:
    """A Dense of Keras has its own kernel: an autoencoder that decodes with the weights that encode does not fit."""
    keras()
    x = pnn.Input(4)

    class Twice(pnn.Layer):
        """Two products with one matrix."""

        def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
            weight = self.parameter("weight", (4, 4), x.dtype, initial="he_normal")
            other = pnn.emit("Transpose", weight, perm=[1, 0]) if turned else weight
            return self.emit("MatMul", pnn.emit("Tanh", pnn.emit("MatMul", x, weight, name="first")), other)

    found = to_keras(pnn.Network(x, Twice(name="second")(x))).notes
    noted = "'second': its weight 'second.weight' is that of 'first' as well, and each trains its own in Keras"
    assert found == ((noted,) if turned else ())


@pytest.mark.long
def test_trained_scales_of_attention_go_back(tmp_path: Path) -> None:
    layers = keras().layers
    for layer in (layers.Attention(use_scale=True, score_mode="concat"), layers.AdditiveAttention()):
        query, value = keras().Input((3, 4)), keras().Input((5, 4))
        network = from_keras(keras().Model([query, value], layer([query, value])), prove_training=True)
        _both_ways(network, tmp_path / "m.keras")


def test_a_threshold_itself_is_not_above_it() -> None:
    relu = keras().layers.ReLU(max_value=3, negative_slope=0.1, threshold=0.5)
    model = keras().Sequential([keras().Input((5,)), relu])
    x = np.array([[-1, 0.25, 0.5, 1, 4]], np.float32)
    np.testing.assert_allclose(from_keras(model).predict(x), computed(model, x)[0], atol=1e-7)


@pytest.mark.long
def test_layers_of_ones_own_come_in_as_what_they_make_of_tensors() -> None:
    k = keras()

    class Block(k.layers.Layer):  # type: ignore[misc, name-defined]
        """A layer with layers in it, weights of its own, and another such layer in it."""

        def __init__(self, depth: int = 1) -> None:
            super().__init__()
            self.dense, self.norm = k.layers.Dense(4, activation="relu"), k.layers.LayerNormalization()
            self.inner = Block(depth - 1) if depth else None

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")
            super().build(shape)

        def call(self, x: Any) -> Any:
            x = x + self.scale * self.dense(self.norm(x))
            return x if self.inner is None else self.inner(x)

    block = Block()
    model = k.Sequential([k.Input((4,)), block, k.layers.Lambda(lambda x: x**2), k.layers.Dense(2)])
    before = [value.path for value in model.weights]
    network = from_keras(model, prove_training=True)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(network.predict(x), computed(model, x)[0], atol=1e-5)
    assert [value.path for value in model.weights] == before  # The model is as it was.
    assert isinstance(block.scale, k.Variable)

    class Net(k.Model):  # type: ignore[misc, name-defined]
        """A model of one's own, which does not say what it takes."""

        def __init__(self) -> None:
            super().__init__()
            self.dense = k.layers.Dense(2)

        def call(self, x: Any, training: bool = False) -> Any:
            return self.dense(x)

    own = Net()
    own(x)
    with pytest.raises(UsageError, match=r"give keras\.Model\(x, model\(x\)\)"):
        from_keras(own)
    given = k.Input((4,))
    np.testing.assert_allclose(from_keras(k.Model(given, own(given))).predict(x), own(x).detach().numpy(), atol=1e-5)


def test_a_layer_that_cannot_be_called_on_tensors_of_no_numbers_is_named() -> None:
    k = keras()

    class Odd(k.layers.Layer):  # type: ignore[misc, name-defined]
        """It asks for numbers."""

        def call(self, x: Any) -> Any:
            return x * float(k.ops.convert_to_numpy(x).max())

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    x = k.Input((4,))
    try:
        model = k.Model(x, Odd(name="odd")(x))
    except Exception:  # Keras itself calls it so, to find the shape.
        pytest.skip("Keras does not take such a layer into a functional model")
    with pytest.raises(UnsupportedError, match=r"'odd' \(Odd\) is a layer of its own, and its call does not work"):
        from_keras(model)


@pytest.mark.long
def test_convolutional_recurrent_layers_and_resizing_come_in(tmp_path: Path) -> None:
    layers = keras().layers
    video = sequential(
        (3, 6, 5, 2),
        layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True, recurrent_activation="hard_sigmoid"),
        layers.ConvLSTM2D(2, (3, 2), strides=2, use_bias=False, go_backwards=True), layers.Resizing(7, 4),
        layers.Resizing(3, 9, interpolation="nearest"),
    )  # fmt: skip
    network = from_keras(video, prove_training=True)
    video.save_weights(tmp_path / "m.weights.h5")
    assert read_keras_weights(tmp_path / "m.weights.h5", into=network)
    _both_ways(network, tmp_path / "m.keras")
    state, rest = keras().Input((4, 8, 2)), keras().Input((2, 8, 2))
    _, h, c = layers.ConvLSTM1D(3, 3, padding="same", return_state=True)(state)
    following = layers.ConvLSTM1D(3, 3, padding="same", return_sequences=True)(rest, initial_state=[h, c])
    from_keras(randomised(keras().Model([state, rest], following)), prove_training=True)
    with pytest.raises(UnsupportedError, match=r"the steps of its input are not known"):
        from_keras(sequential((None, 8, 2), layers.ConvLSTM1D(3, 3)))
    with pytest.raises(UnsupportedError, match=r"bicubic' is another one in each of Keras's backends"):
        from_keras(sequential((8, 8, 1), layers.Resizing(4, 4, interpolation="bicubic")))


def _rows(ops: Any, x: Any, function: str, **options: Any) -> Any:
    return getattr(ops, function)(x, axis=-1, keepdims=True, **options)


OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "reshaped": lambda ops, x: ops.reshape(ops.transpose(ops.reshape(x, (-1, 2, 3, 4)), (0, 2, 1, 3)), (-1, 24)),
    "picked": lambda ops, x: ops.take(x, [2, 0, 2], axis=1) + ops.take(x, 1, axis=1)[:, None] * x[..., None, 0:1, 2],
    "largest": lambda ops, x: ops.concatenate([ops.one_hot(ops.argmax(x, axis=-1), 4), ops.roll(x, 2, axis=-1)], -1),
    "tops": lambda ops, x: ops.top_k(x, 2)[0],
    "norms": lambda ops, x: ops.normalize(x, axis=-1) * _rows(ops, x, "norm") + _rows(ops, x, "std"),
    "logarithms": lambda ops, x: ops.log1p(ops.square(x)) + ops.expm1(x) * ops.rsqrt(_rows(ops, x, "var") + 1),
    "clipped": lambda ops, x: ops.clip(x, -0.5, 0.5) + ops.leaky_relu(ops.tile(_rows(ops, x, "mean"), (1, 1, 4))),
    "moved": lambda ops, x: ops.matmul(ops.swapaxes(x, 1, 2), ops.moveaxis(ops.moveaxis(x, 1, 2), 2, 1)),
    "parted": lambda ops, x: ops.add(*ops.unstack(ops.tril(x)[:, :2], axis=1)),
    "bordered": lambda ops, x: ops.pad(ops.pad(x, ((0, 0), (1, 2), (0, 0))), ((0, 0), (0, 0), (1, 0)), "constant", 2),
    "summed": lambda ops, x: ops.logsumexp(ops.erf(x) + ops.softsign(x), axis=(1, 2)),
    "of remainders": lambda ops, x: x * ops.cast(ops.mod(ops.argmax(x, axis=-1, keepdims=True), 3), "float32"),
}


@pytest.mark.long
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_come_in_with_their_gradients(name: str) -> None:
    k = keras()
    x = k.Input((6, 4))
    made = OPERATIONS[name](k.ops, k.layers.Dense(4)(x))
    to_keras(from_keras(randomised(k.Model(x, made)), prove_training=True), prove_training=True)
