"""Rescaling and Normalization: closed forms, and numbers that no training changes."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.data import statistics

RNG = np.random.default_rng(0)
TABLE = RNG.normal([5.0, -300.0, 1e6, 0.0], [0.1, 50.0, 1e5, 1e-4], (500, 4))
PICTURES = RNG.integers(0, 256, (20, 3, 5, 4), dtype=np.uint8)


def alone(layer: pnn.Layer, *shape: int, dtype: str = "float32") -> pnn.Network:
    return pnn.Sequential(pnn.Input(*shape, dtype=dtype), layer, seed=0)


@pytest.mark.parametrize(("scale", "offset"), [(1 / 255, 0), (0.99 / 255, 0.01), (1 / 127.5, -1), (-1 / 255, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_rescaling(scale: float, offset: float, dtype: str) -> None:
    net = alone(pnn.Rescaling(scale, offset), 3, 5, 4, dtype=dtype)
    found = net.predict(PICTURES.astype(dtype))
    assert found.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_allclose(found, PICTURES * scale + offset, rtol=0, atol=1e-6)
    assert list(net.parameters) == ["rescaling_1.scale", "rescaling_1.offset"][: 1 + bool(offset)]


@pytest.mark.parametrize("axis", [1, -1])
def test_a_table_is_standardised(axis: int) -> None:
    net = alone(pnn.Normalization(axis).adapt(TABLE), 4, dtype="float64")
    expected = (TABLE - TABLE.mean(axis=0)) / TABLE.std(axis=0)
    np.testing.assert_allclose(net.predict(TABLE), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(net.predict(TABLE).std(axis=0), 1, rtol=1e-9)


@pytest.mark.parametrize(("axis", "others"), [(1, (0, 2, 3)), (-1, (0, 1, 2)), (2, (0, 1, 3)), (None, None)])
def test_pictures_by_channel(axis: int | None, others: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of any size, of which the last is smaller."""
    mean, std = (getattr(PICTURES, name)(axis=others, keepdims=True, dtype=np.float64) for name in ("mean", "std"))
    for part in (1, 150, 2**20):
        monkeypatch.setattr(statistics, "PART", part)
        net = alone(pnn.Normalization(axis).adapt(PICTURES), 3, 5, 4)
        np.testing.assert_allclose(net.predict(PICTURES), (PICTURES - mean) / std, rtol=0, atol=1e-5)


def test_as_a_pretrained_network_needs_it() -> None:
    """torchvision's ``Normalize(mean, std)`` after pixels from 0 to 1."""
    torch = pytest.importorskip("torch")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    net = pnn.Sequential(pnn.Input(3, 5, 4), pnn.Rescaling(1 / 255), pnn.Normalization(mean=mean, std=std), seed=0)
    x = torch.from_numpy(PICTURES).float() / 255
    expected = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    np.testing.assert_allclose(net.predict(PICTURES), expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 7.0, 1e8 / 3])
def test_a_feature_that_never_varies_becomes_0(value: float) -> None:
    x = np.c_[np.full(1000, value, np.float32), np.arange(1000)]
    net = alone(pnn.Normalization().adapt(x), 2)
    assert net.parameters["normalization_1.std"][0] == 1
    assert not net.predict(x)[:, 0].any()
    assert np.isfinite(net.predict(x + 1)).all()


@pytest.mark.parametrize("given", ["float32", "float64"])
def test_a_spread_below_the_steps_of_float32_is_reported(given: str) -> None:
    """At 1e8 a float32 goes in steps of 8 (IEEE 754: 24 digits, and 2²⁶ < 1e8 < 2²⁷)."""
    x = (RNG.normal([0, 1e8], [1, 2], (1000, 2))).astype(given)
    told = r"^Normalization: column 2 cannot be told apart in float32, whose steps are 8 at 1000\d+(\.\d+)? ± \S+: sub"
    told = told.replace("1000", "(1000|9999)")
    with pytest.warns(pnn.DataWarning, match=told) as caught:
        net = alone(pnn.Normalization().adapt(x), 2)
    assert len(caught) == 1
    np.testing.assert_allclose(net.parameters["normalization_1.std"], [x[:, 0].std(dtype="f8"), 8], rtol=1e-6)
    assert np.abs(net.predict(x.astype("float32"))[:, 1]).max() <= 4


def test_statistics_are_computed_in_float64() -> None:
    x = RNG.normal([1e8, 3e6], [500, 1], (1000, 2)).astype(np.float32)
    net = alone(pnn.Normalization().adapt(x), 2, dtype="float64")
    for name, expected in (("mean", x.mean(0, dtype="f8")), ("std", x.std(0, dtype="f8"))):
        np.testing.assert_allclose(net.parameters[f"normalization_1.{name}"], expected, rtol=1e-12)
    with warnings.catch_warnings(action="error"):  # In float64 there is room for more digits.
        alone(pnn.Normalization().adapt(RNG.normal(1e8, 1, (100, 2))), 2, dtype="float64")


