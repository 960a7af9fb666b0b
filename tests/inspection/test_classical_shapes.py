"""The shapes that inspect shows of files of skl2onnx are those that onnxruntime computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from portable_nn.inspection.onnx import inspect_onnx
from portable_nn.inspection.text import as_text

N, X = 7, np.random.default_rng(2).normal(size=(40, 5)).astype(np.float32)


def fitted(name: str) -> Any:
    """An estimator for the columns of X."""
    ensemble, impute, linear, pipeline, preprocessing, svm = (
        pytest.importorskip(f"sklearn.{part}")
        for part in ("ensemble", "impute", "linear_model", "pipeline", "preprocessing", "svm")
    )
    steps = {
        "logistic": [preprocessing.StandardScaler(), linear.LogisticRegression()],
        "forest": [impute.SimpleImputer(), ensemble.RandomForestClassifier(3)],
        "boosted": [preprocessing.Normalizer(), ensemble.GradientBoostingRegressor(n_estimators=3)],
        "support": [preprocessing.MinMaxScaler(), svm.SVR()],
        "words": [ensemble.RandomForestClassifier(3)],
    }[name]
    y: Any = np.arange(40) % 3 if name in {"logistic", "forest"} else X[:, 0]
    return pipeline.make_pipeline(*steps).fit(X, np.array(["a", "b"])[np.arange(40) % 2] if name == "words" else y)


@pytest.mark.parametrize("name", ["logistic", "forest", "boosted", "support", "words"])
def test_shapes_are_those_of_onnxruntime(name: str) -> None:
    model = pytest.importorskip("skl2onnx").to_onnx(fitted(name), X[:1])
    inspection = inspect_onnx(model, "it")
    wide = onnx.ModelProto.FromString(model.SerializeToString())
    shown = {value: shape for row in inspection.nodes for value, shape in zip(row.makes, row.outputs, strict=True)}
    del wide.graph.output[:]
    wide.graph.output.extend(onnx.ValueInfoProto(name=value) for value, shape in shown.items() if shape is not None)
    names = [value.name for value in wide.graph.output]
    computed = onnxruntime.InferenceSession(wide.SerializeToString()).run(names, {"X": X[:N]})
    assert {each: np.shape(array) for each, array in zip(names, computed, strict=True)} == {
        each: tuple(N if dim == "?" else dim for dim in shown[each]) for each in names
    }
    missing = {row.operator for row in inspection.nodes if None in row.outputs}
    assert missing <= {"ai.onnx.ml.ZipMap"}
    assert "a size that the file leaves open" in as_text(inspection)
