"""Casts between all element types, against onnxruntime: rounding, overflow to infinity, bits that are dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from standard_side import run_plan, run_runtime

from portable_nn.operators import Leaf, emit, trace
from portable_nn.operators.registry import DTYPE_CODES, FLOATS, INTEGERS, Array

DTYPES = sorted(DTYPE_CODES)


def numbers(source: str, target: str) -> Array:
    """Numbers of one type of which the standard says what they are in another: of no float beyond the integers."""
    if source == "bool":
        return np.array([False, True])
    if source in INTEGERS:
        limits = np.iinfo(source)
        found = [limits.min, limits.max, 0, 1, 77, limits.max - 1, limits.max // 3, limits.min // 5]
        return np.array(found, source)
    fractions = [0.0, 0.5, 1.5, 2.5, 2.999, 100.25, 1e-30]
    if target in FLOATS or target == "bool":
        fractions += [-0.0, -0.5, 2049, -2051, 1 / 3, 65519, 65520, -1e30, 3.5e38, np.inf, -np.inf, np.nan, 1e-8]
    elif not target.startswith("u"):
        fractions += [-0.5, -1.5, -2.999, -100.25]
    with np.errstate(over="ignore"):
        return np.array(fractions).astype(source)


@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_a_cast_is_that_of_onnxruntime(source: str, target: str) -> None:
    array: np.ndarray[Any, Any] = numbers(source, target)
    x = Leaf("x", source, array.shape)
    for cast in (emit("Cast", x, to=DTYPE_CODES[target]), emit("CastLike", x, Leaf("like", target, ()))):
        leaves = [x, *cast.origin.inputs[1:]]
        graph = trace(leaves, [cast]).graph  # type: ignore[arg-type]
        feeds = {"x": array, "like": np.zeros((), target)}
        feeds = {value.name: feeds[value.name] for value in graph.inputs}
        [found], [wanted] = run_plan(graph, feeds), run_runtime(graph, feeds)
        assert found.dtype == wanted.dtype == np.dtype(target)
        np.testing.assert_array_equal(found, wanted)
