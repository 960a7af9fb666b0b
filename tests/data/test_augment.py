"""RandomAffine against scipy, numpy's rot90 and plain shifts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from portable_nn.core.errors import UsageError
from portable_nn.data.augment import RandomAffine
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(0)
SQUARE = RNG.uniform(0.1, 1, (3, 8, 8)).astype("float32")
OBLONG = RNG.uniform(0.1, 1, (4, 7, 10))


class Fixed:
    """A generator that draws the same every time: 1 is the largest change one way, -1 the largest the other way."""

    def __init__(self, value: float) -> None:
        self.value = value

    def uniform(self, low: float, high: float, size: Any) -> Array:
        assert (low, high) == (-1, 1)
        return np.full(size, self.value)


def change(pictures: Array, value: float, **options: float | None) -> Array:
    height, width = pictures.shape[-2:]
    none = RandomAffine(height, width, rotation=0, scale=0, shift=0)
    return replace(none, **options)(pictures, Fixed(value))  # type: ignore[arg-type]


@pytest.mark.parametrize("pictures", [SQUARE, OBLONG, SQUARE.reshape(3, 1, 8, 8), OBLONG.reshape(2, 2, 7, 10)])
def test_no_change_is_the_identity(pictures: Array) -> None:
    found = change(pictures, 1)
    np.testing.assert_array_equal(found, pictures)
    assert found.dtype == pictures.dtype


@pytest.mark.parametrize("fill", [0.0, 0.01, -1.0])
@pytest.mark.parametrize("shift", [1, 2, 3, 6, 20])
def test_shifts_by_whole_pixels(shift: int, fill: float) -> None:
    _, height, width = OBLONG.shape
    wanted = np.full_like(OBLONG, fill)
    wanted[:, shift:, shift:] = OBLONG[:, : max(height - shift, 0), : max(width - shift, 0)]
    np.testing.assert_array_equal(change(OBLONG, 1, shift=shift, fill=fill), wanted)
    wanted = np.full_like(OBLONG, fill)
    wanted[:, : max(height - shift, 0), : max(width - shift, 0)] = OBLONG[:, shift:, shift:]
    np.testing.assert_array_equal(change(OBLONG, -1, shift=shift, fill=fill), wanted)


def test_a_shift_by_half_a_pixel_takes_the_mean_of_four() -> None:
    frame = np.pad(OBLONG, ((0, 0), (1, 0), (1, 0)))
    wanted = (frame[:, :-1, :-1] + frame[:, 1:, :-1] + frame[:, :-1, 1:] + frame[:, 1:, 1:]) / 4
    np.testing.assert_allclose(change(OBLONG, 0.5, shift=1), wanted, rtol=1e-12)


def test_a_quarter_turn() -> None:
    one, other = change(SQUARE, 1, rotation=90), change(SQUARE, -1, rotation=90)
    turns = [np.rot90(SQUARE, k, axes=(1, 2)) for k in (1, -1)]
    np.testing.assert_allclose(one, turns[1], atol=1e-5)
    np.testing.assert_allclose(other, turns[0], atol=1e-5)
    np.testing.assert_allclose(change(SQUARE, 1, rotation=180), SQUARE[:, ::-1, ::-1], atol=1e-5)


@pytest.mark.parametrize("value", [-1.0, -0.3, 0.6, 1.0])
@pytest.mark.parametrize(
    "options",
    [
        {"rotation": 10.0},
        {"rotation": 70.0, "fill": 0.5},
        {"scale": 0.4},
        {"shift": 1.7, "fill": -1.0},
        {"rotation": 25.0, "scale": 0.15, "shift": 1.5, "fill": 0.01},
        {"rotation": 25.0, "scale": 0.15, "shift": 1.5, "fill": None},
    ],
    ids=str,
)
def test_as_scipy(options: dict[str, Any], value: float) -> None:
    """Turned and scaled about the middle, then shifted; bilinear, with ``fill`` or the edge outside."""
    ndimage = pytest.importorskip("scipy.ndimage")
    angle = math.radians(value * options.get("rotation", 0))
    zoom, shift = 1 + value * options.get("scale", 0), value * options.get("shift", 0)
    back = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / zoom
    middle = (np.array(OBLONG.shape[1:]) - 1) / 2
    offset = middle - back @ (middle + shift)
    fill = options.get("fill", 0.0)
    outside: dict[str, Any] = {"mode": "nearest"} if fill is None else {"mode": "grid-constant", "cval": fill}
    for picture, found in zip(OBLONG, change(OBLONG, value, **options), strict=True):
        wanted = ndimage.affine_transform(picture, back, offset, order=1, **outside)
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_larger_scale_makes_the_picture_larger() -> None:
    """A square of 4x4 in the middle becomes one of 6x6."""
    picture = np.zeros((1, 12, 12))
    picture[0, 4:8, 4:8] = 1
    assert change(picture, 1, scale=0.5).sum() == pytest.approx(36, rel=0.05)
    assert change(picture, -1, scale=0.5).sum() == pytest.approx(4, rel=0.05)


def test_draws_are_independent_within_the_limits_and_seeded() -> None:
    """A single bright pixel shows how far each picture was shifted."""
    pictures = np.zeros((400, 21, 21))
    pictures[:, 10, 10] = 1
    augment = RandomAffine(21, 21, rotation=0, scale=0, shift=3)
    found = augment(pictures, np.random.default_rng(5))
    np.testing.assert_array_equal(found, augment(pictures, np.random.default_rng(5)))
    assert (found != augment(pictures, np.random.default_rng(6))).any()
    place = np.arange(21.0) - 10
    down, right = found.sum(2) @ place, found.sum(1) @ place
    assert np.abs(np.r_[down, right]).max() <= 3 + 1e-9
    assert np.var(down) == pytest.approx(3, rel=0.2)
    assert np.var(right) == pytest.approx(3, rel=0.2)
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.15


def test_flat_pictures_and_channels_are_changed_alike() -> None:
    augment = RandomAffine(7, 10)
    as_pictures = augment(OBLONG, np.random.default_rng(1))
    flat = augment(OBLONG.reshape(4, 70), np.random.default_rng(1))
    both = augment(np.stack([OBLONG, OBLONG * 2], 1), np.random.default_rng(1))
    np.testing.assert_array_equal(flat.reshape(4, 7, 10), as_pictures)
    np.testing.assert_array_equal(both[:, 0], as_pictures)
    np.testing.assert_allclose(both[:, 1], as_pictures * 2)
    last = augment(np.stack([OBLONG, OBLONG * 2], 3), np.random.default_rng(1))
    np.testing.assert_array_equal(last, np.moveaxis(both, 1, 3))


def test_pixels_of_whole_numbers() -> None:
    pictures = (OBLONG * 255).astype(np.uint8)
    augment = RandomAffine(7, 10)
    found = augment(pictures, np.random.default_rng(1))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, augment(pictures.astype("float64"), np.random.default_rng(1)), atol=1e-3)


def test_the_batch_given_stays_as_it_was() -> None:
    before = OBLONG.copy()
    RandomAffine(7, 10)(OBLONG, np.random.default_rng(1))
    np.testing.assert_array_equal(OBLONG, before)


def test_no_pictures_stay_no_pictures() -> None:
    assert RandomAffine(7, 10)(OBLONG[:0], np.random.default_rng(1)).shape == (0, 7, 10)


@pytest.mark.parametrize("shape", [(5, 100), (5, 784, 2), (28, 28), (5, 28, 27), (5, 28, 27, 3), (784,)])
def test_shapes_without_such_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        RandomAffine(28, 28)(np.zeros(shape), np.random.default_rng(0))
    assert str(caught.value) == f"pictures of 28x28 cannot be found in {shape}"


@pytest.mark.parametrize("scale", [1.0, -0.1])
def test_wrong_scale(scale: float) -> None:
    with pytest.raises(UsageError, match=rf"^scale must be a number from 0 to less than 1, not {scale}$"):
        RandomAffine(28, 28, scale=scale)
