"""Pictures of no digit, laid out as MNIST is: letters, pieces of digits, digits that touch, lines, smudges, clouds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import MissingPackageError
from portable_nn.preprocessing.digits import lay_out
from portable_nn.preprocessing.morphology import components
from portable_nn.preprocessing.pixels import Pixels, resize

Pictures: TypeAlias = NDArray[np.uint8]
"""Pictures (n, height, width) of white ink on black, 0 to 255, or one of them."""

Generator = np.random.Generator

LETTERS: Final = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwxy"
"""Letters that nobody takes for a digit, as O, l, Z, S, b, B and g may be."""


def no_digits(random: Generator, pictures: Pictures, count: int, fonts: Sequence[str] = ()) -> list[Pixels]:
    """So many pictures (28, 28) of no digit, 0 to 255; some are made of ``pictures``, (n, 28, 28), which are of digits.

    ``fonts`` are as ``letter`` takes them.
    """
    kinds = drawn(fonts)
    return [kinds[place % len(kinds)](random, pictures) for place in range(count)]


def drawn(fonts: Sequence[str] = ()) -> tuple[Callable[[Generator, Pictures], Pixels], ...]:
    """The functions that draw pictures of no digit, in turn."""
    letters = partial(_letter, fonts)
    return (*[letters] * 8, *[_piece] * 5, _joined, _overlaid, _lines, *[_smudge] * 6, *[_cloud] * 2)


def enlarged(digit: Pictures, side: int) -> Pixels:
    """The ink of a digit (28, 28), enlarged, its longer side to ``side`` pixels, with sharp edges, 0 to 1."""
    rows, columns = np.flatnonzero(digit.max(1) > 40), np.flatnonzero(digit.max(0) > 40)
    cut = np.pad(digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32), 1)
    ratio = side / (max(cut.shape) - 2)
    large = resize(cut, round(cut.shape[0] * ratio), round(cut.shape[1] * ratio), "bicubic")
    found: Pixels = np.clip((large / 255 - 0.5) * ratio / 2 + 0.5, 0, 1).astype(np.float32)
    return found


def pieces(random: Generator, pictures: Pictures, side: int) -> Pixels:
    """Quarters of four digits, turned and put together so that they touch, ``side`` pixels, 0 to 1."""
    while True:
        quarters = []
        for picture in pictures[random.integers(len(pictures), size=4)]:
            top, left = random.integers(2, size=2) * 10 + 4
            quarters.append(np.rot90(picture, int(random.integers(1, 4)))[top : top + 10, left : left + 10])
        together = np.pad(np.block([quarters[:2], quarters[2:]]), 4)
        areas = components(together > 100).areas
        if len(areas) and areas.sum() > 60 and areas.max() > 0.9 * areas.sum():
            return enlarged(together, side)


def smudges(random: Generator, height: int, width: int) -> Pixels:
    """One to three soft stains, or strokes of a finger."""
    page = np.zeros((height, width), np.float32)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    for _ in range(int(random.integers(1, 4))):
        y, x = random.uniform(0.25, 0.75) * height, random.uniform(0.25, 0.75) * width
        angle, length = random.uniform(0, np.pi), random.uniform(15, 90)
        thickness = random.uniform(12, 40)
        along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        ragged = clouds(random, height, width, 12) * random.uniform(0.1, 0.8)
        far = (along / length) ** 2 + (across / thickness) ** 2 + ragged
        np.maximum(page, np.exp(-far.clip(0) * random.uniform(0.7, 2)) * random.uniform(0.4, 0.9), out=page)
    return page


def clouds(random: Generator, height: int, width: int, grain: int) -> Pixels:
    """Smooth noise of mean 0 and standard deviation about 1, whose spots are of about ``grain`` pixels."""
    coarse = random.standard_normal((height // grain + 2, width // grain + 2)).astype(np.float32)
    from PIL import Image

    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def letter(random: Generator, side: int, fonts: Sequence[str] = (), letters: str = LETTERS) -> Pixels:
    """One of the letters in one of the fonts, in which ``side`` pixels are an em, turned by up to 10°; ink 0 to 1.

    Fonts are paths within the folder of all packages; without any, the letter is in the font that Pillow brings.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(side)
    if fonts:
        font = ImageFont.truetype(str(font_file(str(random.choice(fonts)))), side)
    image = Image.new("L", (3 * side, 3 * side))
    ImageDraw.Draw(image).text((side, side), str(random.choice(list(letters))), 255, font)
    image = image.rotate(float(random.uniform(-10, 10)), Image.Resampling.BICUBIC)
    return np.asarray(image.crop(image.getbbox()), np.float32) / np.float32(255)


