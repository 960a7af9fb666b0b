from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from closed_forms import softmax
from foreign import FLOAT, INT64, UINT8, WEIGHT, convolutional, linear, write
from onnx import helper
from PIL import Image

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import DataError, FileError, FormatError, UsageError
from portable_nn.format import InputInfo
from portable_nn.prediction.labels import read_labels
from portable_nn.prediction.prediction import Prediction
from portable_nn.prediction.predictions import predict
from portable_nn.preprocessing.steps import ScaleStep

SAMPLES = find_model("digits-mlp").samples
ROWS = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", ROWS)
    return tmp_path / "rows.npy"


def network(weight: np.ndarray = WEIGHT, last: pnn.layers.Layer | None = None, **options: object) -> pnn.Network:
    """x·``weight``, and what ``last`` makes of it."""
    layers = [pnn.Input(len(weight)), pnn.Dense(weight.shape[1], bias=False, weight_initial=weight.T.copy())]
    return pnn.Sequential(*layers, *([last] if last else []), **options)


def probabilities(found: list[Prediction], classes: list[str]) -> np.ndarray:
    return np.array([[dict(prediction.top)[name] for name in classes] for prediction in found])


@pytest.mark.parametrize("engine", ["onnxruntime", "numpy"])
@pytest.mark.parametrize("model", ["digits-mlp", "digits"])
def test_the_samples_are_recognised(model, engine):
    found = list(predict(model, SAMPLES, engine=engine))
    assert [prediction.label for prediction in found] == list("0123456789")
    assert [Path(prediction.input).name for prediction in found] == [f"digit-{digit}.png" for digit in range(10)]
    assert [prediction.index for prediction in found] == list(range(10))
    assert all(prediction.probability == prediction.top[0][1] > 0.8 for prediction in found)


def test_the_engines_agree_on_every_class():
    first, second = (list(predict("digits-mlp", SAMPLES, engine=engine, top=10)) for engine in ("onnxruntime", "numpy"))
    digits = list("0123456789")
    np.testing.assert_allclose(probabilities(first, digits), probabilities(second, digits), atol=1e-6)


@pytest.mark.parametrize("suffix", ["safetensors", "onnx"])
@pytest.mark.parametrize("engine", ["onnxruntime", "numpy"])
def test_logits_become_probabilities(tmp_path, rows, suffix, engine):
    net = network(labels="abcde")
    path = tmp_path / f"m.{suffix}"
    net.save(path) if suffix == "safetensors" else export_onnx(net, path)
    found = list(predict(path, rows, engine=engine, top=5))
    expected = softmax(ROWS @ WEIGHT)
    np.testing.assert_allclose(probabilities(found, list("abcde")), expected, rtol=1e-5)
    assert [prediction.index for prediction in found] == expected.argmax(axis=1).tolist()
    assert [prediction.label for prediction in found] == ["abcde"[i] for i in expected.argmax(axis=1)]
    assert [prediction.input for prediction in found] == [f"{rows}:{row}" for row in range(6)]
    assert all([p for _, p in q.top] == sorted((p for _, p in q.top), reverse=True) for q in found)


def test_top_gives_the_likeliest_and_no_more_than_there_are(tmp_path, rows):
    network(labels="abcde").save(tmp_path / "m.safetensors")
    assert [len(prediction.top) for prediction in predict(tmp_path / "m.safetensors", rows, top=2)] == [2] * 6
    assert [len(prediction.top) for prediction in predict(tmp_path / "m.safetensors", rows, top=9)] == [5] * 6


def test_probabilities_stay_as_they_are(tmp_path, rows):
    network(last=pnn.Sigmoid(), labels="abcde").save(tmp_path / "m.safetensors")
    found = list(predict(tmp_path / "m.safetensors", rows, top=5))
    np.testing.assert_allclose(probabilities(found, list("abcde")), 1 / (1 + np.exp(-ROWS @ WEIGHT)), rtol=1e-5)


@pytest.mark.parametrize(
    ("labels", "names"), [((), ["0", "1"]), (("spam",), ["not spam", "spam"]), (("ham", "spam"), ["ham", "spam"])]
)
def test_one_number_tells_between_two_classes(tmp_path, rows, labels, names):
    net = network(WEIGHT[:, :1])
    net.fit(ROWS, np.zeros(6, np.float32), loss="binary_cross_entropy", optimizer=pnn.SGD(0.0), epochs=1)
    net.save(tmp_path / "m.safetensors")
    found = list(predict(tmp_path / "m.safetensors", rows, top=2, labels=labels or None))
    second = 1 / (1 + np.exp(-ROWS @ WEIGHT[:, 0]))
    np.testing.assert_allclose(probabilities(found, names), np.stack([1 - second, second], 1), rtol=1e-5)
    assert [prediction.label for prediction in found] == [names[int(p > 0.5)] for p in second]


