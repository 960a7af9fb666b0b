"""Networks that are scikit-learn's estimators: its checks, searches and pickles; and networks made such."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.converters.sklearn import PortableClassifier, PortableRegressor, from_sklearn, to_sklearn
from portable_nn.core.errors import UsageError

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.long
@pytest.mark.parametrize("kind", [PortableClassifier, PortableRegressor])
def test_all_checks_of_scikit_learn_pass(kind: Any) -> None:
    results = check_estimator(kind(), on_fail=None, on_skip=None)
    assert len(results) > 50
    assert [each["check_name"] for each in results if each["status"] not in ("passed", "skipped")] == []


def test_a_classifier_is_searched_cloned_pickled_and_exported(tmp_path: Path) -> None:
    wine = load_wine(as_frame=True)
    words = wine.target_names[wine.target]
    scaler = StandardScaler().set_output(transform="pandas")
    model = make_pipeline(scaler, PortableClassifier((8,), epochs=20, random_state=0))
    search = GridSearchCV(model, {"portableclassifier__layers": [(), (8,)]}, cv=3).fit(wine.data, words)
    assert search.best_score_ > 0.9
    best = search.best_estimator_[-1]
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict_proba(wine.data), search.predict_proba(wine.data))
    assert clone(best).get_params() == best.get_params()
    network = best.network_
    assert network.labels == ("class_0", "class_1", "class_2")
    assert [column.name for column in network.inputs[0].columns] == list(wine.data.columns)
    scaled = scaler.fit_transform(wine.data)
    scaled.to_csv(tmp_path / "rows.csv", index=False)
    answers = list(pnn.predict(network, tmp_path / "rows.csv"))
    assert [answer.label for answer in answers] == best.predict(scaled).tolist()
    assert export_onnx(network, tmp_path / "wine.onnx").max_abs_error < 1e-4


@pytest.mark.long
def test_two_classes_and_a_regressor_learn() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    assert cross_val_score(PortableClassifier((16,), epochs=30, random_state=0), x, y, cv=3).min() > 0.94
    x, y = load_diabetes(return_X_y=True)
    ours = cross_val_score(PortableRegressor((), epochs=500, random_state=0), x, y, cv=3).mean()
    assert ours == pytest.approx(cross_val_score(LinearRegression(), x, y, cv=3).mean(), abs=0.03)


def test_the_network_is_the_estimator() -> None:
    x, y = load_iris(return_X_y=True)
    model = PortableClassifier((8,), epochs=10, random_state=3).fit(x, y)
    np.testing.assert_allclose(model.network_.predict_proba(x), model.predict_proba(x), atol=1e-12)
    x, y = load_diabetes(return_X_y=True)
    both = np.stack([y, -2 * y], axis=1)
    regressor = PortableRegressor((8,), epochs=10, random_state=3).fit(x, both)
    np.testing.assert_allclose(regressor.network_.predict(x), regressor.predict(x), rtol=1e-12)
    assert regressor.predict(x).shape == both.shape


def test_partial_fit_goes_on_and_weights_count() -> None:
    x, y = load_iris(return_X_y=True)
    model = PortableClassifier((8,), learning_rate=0.05, random_state=0)
    scores = [model.partial_fit(x, y, classes=[0, 1, 2]).score(x, y) for _ in range(30)]
    assert scores[-1] > max(scores[0], 0.9)
    assert model.n_iter_ == 30
    weighed = PortableClassifier((8,), epochs=30, random_state=0).fit(x, y, sample_weight=(y != 1) * 1.0)
    assert set(weighed.predict(x)) == {0, 2}
    with pytest.raises(ValueError, match="class 7"):
        model.partial_fit(x[:1], [7])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "loud"}, "activation must be one of"),
        ({"loss": "hinge"}, "loss must be"),
        ({"optimizer": "newton"}, "optimizer must be"),
        ({"dtype": "int8"}, "dtype must be"),
        ({"layers": (0,)}, "units must be a whole number from 1"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options: Any, message: str) -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(UsageError, match=message):
        PortableClassifier(**options).fit(x, y)


def test_training_stops_early() -> None:
    x, y = load_iris(return_X_y=True)
    model = PortableClassifier((8,), epochs=500, validation=0.3, patience=3, learning_rate=0.1, random_state=0)
    assert model.fit(x, y).n_iter_ < 200


# -- to scikit-learn


def _layers(*layers: Any, dtype: str = "float64", **options: Any) -> pnn.Network:
    return pnn.Sequential(pnn.Input(4, dtype=dtype), *layers, seed=0, **options)


X = np.random.default_rng(0).normal(size=(20, 4))


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        (_layers(pnn.Dense(8), pnn.Tanh(), pnn.Dense(5), pnn.Tanh(), pnn.Dense(3), labels="bca"), MLPClassifier),
        (_layers(pnn.Dense(8), pnn.ReLU(), pnn.Dense(1), labels=["no", "yes"]), MLPClassifier),
        (_layers(pnn.Dense(8), pnn.Sigmoid(), pnn.Dense(2), labels=["yes", "no"]), MLPClassifier),
        (_layers(pnn.Dense(3), pnn.Softmax(), labels=["2", "10", "1"]), LogisticRegression),
        (_layers(pnn.Dense(1), pnn.Sigmoid(), labels=["2", "1"], dtype="float32"), LogisticRegression),
        (_layers(pnn.Dense(2, bias=False), labels=["b", "a"]), LogisticRegression),
    ],
)  # fmt: skip
def test_classifiers_of_scikit_learn_have_the_probabilities_of_the_network(network: pnn.Network, kind: Any) -> None:
    model = to_sklearn(network)
    assert isinstance(model, kind)
    x = X.astype(network.graph.inputs[0].dtype)
    columns = [list(network.labels).index(str(each)) for each in model.classes_]
    np.testing.assert_allclose(model.predict_proba(x), network.predict_proba(x)[:, columns], atol=1e-6)
    found = [answer.label for answer in pnn.predict(network, x, engine="numpy")]
    assert [str(each) for each in model.predict(x)] == found
    back = from_sklearn(model)
    np.testing.assert_allclose(back.predict_proba(x.astype(float)), model.predict_proba(x), atol=1e-6)


def test_scales_and_units_are_a_part_of_the_layers() -> None:
    scale = pnn.Normalization(mean=[1.0, 2, 3, 4], std=[1.0, 2, 3, 4])
    units = pnn.Normalization(mean=[5.0, -5.0], std=[2.0, 3.0], invert=True)
    network = _layers(scale, pnn.Rescaling(0.5, 1), pnn.Dense(6), pnn.Tanh(), pnn.Dense(2), units)
    model = to_sklearn(network)
    assert isinstance(model, MLPRegressor)
    np.testing.assert_allclose(model.predict(X), network.predict(X), atol=1e-9)
    assert isinstance(to_sklearn(_layers(pnn.Dense(1))), LinearRegression)


@pytest.mark.parametrize("seed", range(20))
def test_random_chains_compute_the_same(seed: int) -> None:
    """Scales before, between and after dense layers, of rows far from 0."""
    rng = np.random.default_rng(seed)
    width, classes = (int(each) for each in rng.integers(1, 5, 2))

    def scales(features: int) -> list[Any]:
        mean, std = rng.normal(size=features) * 100, rng.uniform(0.1, 100, features)
        made = [pnn.Normalization(mean=mean, std=std), pnn.Rescaling(0.5, -1), pnn.Dropout(0.5), pnn.Rescaling(3.0)]
        return [made[place] for place in rng.permutation(4)[: rng.integers(4)]]

    activation = [pnn.Tanh, pnn.ReLU, pnn.Sigmoid][seed % 3]
    hidden = [layer for _ in range(rng.integers(3)) for layer in (pnn.Dense(4), *scales(4)[:1], activation())]
    layers = [*scales(width), *hidden]
    labels = [f"c{place}" for place in range(classes)] if classes > 1 and seed % 2 else None
    network = pnn.Sequential(
        pnn.Input(width, dtype="float64"), *layers, pnn.Dense(classes), *([] if labels else scales(classes)),
        labels=labels, seed=seed,
    )  # fmt: skip
    x = rng.normal(size=(30, width)) * 50 + 100
    model = to_sklearn(network, data=x)
    expected = network.predict_proba(x) if labels else network.predict(x)
    found = model.predict_proba(x) if labels else model.predict(x).reshape(len(x), -1)
    np.testing.assert_allclose(found, expected, atol=1e-8 * max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize("load", [load_wine, load_diabetes], ids=["wine", "diabetes"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("step", [StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler])
def test_a_scaled_estimator_comes_back_as_the_estimator_alone(step: Any, named: bool, load: Any) -> None:
    x, y = load(return_X_y=True, as_frame=named)
    pipeline = make_pipeline(step(), Ridge() if load is load_diabetes else LogisticRegression(max_iter=200)).fit(x, y)
    back = to_sklearn(from_sklearn(pipeline, data=x), data=x.assign(more=1)[["more", *x]] if named else x)
    method = "predict" if load is load_diabetes else "predict_proba"
    expected = getattr(pipeline, method)(x)
    np.testing.assert_allclose(getattr(back, method)(x), expected, atol=1e-6 * max(1.0, float(np.abs(expected).max())))
    assert type(back) is (LinearRegression if load is load_diabetes else LogisticRegression)
    assert not named or back.feature_names_in_.tolist() == list(x)


def test_several_labels_of_an_example_come_back() -> None:
    x, y = load_iris(return_X_y=True)
    several = np.stack([y == 0, y > 0, x[:, 0] > 5], axis=1).astype(int)
    model = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=5, random_state=0)).fit(x, several)
    back = to_sklearn(from_sklearn(model))
    np.testing.assert_allclose(back.predict_proba(x), model.predict_proba(x), atol=1e-6)
    assert (back.predict(x) == model.predict(x)).all()


def test_steps_of_pipelines_are_refused_with_their_nodes() -> None:
    x, y = load_iris(return_X_y=True)
    network = from_sklearn(make_pipeline(PowerTransformer(), LogisticRegression()).fit(x, y))
    with pytest.raises(UsageError, match=r"\(Log\) is no step of dense layers"):
        to_sklearn(network)
    with pytest.raises(UsageError, match="it has no dense layer"):
        to_sklearn(from_sklearn(StandardScaler().fit(x)))


def test_categories_are_refused_by_the_names_of_their_columns() -> None:
    table = {"town": ["Rom", "Ulm"] * 20, "age": list(range(40)), "y": list(range(40))}
    network = pnn.train_table("auto-1", table, "y", epochs=1, progress=False).network
    with pytest.raises(UsageError, match="its columns town have categories"):
        to_sklearn(network)


@pytest.mark.long
def test_scikit_learn_goes_on_training() -> None:
    x, y = load_iris(return_X_y=True)
    network = _layers(pnn.Dense(8), pnn.ReLU(), pnn.Dense(3), labels="012")
    model = to_sklearn(network)
    model.set_params(learning_rate_init=0.02)
    before = model.score(x, y)
    for _ in range(200):
        model.partial_fit(x, y)
    assert model.score(x, y) > max(before, 0.8)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (_layers(pnn.Dense(3), pnn.GELU(), pnn.LayerNorm(), pnn.Dense(2)), r"(?s)\(Gelu\).*\(LayerNormalization\)"),
        (_layers(pnn.Dense(3), pnn.ReLU(), pnn.Dense(3), pnn.Tanh(), pnn.Dense(2)), "one for all layers"),
        (_layers(pnn.Dense(3), pnn.ReLU()), "activation after the last layer"),
        (_layers(pnn.Softmax()), "no dense layer"),
        (pnn.Sequential(pnn.Input(1, 8, 8), pnn.Flatten(), pnn.Dense(2)), "rows of numbers"),
    ],
)
def test_other_networks_are_refused_with_the_reason(network: pnn.Network, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        to_sklearn(network)


def test_weights_that_are_no_numbers_are_refused() -> None:
    network = _layers(pnn.Dense(2))
    network.parameters["dense_1.bias"][0] = np.inf
    with pytest.raises(UsageError, match=r"NaN or infinity, in dense_1\.bias"):
        to_sklearn(network)


def test_a_residual_network_is_no_chain() -> None:
    x = pnn.Input(4)
    h = pnn.Dense(4)(x)
    with pytest.raises(UsageError, match=r"\(Add\) is no step"):
        to_sklearn(pnn.Network(x, pnn.Dense(2)(h + x), seed=0))
