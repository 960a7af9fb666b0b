"""Pictures as people take them of a sheet with handwritten digits, and of sheets without: made, not taken.

Each is drawn on paper with a pen, lit, seen in perspective, and taken by a camera that blurs, adds noise and writes
JPEG. A kind and a seed always give the same picture. ``python -m portable_nn.models.photographs MODEL COUNT`` reads
pictures of ``TEST_SEED`` and those after it, and prints a table.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.data.no_digits import Generator, Pictures, clouds, enlarged, letter, pieces, smudges
from portable_nn.models.letters import TEST_FONTS
from portable_nn.models.recipes import load_digits
from portable_nn.preprocessing.pixels import Pixels

TRAINING_SEED: Final = 1_000_000
"""The first seed of pictures for training; they stay below ``TEST_SEED``, and those to choose by begin halfway."""

TEST_SEED: Final = 2_000_000
"""The first seed of pictures for tests."""

WITH_DIGITS: Final = ("plain", "table", "shadow", "lined", "squared", "several")
WITHOUT: Final = ("letters", "pieces", "blank", "smudges", "texture")
KINDS: Final = (*WITH_DIGITS, *WITHOUT)


@dataclass(frozen=True)
class Photograph:
    """A picture ``(height, width, 3)``, and the digits on it in the order of reading."""

    kind: str
    pixels: Pictures
    digits: str


class Photographer:
    """Takes pictures of what is written on paper.

    Args:
        pictures: how digits are written: ``(n, 28, 28)``, white ink on black.
        classes: which digit each of them is.
        fonts: fonts for letters, as in ``letters``.
    """

    def __init__(self, pictures: Pictures, classes: NDArray[np.int64], fonts: tuple[str, ...] = TEST_FONTS) -> None:
        self.pictures, self.classes, self.fonts = pictures, classes, fonts

    def take(self, kind: str, seed: int) -> Photograph:
        """The picture of a kind with that seed."""
        random = np.random.default_rng([KINDS.index(kind), seed])
        height, width = (480, 640) if random.random() < 0.7 else (640, 480)
        paper = _paper(random, height, width, _ruling(kind, random))
        cover, written = self._drawn(kind, random, height, width)
        if kind == "texture":
            paper = _texture(random, height, width)
        shade = random.uniform(0.1, 0.4) if kind != "smudges" else random.uniform(0.2, 0.6)
        pen = np.array([shade, shade, shade + random.choice([0, random.uniform(0.1, 0.3)])], np.float32)
        page = paper * (1 - cover[..., None] * (1 - pen))
        page = _seen(page, random, on_table=kind == "table")
        light = _light(random, height, width, hard=kind == "shadow")
        return Photograph(kind, _camera(page * light, random), written)

    def _drawn(self, kind: str, random: Generator, height: int, width: int) -> tuple[Pixels, str]:
        """The ink in each place, 0 to 1, and the digits that it shows."""
        empty = np.zeros((height, width), np.float32)
        if kind in ("blank", "texture"):
            return empty, ""
        if kind == "smudges":
            return smudges(random, height, width), ""
        if kind == "several":
            return self._row(random, empty)
        side = int(random.uniform(0.22, 0.45) * min(height, width))
        if kind == "letters":
            form, text = letter(random, side, self.fonts), ""
        elif kind == "pieces":
            form, text = pieces(random, self.pictures, side), ""
        else:
            form, text = self._digit(random, side)
        top = int(random.uniform(0.25 * height, 0.75 * height - form.shape[0]))
        left = int(random.uniform(0.25 * width, 0.75 * width - form.shape[1]))
        _put(empty, form, top, left)
        return empty, text

    def _row(self, random: Generator, page: Pixels) -> tuple[Pixels, str]:
        """Two to five digits beside each other."""
        height, width = page.shape
        count = int(random.integers(2, 6))
        side = int(random.uniform(0.75, 1.0) * 0.62 * width / (count * 1.1 + 0.2))
        side = min(side, height // 3)
        left, top = 0.19 * width, random.uniform(0.3, 0.65) * height - side / 2
        text = ""
        for _ in range(count):
            form, digit = self._digit(random, side)
            _put(page, form, int(top + random.uniform(-0.06, 0.06) * side), int(left))
            left += form.shape[1] + side * random.uniform(0.15, 0.4)
            text += digit
        return page, text

    def _digit(self, random: Generator, side: int) -> tuple[Pixels, str]:
        place = int(random.integers(len(self.pictures)))
        return enlarged(self.pictures[place], side), str(self.classes[place])


def _put(page: Pixels, form: Pixels, top: int, left: int) -> None:
    """Draw ``form`` on ``page``, where it is cut off at the edges."""
    top, left = max(0, top), max(0, left)
    part = page[top : top + form.shape[0], left : left + form.shape[1]]
    np.maximum(part, form[: part.shape[0], : part.shape[1]], out=part)


def _ruling(kind: str, random: Generator) -> str:
    if kind in ("lined", "squared"):
        return kind
    if kind == "blank":
        return "lined" if random.random() < 0.6 else "squared"
    if kind in ("several", "letters", "pieces"):
        return str(random.choice(["plain", "plain", "lined", "squared"]))
    return "plain"


def _paper(random: Generator, height: int, width: int, ruling: str) -> Pixels:
    """A sheet (height, width, 3), 0 to 1: its colour, its fibres and its lines."""
    tint = random.uniform(0.82, 0.97) * random.uniform([0.98, 0.98, 0.88], [1, 1, 1])
    page = np.ones((height, width, 3), np.float32) * tint.astype(np.float32)
    page *= 1 + 0.01 * clouds(random, height, width, 3)[..., None]
    if ruling == "plain":
        return page
    colour = random.uniform([0.45, 0.5, 0.6], [0.75, 0.8, 0.9]).astype(np.float32)
    gap = random.uniform(30, 52) if ruling == "lined" else random.uniform(20, 34)
    thickness = random.uniform(1.2, 2.4)
    start = random.uniform(0, gap)
    sides = [height] if ruling == "lined" else [height, width]
    lines = np.zeros((height, width), np.float32)
    for axis, side in enumerate(sides):
        far = np.abs((np.arange(side) - start + gap / 2) % gap - gap / 2)
        profile = np.clip(thickness / 2 + 0.5 - far, 0, 1).astype(np.float32)
        np.maximum(lines, profile[:, None] if axis == 0 else profile[None, :], out=lines)
    page *= 1 - lines[..., None] * (1 - colour)
    if ruling == "lined" and random.random() < 0.4:
        margin = np.clip(1.3 - np.abs(np.arange(width) - random.uniform(0.08, 0.16) * width), 0, 1).astype(np.float32)
        page *= 1 - margin[None, :, None] * np.array([0.1, 0.4, 0.4], np.float32)
    return page


def _texture(random: Generator, height: int, width: int) -> Pixels:
    """Wood, cloth or stone."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    kind = random.integers(3)
    if kind == 0:
        bent = rows + 12 * clouds(random, height, width, 120)
        wave = np.sin(bent / random.uniform(4, 14)) + 0.6 * clouds(random, height, width, 8)
    elif kind == 1:
        gap = random.uniform(3, 9)
        wave = np.sin(rows / gap) * np.sin(columns / gap) + 0.5 * clouds(random, height, width, 4)
    else:
        wave = clouds(random, height, width, int(random.integers(5, 30))) + 0.5 * clouds(random, height, width, 4)
    level = random.uniform(0.35, 0.7) + random.uniform(0.08, 0.2) * wave
    found: Pixels = level[..., None].clip(0.03, 1) * random.uniform([0.9, 0.75, 0.6], [1, 1, 1]).astype(np.float32)
    return found


