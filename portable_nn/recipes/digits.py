"""The preparation of photographs and the threshold of ``"?"`` that a training on digits adds."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from msgspec.structs import replace

from portable_nn.catalog import find_model
from portable_nn.core.errors import UsageError
from portable_nn.core.names import Prepare
from portable_nn.core.text import quantity
from portable_nn.data.images import read_image
from portable_nn.data.no_digits import no_digits
from portable_nn.evaluation.probabilities import probabilities
from portable_nn.network import Network
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.defaults import DIGIT, DIGITS, PIXELS, SHEET
from portable_nn.preprocessing.steps import Preprocessing

UNSURE: Final = "unsure"
"""The entry of the metadata that says what the threshold does."""

MOST: Final = 0.02
"""The share of digits that may be answered with ``"?"``."""

UNLIKE: Final = "each picture as one drawing, as the pixels do not look like digits (--preprocess digits finds digits)"
"""How pictures are prepared for a network that tells ten classes apart, whose examples are no digits."""

ENOUGH: Final = 50
"""The number of digits by which a threshold can be found."""

LOOKED: Final = 1000
"""The number of pictures that are looked at."""

DRAWN: Final = 240
"""The number of pictures of no digit."""


def digit_steps(x: Array, classes: int, preprocess: Prepare | None) -> Preprocessing:
    """The steps for pictures, for a network of so many classes that learns from examples ``x`` of 784 pixels.

    There are none for other examples. Raises ``UsageError`` for ``digits`` that are none.
    """
    if x[0].size != PIXELS and preprocess == "digits":
        raise UsageError(f"preprocess digits is for rows of {PIXELS} pixels, not of {quantity(x[0].size, 'number')}")
    if x[0].size != PIXELS or preprocess == "none":
        return ()
    return SHEET if preprocess == "digits" or (classes == len(DIGITS) and look_like_digits(x)) else DIGIT


def look_like_digits(x: Array) -> bool:
    """True if most of the first thousand pictures are laid out as MNIST is: 20 pixels long, and centred."""
    pictures = x[:LOOKED].reshape(-1, 28, 28).astype(np.float64)
    fits = np.full(len(pictures), True)
    longest = np.zeros(len(pictures), np.int64)
    for axis in (1, 2):
        ink = pictures.sum(axis=axis)
        drawn = ink > 0
        longest = np.maximum(longest, 28 - drawn.argmax(axis=1) - drawn[:, ::-1].argmax(axis=1))
        fits &= np.abs(ink @ np.arange(28) - 14 * ink.sum(axis=1)) <= 1.5 * ink.sum(axis=1)
    return bool(np.mean(fits & (longest >= 18) & (longest <= 22)) > 0.9)


def reads_digits(network: Network) -> bool:
    """True if a network takes the pixels of digits in photographs, and tells them apart."""
    steps = [info.preprocessing for info in network.inputs]
    return len(network.outputs) == 1 and steps == [SHEET] and network.labels == tuple(DIGITS)


def set_threshold(network: Network, numbers: Array) -> None:
    """Set the threshold of a network that ``reads_digits``; the metadata say what it does.

    It is the highest at which at most 2 % of digits are answered with ``"?"``; ``numbers`` (n, 10) are the outputs for
    digits that were not learned from. More than 50 % is not asked where nine in ten pictures of no digit have less.
    """
    [info] = network.outputs
    given = _drawn().reshape(DRAWN, *map(int, network.graph.inputs[0].shape[1:]))
    digits, others = (
        probabilities(each, info.kind, info.temperature).max(axis=1) for each in (numbers, network.predict(given))
    )
    highest = min(np.quantile(digits, MOST, method="lower"), max(0.5, np.quantile(others, 0.9)))
    threshold = float(np.floor(highest * 1000) / 1000)
    network.outputs = (replace(info, threshold=threshold),)
    shares = [f"{100 * np.mean(each < threshold):.1f} %" for each in (digits, others)]
    network.metadata[UNSURE] = (
        f"below {threshold:g}: {shares[0]} of {len(digits):,} digits, {shares[1]} of {DRAWN} pictures of no digit"
    )


def said(network: Network) -> dict[str, str]:
    """In words, how photographs are prepared for a network that finds digits in them, and when it is unsure."""
    steps = [info.preprocessing for info in network.inputs]
    if steps != [SHEET]:
        return {"prepared": UNLIKE} if steps == [DIGIT] and len(network.labels) == len(DIGITS) else {}
    unsure = {UNSURE: network.metadata[UNSURE]} if UNSURE in network.metadata else {}
    return {
        "prepared": "predict finds digits in photographs (train and import leave it out with --preprocess none)",
        **unsure,
    }


@cache
def _drawn() -> Array:
    """Pictures of no digit, made of the shipped samples, always the same."""
    samples = [read_image(path) for path in sorted(find_model("digits").samples.iterdir())]
    light = np.stack([255 - each if each[0, 0] > 127 else each for each in samples])
    return np.stack(no_digits(np.random.default_rng(0), light, DRAWN)).astype(np.float32)
