"""Pipelines of scikit-learn as people write them for a frame of passengers, through files, tables and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.converters.sklearn import from_sklearn

pytest.importorskip("sklearn", reason="scikit-learn is the other side")
pytest.importorskip("pandas", reason="the frames are those of pandas")

import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC

pytestmark = pytest.mark.filterwarnings("ignore")

ROWS: Final = 300
NUMBERS: Final = ["Age", "SibSp", "Fare"]


def passengers() -> tuple[Any, dict[str, Any]]:
    """A frame of all kinds of columns, and what may be predicted."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "PassengerId": range(ROWS), "Pclass": rng.integers(1, 4, ROWS),
        "Name": [f'Mr. {place}, "x"' for place in range(ROWS)], "Sex": rng.choice(["male", "female"], ROWS),
        "Age": rng.normal(30, 12, ROWS).round(1), "SibSp": rng.integers(0, 4, ROWS), "Fare": rng.gamma(2, 15, ROWS),
        "Cabin": np.where(rng.random(ROWS) < 0.7, None, "C12"),
        "Embarked": rng.choice(["S", "C", "Q", None], ROWS, p=[0.6, 0.2, 0.15, 0.05]),
        "When": pd.date_range("2020-01-01", periods=ROWS, freq="h"), "vip": rng.random(ROWS) < 0.3,
        "deck": pd.Categorical(rng.choice(["A", "B", "C"], ROWS)),
        "visits": pd.array(np.where(rng.random(ROWS) < 0.1, None, rng.integers(0, 9, ROWS)), dtype="Int64"),
        "size": pd.array(rng.choice(["S", "M", "L"], ROWS), dtype="string"),
        "opt": pd.array(np.where(rng.random(ROWS) < 0.1, None, rng.random(ROWS) < 0.5), dtype="boolean"),
        "f32": rng.normal(size=ROWS).astype("float32"), "const": 1.0, "breite €": rng.normal(size=ROWS),
        "grade": pd.Categorical(rng.integers(1, 5, ROWS), ordered=True), "big": rng.integers(10**6, 10**8, ROWS),
    })  # fmt: skip
    frame.loc[rng.random(ROWS) < 0.2, "Age"] = np.nan
    two = (frame["Sex"] == "female") ^ (frame["Pclass"] == 3)
    targets = {
        "two": np.where(two, "yes", "no"), "bool": two.to_numpy(), "int": two.astype(int).to_numpy(),
        "three": rng.choice(["low", "middle", "high"], ROWS), "count": frame["SibSp"].to_numpy(),
        "number": frame["Fare"].to_numpy() * 2 + rng.normal(size=ROWS) + 50,
    }  # fmt: skip
    return frame, targets


def on(*steps: Any, **options: Any) -> Any:
    return ColumnTransformer([(f"step_{place}", *step) for place, step in enumerate(steps)], **options)


def filled(*steps: Any, **options: Any) -> Any:
    return make_pipeline(SimpleImputer(**options), *(steps or (StandardScaler(),)))


def words(**options: Any) -> Any:
    return OneHotEncoder(**{"handle_unknown": "ignore", **options})


def logistic() -> Any:
    return LogisticRegression(max_iter=300)


DROPPED: Final = ["Name", "Cabin", "When", "Embarked", "size", "deck", "grade", "Age", "visits", "opt"]

