"""Classifiers of skl2onnx train on where scikit-learn stopped: the loss is that of their probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import import_onnx

skl2onnx: Any = pytest.importorskip("skl2onnx")
sklearn: Any = pytest.importorskip("sklearn")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def _data(classes: int) -> tuple[Any, Any]:
    from sklearn.datasets import load_breast_cancer, load_iris

    x, y = (load_iris if classes == 3 else load_breast_cancer)(return_X_y=True)
    return ((x - x.mean(0)) / x.std(0)).astype("float32"), y


def _models() -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neural_network import MLPClassifier

    return {
        "logistic": (LogisticRegression(max_iter=3), 3),
        "logistic of two": (LogisticRegression(max_iter=2), 2),
        "one versus rest": (OneVsRestClassifier(LogisticRegression(max_iter=2)), 3),
        "perceptron": (MLPClassifier((5,), max_iter=3, random_state=0), 3),
        "perceptron of two": (MLPClassifier((5,), max_iter=3, random_state=0), 2),
    }


@pytest.mark.parametrize(
    "name", [name if name.startswith("logistic") else pytest.param(name, marks=pytest.mark.long) for name in _models()]
)
def test_an_imported_classifier_trains_on_by_cross_entropy(name: str) -> None:
    from sklearn.metrics import log_loss

    model, classes = _models()[name]
    x, y = _data(classes)
    model.fit(x, y)
    before = log_loss(y, model.predict_proba(x))
    net = import_onnx(skl2onnx.to_onnx(model, x[:1], options={"zipmap": False}))
    history = net.fit(x, y, loss="cross_entropy", optimizer=pnn.SGD(1e-9), epochs=1, progress=False)
    assert history.rows[0]["loss"] == pytest.approx(before, rel=1e-4)
    net.fit(x, y, loss="cross_entropy", optimizer=pnn.Adam(0.01), epochs=5, progress=False)
    found = net.predict(x)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert log_loss(y, found) < before
    assert net.outputs[0].kind == "probabilities"


def test_check_says_what_import_does(tmp_path: Any) -> None:
    model, classes = _models()["logistic"]
    x, y = _data(classes)
    path = tmp_path / "model.onnx"
    path.write_bytes(skl2onnx.to_onnx(model.fit(x, y), x[:1]).SerializeToString())
    report = pnn.check(path)
    assert report.passes()
    assert any("import: operators of ai.onnx.ml" in finding.message for finding in report.findings)