def test_large_numbers_do_not_overflow(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([[1e4], [-1e4]], np.float32))
    linear(tmp_path / "m.onnx", weight=np.array([[1.0, -1.0]], np.float32))
    found = list(predict(tmp_path / "m.onnx", tmp_path / "rows.npy", top=2, task="classes"))
    assert [prediction.top for prediction in found] == [(("0", 1.0), ("1", 0.0)), (("1", 1.0), ("0", 0.0))]


def test_quantities_come_as_values(tmp_path, rows):
    network(WEIGHT[:, :2]).save(tmp_path / "m.safetensors")
    found = list(predict(tmp_path / "m.safetensors", rows))
    np.testing.assert_allclose([prediction.values for prediction in found], ROWS @ WEIGHT[:, :2], rtol=1e-5)
    assert found[0].label is None
    assert found[0].top == ()


# -- ONNX files of other tools


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_an_unknown_operator_and_a_fixed_batch_run(tmp_path, batch):
    pictures = np.random.default_rng(6).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    for place, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{place}.png")
    path = convolutional(tmp_path / "m.onnx", batch=batch)
    found = list(predict(path, tmp_path, top=5, task="classes"))
    session = onnxruntime.InferenceSession(path)
    x = (pictures / 255).astype(np.float32).transpose(0, 3, 1, 2)
    size = 6 if batch == "n" else batch
    padded = np.concatenate([x, x])
    numbers = np.concatenate([session.run(None, {"x": padded[s : s + size]})[0] for s in range(0, 9 - size, size)])
    np.testing.assert_allclose(probabilities(found, list("01234")), softmax(numbers[:6]), rtol=1e-4)


def test_what_is_assumed_of_another_tools_model_is_reported(tmp_path):
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(tmp_path / "a.png")
    found = predict(convolutional(tmp_path / "m.onnx"), tmp_path / "a.png")
    list(found)
    [assumed, of_outputs] = found.warnings
    assert assumed.startswith("the model does not say how to prepare pictures; assumed: convert to red")
    assert of_outputs == (
        "the model does not say what its numbers are; they are given as they are: if they are scores of classes, "
        "--task classes (task='classes') or --labels (labels=) says so"
    )
    assert found.notes == [f"{tmp_path / 'm.onnx'} runs in onnxruntime"]


def test_shares_are_taken_for_probabilities(tmp_path, rows):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 5])}, {"w": WEIGHT})
    for engine in ("onnxruntime", "numpy"):
        found = predict(path, rows, top=5, engine=engine)
        np.testing.assert_allclose(probabilities(list(found), list("01234")), softmax(ROWS @ WEIGHT), rtol=1e-5)
        assert (
            "the model does not say what its numbers are; they are taken for probabilities, whose sum is 1"
            in found.notes
        )


def test_of_several_outputs_the_one_with_numbers_for_classes_is_read(tmp_path, rows):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    outputs = {"label": (INT64, ["n"]), "y": (FLOAT, ["n", 5])}
    path = write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 3])}, outputs, {"w": WEIGHT})
    found = predict(path, rows, task="classes")
    assert [prediction.index for prediction in found] == (ROWS @ WEIGHT).argmax(axis=1).tolist()
    assert "of the outputs label, y, 'y' is read" in found.notes


def test_a_single_number_without_labels_is_a_quantity(tmp_path, rows):
    found = list(predict(linear(tmp_path / "m.onnx", weight=WEIGHT[:, :1]), rows))
    np.testing.assert_allclose([prediction.values[0] for prediction in found], ROWS @ WEIGHT[:, 0], rtol=1e-5)


