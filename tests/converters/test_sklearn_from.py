"""Estimators and pipelines of scikit-learn as networks: the same numbers, labels and columns."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.converters.registry import converter_of, from_object
from portable_nn.converters.sklearn import from_sklearn, read_sklearn
from portable_nn.core.errors import UsageError, VerificationError
from portable_nn.data.columns import encoded
from portable_nn.data.frames import read_frame

pytest.importorskip("sklearn")

from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC, LinearSVR

Array = np.ndarray[Any, Any]

DATA: dict[str, Callable[..., Any]] = {
    "iris": load_iris, "wine": load_wine, "cancer": load_breast_cancer, "digits": load_digits,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that a few steps are not enough to converge.
        yield


def _answers(network: pnn.Network, x: Any) -> list[str]:
    return [answer.label for answer in pnn.predict(network, x, engine="numpy")]


CLASSIFIERS = {
    "logistic": lambda: LogisticRegression(max_iter=50),
    "perceptron": lambda: MLPClassifier((12, 6), activation="tanh", max_iter=20, random_state=0),
    "perceptron without hidden layers": lambda: MLPClassifier((), max_iter=20, random_state=0),
    "log loss": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "huber": lambda: SGDClassifier(loss="modified_huber", random_state=0),
}


@pytest.mark.long
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_probabilities_are_those_of_scikit_learn(name: str, data: str) -> None:
    x, y = DATA[data](return_X_y=True)
    words = np.array([f"class {each}" for each in range(10)])[y]
    model = make_pipeline(StandardScaler(), CLASSIFIERS[name]()).fit(x, words)
    network = from_sklearn(model)
    assert network.labels == tuple(model.classes_)
    np.testing.assert_allclose(network.predict_proba(x), model.predict_proba(x), atol=1e-6)
    if name != "huber":  # Where two classes have the same probability, scikit-learn looks at the scores.
        assert _answers(network, x) == model.predict(x).tolist()


SCORES = {
    "hinge": lambda: SGDClassifier(random_state=0),
    "linear support vectors": lambda: LinearSVC(random_state=0),
    "ridge": RidgeClassifier,
    "perceptron rule": lambda: Perceptron(random_state=0),
}


@pytest.mark.parametrize("data", ["iris", "cancer"])
@pytest.mark.parametrize("name", SCORES)
def test_scores_are_those_of_scikit_learn(name: str, data: str) -> None:
    x, y = DATA[data](return_X_y=True)
    model = make_pipeline(StandardScaler(), SCORES[name]()).fit(x, y)
    network, _, notes = read_sklearn(model)
    expected = model.decision_function(x).reshape(len(x), -1)
    np.testing.assert_allclose(network.predict(x), expected, atol=1e-6 * np.abs(expected).max())
    assert _answers(network, x) == model.predict(x).astype(str).tolist()
    assert any("no probabilities" in note for note in notes)


@pytest.mark.parametrize(
    "make",
    [
        LinearRegression,
        Ridge,
        lambda: LinearSVR(random_state=0),
        lambda: MLPRegressor(hidden_layer_sizes=(8,), max_iter=20, random_state=0),
        lambda: TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    ],
)
def test_numbers_are_those_of_scikit_learn(make: Callable[[], Any]) -> None:
    x, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), make()).fit(x, y)
    np.testing.assert_allclose(from_sklearn(model).predict(x)[:, 0], model.predict(x), rtol=1e-6)


@pytest.mark.parametrize(
    "transformer",
    [
        StandardScaler(with_mean=False),
        MinMaxScaler((-1, 2), clip=True),
        MaxAbsScaler(),
        RobustScaler(),
        Normalizer("max"),
        PCA(2),
        PCA(2, whiten=True),
        SelectKBest(k=2),
        SimpleImputer(missing_values=5.1, strategy="constant", fill_value=0),
        FeatureUnion([("a", PCA(1)), ("b", StandardScaler())], transformer_weights={"a": 3.0}),
        ColumnTransformer([("a", PCA(1), [0, 1]), ("b", "passthrough", [3])], transformer_weights={"a": 3.0, "b": 2}),
        Pipeline([("a", StandardScaler()), ("nothing", "passthrough")]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_steps_alone_are_networks(transformer: Any) -> None:
    x, y = load_iris(return_X_y=True)
    expected = transformer.fit(x, y).transform(x)
    np.testing.assert_allclose(from_sklearn(transformer).predict(x), expected, atol=1e-6)


def _frame() -> Any:
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame(
        {
            "age": rng.normal(30, 10, n).round(1),
            "fare": rng.gamma(2, 20, n).round(2),
            "sex": rng.choice(["male", "female"], n),
            "port": rng.choice(["S", "C", "Q"], n),
            "deck": rng.integers(1, 5, n),
        }
    )
    survived = np.where(frame.fare + 20 * (frame.sex == "female") + rng.normal(0, 10, n) > 50, "yes", "no")
    frame.loc[::9, "age"] = np.nan
    frame.loc[::13, "port"] = np.nan
    return frame, survived


def _pipeline(model: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    parts = [("numbers", numbers, ["age", "fare"]), ("words", words, ["sex", "port"])]
    return make_pipeline(ColumnTransformer(parts, remainder="passthrough"), model)


@pytest.mark.long
@pytest.mark.parametrize("model", [LogisticRegression(max_iter=500), MLPClassifier((8,), max_iter=30, random_state=0)])
def test_a_pipeline_for_a_table_predicts_from_raw_rows(model: Any, tmp_path: Path) -> None:
    frame, survived = _frame()
    pipeline = _pipeline(model).fit(frame, survived)
    network = from_sklearn(pipeline, data=frame, units={"fare": "£"}, target="survived")
    [info] = network.inputs
    assert [(column.name, column.unit) for column in info.columns][:2] == [("age", ""), ("fare", "£")]
    assert [set(column.categories) for column in info.columns] == [
        set(), set(), {"female", "male"}, {"C", "Q", "S"}, set(),
    ]  # fmt: skip
    assert info.columns[0].missing == "indicator"
    statistics = info.columns[1].statistics
    assert statistics is not None
    assert statistics.maximum == frame.fare.max()
    network.save(tmp_path / "titanic.safetensors")
    rows = frame.sample(50, random_state=0)
    rows.iloc[3, 3] = "a port that training did not have"
    rows.to_csv(tmp_path / "rows.csv", index=False)
    answers = list(pnn.predict(tmp_path / "titanic.safetensors", tmp_path / "rows.csv"))
    assert [answer.label for answer in answers] == pipeline.predict(rows).tolist()
    expected = pipeline.predict_proba(rows).max(axis=1)
    np.testing.assert_allclose([answer.probability for answer in answers], expected, atol=1e-6)


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(drop="first"),
        OneHotEncoder(drop="if_binary"),
        OneHotEncoder(min_frequency=90, handle_unknown="infrequent_if_exist"),
        OneHotEncoder(max_categories=2, handle_unknown="ignore"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    ],
    ids=str,
)
def test_encoders_with_options_compute_what_scikit_learn_does(encoder: Any) -> None:
    frame, _ = _frame()
    columns = frame[["sex", "port", "deck"]]
    encoder.fit(columns)
    network = from_sklearn(encoder)
    rows, _ = encoded(read_frame(columns), network.inputs[0].columns)
    expected = encoder.transform(columns)
    expected = expected.toarray() if hasattr(expected, "toarray") else expected
    np.testing.assert_allclose(network.predict(rows), expected, atol=1e-6)


@pytest.mark.parametrize("classifier", [True, False])
def test_training_goes_on_from_where_scikit_learn_stopped(classifier: bool) -> None:
    x, y = (load_iris if classifier else load_diabetes)(return_X_y=True)
    model = (MLPClassifier if classifier else MLPRegressor)(hidden_layer_sizes=(8,), max_iter=15, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model).fit(x, y)
    network = from_sklearn(pipeline)
    before = pipeline.score(x, y)
    network.fit(x, y, optimizer=pnn.Adam(0.01), epochs=60, progress=False)  # The loss is that of the estimator.
    assert network.outputs[0].loss == ("cross_entropy" if classifier else "mean_squared_error")
    assert network.parameters["standardscaler.mean"].tolist() == pipeline[0].mean_.tolist()
    found = network.evaluate(x, y)
    assert (found.accuracy if classifier else found.numbers[0].r2) > before


@pytest.mark.parametrize(
    "model",
    [
        MLPClassifier((7, 5), activation="logistic", max_iter=5),
        MLPRegressor(hidden_layer_sizes=(6,), activation="tanh", max_iter=5),
        LogisticRegression(max_iter=20),
        LinearRegression(),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_five_steps_of_training_give_the_same_weights(model: Any, dtype: str) -> None:
    x, y = load_iris(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    _, _, notes = read_sklearn(model.fit(x, y), prove_training=True, dtype=dtype)
    assert "training proved" in notes[-1]


@pytest.mark.long
def test_a_search_gives_its_best_estimator_and_from_object_finds_the_converter() -> None:
    x, y = load_iris(return_X_y=True)
    search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 10]}).fit(x, y)
    network = from_object(search)
    np.testing.assert_allclose(network.predict_proba(x), search.predict_proba(x), atol=1e-6)
    found = converter_of(search)
    assert found is not None
    assert found.title == "scikit-learn"


def test_several_labels_are_logits_of_each() -> None:
    x, y = load_iris(return_X_y=True)
    both = np.stack([y == 0, y > 1], axis=1).astype(int)
    model = MLPClassifier((6,), max_iter=50, random_state=0).fit(x, both)
    network = from_sklearn(model)
    assert network.outputs[0].loss == "binary_cross_entropy"
    np.testing.assert_allclose(1 / (1 + np.exp(-network.predict(x))), model.predict_proba(x), atol=1e-6)


UNFITTED = [LogisticRegression(), MLPRegressor(), StandardScaler(), make_pipeline(StandardScaler(), Ridge())]


@pytest.mark.parametrize("model", UNFITTED, ids=lambda each: type(each).__name__)
def test_what_is_not_fitted_is_refused_by_name(model: Any) -> None:
    with pytest.raises(UsageError, match=rf"{type(model).__name__} is not fitted: call its fit"):
        from_sklearn(model)


def test_what_is_no_layer_is_refused_with_the_reason() -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(UsageError, match="RandomForestClassifier is no layer: it is made of trees"):
        from_sklearn(RandomForestClassifier(2).fit(x, y))
    with pytest.raises(UsageError, match=r"SVC\(kernel='rbf'\) is no layer, it keeps its examples: use LinearSVC"):
        from_sklearn(SVC().fit(x, y))
    with pytest.raises(UsageError, match="not its class"):
        from_sklearn(LogisticRegression)
    clusters = make_pipeline(KMeans(2, n_init=1), Ridge()).fit(x, y)
    with pytest.raises(UsageError, match="KMeans is not among the steps"):
        from_sklearn(clusters)
    with pytest.raises(UsageError, match="no steps of gradient descent"):
        from_sklearn(LinearSVC().fit(x, y), prove_training=True)
    with pytest.raises(UsageError, match="no column 'height'"):
        from_sklearn(LogisticRegression(max_iter=20).fit(x, y), units={"height": "cm"})


def test_damaged_estimators_are_refused_and_sparse_coefficients_read() -> None:
    x, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=50).fit(x, y)
    model.coef_ = model.coef_ * np.nan
    with pytest.raises(UsageError, match=r"LogisticRegression holds NaN or infinity.*dense_1\.weight"):
        from_sklearn(model)
    sparse = SGDClassifier(random_state=0).fit(x, y).sparsify()
    np.testing.assert_allclose(from_sklearn(sparse).predict(x), sparse.decision_function(x), rtol=1e-9)
    with pytest.raises(UsageError, match="no column 'x2'"):
        from_sklearn(LogisticRegression(max_iter=50).fit(x, y), data=x[:, :2])


def test_an_estimator_that_computes_something_else_is_noticed() -> None:
    class Louder(StandardScaler):  # type: ignore[misc]  # Any to mypy
        def transform(self, X: Any, copy: Any = None) -> Any:  # noqa: N803
            return super().transform(X, copy) * 1.001

    x, y = load_iris(return_X_y=True)
    with pytest.raises(VerificationError, match="scikit-learn's Pipeline"):
        from_sklearn(make_pipeline(Louder(), LogisticRegression()).fit(x, y))


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_pipelines_compute_what_scikit_learn_does(data: Any) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    n, features, classes = 60, data.draw(st.integers(2, 6)), data.draw(st.integers(2, 4))
    x = rng.normal(size=(n, features)) * 10 ** rng.uniform(-2, 2, features)
    y = np.arange(n) % classes
    steps: list[Any] = data.draw(
        st.lists(
            st.sampled_from(
                [
                    StandardScaler(), StandardScaler(with_std=False), MinMaxScaler(), MinMaxScaler(clip=True),
                    RobustScaler(), MaxAbsScaler(), Normalizer(), Normalizer("l1"), PCA(2), PCA(1, whiten=True),
                    SelectKBest(k=1), SimpleImputer(add_indicator=True), "passthrough",
                ]
            ),
            max_size=3,
        )
    )  # fmt: skip
    seed = data.draw(st.integers(0, 99))
    last = data.draw(
        st.sampled_from(
            [
                LogisticRegression(max_iter=30, C=0.1), LogisticRegression(fit_intercept=False, max_iter=30),
                MLPClassifier((3,), max_iter=5, random_state=seed), MLPClassifier((4, 3), activation="identity",
                max_iter=5, random_state=seed), MLPRegressor(hidden_layer_sizes=(3,), max_iter=5, random_state=seed),
                LinearRegression(), Ridge(0.1), SGDClassifier(loss="log_loss", random_state=seed), LinearSVC(),
                SGDClassifier(random_state=seed), SGDClassifier(loss="modified_huber", random_state=seed),
            ]
        )
    )  # fmt: skip
    from sklearn.base import clone

    steps = [each if isinstance(each, str) else clone(each) for each in steps]
    model = make_pipeline(*steps, clone(last))
    try:
        model.fit(x, y)
    except ValueError:  # More components than a step before has left.
        reject()
    network = from_sklearn(model, rtol=1e-5)
    method = "predict_proba" if hasattr(model, "predict_proba") else "decision_function"
    if network.labels and method == "predict_proba":
        np.testing.assert_allclose(network.predict_proba(x), model.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("name", ["HuberRegressor", "TheilSenRegressor"])
def test_what_is_fitted_otherwise_has_no_loss_and_says_so(name: str) -> None:
    from sklearn import linear_model

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    estimator = getattr(linear_model, name)().fit(x, x @ [1.0, -2.0, 0.5] + rng.normal(size=60))
    network, _, notes = read_sklearn(estimator)
    assert not network.outputs[0].loss
    assert any(name in note for note in notes)
    np.testing.assert_allclose(network.predict(x.astype("f4")).ravel(), estimator.predict(x), rtol=1e-4, atol=1e-5)