def _seen(page: Pixels, random: Generator, *, on_table: bool) -> Pixels:
    """The page from a little aside; ``on_table``: it lies on a dark table and does not fill the picture."""
    from PIL import Image

    height, width = page.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    jitter = 0.045 * np.array([width, height])
    if on_table:
        inside = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * random.uniform(0.06, 0.17, (4, 2))
        target = corners + inside * [width, height]
    else:
        outside = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 1.0
        target = corners + outside * jitter * random.uniform(0.1, 1, (4, 2))
    coefficients = _homography(target, corners)
    size, how = (width, height), Image.Transform.PERSPECTIVE
    planes = [np.dstack([page, np.ones((height, width), np.float32)])[..., i] for i in range(4)]
    moved = [
        np.asarray(Image.fromarray(plane).transform(size, how, coefficients, Image.Resampling.BILINEAR))
        for plane in planes
    ]
    seen, inside_page = np.dstack(moved[:3]), moved[3][..., None]
    if not on_table:
        filled: Pixels = np.where(inside_page > 0.5, seen / np.maximum(inside_page, 0.5), page.mean((0, 1)))
        return filled
    table = random.uniform(0.04, 0.22) * random.uniform([0.9, 0.7, 0.5], [1, 1, 1]).astype(np.float32)
    grain = 1 + 0.12 * clouds(random, height, width, 6)[..., None]
    covered: Pixels = seen + (1 - inside_page) * table * grain
    return covered


