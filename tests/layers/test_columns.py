"""The layer for rows of tables computes what scikit-learn's transformers do, in numpy and in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.format.meaning import Column

COLUMNS = (
    Column("a", missing="mean"),
    Column("w", categories=("x", "y", "z")),
    Column("b", missing="median"),
    Column("c", missing="indicator"),
    Column("v", categories=("0", "1")),
)
NUMBERS, WORDS = [0, 2, 3], [1, 4]


def rows(count: int = 60) -> np.ndarray:
    rng = np.random.default_rng(1)
    found = rng.normal(100, 30, (count, 5))
    found[:, WORDS] = rng.integers(0, [3, 2], (count, 2))
    for place in NUMBERS:
        found[rng.random(count) < 0.2, place] = np.nan
    return found.astype(np.float32)


def expected(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What scikit-learn makes of the rows ``x``, after it has seen ``train``."""
    impute = pytest.importorskip("sklearn.impute")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    parts = []
    for place, way in zip(NUMBERS, ("mean", "median", "mean"), strict=True):
        fill = impute.SimpleImputer(strategy=way).fit(train[:, [place]])
        scale = preprocessing.StandardScaler().fit(fill.transform(train[:, [place]]).astype(np.float64))
        parts.append(scale.transform(fill.transform(x[:, [place]]).astype(np.float64)))
    parts.append(np.isnan(x[:, [3]]))
    for place, count in zip(WORDS, (3, 2), strict=True):
        hot = preprocessing.OneHotEncoder(categories=[np.arange(count)], handle_unknown="ignore", sparse_output=False)
        parts.append(hot.fit(train[:, [place]]).transform(x[:, [place]]))
    return np.concatenate(parts, axis=1)


def test_the_layer_computes_what_scikit_learn_does(tmp_path: Path) -> None:
    train, x = rows()[:40], rows()[40:]
    x[3, 1] = -1  # A word that is none of the categories.
    network = pnn.Sequential(pnn.Input(5), pnn.Columns(COLUMNS, train), seed=0)
    found = network.predict(x)
    np.testing.assert_allclose(found, expected(train, x), rtol=1e-5, atol=1e-5)
    export_onnx(network, tmp_path / "t.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "t.onnx")
    np.testing.assert_allclose(session.run(None, {session.get_inputs()[0].name: x})[0], found, rtol=1e-6, atol=1e-6)


def test_an_embedding_is_a_row_of_a_trained_matrix() -> None:
    network = pnn.Sequential(pnn.Input(2), pnn.Columns(COLUMNS[1:3], rows()[:, 1:3], embedding=4, name="t"), seed=0)
    x = np.array([[2, 100], [0, 100], [-1, 100], [np.nan, 100]], np.float32)
    vectors = network.parameters["t.vectors_0"]
    assert vectors.shape == (3, 4)
    np.testing.assert_array_equal(network.predict(x)[:, 1:], [vectors[2], vectors[0], np.zeros(4), np.zeros(4)])


def test_numbers_alone_and_words_alone_are_tables_as_well() -> None:
    plain = Column("a"), Column("b")
    x = np.array([[1, 10], [3, 30]], np.float32)
    np.testing.assert_allclose(
        pnn.Sequential(pnn.Input(2), pnn.Columns(plain, x), seed=0).predict(x), [[-1, -1], [1, 1]], rtol=1e-6
    )
    np.testing.assert_array_equal(
        pnn.Sequential(pnn.Input(2), pnn.Columns(plain, x, standardise=False), seed=0).predict(x), x
    )
    words = (Column("w", categories=("x", "y")),)
    np.testing.assert_array_equal(
        pnn.Sequential(pnn.Input(1), pnn.Columns(words, np.zeros((1, 1))), seed=0).predict([[1.0]]), [[0, 1]]
    )


def test_a_column_that_never_varies_becomes_0() -> None:
    network = pnn.Sequential(pnn.Input(1), pnn.Columns([Column("a")], np.full((5, 1), 7.0)), seed=0)
    assert network.predict([[7.0]]).tolist() == [[0.0]]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Columns: examples must be \(n, 5\), not \(60, 4\)"):
        pnn.Columns(COLUMNS, rows()[:, :4])
    with pytest.raises(GraphError, match=r"it needs \(batch, 5\)"):
        pnn.Sequential(pnn.Input(4), pnn.Columns(COLUMNS, rows()))
    with pytest.raises(UsageError, match="embedding must be a whole number from 1 or None"):
        pnn.Columns(COLUMNS, rows(), embedding=0)


def test_numbers_come_back_in_their_units() -> None:
    back = pnn.Normalization(mean=[10, 20], std=[2, 5], invert=True)
    assert pnn.Sequential(pnn.Input(2), back, seed=0).predict([[1.0, -1.0]]).tolist() == [[12.0, 15.0]]
