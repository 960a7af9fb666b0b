"""The noise of a generator: drawn from a seed, for a certain class, and on the way from one seed to another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np

from portable_nn.analysis.choosing import chosen_by
from portable_nn.core.dims import static
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.graph import Value, format_shape
from portable_nn.evaluation.probabilities import softmax
from portable_nn.network import Network
from portable_nn.opening import load_model
from portable_nn.operators import Array, NamedArrays

Noise: TypeAlias = NamedArrays
"""Arrays by the names of the generator's inputs."""

CLASS: Final = ("class", "condition", "digit", "label")
"""Names of an input that is the class, as numbers of which one is 1."""

JUDGE: Final = "digits-cnn"

SURE: Final = 0.9
"""The probability above which a prediction counts as sure."""

SIDE: Final = 28
"""Pixels along a side of what it reads."""

DIGITS: Final = 10
BATCH: Final = 256
MOST: Final = 40 * BATCH
"""The largest number of samples among which those of a digit are searched."""


@dataclass(frozen=True)
class Source:
    """A generator with its inputs of noise and class.

    Attributes:
        network: the generator.
        noise: its input of noise.
        given: its input of the class; ``None`` where it has none.
    """

    network: Network
    noise: Value
    given: Value | None

    @cached_property
    def chosen(self) -> int:
        """Of how many numbers at the beginning of the noise the largest chooses the class; 0 where none does."""
        return chosen_by(self.network.graph, self.noise.name)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.given.shape[1]) if self.given else self.chosen or DIGITS

    def how(self, digit: int) -> str:
        """The way in which samples of a class are made, in words."""
        if self.given:
            return f"digit {digit} given as '{self.given.name}'"
        if self.chosen:
            return f"digit {digit} chosen by the noise"
        return f"read as {digit} by {JUDGE} with a probability above {SURE:g}"

    def draw(self, count: int, seed: int, digit: int | None = None) -> Noise:
        """Noise for ``count`` samples, those of a class if ``digit`` is given. The first do not depend on the count.

        Raises ``UsageError`` for a class that there is not, or where there are too few samples of it, and
        ``ShapeError`` where it must be recognised and is no picture that ``digits-cnn`` reads.
        """
        if digit is not None and not 0 <= digit < self.classes:
            raise UsageError(f"digit must be a whole number from 0 to {self.classes - 1}, not {digit!r}")
        rng = np.random.default_rng(seed)
        if digit is not None and not self.given and not self.chosen:
            return {self.noise.name: self._recognised(count, rng, digit)}
        noise = self._normal(count, rng)
        if digit is not None and self.chosen:
            rows, largest = np.arange(count), noise[:, : self.chosen].argmax(axis=1)
            noise[rows, largest], noise[rows, digit] = noise[rows, digit], noise[rows, largest]
        found = {self.noise.name: noise}
        if self.given:
            classes = np.random.default_rng([seed, 1]).integers(self.classes, size=count)
            one = np.eye(self.classes, dtype=self.given.dtype)
            found[self.given.name] = one[classes if digit is None else np.full(count, digit)]
        return found

    def mixed(self, first: Noise, last: Noise, share: float) -> Noise:
        """On the way from one noise to another, at 0 the first and at 1 the last; in between it is normal as well.

        cos(a)·x + sin(a)·y has the distribution N(0, 1) of x and y for each angle a; classes are mixed in proportion.
        """
        near, far = (np.cos(share * np.pi / 2), np.sin(share * np.pi / 2)) if share < 1 else (0.0, 1.0)
        found = {self.noise.name: near * first[self.noise.name] + far * last[self.noise.name]}
        if self.given:
            found[self.given.name] = (1 - share) * first[self.given.name] + share * last[self.given.name]
        return {name: array.astype(first[name].dtype, copy=False) for name, array in found.items()}

    def _normal(self, count: int, rng: np.random.Generator) -> Array:
        return np.asarray(rng.standard_normal((count, *map(int, self.noise.shape[1:])))).astype(self.noise.dtype)

    def _recognised(self, count: int, rng: np.random.Generator, digit: int) -> Array:
        """The noise of the first samples that ``digits-cnn`` reads as a digit."""
        kept: list[Array] = []
        tried = 0
        while (found := sum(map(len, kept))) < count:
            if tried >= MOST:
                raise UsageError(
                    f"{JUDGE} reads {found} of the first {tried:,} samples as {digit}, and {count} are asked for: ask "
                    "for fewer, or draw from a generator of digits"
                )
            noise = self._normal(BATCH, rng)
            kept.append(noise[read_as(np.asarray(self.network.predict(noise)), digit)])
            tried += BATCH
        return np.concatenate(kept)[:count]


def source_of(network: Network) -> Source:
    """The source of a generator's samples. Raises ``UsageError`` or ``ShapeError`` for a network that is none."""
    inputs, outputs = network.graph.inputs, network.graph.outputs
    given = [value for value in inputs if value.name in CLASS]
    noise = [value for value in inputs if value not in given]
    if len(noise) != 1 or len(given) > 1 or len(outputs) != 1:
        raise UsageError(
            f"only a network with one input, and perhaps a class beside it ({', '.join(CLASS)}), and one output can be "
            f"sampled; this one takes {', '.join(value.name for value in inputs)} and gives {', '.join(outputs)}"
        )
    for value, info in zip(inputs, network.inputs, strict=True):
        _check_numbers(value, info.kind == "image")
    for value in given:
        if len(value.shape) != 2:
            raise ShapeError(f"the class '{value.name}' must be (batch, classes), not {format_shape(value.shape)}")
    return Source(network, noise[0], given[0] if given else None)


def probabilities(samples: Array) -> Array:
    """Those of the classes for samples from 0 to 1, n pictures of 28 x 28 pixels: (n, classes)."""
    pictures = samples.reshape(-1, 1, SIDE, SIDE).astype(np.float32) * np.float32(255)
    return softmax(load_model(JUDGE).predict(pictures))


def read_as(samples: Array, digit: int) -> Array:
    """True for each sample that is surely a ``digit``: (n,). Raises ``ShapeError`` for what is not 28 x 28."""
    if samples[0].size != SIDE * SIDE:
        raise ShapeError(
            f"digit {digit} is found by {JUDGE}, which reads grey pictures of {SIDE} x {SIDE} pixels, and these "
            f"samples are {samples.shape[1:]}"
        )
    place = load_model(JUDGE).outputs[0].labels.index(str(digit))
    return np.asarray(probabilities(samples)[:, place] > SURE)


def _check_numbers(value: Value, is_picture: bool) -> None:
    """Raise ``ShapeError`` for an input that takes no numbers of a fixed size."""
    if is_picture or value.dtype not in {"float32", "float64"} or not static(value.shape[1:]):
        what = "pictures" if is_picture else f"{value.dtype} {format_shape(value.shape)}"
        raise ShapeError(f"only a generator can be sampled, which takes noise (batch, n); '{value.name}' takes {what}")