def font_file(name: str) -> Path:
    """The file of a font. Raises ``MissingPackageError``."""
    package, _, inside = name.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingPackageError(package.replace("_", "-"), "letters in its font", "recipes")
    return Path(spec.origin).parent / inside


def bent(random: Generator, ink: Pixels) -> Pixels:
    """Ink moved by a smooth random field (P. Simard et al., ICDAR 2003), and slanted."""
    ink = np.pad(ink, max(ink.shape) // 6)
    height, width = ink.shape
    grain = max(2, int(random.uniform(0.2, 0.5) * max(ink.shape)))
    far = random.uniform(0, 0.035) * max(ink.shape)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    slant = random.uniform(-0.2, 0.2)
    from_row = (rows + far * clouds(random, height, width, grain)).clip(0, height - 1)
    from_column = columns + far * clouds(random, height, width, grain) + slant * (rows - height / 2)
    found: Pixels = ink[from_row.round().astype(np.int64), from_column.clip(0, width - 1).round().astype(np.int64)]
    return found


def blurred(random: Generator, ink: Pixels) -> Pixels:
    """Ink blurred, and cut at another level: a thinner or thicker pen, soft at its edges."""
    from PIL import Image, ImageFilter

    size = max(ink.shape)
    image = Image.fromarray((np.pad(ink, size // 10) * 255).astype(np.uint8))
    soft = image.filter(ImageFilter.BoxBlur(float(random.uniform(0, 0.03) * size)))
    blurred = np.asarray(soft, np.float32) / np.float32(255)
    level, steep = random.uniform(0.25, 0.65), random.uniform(1, 4)
    cut = ((blurred - level) * steep + level).clip(0, 1).astype(np.float32)
    return cut if cut.max() > 0.5 else ink


def laid_out(ink: NDArray[Any]) -> Pixels:
    """Ink, 0 to 1, cut out and laid out as MNIST is."""
    drawn = ink > 0.05
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        return np.zeros((28, 28), np.float32)
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    return lay_out(cut * np.float32(255 / cut.max()), 28, 20)


def printed(random: Generator, fonts: Sequence[str], letters: str) -> Pixels:
    """One of the letters as a picture (28, 28), one time in two bent as a hand would."""
    found = letter(random, int(random.integers(50, 130)), fonts, letters)
    if random.random() < 0.5:
        found = bent(random, found)
    return laid_out(blurred(random, found))


def _letter(fonts: Sequence[str], random: Generator, pictures: Pictures) -> Pixels:
    return printed(random, fonts, LETTERS)


def _piece(random: Generator, pictures: Pictures) -> Pixels:
    return laid_out(blurred(random, pieces(random, pictures, int(random.integers(50, 130)))))


def _joined(random: Generator, pictures: Pictures) -> Pixels:
    """Two or three digits that touch."""
    chosen = [pictures[place] for place in random.integers(len(pictures), size=random.integers(2, 4))]
    cut = [one[:, np.flatnonzero(one.max(axis=0) > 40)] for one in chosen]
    return laid_out(np.hstack(cut) / 255)


def _overlaid(random: Generator, pictures: Pictures) -> Pixels:
    """Two digits over each other, one lying on its side."""
    one, two = pictures[random.integers(len(pictures), size=2)]
    shifted = np.roll(np.rot90(two), random.integers(-5, 6, 2), (0, 1))
    return laid_out(np.maximum(one, shifted) / 255)


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
    return laid_out(np.asarray(image) / 255)


def _smudge(random: Generator, pictures: Pictures) -> Pixels:
    return laid_out(smudges(random, 160, 160))


def _cloud(random: Generator, pictures: Pictures) -> Pixels:
    wave = clouds(random, 60, 60, int(random.integers(3, 20)))
    return laid_out((wave * random.uniform(0.3, 2)).clip(0, 1))
