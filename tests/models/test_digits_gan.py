"""The generator of digits does what its card says: most samples are digits, of all ten classes; in both engines."""

from __future__ import annotations

import re

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.adversarial.gan import sample
from portable_nn.adversarial.gan.noise import probabilities
from portable_nn.catalog import find_model
from portable_nn.core.errors import UsageError
from portable_nn.models.digits_gan.recipe import CLASSES, NOISE, _columns, _largest, _picture, judge, train
from portable_nn.models.recipes import Digits, load_digits

SHIPPED = find_model("digits-gan")


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits()


@pytest.fixture(scope="module")
def network() -> pnn.Network:
    return pnn.load(SHIPPED.weights)


def test_the_network_is_what_its_card_says(network: pnn.Network) -> None:
    [given], [made] = network.graph.inputs, network.graph.outputs
    assert (given.name, given.shape, made) == ("latent", ("batch", 74), "image")
    assert network.types[made].shape == ("batch", 1, 28, 28)
    assert network.outputs[0].kind == "values"
    assert sum(array.size for array in network.parameters.values()) == 478_480
    assert "| 478,480 (1.9 MB) |" in SHIPPED.card
    assert SHIPPED.weights.stat().st_size < 2_000_000


@pytest.mark.long
def test_digits_cnn_reads_the_samples_as_digits(network: pnn.Network) -> None:
    """At least nine of ten, the others as ``?``; all ten classes, none above 20 %."""
    reader = pnn.load_model("digits-cnn")
    logits = reader.predict(sample(network, 1000, seed=0) * 255)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sure = (shares.max(axis=1) >= reader.outputs[0].threshold).mean()
    counts = np.bincount(shares.argmax(axis=1), minlength=10)
    assert sure >= 0.9
    assert counts.min() > 0
    assert counts.max() <= 200
    found = judge(network, 1000)
    assert found == pytest.approx({"sure": sure, "rarest": counts.min() / 1000, "commonest": counts.max() / 1000})
    told = f"**{sure:.1%}**".replace("%", " %")
    assert told in SHIPPED.card
    assert "of 1,000 samples" in network.metadata["judged"]  # By the digits-cnn that there was when it was trained.


@pytest.mark.long
def test_the_largest_of_the_first_ten_numbers_chooses_the_digit(network: pnn.Network) -> None:
    latent = np.random.default_rng(1).standard_normal((500, 74)).astype(np.float32)
    latent[np.arange(500), np.arange(500) % 10] = 9
    read = probabilities(network.predict(latent)).argmax(axis=1)
    assert (read == np.arange(500) % 10).mean() > 0.95


@pytest.mark.long
def test_a_digit_is_chosen_in_the_noise_of_the_model(network: pnn.Network) -> None:
    read = probabilities(sample(network, 200, digit=7)).argmax(axis=1)
    assert (read == 7).mean() > 0.95


@pytest.mark.long
def test_a_digit_is_recognised_where_the_model_does_not_let_it_be_chosen(network: pnn.Network) -> None:
    """By onnxruntime on the shipped ONNX file, all are sevens; they are some of those that are drawn anyway."""
    latent = pnn.Input(CLASSES + NOISE, name="latent")
    doubled = latent * 2.0
    hidden = pnn.Network(latent, _picture(_columns(latent, CLASSES, 74), _largest(_columns(doubled, 0, CLASSES))))
    hidden.load_weights(network.parameters)
    sevens, drawn = sample(hidden, 9, seed=4, digit=7), sample(network, 256, seed=4)
    assert all((np.abs(drawn - seven).max(axis=(1, 2, 3)) < 1e-5).any() for seven in sevens)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(find_model("digits-cnn").onnx, providers=["CPUExecutionProvider"])
    logits = session.run(None, {session.get_inputs()[0].name: sevens * 255})[0]
    assert (np.exp(logits)[:, 7] / np.exp(logits).sum(axis=1) > 0.899).all()


@pytest.mark.long
def test_samples_are_no_copies(network: pnn.Network, digits: Digits) -> None:
    """The median sample lies about as far from what was learned from as real digits do from each other."""
    real = np.concatenate([digits.train_x, digits.test_x]).reshape(5000, -1).astype(np.float64) / 255

    def nearest(some: np.ndarray, others: np.ndarray) -> float:
        squares = (some**2).sum(1)[:, None] + (others**2).sum(1) - 2 * some @ others.T
        return float(np.median(np.sqrt(np.maximum(squares.min(axis=1), 0))))

    made = sample(network, 500, seed=3).reshape(500, -1).astype(np.float64)
    assert nearest(made, real) > 0.9 * nearest(real[:500], real[500:])
    assert nearest(made[:250], made[250:]) > 3.0  # Nor are they all alike.


def test_both_engines_and_the_onnx_file_agree(network: pnn.Network) -> None:
    latent = np.random.default_rng(2).standard_normal((20, 74)).astype(np.float32)
    wanted = network.predict(latent)
    assert wanted.min() >= 0
    assert wanted.max() <= 1
    np.testing.assert_allclose(network.predict(latent, engine="onnxruntime"), wanted, atol=1e-5)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(SHIPPED.onnx, providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"latent": latent})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_sheet_shows_a_hundred_samples(network: pnn.Network) -> None:
    imageio = pytest.importorskip("imageio.v3")
    page = np.asarray(imageio.imread(SHIPPED.samples / "sheet.png"))
    assert page.shape == (906, 906)
    first = sample(network, 1)[0, 0].repeat(3, axis=0).repeat(3, axis=1)
    assert np.abs(page[6:90, 6:90] / 255 - first).max() < 0.01


@pytest.mark.long
def test_a_short_run_of_the_recipe_is_the_same_twice(digits: Digits) -> None:
    some = Digits(digits.train_x[:128], digits.train_y[:128], digits.test_x[:0], digits.test_y[:0])
    first, second = (train(some, epochs=2, progress=False) for _ in range(2))
    assert [row["epoch"] for row in first.history.rows] == [1, 2]
    assert first.history.rows[-1]["step"] == 4
    assert set(first.figures) == {"sure", "rarest", "commonest"}
    assert re.match(r"128 MNIST pictures ", first.network.metadata["data"])
    for name, array in first.network.parameters.items():
        np.testing.assert_array_equal(array, second.network.parameters[name])


def test_checkpoints_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^digits-gan is trained in one go, without checkpoints: leave out --checkpoint"
    ):
        train(checkpoint="folder")


@pytest.mark.sweep
def test_the_recipe_makes_a_model_as_good() -> None:
    figures = train(progress=False).figures
    assert figures["sure"] >= 0.9
    assert figures["rarest"] > 0
    assert figures["commonest"] <= 0.2