WORKFLOWS: Final[dict[str, tuple[str, Callable[[], Any]]]] = {
    "titanic": ("int", lambda: make_pipeline(on(
        (filled(strategy="median"), NUMBERS), (filled(words(), strategy="most_frequent"), ["Sex", "Embarked"])
    ), logistic())),
    "selectors": ("two", lambda: make_pipeline(on(
        (filled(add_indicator=True), make_column_selector(dtype_include="float")),
        (words(min_frequency=20), make_column_selector(dtype_include="category"))), logistic())),
    "remainder": ("two", lambda: make_pipeline(on(
        (words(drop="if_binary"), ["Sex"]), ("drop", DROPPED), remainder="passthrough"), StandardScaler(), logistic())),
    "nullable types": ("int", lambda: make_pipeline(on(
        (filled(strategy="median"), ["visits"]), (SimpleImputer(strategy="most_frequent"), ["opt"]), (words(), ["size"])
    ), logistic())),
    "booleans and grades": ("three", lambda: make_pipeline(on(
        (words(), ["vip", "Pclass"]), (OrdinalEncoder(), ["grade", "deck"])), logistic())),
    "perceptron": ("three", lambda: make_pipeline(
        on((filled(), NUMBERS), (words(), ["Sex", "deck"])), MLPClassifier((8,), max_iter=30, random_state=0))),
    "ridge": ("number", lambda: make_pipeline(
        on((filled(RobustScaler()), [*NUMBERS, "big"]), (words(), ["Sex"])), Ridge())),
    "logarithm of the target": ("number", lambda: TransformedTargetRegressor(make_pipeline(
        on((filled(PowerTransformer()), NUMBERS), (words(), ["Sex"])), Ridge()), func=np.log1p, inverse_func=np.expm1)),
    "search": ("two", lambda: GridSearchCV(make_pipeline(
        on((filled(StandardScaler(), PolynomialFeatures(2)), NUMBERS), (words(), ["Sex"])), logistic()
    ), {"logisticregression__C": [0.1, 1]}, cv=3)),
    "bins and averages": ("two", lambda: make_pipeline(on(
        (filled(KBinsDiscretizer(4)), ["Age", "Fare"]), (TargetEncoder(), ["Embarked", "deck"])), logistic())),
    "union": ("two", lambda: make_pipeline(
        on((SimpleImputer(), [*NUMBERS, "f32"])), FeatureUnion([("a", PCA(2)), ("b", SelectKBest(k=2))]), logistic())),
    "scores": ("three", lambda: make_pipeline(on((filled(MinMaxScaler()), NUMBERS), (OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2), ["Sex", "Embarked"]
    )), LinearSVC())),
    "true and false": ("bool", lambda: make_pipeline(on((filled(), NUMBERS)), logistic())),
    "constant columns": ("two", lambda: make_pipeline(
        on((make_pipeline(VarianceThreshold(), StandardScaler()), ["const", "Fare", "SibSp"])), logistic())),
    "names with signs": ("number", lambda: make_pipeline(
        on((StandardScaler(), ["breite €", "Fare"]), (FunctionTransformer(np.log1p), ["Fare"])), Lasso(0.01))),
    "frames between steps": ("two", lambda: make_pipeline(
        on((filled(), NUMBERS), (words(sparse_output=False), ["Sex"])).set_output(transform="pandas"), logistic())),
    "counts": ("count", lambda: make_pipeline(on((filled(), ["Age", "Fare"]), (words(), ["Sex"])), PoissonRegressor())),
    "filled with a word": ("two", lambda: make_pipeline(on(
        (filled(words(), strategy="constant", fill_value="none"), ["Cabin", "Embarked"]),
        (SimpleImputer(strategy="constant", fill_value=-1), ["Age"])), logistic())),
    "one against the rest": ("three", lambda: make_pipeline(
        on((filled(), NUMBERS), (words(), ["Sex", "size"])), SGDClassifier(loss="log_loss", random_state=0))),
    "missing categories": ("two", lambda: make_pipeline(
        on((OneHotEncoder(), ["Embarked", "Cabin"]), (SimpleImputer(), ["Age"])), logistic())),
    "perceptron of numbers": ("number", lambda: make_pipeline(
        on(("passthrough", ["Fare", "SibSp", "vip"])),
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0))),
}  # fmt: skip


@pytest.mark.parametrize("name", [
    "titanic", "nullable types",
    *(pytest.param(name, marks=pytest.mark.long) for name in WORKFLOWS if name not in ("titanic", "nullable types")),
])  # fmt: skip
def test_a_workflow_goes_through_files_tables_and_onnxruntime(name: str, tmp_path: Path) -> None:
    frame, targets = passengers()
    target, make = WORKFLOWS[name]
    pipeline = make().fit(frame, targets[target])
    classifies = hasattr(pipeline, "predict_proba")
    method = "predict_proba" if classifies else "decision_function" if name == "scores" else "predict"
    expected = getattr(pipeline, method)(frame)

    def answers(network: pnn.Network) -> Any:
        return np.reshape((network.predict_proba if classifies else network.predict)(frame), expected.shape)

    network = from_sklearn(pipeline, data=frame)
    network.save(tmp_path / "n.safetensors")
    loaded = pnn.load(tmp_path / "n.safetensors")
    for each in (network, loaded):
        np.testing.assert_allclose(answers(each), expected, rtol=1e-8, atol=1e-8)
    export_onnx(loaded, tmp_path / "n.onnx")
    np.testing.assert_allclose(answers(import_onnx(tmp_path / "n.onnx")), expected, rtol=1e-3, atol=1e-4)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_csv(tmp_path / "indexed.csv")
    given = [tmp_path / "rows.csv", tmp_path / "indexed.csv", frame]
    for source in given:
        found = list(pnn.predict(tmp_path / "n.safetensors", source))
        assert len(found) == ROWS
        if method == "predict":
            continue
        assert [answer.label for answer in found] == [str(each) for each in pipeline.predict(frame)]
