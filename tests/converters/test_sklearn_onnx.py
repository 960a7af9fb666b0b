"""Files of skl2onnx, which has operators of ai.onnx.ml: as scikit-learn computes them, and as onnxruntime does."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import import_onnx, read_onnx
from portable_nn.core.errors import FormatError, PortableNNError

skl2onnx = pytest.importorskip("skl2onnx")
pytest.importorskip("sklearn")

Array = np.ndarray[Any, Any]
ML = "ai.onnx.ml"


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _sets() -> dict[str, tuple[Array, Array]]:
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

    found = {}
    for name, load in (("iris", load_iris), ("cancer", load_breast_cancer), ("diabetes", load_diabetes)):
        x, y = load(return_X_y=True)
        found[name] = x.astype("float32"), y
    return found


def _classifiers() -> dict[str, tuple[Any, str]]:
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    return {
        "logistic": (LogisticRegression(max_iter=300), "iris"),
        "logistic of two": (make_pipeline(StandardScaler(), LogisticRegression()), "cancer"),
        "one versus rest": (OneVsRestClassifier(LogisticRegression()), "iris"),
        "normalised": (make_pipeline(Normalizer("l1"), LogisticRegression()), "iris"),
        "perceptron": (MLPClassifier((8, 5), activation="tanh", max_iter=50), "iris"),
        "perceptron of two": (make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=50)), "cancer"),
        "sgd": (SGDClassifier(loss="log_loss"), "iris"),
        "sgd huber": (SGDClassifier(loss="modified_huber"), "iris"),
        "bayes": (GaussianNB(), "iris"),
    }


@pytest.mark.long
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("name", _classifiers())
def test_probabilities_are_those_of_scikit_learn(name: str, words: bool, zipmap: bool) -> None:
    model, data = _classifiers()[name]
    x, y = _sets()[data]
    classes = np.array(["no", "yes", "perhaps"])[y] if words else y
    model.fit(x, classes)
    network = import_onnx(skl2onnx.to_onnx(model, x[:1], options={"zipmap": zipmap}))
    assert network.labels == tuple(map(str, model.classes_))
    assert network.outputs[0].kind == "probabilities"
    np.testing.assert_allclose(network.predict(x), model.predict_proba(x), atol=2e-6)


def _answers(network: pnn.Network, x: Any) -> list[str]:
    return [answer.label for answer in pnn.predict(network, x, engine="numpy")]


def _scores() -> dict[str, tuple[Any, str]]:
    from sklearn.linear_model import Lasso, LinearRegression, Ridge, SGDClassifier
    from sklearn.neural_network import MLPRegressor
    from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

    return {
        "linear": (LinearRegression(), "diabetes"),
        "ridge": (Ridge(), "diabetes"),
        "lasso": (Lasso(), "diabetes"),
        "perceptron": (MLPRegressor(hidden_layer_sizes=(8,), max_iter=50), "diabetes"),
        "linear support vectors of numbers": (LinearSVR(), "diabetes"),
        "support vectors of numbers": (SVR(kernel="linear"), "diabetes"),
        "linear support vectors": (LinearSVC(), "iris"),
        "linear support vectors of two": (LinearSVC(), "cancer"),
        "support vectors": (SVC(kernel="linear"), "iris"),
        "hinge": (SGDClassifier(), "iris"),
    }


@pytest.mark.long
@pytest.mark.parametrize("name", _scores())
def test_scores_are_those_of_scikit_learn(name: str) -> None:
    model, data = _scores()[name]
    x, y = _sets()[data]
    model.fit(x, y)
    network = import_onnx(skl2onnx.to_onnx(model, x[:1]))
    expected = model.decision_function(x) if hasattr(model, "decision_function") else model.predict(x)
    expected = expected.reshape(len(x), -1)
    np.testing.assert_allclose(network.predict(x), expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())
    if hasattr(model, "classes_"):
        agree = np.mean([mine == str(each) for mine, each in zip(_answers(network, x), model.predict(x), strict=True)])
        assert agree > 0.98  # SVC finds its answer by votes, which seldom differ from its scores.


def test_labels_of_two_support_vector_classes_are_in_the_order_of_the_scores() -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    x, y = _sets()["cancer"]
    model = make_pipeline(StandardScaler(), SVC(kernel="linear")).fit(x, y)
    network, _, notes = read_onnx(skl2onnx.to_onnx(model, x[:1]))
    assert any("the labels are in that order" in note for note in notes)
    assert _answers(network, x) == [str(each) for each in model.predict(x)]


def _frame() -> Any:
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(30, 10, 200).astype("float32"),
            "fare": rng.gamma(2, 20, 200).astype("float32"),
            "sex": rng.choice(["male", "female"], 200),
            "port": rng.choice(["S", "C", "Q"], 200),
        }
    )
    survived = (frame.fare + 20 * (frame.sex == "female") + rng.normal(0, 10, 200) > 50).map({True: "yes", False: "no"})
    frame.loc[::9, "age"] = np.nan
    return frame, survived


def test_a_pipeline_with_words_is_a_network_for_rows_of_a_table(tmp_path: Path) -> None:
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame, survived = _frame()
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore")
    prepare = ColumnTransformer([("n", numbers, ["age", "fare"]), ("w", words, ["sex", "port"])])
    model = make_pipeline(prepare, LogisticRegression()).fit(frame, survived)
    types = [(name, (FloatTensorType if name in ("age", "fare") else StringTensorType)([None, 1])) for name in frame]
    path = tmp_path / "titanic.onnx"
    path.write_bytes(skl2onnx.to_onnx(model, initial_types=types).SerializeToString())

    network, _, notes = read_onnx(path)
    [info] = network.inputs
    assert [column.name for column in info.columns] == ["age", "fare", "sex", "port"]
    assert info.columns[2].categories == ("female", "male")
    assert any("one table" in note for note in notes)
    network.save(tmp_path / "titanic.safetensors")
    frame.loc[3, "port"] = "a port that training did not have"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    answers = list(pnn.predict(tmp_path / "titanic.safetensors", tmp_path / "rows.csv"))
    assert [answer.label for answer in answers] == list(model.predict(frame))
    found = [answer.probability for answer in answers]
    np.testing.assert_allclose(found, model.predict_proba(frame).max(axis=1), atol=1e-6)


def test_trees_and_other_kernels_are_run_by_onnxruntime() -> None:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    x, y = _sets()["iris"]
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    models = [
        RandomForestClassifier(3, random_state=0), GradientBoostingClassifier(n_estimators=3), SVC(),
        make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)),
        SVC(kernel="linear", probability=True),
    ]  # fmt: skip
    for model in models:
        network = import_onnx(skl2onnx.to_onnx(model.fit(x, names), x[:1]))
        [operator] = [node.operator for node in network.graph.nodes if node.domain]
        assert operator in ("ai.onnx.ml.TreeEnsembleClassifier", "ai.onnx.ml.SVMClassifier")
        assert network.outputs[0].labels == tuple(model.classes_)
        wanted = model.predict_proba(x) if hasattr(model, "predict_proba") else model.decision_function(x)
        apart = np.abs(network.predict(x) - wanted).max(axis=1)
        assert (apart > 1e-4).sum() <= 1  # A scaled number may be rounded over a threshold of the trees.


def test_the_nearest_neighbours_of_a_row_are_found_in_operators_of_the_standard() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    x, y = _sets()["iris"]
    model = KNeighborsClassifier(3).fit(x[::2], y[::2])
    network = import_onnx(skl2onnx.to_onnx(model, x[:1]))
    assert {node.domain for node in network.graph.nodes} == {""}
    apart = np.abs(network.predict(x[1::2]) - model.predict_proba(x[1::2])).max(axis=1)
    assert (apart > 1e-6).sum() <= 1  # Of two neighbours that are as near, either may count.


def test_what_is_imported_trains_and_is_written_in_operators_of_the_standard(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = _sets()["diabetes"]
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(x[:100], y[:100])
    network = import_onnx(skl2onnx.to_onnx(model, x[:1]))
    frozen = {value.name for value in network.graph.parameters if not value.trainable}
    assert frozen == {"Scaler.offset", "Scaler.scale"}
    before = float(np.mean((network.predict(x)[:, 0] - y) ** 2))
    network.fit(x, y.astype("float32"), loss="mean_squared_error", optimizer=pnn.Adam(0.1), epochs=20, progress=False)
    assert float(np.mean((network.predict(x)[:, 0] - y) ** 2)) < before
    pnn.converters.onnx.export_onnx(network, tmp_path / "trained.onnx")
    assert {node.domain for node in onnx.load(tmp_path / "trained.onnx").graph.node} == {""}


# -- single nodes, against onnxruntime: importing compares


def _model(operator: str, inputs: Any, outputs: int = 1, version: int = 3, **attributes: Any) -> onnx.ModelProto:
    names = [f"x{place}" for place in range(len(inputs))]
    made = [f"y{place}" for place in range(outputs)]
    given = {name: value for name, value in attributes.items() if value != []}
    node = helper.make_node(operator, names, made, name="node", domain=ML, **given)
    values = [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in zip(names, inputs, strict=True)]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made[-1:]]
    graph = helper.make_graph([node], "g", values, results)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(ML, version)], ir_version=8
    )


ROW = [(TensorProto.FLOAT, ["n", 3])]
WEIGHT = [0.5, -1.0, 2.0]

NODES: dict[str, onnx.ModelProto] = {
    "scaler with one number": _model("Scaler", ROW, offset=[1.0], scale=[2.0]),
    "scaler of integers": _model("Scaler", [(TensorProto.INT64, ["n", 3])], offset=[1.0, 2, 3], scale=[2.0, 0.5, 1]),
    "scaler without offset": _model("Scaler", ROW, scale=[2.0, 0.5, 1]),
    "scaler without scale": _model("Scaler", ROW, offset=[2.0, 0.5, 1]),
    "L2": _model("Normalizer", ROW, norm="L2"),
    "max": _model("Normalizer", ROW, norm="MAX"),
    "binarizer": _model("Binarizer", ROW, threshold=0.25),
    "imputer": _model("Imputer", ROW, imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan")),
    "imputer of a number": _model("Imputer", ROW, imputed_value_floats=[7.0], replaced_value_float=0.0),
    "regressor of two": _model("LinearRegressor", ROW, coefficients=WEIGHT * 2, intercepts=[1.0, 2.0], targets=2),
    "regressor without intercept": _model("LinearRegressor", ROW, coefficients=WEIGHT),
    "regressor softmax": _model(
        "LinearRegressor", ROW, coefficients=WEIGHT * 2, intercepts=[1.0, 2.0], targets=2, post_transform="SOFTMAX"
    ),
    **{
        f"classifier {post}": _model(
            "LinearClassifier",
            ROW,
            2,
            classlabels_ints=[3, 5],
            coefficients=[*WEIGHT, -1.0, 0.25, 3.0],
            intercepts=[0.5, -0.5],
            post_transform=post,
        )
        for post in ("NONE", "SOFTMAX", "LOGISTIC")
    },
    **{
        f"classifier of one row {post}": _model(
            "LinearClassifier",
            ROW,
            2,
            classlabels_ints=[3, 5],
            coefficients=WEIGHT,
            intercepts=[0.5],
            post_transform=post,
        )
        for post in ("NONE", "LOGISTIC")
    },
    "one hot": _model("OneHotEncoder", [(TensorProto.INT64, ["n", 2])], cats_int64s=[1, 0], zeros=1),
    "codes": _model(
        "LabelEncoder",
        ROW,
        version=2,
        keys_floats=[0.0, 1.0, float("nan")],
        values_floats=[5.0, 6.0, 7.0],
        default_float=9.0,
    ),
    "codes in tensors": _model(
        "LabelEncoder",
        [(TensorProto.INT64, ["n", 3])],
        version=4,
        keys_tensor=numpy_helper.from_array(np.array([0, 1, 3])),
        values_tensor=numpy_helper.from_array(np.array([5.0, 6.0, 7.0], np.float32)),
        default_tensor=numpy_helper.from_array(np.array([9.0], np.float32)),
    ),
    "vectors": _model(
        "FeatureVectorizer",
        [(TensorProto.FLOAT, ["n", 3]), (TensorProto.FLOAT, ["n", 2])],
        inputdimensions=[3, 2],
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_nodes_compute_what_onnxruntime_does(name: str) -> None:
    _, proof, _ = read_onnx(NODES[name])
    assert max(found.max_abs_error for found in proof.values()) < 1e-5


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.integers(-4, 6), st.integers(-(2**40), 2**40), min_size=1), st.integers(-9, 9))
def test_codes_are_those_of_the_keys_and_of_the_default(values: dict[int, int], default: int) -> None:
    lists = {"keys_int64s": list(values), "values_int64s": list(values.values())}
    model = _model("LabelEncoder", [(TensorProto.INT64, ["n", 3])], version=2, default_int64=default, **lists)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    x = np.arange(-6, 9).reshape(5, 3)
    expected = [[values.get(each, default) for each in row] for row in x.tolist()]
    assert import_onnx(model, verify=False).predict(x).tolist() == expected


@pytest.mark.parametrize(("norm", "size"), [("L1", 7.0), ("L2", 5.0), ("MAX", 4.0)])
def test_rows_are_divided_by_their_norm_and_those_of_zeros_stay(norm: str, size: float) -> None:
    x = np.array([[3, 4, 0], [0, 0, 0]], np.float32)
    network = import_onnx(_model("Normalizer", ROW, norm=norm))
    np.testing.assert_allclose(network.predict(x), x / size, rtol=1e-6)


# -- damage


DAMAGE = {
    "coefficients that are no rows": ("LinearClassifier", {"classlabels_ints": [0, 1], "coefficients": [1.0] * 5}),
    "no coefficients": ("LinearRegressor", {"coefficients": []}),
    "too many targets": ("LinearRegressor", {"coefficients": [1.0], "targets": 2**40}),
    "no targets": ("LinearRegressor", {"coefficients": [1.0], "targets": 0}),
    "NaN": ("LinearRegressor", {"coefficients": [1.0, float("nan"), 2.0]}),
    "infinite": ("Scaler", {"offset": [float("inf")] * 3, "scale": [1.0] * 3}),
    "offsets and scales": ("Scaler", {"offset": [1.0] * 3, "scale": [1.0] * 2}),
    "other features": ("Scaler", {"offset": [1.0] * 7, "scale": [1.0] * 7}),
    "no labels": ("LinearClassifier", {"coefficients": [1.0] * 3}),
    "labels twice": ("LinearClassifier", {"classlabels_ints": [1, 1], "coefficients": [1.0] * 6}),
    "labels that are no text": (
        "LinearClassifier",
        {"classlabels_strings": [b"\xff", b"a"], "coefficients": WEIGHT * 2},
    ),
    "wrong type": ("LinearRegressor", {"coefficients": "words"}),
    "no categories": ("OneHotEncoder", {"zeros": 1}),
    "keys without values": ("LabelEncoder", {"keys_int64s": [1, 2], "values_int64s": [1]}),
    "another type of default": (
        "LabelEncoder",
        {
            "keys_tensor": numpy_helper.from_array(np.array([0, 1])),
            "values_tensor": numpy_helper.from_array(np.array([5, 2**60])),
            "default_tensor": numpy_helper.from_array(np.array([np.nan])),
        },
    ),
    "huge keys": ("LabelEncoder", {"keys_int64s": [1, 2**60], "values_int64s": [1, 2]}),
    "vectors of no class": (
        "SVMClassifier",
        {"classlabels_ints": [0, 1], "vectors_per_class": [], "kernel_type": "LINEAR"},
    ),
    "negative vectors": (
        "SVMClassifier",
        {"classlabels_ints": [0, 1], "vectors_per_class": [-1, 3], "kernel_type": "LINEAR", "coefficients": [1.0]},
    ),
    "vectors that do not fit": (
        "SVMRegressor",
        {"n_supports": 7, "support_vectors": [1.0] * 3, "coefficients": [1.0], "rho": [0.0], "kernel_type": "LINEAR"},
    ),
    "nothing to impute": ("Imputer", {"replaced_value_float": 0.0}),
    "another norm": ("Normalizer", {"norm": "L7"}),
    "an own attribute": ("Scaler", {"offset": 3}),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_nodes_are_refused_by_name(name: str) -> None:
    operator, attributes = DAMAGE[name]
    with pytest.raises(PortableNNError, match="node") as caught:
        import_onnx(_model(operator, ROW, 2 if "Classifier" in operator else 1, **attributes))
    assert "Error(" not in str(caught.value)


def test_all_damaged_nodes_are_listed_at_once() -> None:
    model = _model("Scaler", ROW, scale=[float("nan")])
    other = helper.make_node("Normalizer", ["y0"], ["z"], name="second", domain=ML, norm="L9")
    model.graph.node.append(other)
    model.graph.output[0].name = "z"
    with pytest.raises(FormatError, match=r"(?s)2 faults.*'node'.*'second'"):
        import_onnx(model)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_attributes_never_end_in_another_error(data: Any) -> None:
    names = data.draw(st.sampled_from(sorted(NODES)))
    model = onnx.ModelProto()
    model.CopyFrom(NODES[names])
    node = model.graph.node[0]
    attribute = data.draw(st.sampled_from(list(node.attribute))) if node.attribute else None
    numbers = st.floats(width=32) | st.sampled_from([0.0, 1e38, float("nan"), float("inf")])
    values = (
        st.lists(numbers, max_size=9).map(lambda each: [float(x) for x in each])
        | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9)
        | st.lists(st.text(max_size=3), max_size=3)
        | numbers
        | st.integers(-(2**63), 2**63 - 1)
        | st.text(max_size=4)
    )
    value = data.draw(values)
    if attribute is not None and value != []:
        attribute.CopyFrom(helper.make_attribute(attribute.name, value))
    if data.draw(st.booleans()):
        node.input[:] = data.draw(st.sampled_from([[], [""], ["x0", "x0"], ["strange"]]))
    with suppress(PortableNNError):
        import_onnx(model)
