"""The bytes of tensors: what is finite, and memory that is lent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from portable_nn.core.memory import ALIGNMENT, CHUNK, borrowed
from portable_nn.core.tensors import is_finite

FLOATS = st.sampled_from(["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@given(FLOATS.flatmap(lambda dtype: arrays(dtype, SHAPES)), st.booleans())
def test_finite_is_what_numpy_says(array: NDArray[np.floating], reverse: bool) -> None:
    array = array[..., ::-1] if reverse and array.ndim else array
    assert is_finite(array) == np.isfinite(array).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_extremes_of_a_type_are_finite_and_what_lies_beyond_is_not(dtype: str) -> None:
    limits = np.finfo(dtype)
    extremes = np.array([limits.max, limits.min, limits.smallest_subnormal, -limits.smallest_subnormal, -0.0], dtype)
    assert is_finite(extremes)
    for beyond in (np.nan, -np.nan, np.inf, -np.inf):
        for place in range(len(extremes)):
            spoiled = extremes.copy()
            spoiled[place] = beyond
            assert not is_finite(spoiled)


def test_whole_numbers_are_finite() -> None:
    assert is_finite(np.array([np.iinfo(np.int64).max, -1]))
    assert is_finite(np.array([True]))


def test_memory_is_lent_to_one_at_a_time() -> None:
    with borrowed(CHUNK) as one, borrowed(100) as another:
        assert (len(one), len(another)) == (CHUNK, 100)
        assert not np.shares_memory(one, another)
        assert one.ctypes.data % ALIGNMENT == another.ctypes.data % ALIGNMENT == 0
        first = {one.ctypes.data, another.ctypes.data}
    with borrowed(1) as one, borrowed(CHUNK) as another:
        assert {one.ctypes.data, another.ctypes.data} == first
