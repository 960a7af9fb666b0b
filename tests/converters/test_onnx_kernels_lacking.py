"""Element types that onnxruntime has no kernels for: files compute the same numbers in wider types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.operators import constant

UNSIGNED = ("uint8", "int8", "uint16", "int16", "uint32", "uint64")


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
@pytest.mark.parametrize("operator", ["Max", "Min", "Clip"])
def test_bounds_of_16_bits(operator: str, dtype: str, tmp_path: Path) -> None:
    info = np.iinfo(dtype)
    values = np.array([info.min, info.max, 0, 1, 1000], dtype)
    x = pnn.Input(5, dtype=dtype, name="x")
    net = pnn.Network(x, pnn.emit(operator, x, constant(7, dtype), name="y"))
    feeds = np.stack([values, values[::-1]])
    wanted = np.minimum(feeds, 7) if operator == "Min" else np.maximum(feeds, 7)
    export_onnx(net, tmp_path / "m.onnx")
    [found] = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": feeds})
    for each in (found, net.predict(feeds), import_onnx(tmp_path / "m.onnx").predict(feeds)):
        assert each.dtype == dtype
        np.testing.assert_array_equal(each, wanted)


@pytest.mark.parametrize("dtype", UNSIGNED)
def test_powers_of_whole_numbers(dtype: str, tmp_path: Path) -> None:
    x = pnn.Input(4, name="x")
    powers = np.arange(4).astype(dtype)
    net = pnn.Network(x, pnn.emit("Pow", x, constant(powers, dtype), name="y"))
    feeds = np.array([[1.5, -2, 0.5, -3], [0, 1, 2, 4]], np.float32)
    export_onnx(net, tmp_path / "m.onnx")
    [found] = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": feeds})
    np.testing.assert_allclose(found, feeds.astype(np.float64) ** np.arange(4), rtol=1e-6)