def test_whole_numbers_enter_as_such_and_others_are_refused(tmp_path):
    node = helper.make_node("Cast", ["x"], ["y"], to=FLOAT)
    path = write(tmp_path / "m.onnx", [node], {"x": (UINT8, ["n", 2])}, {"y": (FLOAT, ["n", 2])})
    np.save(tmp_path / "whole.npy", np.array([[3, 255], [1, 0]]))
    assert [prediction.values for prediction in predict(path, tmp_path / "whole.npy")] == [(3, 255), (1, 0)]
    for number in (0.5, 256, -1):
        np.save(tmp_path / "other.npy", np.array([[number, 1.0]]))
        with pytest.raises(DataError, match="expected uint8, as input 'x' takes, found numbers that it cannot hold"):
            list(predict(path, tmp_path / "other.npy"))


def test_the_manifest_holds_although_a_tool_changed_the_graph(tmp_path):
    net = network(np.eye(2, dtype=np.float32), labels=["no", "yes"])
    net.inputs = (InputInfo("input", "table", (ScaleStep(2.0),)),)
    export_onnx(net, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    entry = model.graph.input[0].name
    model.graph.node[0].input[0] = "same"
    model.graph.node.insert(0, helper.make_node("Identity", [entry], ["same"]))
    onnx.save(model, tmp_path / "changed.onnx")
    np.save(tmp_path / "rows.npy", np.array([[0.0, 1.0]]))
    with pytest.warns(pnn.EditedWarning, match="'rescaling_1' is not as it was written"):
        [found] = predict(tmp_path / "changed.onnx", tmp_path / "rows.npy")
    assert found.label == "yes"
    assert found.probability == pytest.approx(1 / (1 + np.exp(-2)), rel=1e-5)


# -- labels


@pytest.mark.parametrize("text", ["a\nb\nc\nd\ne\n", "\ufeffa\r\nb\r\nc\r\nd\r\ne", '["a", "b", "c", "d", "e"]'])
def test_labels_from_a_file(tmp_path, rows, text):
    (tmp_path / "labels.txt").write_bytes(text.encode())
    found = predict(linear(tmp_path / "m.onnx"), rows, labels=tmp_path / "labels.txt")
    assert [prediction.label for prediction in found] == ["abcde"[i] for i in (ROWS @ WEIGHT).argmax(axis=1)]


@pytest.mark.parametrize(
    "metadata", [{"labels": '["a","b","c","d","e"]'}, {"names": "{0:'a',1:'b',2:'c',3:'d',4:'e'}"}]
)
def test_labels_from_the_metadata(tmp_path, rows, metadata):
    found = predict(linear(tmp_path / "m.onnx", metadata=metadata), rows)
    assert [prediction.label for prediction in found] == ["abcde"[i] for i in (ROWS @ WEIGHT).argmax(axis=1)]


def test_labels_must_be_as_many_as_classes(tmp_path, rows):
    path = linear(tmp_path / "m.onnx")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"labels.txt: has 2 labels, but .*m.onnx has 5 classes"):
        list(predict(path, rows, labels=tmp_path / "labels.txt"))
    with pytest.raises(UsageError, match=r"given are 2 labels, but .*m.onnx has 5 classes"):
        list(predict(path, rows, labels=["a", "b"]))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[]", b"[1.5]", b"\xff\xfe\x00"])
def test_files_without_labels(tmp_path, content):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(DataError, match="expected labels, one in a line or a JSON list"):
        read_labels(tmp_path / "labels.txt")


# -- the right answers


def test_right_answers_are_counted(tmp_path):
    network(np.eye(2, dtype=np.float32), labels=["cat", "dog"]).save(tmp_path / "m.safetensors")
    (tmp_path / "t.csv").write_text("0,5,1\n1,5,1\n1,1,5\n")
    found = predict(tmp_path / "m.safetensors", tmp_path / "t.csv")
    assert [(prediction.label, prediction.expected) for prediction in found] == [
        ("cat", "cat"),
        ("cat", "dog"),
        ("dog", "dog"),
    ]
    assert (found.right, found.judged) == (2, 3)


@pytest.mark.parametrize(
    "y", [np.array([1, 0]), np.array([1.0, 0.0]), np.array(["b", "a"]), np.array([[0, 1], [1, 0]])]
)
def test_right_answers_in_any_form(tmp_path, y):
    np.savez(tmp_path / "d.npz", x=np.eye(2, dtype=np.float32), y=y)
    network(np.eye(2, dtype=np.float32), labels=["a", "b"]).save(tmp_path / "m.safetensors")
    found = predict(tmp_path / "m.safetensors", tmp_path / "d.npz")
    assert [prediction.expected for prediction in found] == ["b", "a"]
    assert (found.right, found.judged) == (0, 2)


# -- what does not work


