"""Pipelines of scikit-learn that became networks, and come back as pipelines; networks of tables as pipelines."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import DataWarning, UsageError

pytest.importorskip("sklearn", reason="scikit-learn is the other side")
pytest.importorskip("pandas", reason="tables with words are those of pandas")

import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from portable_nn.converters.sklearn import from_sklearn, to_sklearn

pytestmark = pytest.mark.filterwarnings("ignore")

ROWS: Final = 90


def table_of(rng: np.random.Generator) -> Any:
    """Numbers, codes and words as people have them, and values missing in some columns."""
    frame = pd.DataFrame({
        "age": rng.normal(40, 12, ROWS), "income": rng.lognormal(7, 0.5, ROWS), "visits": rng.integers(0, 5, ROWS),
        "city": rng.choice(["Ulm", "Rom", "Oslo", "a, b"], ROWS, p=[0.5, 0.3, 0.15, 0.05]),
        "size": rng.choice(["S", "M"], ROWS), "member": rng.random(ROWS) < 0.5,
        "grade": rng.choice(["low", "high", None], ROWS),
    })  # fmt: skip
    frame["height"] = frame["income"] / 9
    frame.loc[rng.random(ROWS) < 0.15, "age"] = np.nan
    return frame


NUMBERS: Final = ["age", "income", "visits"]


def _scaler(rng: np.random.Generator) -> Any:
    made = [
        StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False), MinMaxScaler(),
        MinMaxScaler(clip=True, feature_range=(-1, 2)), RobustScaler(), RobustScaler(with_centering=False),
        MaxAbsScaler(),
    ]  # fmt: skip
    return made[rng.integers(len(made))]


def _prepared(rng: np.random.Generator) -> Any:
    """Steps for columns of numbers."""
    imputers = [
        SimpleImputer(), SimpleImputer(strategy="median"), SimpleImputer(strategy="most_frequent"),
        SimpleImputer(strategy="constant", fill_value=-1.5), SimpleImputer(add_indicator=True),
    ]  # fmt: skip
    more = [
        lambda: [_scaler(rng)], lambda: [_scaler(rng), PCA(2, whiten=bool(rng.integers(2)))],
        lambda: [_scaler(rng), Normalizer(rng.choice(["l1", "l2", "max"]))], lambda: [Binarizer(threshold=20.0)],
        lambda: [FunctionTransformer(np.abs), FunctionTransformer(np.log1p), StandardScaler()],
        lambda: [FeatureUnion([("a", _scaler(rng)), ("b", TruncatedSVD(1))])],
        lambda: [make_column_transformer((_scaler(rng), [1]), ("passthrough", [0, 2]))],
        lambda: [FunctionTransformer(np.tanh)], list,
    ]  # fmt: skip
    return make_pipeline(imputers[rng.integers(5)], *more[rng.integers(len(more))]())


def _encoder(rng: np.random.Generator) -> Any:
    """Steps for columns of categories."""
    dense = {"sparse_output": False}
    made = [
        OneHotEncoder(**dense), OneHotEncoder(handle_unknown="ignore"), OneHotEncoder(drop="first", **dense),
        OneHotEncoder(drop="if_binary", **dense), OrdinalEncoder(), TargetEncoder(),
        OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist", **dense),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(**dense)),
        make_pipeline(SimpleImputer(strategy="constant", fill_value="low"), OrdinalEncoder(categories="auto")),
        make_pipeline(OneHotEncoder(**dense), PCA(2)),
    ]  # fmt: skip
    return made[rng.integers(len(made))]


def random_pipeline(rng: np.random.Generator, frame: Any) -> tuple[Any, Any]:
    """A pipeline and what it is fitted to."""
    words = [str(name) for name in rng.permutation(["city", "size", "grade", "member", "visits"])]
    cut = int(rng.integers(0, 4))
    parts = [("numbers", _prepared(rng), NUMBERS)]
    for place, names in enumerate((words[:cut], words[cut:4])):
        encoder = _encoder(rng)
        if str(encoder).count("SimpleImputer"):
            names = [name for name in names if name == "grade"]
        if str(encoder).count("encoded_missing") == 0 and str(encoder).startswith("Ordinal"):
            names = [name for name in names if name != "grade"]
        if names:
            parts.append((f"words_{place}", encoder, names))
    if rng.integers(2):
        parts.append(("as it is", "passthrough", ["height"]))
    order = rng.permutation(len(parts))
    columns = ColumnTransformer([parts[place] for place in order])
    after = [[], [_scaler(rng)], [StandardScaler(), PCA(3)]][rng.integers(3)]
    perceptron = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}
    classes = int(rng.integers(1, 4))
    if classes == 1:
        models = [Ridge(), LinearRegression(), MLPRegressor(**perceptron)]
        return make_pipeline(columns, *after, models[rng.integers(3)]), rng.normal(size=ROWS)
    models = [LogisticRegression(max_iter=30), MLPClassifier(**perceptron)]
    y = np.array(["yes", "no", "perhaps"])[np.arange(ROWS) % classes]
    return make_pipeline(columns, *after, models[rng.integers(2)]), y


def answers(model: Any, x: Any) -> Any:
    return model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-6 * max(1.0, float(np.abs(expected).max())), rtol=0)


SEEDS: Final = [
    pytest.param(seed, marks=() if seed < 6 else pytest.mark.long if seed < 30 else pytest.mark.sweep)
    for seed in range(300)
]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_pipeline_comes_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame, other = table_of(rng), table_of(rng)
    model, y = random_pipeline(rng, frame)
    model.fit(frame, y)
    network = from_sklearn(model, data=frame, rtol=1e-5)
    back = to_sklearn(network, data=frame, rtol=1e-5)
    for rows in (frame, other, frame[frame.columns[::-1]].assign(more=1)):
        close(answers(back, rows), answers(model, rows if list(rows) == list(frame) else frame))
    assert back.predict(other).tolist() == pytest.approx(model.predict(other).tolist()) or network.outputs[0].labels
    if "FunctionTransformer" not in str(model):
        assert len(back[:-1].get_feature_names_out()) == len(model[:-1].get_feature_names_out())
    again = pickle.loads(pickle.dumps(back))
    close(answers(again, other), answers(model, other))
    # What the steps find in other data is what those of the pipeline find.
    prepared = clone(back)[:-1].fit_transform(other, y)
    expected = clone(model)[:-1].fit_transform(other, y)
    # A TargetEncoder draws its folds; min_frequency comes back as the groups that it made.
    if prepared.shape == expected.shape and not {"TargetEncoder", "min_frequency"} & {*re.findall(r"\w+", str(model))}:
        found = prepared.toarray() if hasattr(prepared, "toarray") else prepared
        expected = expected.toarray() if hasattr(expected, "toarray") else expected
        close(np.abs(found), np.abs(expected))
    close(
        answers(to_sklearn(from_sklearn(back, data=frame, rtol=1e-5), data=frame, rtol=1e-5), other),
        answers(model, other),
    )


# -- scikit-learn's own data sets


SETS: Final = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer, "diabetes": load_diabetes}

STEPS: Final = {
    "standard": (StandardScaler,),
    "minmax": (MinMaxScaler,),
    "robust": (RobustScaler,),
    "largest": (MaxAbsScaler,),
    "pca": (StandardScaler, lambda: PCA(3)),
    "whitened": (lambda: PCA(3, whiten=True), MinMaxScaler),
    "imputed": (SimpleImputer, StandardScaler),
    "shares": (StandardScaler, Normalizer),
}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("data", [pytest.param(each, marks=[pytest.mark.long] * (each != "wine")) for each in SETS])
def test_a_pipeline_comes_back_with_its_steps_and_their_numbers(data: str, steps: str, named: bool) -> None:
    x, y = SETS[data](return_X_y=True, as_frame=named)
    model = Ridge() if data == "diabetes" else LogisticRegression(max_iter=200)
    pipeline = make_pipeline(*(make() for make in STEPS[steps]), model).fit(x, y)
    back = to_sklearn(from_sklearn(pipeline, data=x))
    close(answers(back, x), answers(pipeline, x))
    assert back.predict(x[::-1]).tolist() == pytest.approx(pipeline.predict(x[::-1]).tolist())
    assert back.n_features_in_ == x.shape[1]
    inner = back[0].transformers_[0][1] if named else back[0]  # Columns are found by their names.
    for found, expected in zip([inner, *back[1:-1]], pipeline[:-1], strict=True):
        assert type(found) is type(expected)
        for name in ("mean_", "scale_", "min_", "center_", "components_", "statistics_", "data_range_", "max_abs_"):
            if (known := getattr(expected, name, None)) is not None:
                np.testing.assert_allclose(getattr(found, name), known, rtol=1e-9, atol=1e-12)
    if named:
        assert back.feature_names_in_.tolist() == list(x)
        assert (back.predict(x[x.columns[::-1]].assign(more="text")) == back.predict(x)).all()


def test_a_mixed_frame_comes_back_as_a_pipeline_that_goes_on() -> None:
    rng = np.random.default_rng(0)
    frame, other = table_of(rng), table_of(rng)
    y = np.where(frame["income"] > 1000, "yes", "no")
    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), NUMBERS),
        ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city", "grade"]),
        ("flags", OneHotEncoder(drop="if_binary"), ["member"]),
        ("taken", "passthrough", ["height"]),
    ])  # fmt: skip
    pipeline = make_pipeline(columns, MaxAbsScaler(), MLPClassifier((5,), max_iter=20, random_state=0)).fit(frame, y)
    network = from_sklearn(pipeline, data=frame)
    back = to_sklearn(network, data=frame)
    close(back.predict_proba(other), pipeline.predict_proba(other))
    assert back.classes_.tolist() == ["no", "yes"]
    assert back[0].named_transformers_["numbers"][0].strategy == "median"
    assert back[0].named_transformers_["words"].categories_[0].tolist() == sorted(set(frame["city"]))
    found, expected = ([str(name) for name in each[:-1].get_feature_names_out()] for each in (back, pipeline))
    assert [name.replace("member_1", "member_True") for name in found] == expected
    strange = other.assign(city="Bonn", grade=None)
    close(back.predict_proba(strange), pipeline.predict_proba(strange))

    network.fit(frame, y, epochs=3, progress=False)  # The weights are those after training here.
    tuned = to_sklearn(network, data=frame)
    close(tuned.predict_proba(other), network.predict_proba(other))
    assert np.abs(tuned.predict_proba(other) - pipeline.predict_proba(other)).max() > 1e-4

    tuned.set_params(columns__numbers__simpleimputer__strategy="mean", network__max_iter=30)
    again = clone(tuned).fit(other, y)
    assert again[0].named_transformers_["numbers"][0].statistics_[0] == pytest.approx(other["age"].mean())
    tuned.named_steps["network"].partial_fit(tuned[:-1].transform(frame), y)
    assert pickle.loads(pickle.dumps(tuned)).score(frame, y) == tuned.score(frame, y)


def test_unknown_words_are_refused_where_the_pipeline_refused_them() -> None:
    frame = table_of(np.random.default_rng(1))
    model = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["income"]))
    pipeline = make_pipeline(model, LinearRegression()).fit(frame, frame["income"])
    back = to_sklearn(from_sklearn(pipeline))
    with pytest.raises(ValueError, match="unknown categories"):
        back.predict(frame.assign(city="Bonn"))


@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(), make_pipeline(SimpleImputer(missing_values=None), OneHotEncoder())]
)
def test_missing_words_of_columns_of_objects_are_none(encoder: Any) -> None:
    words = pd.Series(["low", "high", None] * 30, dtype=object)
    frame = pd.DataFrame({"grade": words, "x": np.arange(90.0)})
    if len(str(encoder)) > 20:
        encoder[0].set_params(strategy="most_frequent")
    columns = make_column_transformer((encoder, ["grade"]), (StandardScaler(), ["x"]))
    pipeline = make_pipeline(columns, LinearRegression()).fit(frame, frame["x"] ** 2)
    back = to_sklearn(from_sklearn(pipeline, data=frame), data=frame)
    close(back.predict(frame), pipeline.predict(frame))


@pytest.mark.parametrize(
    "model",
    [
        StandardScaler(), make_pipeline(StandardScaler(), PCA(2)), FunctionTransformer(np.sqrt),
        FeatureUnion([("a", MinMaxScaler()), ("b", PCA(1))]), FeatureUnion([("a", "passthrough"), ("b", Normalizer())]),
        SimpleImputer(missing_values=-1.0, add_indicator=True), Binarizer(threshold=2.0),
    ],
)  # fmt: skip
def test_steps_alone_come_back(model: Any) -> None:
    x = load_iris().data.copy()
    x[3, 1] = -1.0
    x = np.abs(x) if isinstance(model, FunctionTransformer) else x
    back = to_sklearn(from_sklearn(model.fit(x)))
    close(back.transform(x), model.transform(x))


def test_several_labels_of_an_example_come_back() -> None:
    x, y = load_iris(return_X_y=True)
    several = np.stack([y == 0, y > 0, x[:, 0] > 5], axis=1).astype(int)
    model = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=5, random_state=0)).fit(x, several)
    back = to_sklearn(from_sklearn(model))
    close(back.predict_proba(x), model.predict_proba(x))
    assert (back.predict(x) == model.predict(x)).all()


# -- networks made here


OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "indicator": {"missing": "indicator"},
    "others": {"missing": "mean", "unknown": "other"},
    "median": {"missing": "median", "standardise": False},
    "codes": {"missing": "mean", "unknown": "other", "categorical": ["visits"]},
    "vectors": {"missing": "indicator", "embedding": 2, "categorical": ["visits"]},
    "dropped": {"missing": "drop", "drop": ["age", "city", "size", "grade", "member"]},
}


@pytest.mark.parametrize("target", ["member", "income"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_network_for_a_csv_file_is_a_pipeline_for_its_frame(tmp_path: Path, name: str, target: str) -> None:
    options = dict(OPTIONS[name])
    if "drop" in options:
        options["drop"] = [each for each in options["drop"] if each != target]
    frame = table_of(np.random.default_rng(2))
    frame.to_csv(tmp_path / "rows.csv", index=False)
    found = pnn.train_table("auto-4-auto", tmp_path / "rows.csv", target, epochs=3, progress=False, **options)
    found.network.save(tmp_path / "n.safetensors")
    network, frame = pnn.load(tmp_path / "n.safetensors"), pd.read_csv(tmp_path / "rows.csv")
    model = to_sklearn(network, data=frame)
    expected = network.predict_proba(frame) if target == "member" else network.predict(frame)[:, 0]
    np.testing.assert_allclose(answers(model, frame), expected, atol=1e-5 * max(1, np.abs(expected).max()))
    answered = pnn.predict(tmp_path / "n.safetensors", tmp_path / "rows.csv")
    if target == "member":
        assert [str(each) for each in model.predict(frame)] == [answer.label for answer in answered]
    assert model.feature_names_in_.tolist() == [column.name for column in network.inputs[0].columns]
    whole = frame.dropna() if options.get("unknown") == "other" else frame  # Words that are missing are unknown ones.
    again = to_sklearn(from_sklearn(model, data=whole), data=whole)
    expected = answers(model, whole)
    np.testing.assert_allclose(answers(again, whole), expected, atol=1e-9 * max(1, np.abs(expected).max()))
    clone(model).set_params(network__max_iter=2).fit(frame, frame[target])


def test_categories_that_are_numbers_are_such_in_frames_unless_data_say_otherwise() -> None:
    frame = pd.DataFrame({"zone": ["1", "2", "3"] * 20, "x": np.arange(60.0), "y": ["a", "b"] * 30})
    network = pnn.train_table("auto-3-auto", frame, epochs=2, progress=False).network
    expected = network.predict_proba(frame)
    with pytest.warns(DataWarning, match=r"categories of zone are taken for numbers"):
        numbers = to_sklearn(network)
    np.testing.assert_allclose(numbers.predict_proba(frame.astype({"zone": int})), expected, atol=1e-5)
    np.testing.assert_allclose(to_sklearn(network, data=frame).predict_proba(frame), expected, atol=1e-5)


def test_layers_that_scale_are_steps() -> None:
    scaled = (pnn.Normalization(mean=[1.0, 2, 3, 4], std=[1.0, 2, 3, 4]), pnn.Rescaling(0.5, 1))
    model = to_sklearn(pnn.Sequential(pnn.Input(4, dtype="float64"), *scaled, pnn.Dense(3), labels="abc", seed=0))
    assert [type(each).__name__ for each in model] == ["StandardScaler", "MinMaxScaler", "LogisticRegression"]
    assert model[0].mean_.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([PolynomialFeatures(2)], r"step 'polynomialfeatures' \(.*\) is none that goes back"),
        ([StandardScaler(), KBinsDiscretizer(3)], "step 'kbinsdiscretizer'"),
        ([PowerTransformer()], "step 'powertransformer'"),
    ],
)
def test_steps_that_do_not_come_back_are_refused_by_name(steps: list[Any], message: str) -> None:
    x, y = load_iris(return_X_y=True)
    network = from_sklearn(make_pipeline(*steps, LogisticRegression(max_iter=500)).fit(x, y))
    with pytest.raises(UsageError, match=message):
        to_sklearn(network)
