"""Classifiers of ``ai.onnx.ml``, with maps and words among their outputs, answer with labels and probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, save

import portable_nn as pnn

GOLDEN = Path(__file__).parents[1] / "golden"

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
NUMBERS = np.digitize(X[:, 0], [-0.5, 0.5])
CLASSES = {
    "words": np.array(["red", "green", "blue"])[NUMBERS],
    "numbers": NUMBERS + 5,
    "two words": np.array(["no", "yes"])[(NUMBERS > 0).astype(int)],
    "two numbers": (NUMBERS > 0).astype(int) + 3,
}


def check(path: Path, labels: Any, probabilities: Any) -> None:
    found = list(pnn.predict(path, X[:20]))
    assert [each.label for each in found] == list(map(str, labels))
    np.testing.assert_allclose([each.probability for each in found], probabilities, atol=1e-5)


def models() -> dict[str, Any]:
    sklearn = pytest.importorskip("sklearn")
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    assert sklearn
    return {
        "forest": RandomForestClassifier(5, random_state=0),
        "boosting": GradientBoostingClassifier(n_estimators=4),
        "logistic": LogisticRegression(),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
        "bayes": GaussianNB(),
        "neighbours": KNeighborsClassifier(3),
        "perceptron": MLPClassifier((4,), max_iter=40, random_state=0),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipmap", [True, False], ids=["maps", "arrays"])
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", ["forest", "boosting", "logistic", "pipeline", "bayes", "neighbours", "perceptron"])
def test_what_skl2onnx_writes(kind: str, classes: str, zipmap: bool, tmp_path: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    model = models()[kind].fit(X, CLASSES[classes])
    path = tmp_path / "m.onnx"
    path.write_bytes(skl2onnx.to_onnx(model, X[:1], options={"zipmap": zipmap}).SerializeToString())
    shares = model.predict_proba(X[:20])
    check(path, model.classes_[shares.argmax(1)], shares.max(1))


def test_what_onnxmltools_writes_of_lightgbm() -> None:
    """Bytes of onnxmltools 1.16, and what lightgbm 4.7 predicts."""
    found = list(pnn.predict(GOLDEN / "lightgbm.onnx", np.array([[-1.5, -1.5], [0, 0], [1.5, 1.5]], np.float32)))
    assert [each.label for each in found] == ["low", "middle", "high"]
    shares = [0.46688419, 0.47000322, 0.45974692]
    np.testing.assert_allclose([each.probability for each in found], shares, atol=1e-6)


@pytest.mark.parametrize("labels", [["a", "b", "c"], [5, 6, 7]], ids=["words", "numbers"])
def test_a_classifier_whose_numbers_are_known(labels: list[Any], tmp_path: Path) -> None:
    """softmax(x · W + b), by hand, with the outputs that skl2onnx gives it; the labels stay in their order."""
    weight, bias = RNG.normal(size=(3, 4)).astype(np.float32), RNG.normal(size=3).astype(np.float32)
    is_text = isinstance(labels[0], str)
    named = {"classlabels_strings" if is_text else "classlabels_ints": labels}
    zipped = {"classlabels_strings" if is_text else "classlabels_int64s": labels}
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml", coefficients=weight.ravel().tolist(),
            intercepts=bias.tolist(), post_transform="SOFTMAX", **named,
        ),
        helper.make_node("ZipMap", ["p"], ["output_probability"], domain="ai.onnx.ml", **zipped),
    ]  # fmt: skip
    kind = TensorProto.STRING if is_text else TensorProto.INT64
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(kind, value))
    outputs = [
        helper.make_tensor_value_info("label", kind, ["n"]),
        helper.make_value_info("output_probability", maps),
    ]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])], outputs)
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    scores = np.exp(X[:20] @ weight.T + bias)
    shares = scores / scores.sum(1, keepdims=True)
    check(tmp_path / "m.onnx", np.array(labels)[shares.argmax(1)], shares.max(1))
    outputs = pnn.run(tmp_path / "m.onnx", {"x": X[:20]})
    assert outputs["output_probability"].shape == (20, 3)


@pytest.mark.filterwarnings("ignore")
def test_answers_are_judged_by_the_words_of_the_classes(tmp_path: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    model = models()["forest"].fit(X, CLASSES["words"])
    path = tmp_path / "m.onnx"
    path.write_bytes(skl2onnx.to_onnx(model, X[:1]).SerializeToString())
    found = pnn.evaluate(path, X, CLASSES["words"])
    assert found.accuracy == pytest.approx(model.score(X, CLASSES["words"]))
