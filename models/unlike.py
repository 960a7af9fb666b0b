"""The examples that digits-cnn is trained on beside MNIST: digits in photographs and with other pens, and pictures of
no digit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError
from portable_nn.models.letters import TRAINING_FONTS, letter
from portable_nn.models.photographs import TRAINING_SEED, Generator, Photographer, clouds, enlarged, pieces, smudges
from portable_nn.models.recipes import Digits, Pictures
from portable_nn.preprocessing.applying import parts
from portable_nn.preprocessing.defaults import SHEET
from portable_nn.preprocessing.digits import lay_out
from portable_nn.preprocessing.pixels import Pixels

NO_DIGIT: Final = np.full(10, 0.1, np.float32)
"""The probabilities that are learned for what is no digit: all the same."""


class Examples(NamedTuple):
    """Pictures (n, 28, 28), white ink on black, and the probability of each digit (n, 10)."""

    x: Pictures
    y: NDArray[np.float32]


def others(digits: Digits, photographs: Mapping[str, int], rewritten: int, drawn: int) -> Examples:
    """Further examples: of the digits in ``digits.train_x``, and of no digit.

    Args:
        digits: the pictures that they are made of.
        photographs: how many photographs of a kind are taken; the drawings found in them are examples.
        rewritten: how many digits are written again with another hand and pen.
        drawn: how many pictures of no digit are drawn.
    """
    random = np.random.default_rng(TRAINING_SEED)
    x, y = _photographed(digits, photographs)
    for place in range(rewritten):
        chosen = place % len(digits.train_x)
        x.append(_rewritten(random, digits.train_x[chosen]))
        y.append(_certain(digits.train_y[chosen]))
    x += [DRAWN[place % len(DRAWN)](random, digits.train_x) for place in range(drawn)]
    y += [NO_DIGIT] * drawn
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
    written = _blurred(random, _bent(random, large))
    return _laid_out(_crossed_out(random, written) if random.random() < 0.3 else written)


def _crossed_out(random: Generator, ink: Pixels) -> Pixels:
    """Ink with gaps in one to three rows or columns, where lines of the paper were taken out."""
    found = ink.copy() if random.random() < 0.7 else ink.T.copy()
    for _ in range(int(random.integers(1, 4))):
        start = int(random.integers(len(found)))
        found[start : start + int(random.uniform(0.01, 0.05) * len(found)) + 1] *= random.uniform(0, 0.7)
    return found


def _bent(random: Generator, ink: Pixels) -> Pixels:
    """Ink moved by a smooth random field (P. Simard et al., ICDAR 2003), and slanted."""
    margin = max(ink.shape) // 6
    ink = np.pad(ink, margin)
    height, width = ink.shape
    grain = max(2, int(random.uniform(0.2, 0.5) * max(ink.shape)))
    far = random.uniform(0, 0.035) * max(ink.shape)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    slant = random.uniform(-0.2, 0.2)
    from_row = (rows + far * clouds(random, height, width, grain)).clip(0, height - 1)
    from_column = columns + far * clouds(random, height, width, grain) + slant * (rows - height / 2)
    found: Pixels = ink[from_row.round().astype(np.int64), from_column.clip(0, width - 1).round().astype(np.int64)]
    return found


def _blurred(random: Generator, ink: Pixels) -> Pixels:
    """Ink blurred, and cut at another level: a thinner or thicker pen, soft at its edges."""
    from PIL import Image, ImageFilter

    size = max(ink.shape)
    image = Image.fromarray((np.pad(ink, size // 10) * 255).astype(np.uint8))
    soft = image.filter(ImageFilter.BoxBlur(float(random.uniform(0, 0.03) * size)))
    blurred = np.asarray(soft, np.float32) / np.float32(255)
    level, steep = random.uniform(0.25, 0.65), random.uniform(1, 4)
    cut: Pixels = ((blurred - level) * steep + level).clip(0, 1).astype(np.float32)
    return cut if cut.max() > 0.5 else ink


def _laid_out(ink: NDArray[Any]) -> Pixels:
    """Ink, 0 to 1, cut out and laid out as MNIST is."""
    drawn = ink > 0.05
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        return np.zeros((28, 28), np.float32)
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    return lay_out(cut * np.float32(255 / cut.max()), 28, 20)


def _letter(random: Generator, pictures: Pictures) -> Pixels:
    """A printed letter, one time in two bent as a hand would."""
    printed = letter(random, int(random.integers(50, 130)), TRAINING_FONTS)
    if random.random() < 0.5:
        printed = _bent(random, printed)
    return _laid_out(_blurred(random, printed))


def _piece(random: Generator, pictures: Pictures) -> Pixels:
    return _laid_out(_blurred(random, pieces(random, pictures, int(random.integers(50, 130)))))


def _joined(random: Generator, pictures: Pictures) -> Pixels:
    """Two or three digits that touch."""
    chosen = [pictures[place] for place in random.integers(len(pictures), size=random.integers(2, 4))]
    cut = [one[:, np.flatnonzero(one.max(axis=0) > 40)] for one in chosen]
    return _laid_out(np.hstack(cut) / 255)


def _overlaid(random: Generator, pictures: Pictures) -> Pixels:
    """Two digits over each other, one lying on its side."""
    one, two = pictures[random.integers(len(pictures), size=2)]
    shifted = np.roll(np.rot90(two), random.integers(-5, 6, 2), (0, 1))
    return _laid_out(np.maximum(one, shifted) / 255)


def _lines(random: Generator, pictures: Pictures) -> Pixels:
    """One line that lies, or several that cross."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (100, 100))
    draw, width = ImageDraw.Draw(image), int(random.integers(2, 14))
    count = int(random.integers(1, 5))
    for place in range(count):
        a, b = random.uniform(10, 90, 2)
        across = [(5, a), (95, (a + b) / 2 if count > 1 else a)]
        draw.line(across if place % 2 == 0 else [(a, 5), (b, 95)], 255, width)
    return _laid_out(np.asarray(image) / 255)


def _smudge(random: Generator, pictures: Pictures) -> Pixels:
    return _laid_out(smudges(random, 160, 160))


def _cloud(random: Generator, pictures: Pictures) -> Pixels:
    wave = clouds(random, 60, 60, int(random.integers(3, 20)))
    return _laid_out((wave * random.uniform(0.3, 2)).clip(0, 1))


DRAWN: Final = (*[_letter] * 8, *[_piece] * 5, _joined, _overlaid, _lines, *[_smudge] * 6, *[_cloud] * 2)
"""The functions that draw pictures of no digit, in turn."""