def _homography(source: NDArray[Any], target: NDArray[Any]) -> Sequence[float]:
    """The eight coefficients of the projective map that takes four points to four points, in Pillow's order."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    return list(map(float, np.linalg.solve(np.array(rows), np.array(wanted))))


def _light(random: Generator, height: int, width: int, *, hard: bool) -> Pixels:
    """The light on each point (height, width, 1): uneven, and ``hard``: with the sharp edge of a shadow."""
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    slope = random.uniform(-0.15, 0.15, 2)
    light = random.uniform(0.75, 0.95) + slope[0] * rows + slope[1] * columns - 0.06 * (rows**2 + columns**2)
    if hard:
        angle, place = random.uniform(0, 2 * np.pi), random.uniform(-0.45, 0.45)
        across = (rows * np.cos(angle) + columns * np.sin(angle) - place) * width / 2
        shaded = np.clip(across / random.uniform(1, 6) + 0.5, 0, 1)
        light = light * (1 - shaded * random.uniform(0.3, 0.6))
    found: Pixels = light[..., None].astype(np.float32)
    return found


def _camera(scene: Pixels, random: Generator) -> Pictures:
    """The scene, 0 to 1, as a camera takes it: a little blurred, noisy, and written as JPEG."""
    from PIL import Image, ImageFilter

    noise = random.uniform(1, 5) * random.standard_normal(scene.shape)
    image = Image.fromarray((scene * 255).clip(0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.2, 1.2)))
    image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(random.integers(65, 93)))
    return np.asarray(Image.open(file))


def measure(
    model: str, count: int, first: int = TEST_SEED, kinds: Sequence[str] = KINDS
) -> dict[str, tuple[int, int, int]]:
    """For each kind, of ``count`` pictures of held-out digits: those answered right, with ``?``, and not at all.

    Right are, with digits, exactly these digits in order; without, ``?`` for all that is found, or nothing found.
    """
    import portable_nn as pnn

    digits = load_digits()
    photographer = Photographer(digits.test_x, digits.test_y)
    found: dict[str, tuple[int, int, int]] = {}
    from PIL import Image

    for kind in kinds:
        right = unsure = nothing = 0
        for seed in range(first, first + count):
            photograph = photographer.take(kind, seed)
            image = Image.fromarray(photograph.pixels)
            answers = list(pnn.predict(model, [image], engine="numpy", strict=False))
            labels = [each.label for each in answers if each.error is None]
            read = "".join(str(label) for label in labels)
            nothing += not labels
            unsure += "?" in read
            right += read == photograph.digits if photograph.digits else set(read) <= {"?"}
        found[kind] = (right, unsure, nothing)
    return found


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    print("| kind | right | with ? | nothing found |\n|---|---|---|---|")
    for kind, (right, unsure, nothing) in measure(sys.argv[1], number).items():
        print(f"| {kind} | {right / number:.1%} | {unsure / number:.1%} | {nothing / number:.1%} |")
