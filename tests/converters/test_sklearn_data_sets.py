"""Estimators of scikit-learn on its own data sets: the same numbers here, back in scikit-learn, and out of skl2onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pytest

sklearn: Any = pytest.importorskip("sklearn", reason="scikit-learn is the other side")

pytestmark = pytest.mark.filterwarnings("ignore")

CLASSES: Final = ("iris", "wine", "breast_cancer", "digits")
SETS: Final = (*CLASSES, "diabetes")


@lru_cache
def _data(name: str) -> tuple[Any, Any]:
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return (x, y) if len(x) <= 600 else (x[:600], y[:600])


def _classifiers() -> Mapping[str, Callable[[], Any]]:
    from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import LinearSVC

    return {
        "MLPClassifier": lambda: MLPClassifier((9, 5), max_iter=20, random_state=0),
        "LogisticRegression": lambda: LogisticRegression(max_iter=50),
        "SGDClassifier log_loss": lambda: SGDClassifier(loss="log_loss", random_state=0),
        "SGDClassifier hinge": lambda: SGDClassifier(random_state=0),
        "SGDClassifier modified_huber": lambda: SGDClassifier(loss="modified_huber", random_state=0),
        "LinearSVC": lambda: LinearSVC(),
        "RidgeClassifier": lambda: RidgeClassifier(),
    }


def _regressors() -> Mapping[str, Callable[[], Any]]:
    from sklearn.linear_model import LinearRegression, Ridge, SGDRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.svm import SVR, LinearSVR

    return {
        "MLPRegressor": lambda: MLPRegressor(hidden_layer_sizes=(9, 5), max_iter=20, random_state=0),
        "LinearRegression": lambda: LinearRegression(),
        "Ridge": lambda: Ridge(0.5),
        "SGDRegressor": lambda: SGDRegressor(random_state=0),
        "LinearSVR": lambda: LinearSVR(random_state=0),
        "SVR linear": lambda: SVR(kernel="linear"),
    }


def _steps() -> Mapping[str, Callable[[], Any]]:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

    return {
        "StandardScaler": lambda: StandardScaler(),
        "MinMaxScaler": lambda: MinMaxScaler((-1, 1)),
        "Normalizer": lambda: Normalizer(),
        "PCA": lambda: PCA(3, whiten=True),
    }


CLASSIFIERS: Final = tuple(_classifiers())
REGRESSORS: Final = tuple(_regressors())
STEPS: Final = tuple(_steps())


def _grid(names: tuple[str, ...], sets: tuple[str, ...]) -> list[Any]:
    """All pairs; all but those of the first data set are long."""
    return [
        pytest.param(name, data, marks=() if data == sets[0] else pytest.mark.long) for name in names for data in sets
    ]


def _fitted(model: Any, data: str, step: str = "StandardScaler") -> tuple[Any, Any, Any]:
    from sklearn.pipeline import make_pipeline

    x, y = _data(data)
    model = make_pipeline(_steps()[step](), model).fit(x, y)
    return model, x, y


def _answers(model: Any, x: Any) -> Any:
    """Probabilities, or else scores, or else numbers."""
    for method in ("predict_proba", "decision_function"):
        if hasattr(model, method):
            return getattr(model, method)(x)
    return model.predict(x)


def _ours(network: Any, model: Any, x: Any) -> Any:
    found = network.predict_proba(x) if hasattr(model, "predict_proba") else network.predict(x)
    return found[:, -1] if np.ndim(_answers(model, x[:2])) == 1 else found


def _close(found: Any, expected: Any, limit: float = 1e-6) -> None:
    np.testing.assert_allclose(found, expected, atol=limit * max(1.0, float(np.abs(expected).max())), rtol=0)


@pytest.mark.parametrize(("name", "data"), _grid(CLASSIFIERS, CLASSES))
def test_a_classifier_gives_the_same_answers(name: str, data: str) -> None:
    from portable_nn.converters.sklearn import from_sklearn

    model, x, _ = _fitted(_classifiers()[name](), data)
    network = from_sklearn(model, data=x)
    _close(_ours(network, model, x), _answers(model, x))
    if "modified_huber" not in name and hasattr(
        model, "predict_proba"
    ):  # Its probabilities are often the same for two.
        chosen = np.asarray(network.outputs[0].labels)[network.predict_proba(x).argmax(axis=1)]
        assert list(chosen) == [str(each) for each in model.predict(x)]


@pytest.mark.parametrize(("name", "data"), _grid(REGRESSORS, ("diabetes",)))
def test_a_regressor_gives_the_same_numbers(name: str, data: str) -> None:
    from portable_nn.converters.sklearn import from_sklearn

    model, x, _ = _fitted(_regressors()[name](), data)
    _close(_ours(from_sklearn(model, data=x), model, x), model.predict(x))


@pytest.mark.parametrize(("name", "data"), _grid(STEPS, SETS))
def test_a_step_gives_the_same_numbers(name: str, data: str) -> None:
    from portable_nn.converters.sklearn import from_sklearn

    x, _ = _data(data)
    step = _steps()[name]().fit(x)
    _close(from_sklearn(step, data=x).predict(x), step.transform(x))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *_grid(("MLPClassifier", "LogisticRegression", "LinearSVC"), CLASSES),
        *_grid(("MLPRegressor", "Ridge"), ("diabetes",)),
    ],
)
def test_an_estimator_comes_back_with_the_same_answers(name: str, data: str) -> None:
    from portable_nn.converters.sklearn import from_sklearn, to_sklearn

    model, x, _ = _fitted({**_classifiers(), **_regressors()}[name](), data)
    back = to_sklearn(from_sklearn(model, data=x))
    _close(_answers(back, x), _answers(model, x))


@pytest.mark.parametrize(("name", "data"), [*_grid(CLASSIFIERS, CLASSES), *_grid(REGRESSORS, ("diabetes",))])
def test_a_file_of_skl2onnx_gives_the_same_answers(name: str, data: str) -> None:
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx writes the files")
    from portable_nn.converters.onnx import import_onnx

    model, x, _ = _fitted({**_classifiers(), **_regressors()}[name](), data)
    x = x.astype("float32")
    if name == "LinearSVC":  # skl2onnx 1.20 does not write it behind a scaler.
        model, x = model[-1], model[:-1].transform(x).astype("float32")
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    network = import_onnx(skl2onnx.to_onnx(model, x[:1], options=options))
    has_scores = hasattr(model, "decision_function")
    scores = float(np.abs(model.decision_function(x)).max()) if has_scores else 1.0  # In single precision.
    _close(np.squeeze(_ours(network, model, x)), np.squeeze(_answers(model, x)), 1e-6 * max(1.0, scores / 10))


@pytest.mark.parametrize("data", ["breast_cancer", pytest.param("wine", marks=pytest.mark.long)])
def test_linear_kernels_are_layers_where_no_pairs_vote(data: str) -> None:
    from sklearn.svm import SVC, SVR

    from portable_nn.converters.sklearn import from_sklearn
    from portable_nn.core.errors import UsageError

    for model in (SVC(kernel="linear"), SVR(kernel="linear")):
        if data == "wine" and isinstance(model, SVC):
            continue
        fitted, x, _ = _fitted(model, data)
        _close(_ours(from_sklearn(fitted, data=x), fitted, x), _answers(fitted, x))
    with pytest.raises(UsageError, match=r"SVC\(kernel='rbf'\) is no layer, it keeps its examples: use LinearSVC"):
        from_sklearn(_fitted(SVC(), data)[0])
    with pytest.raises(UsageError, match="lets pairs of them vote, which no layer does: use LinearSVC"):
        from_sklearn(_fitted(SVC(kernel="linear"), "iris")[0])


def _penalised() -> Mapping[str, tuple[Any, str]]:
    """Estimators at their optimum."""
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.svm import LinearSVC

    exact = {"solver": "lbfgs", "max_iter": 5000, "tol": 1e-12, "random_state": 0}
    return {
        "logistic of two": (LogisticRegression(C=0.1, tol=1e-12, max_iter=5000), "breast_cancer"),
        "logistic": (LogisticRegression(C=0.3, tol=1e-12, max_iter=5000), "wine"),
        "ridge": (Ridge(7.0), "diabetes"),
        "ridge of two": (RidgeClassifier(7.0), "breast_cancer"),
        "support vectors": (LinearSVC(C=0.01, tol=1e-12, max_iter=100000, dual=False), "breast_cancer"),
        "perceptron": (MLPClassifier((3,), alpha=3.0, activation="tanh", **exact), "iris"),
        "perceptron of numbers": (
            MLPRegressor(hidden_layer_sizes=(3,), alpha=300.0, activation="tanh", **exact), "diabetes"
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) for name in _penalised()])
def test_with_the_decay_that_a_note_says_training_stays_at_the_optimum(name: str) -> None:
    """The gradient of the loss and the decay is 0 there, and without the decay it is not."""
    import portable_nn as pnn
    from portable_nn.converters.sklearn import read_sklearn

    model, data = _penalised()[name]
    model, x, y = _fitted(model, data)
    found = read_sklearn(model, data=x)
    note = next(each for each in found.notes if "weight_decay" in each)
    written = note.split("weight_decay=")[1].split(")")[0]
    factor, _, count = written.partition(" / ")
    assert count in ("", "n", "batch_size")
    decay = float(factor) / (len(x) if count else 1)
    groups = {"*.bias": {"weight_decay": 0.0}} if 'groups={"*.bias"' in note else None
    targets = y.astype("float64") if data == "diabetes" else [str(each) for each in y]
    if "ridge of two" in name:
        assert any("targets of -1 and 1" in each for each in found.notes)
        targets = np.where(y > 0, 1.0, -1.0)[:, None]
    moved = {}
    for each in (decay, 0.0):
        network = read_sklearn(model, data=x, verify=False).network
        before = {key: array.copy() for key, array in network.parameters.items()}
        options: dict[str, Any] = {"epochs": 1, "batch_size": len(x), "shuffle": False, "progress": False}
        network.fit(x, targets, optimizer=pnn.SGD(1e-3, weight_decay=each), groups=groups, **options)
        moved[each] = max(float(np.abs(array - before[key]).max()) for key, array in network.parameters.items())
    assert moved[0.0] > 1e-7
    assert moved[decay] < 2e-3 * moved[0.0]
