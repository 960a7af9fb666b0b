"""The examples of the digit models beside MNIST: digits in photographs, with other pens and in print, and no digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError
from portable_nn.data.no_digits import Generator, Pictures, bent, blurred, enlarged, laid_out, no_digits, printed
from portable_nn.models.letters import TRAINING_FONTS
from portable_nn.models.photographs import TRAINING_SEED, Photographer
from portable_nn.models.recipes import Digits
from portable_nn.preprocessing.applying import parts
from portable_nn.preprocessing.defaults import SHEET
from portable_nn.preprocessing.pixels import Pixels

NO_DIGIT: Final = np.full(10, 0.1, np.float32)
"""The probabilities that are learned for what is no digit: all the same."""

PHOTOGRAPHS: Final = {
    "several": 200,
    "squared": 80,
    "lined": 60,
    "shadow": 60,
    "smudges": 400,
    "pieces": 120,
    "letters": 100,
    "blank": 100,
}
"""The number of photographs of each kind that are learned from."""

REWRITTEN: Final = 4
"""The number of times that each digit is written again with another hand and pen."""

DRAWN: Final = 9000
"""The number of further pictures of no digit that are learned from."""


class Examples(NamedTuple):
    """Pictures (n, 28, 28), white ink on black, and the probability of each digit (n, 10)."""

    x: Pictures
    y: NDArray[np.float32]


def further(digits: Digits, in_print: int) -> Examples:
    """The further examples for training on ``digits``, so many of them printed; of fewer than 4,000, fewer are made."""
    count = len(digits.train_x)
    share = count / 4000
    photographs = {kind: round(number * share**2) for kind, number in PHOTOGRAPHS.items()}
    return others(digits, photographs, REWRITTEN * count, round(DRAWN * share), round(in_print * share))


def others(digits: Digits, photographs: Mapping[str, int], rewritten: int, drawn: int, in_print: int) -> Examples:
    """Further examples: of the digits in ``digits.train_x``, and of no digit.

    Args:
        digits: the pictures that they are made of.
        photographs: how many photographs of a kind are taken; the drawings found in them are examples.
        rewritten: how many digits are written again with another hand and pen.
        drawn: how many pictures of no digit are drawn.
        in_print: how many printed digits there are.
    """
    random = np.random.default_rng(TRAINING_SEED)
    x, y = _photographed(digits, photographs)
    for place in range(rewritten):
        chosen = place % len(digits.train_x)
        x.append(_rewritten(random, digits.train_x[chosen]))
        y.append(_certain(digits.train_y[chosen]))
    x += no_digits(random, digits.train_x, drawn, TRAINING_FONTS)
    x += [printed(random, TRAINING_FONTS, str(place % 10)) for place in range(in_print)]
    y += [*[NO_DIGIT] * drawn, *(_certain(place % 10) for place in range(in_print))]
    return Examples(np.stack(x).round().astype(np.uint8), np.stack(y))


def _certain(digit: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.eye(10, dtype=np.float32)[int(digit)]
    return found


def _photographed(digits: Digits, counts: Mapping[str, int]) -> tuple[list[Pixels], list[NDArray[np.float32]]]:
    """The drawings in photographs, where as many are found as digits were written, and what is learned for them."""
    photographer = Photographer(digits.train_x, digits.train_y, TRAINING_FONTS)
    x, y = [np.zeros((28, 28), np.float32)], [NO_DIGIT]
    for kind, count in counts.items():
        for seed in range(TRAINING_SEED, TRAINING_SEED + count):
            taken = photographer.take(kind, seed)
            try:
                found = parts(SHEET, taken.pixels)
            except DataError:
                continue
            if taken.digits and len(found) != len(taken.digits):
                continue
            x += [part.x for part in found[:6]]
            y += [_certain(digit) for digit in taken.digits] or [NO_DIGIT] * len(found[:6])
    return x, y


def _rewritten(random: Generator, picture: Pictures) -> Pixels:
    """A digit as another hand might write it, with a thinner or thicker pen."""
    large = enlarged(picture, int(random.integers(50, 130)))
    written = blurred(random, bent(random, large))
    return laid_out(_crossed_out(random, written) if random.random() < 0.3 else written)


def _crossed_out(random: Generator, ink: Pixels) -> Pixels:
    """Ink with gaps in one to three rows or columns, where lines of the paper were taken out."""
    found = ink.copy() if random.random() < 0.7 else ink.T.copy()
    for _ in range(int(random.integers(1, 4))):
        start = int(random.integers(len(found)))
        found[start : start + int(random.uniform(0.01, 0.05) * len(found)) + 1] *= random.uniform(0, 0.7)
    return found