def test_it_goes_on_only_as_far_as_it_is_asked(tmp_path):
    linear(tmp_path / "m.onnx")
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "b.csv").write_text("1,2\n")
    found = predict(tmp_path / "m.onnx", [tmp_path / "a.npy", tmp_path / "b.csv"], batch_size=2)
    assert [next(found).input for _ in range(6)] == [f"{tmp_path / 'a.npy'}:{row}" for row in range(6)]
    with pytest.raises(DataError, match=r"b\.csv: row 1: expected 3 values, or a label and 3 values, found 2 cells"):
        next(found)


def test_several_inputs(tmp_path, rows):
    node = helper.make_node("Add", ["a", "b"], ["y"])
    path = write(tmp_path / "m.onnx", [node], dict.fromkeys("ab", (FLOAT, ["n", 3])), {"y": (FLOAT, ["n", 3])})
    with pytest.raises(UsageError, match="predict takes models with one input; the inputs of this one are: a, b"):
        predict(path, rows)
    path = write(tmp_path / "m.onnx", [node], {"a": (FLOAT, ["n", 3]), "b": (FLOAT, [])}, {"y": (FLOAT, ["n", 3])})
    with pytest.raises(UsageError, match=r"one are: a, b; b is one number: import --value b=NUMBER \(values=\)"):
        predict(path, rows)
    assert predict(pnn.import_onnx(path, values={"b": 2.0}), rows)[0].values == pytest.approx(ROWS[0] + 2)


def test_an_input_of_unknown_size(tmp_path, rows):
    message = r"input 'x' is float32\(n, 3, h, x.3\); predict needs a batch of examples of one known shape"
    with pytest.raises(UsageError, match=message):
        predict(convolutional(tmp_path / "m.onnx", side="h"), rows)


def test_an_output_that_is_no_row(tmp_path, rows):
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    path = write(tmp_path / "m.onnx", [node], {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, [])})
    with pytest.raises(UsageError, match=r"output 'y' has shape \(\) for 6 examples; predict needs one row of numbers"):
        list(predict(path, rows))


def test_a_model_that_gives_no_numbers(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([[1.0, 1, 1], [3e38, 3e38, 3e38]], np.float32))
    path = linear(tmp_path / "m.onnx", weight=np.full((3, 2), 1e3, np.float32))
    with pytest.raises(FormatError, match=r"the model gives NaN or infinity for .*rows\.npy:1"):
        list(predict(path, tmp_path / "rows.npy"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "top must be a whole number from 1, not 0"),
        ({"engine": "torch"}, "engine must be 'numpy' or 'onnxruntime', not 'torch'"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
    ],
)
def test_arguments_that_make_no_sense(options, message):
    with pytest.raises(UsageError, match=message):
        predict("digits-mlp", SAMPLES, **options)


def test_models_that_are_not_there(tmp_path):
    with pytest.raises(UsageError, match="no model is called 'digit-mlp': did you mean 'digits-mlp'"):
        predict("digit-mlp", SAMPLES)
    with pytest.raises(
        UsageError, match=r"no model is called 'x': shipped are digits, digits-cnn, .*; files end in .safetensors"
    ):
        predict("x", SAMPLES)
    with pytest.raises(FileError, match=r"x.onnx: does not exist"):
        predict(tmp_path / "x.onnx", SAMPLES)
    (tmp_path / "x.pt").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"x.pt: expected a model, whose name ends in .safetensors"):
        predict(tmp_path / "x.pt", SAMPLES)


def test_bad_inputs_have_an_error_each_or_the_first_is_raised(tmp_path: Path) -> None:
    samples = find_model("digits-mlp").samples
    (tmp_path / "text.png").write_text("no picture")
    given = [samples / "digit-3.png", tmp_path / "text.png", tmp_path / "none.csv", samples / "digit-5.png"]
    found = predict("digits-mlp", given, strict=False)
    reasons = ["expected a picture such as PNG or JPEG, found a text file", "expected a file or folder, found neither"]
    assert [(each.label, each.error) for each in found] == [
        ("3", None),
        (None, reasons[0]),
        (None, reasons[1]),
        ("5", None),
    ]
    assert (found.made, found.bad) == (4, 2)
    assert repr(found.first_bad) == f"Prediction(input={str(given[1])!r}, error={reasons[0]!r})"
    strict = predict("digits-mlp", given[:2])
    with pytest.raises(DataError, match=r"text\.png: expected a picture"):
        list(strict)