def test_training_does_not_change_it_and_files_keep_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from portable_nn.converters.onnx import export_onnx, import_onnx

    x, y = TABLE[:, :3].astype(np.float32), (TABLE[:, 0] > 5).astype(int)
    net = pnn.Sequential(pnn.Input(3), pnn.Normalization(name="norm").adapt(x), pnn.Dense(2), seed=0)
    before = {name: array.copy() for name, array in net.parameters.items()}
    net.unfreeze("*")
    net.fit(x, y, optimizer=pnn.AdamW(0.1, weight_decay=0.1), epochs=2, progress=False)
    for name, array in net.parameters.items():
        assert np.array_equal(array, before[name]) == name.startswith("norm."), name
    net.save(tmp_path / "a.npz")
    export_onnx(net, tmp_path / "a.onnx")
    for back in (pnn.load(tmp_path / "a.npz"), import_onnx(tmp_path / "a.onnx")):
        np.testing.assert_array_equal(back.predict(x), net.predict(x))
        trained = {value.name for value in back.graph.parameters if value.trainable}
        assert trained == {"dense_1.weight", "dense_1.bias"}
    assert "frozen      6 of 14 parameters\n" in net.summary()


def test_it_is_trained_where_it_is_named() -> None:
    net = alone(pnn.Normalization(name="norm").adapt(TABLE), 4)
    assert net.unfreeze("*") == net.unfreeze("norm") == ()
    assert net.unfreeze("norm.mean") == ("norm.mean",)


def test_it_is_trained_before_the_network_is_made() -> None:
    layer = pnn.Normalization().adapt(TABLE)
    alone(layer, 4)
    with pytest.raises(UsageError, match=r"^Normalization: adapt comes before the network is made; later, write into"):
        layer.adapt(TABLE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pnn.Rescaling(0), "Rescaling: scale must not be 0, which makes all numbers the same"),
        (lambda: pnn.Rescaling("a"), "Rescaling: scale must be a number, at most 1e+30 in size, not 'a'"),
        (lambda: pnn.Rescaling(1, np.nan), "Rescaling: offset must be a number, at most 1e+30 in size, not nan"),
        (lambda: pnn.Rescaling(True), "Rescaling: scale must be a number, at most 1e+30 in size, not True"),
        (lambda: pnn.Rescaling(1e-50), "Rescaling: scale must not be 0, which makes all numbers the same"),
        (lambda: pnn.Normalization().adapt([[1], [2, 3]]), "Normalization: x must be an array of numbers, with as "),
        (lambda: pnn.Normalization().adapt([[1e300], [-1e300]]), "Normalization: adapt needs finite numbers, and th"),
        (lambda: pnn.Normalization(0), "Normalization: axis must be a whole number but 0, the batch, or None, not 0"),
        (lambda: pnn.Normalization(mean=1), "Normalization: mean and std go together: give both, or neither and call"),
        (lambda: pnn.Normalization(mean=1, std=0), "Normalization: std must be above 0, not 0"),
        (lambda: pnn.Normalization(mean=np.ma.masked_array([1.0], [True]), std=1), "Normalization: mean must be"),
        (lambda: pnn.Normalization(mean="a", std=1), "Normalization: mean must be finite numbers (features,), or one"),
        (lambda: pnn.Normalization(mean=[1, 2], std=[1, 2, 3]), "Normalization: 2 means and 3 standard deviations"),
        (lambda: pnn.Normalization().adapt(TABLE * np.nan), "Normalization: adapt needs finite numbers, and the exam"),
        (lambda: pnn.Normalization().adapt(["a"]), "Normalization: x must be an array of numbers, but holds"),
        (lambda: pnn.Normalization().adapt(TABLE[:0]), "Normalization: adapt needs examples (n, …) of real numbers"),
        (lambda: pnn.Normalization(2).adapt(TABLE), "Normalization: axis is 2, but the examples are (500, 4)"),
        (lambda: alone(pnn.Normalization(), 4), "Normalization: call adapt(x) with the training examples first, or gi"),
    ],
)  # fmt: skip
def test_wrong_use(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        make()


@pytest.mark.parametrize("shape", [(5,), ("size",), ()])
def test_another_number_of_features(shape: tuple[Any, ...]) -> None:
    with pytest.raises(GraphError, match=r"'normalization' \(Normalization\): it needs 4 features in axis 1, not "):
        alone(pnn.Normalization().adapt(TABLE), *shape)
