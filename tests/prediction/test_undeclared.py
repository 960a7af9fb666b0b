"""What the numbers of a model are that does not say it: as they are, unless something shows that they are classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from closed_forms import softmax
from foreign import FLOAT, linear, write
from msgspec.structs import replace
from onnx import helper

import portable_nn as pnn
from portable_nn.converters.onnx import import_onnx
from portable_nn.core.errors import UsageError
from portable_nn.network.classes import declare_classes

ROWS = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)
TWO = np.random.default_rng(6).normal(size=(3, 2)).astype(np.float32)
AS_THEY_ARE = "they are given as they are: if they are scores of classes, --task classes"


def ending(path: Path, operator: str) -> Path:
    """x·TWO, and an operator after it."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node(operator, ["z"], ["y"])]
    return write(path, nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 2])}, {"w": TWO})


def pictures(path: Path, classes: int) -> Path:
    """A classifier of digits that says nothing."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    weight = np.random.default_rng(7).normal(size=(784, classes)).astype(np.float32)
    shape = {"x": (FLOAT, ["n", 1, 28, 28])}
    return write(path, nodes, shape, {"y": (FLOAT, ["n", classes])}, {"w": weight})


def test_two_outputs_of_a_regression_are_what_onnxruntime_gives(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", weight=TWO)
    for engine in ("onnxruntime", "numpy"):
        found = pnn.predict(path, ROWS, engine=engine)
        expected = onnxruntime.InferenceSession(path).run(None, {"x": ROWS})[0]
        np.testing.assert_allclose([each.values for each in found], expected, rtol=1e-5)
        assert len(found.warnings) == 1
        assert AS_THEY_ARE in found.warnings[0]


def test_a_column_that_is_taken_for_labels_is_told_where_none_is_needed(tmp_path: Path) -> None:
    """Of a quantity they may stand in the last column, and the inputs would be shifted by one."""
    path = linear(tmp_path / "m.onnx", weight=TWO[:, :1])
    for columns, is_told in ((ROWS, False), (np.c_[[1, 0, 1, 0, 1, 0], ROWS], True)):
        np.savetxt(tmp_path / "rows.csv", columns, delimiter=",")
        found = pnn.predict(path, tmp_path / "rows.csv")
        np.testing.assert_allclose([each.values for each in found], ROWS @ TWO[:, :1], rtol=1e-4)
        assert any("in a table, the first column" in each for each in found.warnings) == is_told


@pytest.mark.parametrize("said", [{"task": "classes"}, {"labels": ["0", "1"]}])
def test_who_says_that_they_are_classes_gets_their_softmax(tmp_path: Path, said: dict[str, object]) -> None:
    found = pnn.predict(linear(tmp_path / "m.onnx", weight=TWO), ROWS, top=2, **said)
    shares = [[dict(each.top)[name] for name in "01"] for each in found]
    np.testing.assert_allclose(shares, softmax(ROWS @ TWO), rtol=1e-5)
    assert found.warnings == ()
    assert "the model does not say what its numbers are; softmax makes probabilities of them" in found.notes


@pytest.mark.parametrize(("said", "is_class"), [({}, True), ({"unit": "m"}, False), ({"target": "x"}, False)])
def test_as_many_labels_as_numbers_make_classes_of_a_network_that_says_nothing(
    said: dict[str, str], is_class: bool
) -> None:
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(2, bias=False, weight_initial=TWO.T))
    network.outputs = (replace(network.outputs[0], **said),)
    found = pnn.predict(network, ROWS, top=2, labels=["cat", "dog"])
    if is_class:
        shares = [[dict(each.top)[name] for name in ("cat", "dog")] for each in found]
        np.testing.assert_allclose(shares, softmax(ROWS @ TWO), rtol=1e-5)
        assert "the model does not say what its numbers are; softmax makes probabilities of them" in found.notes
        names = np.array(["cat", "dog"])[np.argmax(ROWS @ TWO, axis=1)]
        assert pnn.evaluate(network, ROWS, names, labels=["cat", "dog"]).accuracy == 1
    else:
        np.testing.assert_allclose([each.values for each in found], ROWS @ TWO, rtol=1e-5)
    three = pnn.predict(network, ROWS, labels=["a", "b", "c"])
    np.testing.assert_allclose([each.values for each in three], ROWS @ TWO, rtol=1e-5)


@pytest.mark.parametrize(("operator", "is_class"), [("Softmax", True), ("LogSoftmax", True), ("Sigmoid", False)])
def test_numbers_with_the_sum_1_are_probabilities(tmp_path: Path, operator: str, is_class: bool) -> None:
    found = list(pnn.predict(ending(tmp_path / "m.onnx", operator), ROWS, top=2))
    if is_class:
        shares = [[dict(each.top)[name] for name in "01"] for each in found]
        np.testing.assert_allclose(shares, softmax(ROWS @ TWO), rtol=1e-5)
    else:
        np.testing.assert_allclose([each.values for each in found], 1 / (1 + np.exp(-ROWS @ TWO)), rtol=1e-5)


def test_who_names_the_classes_of_numbers_from_0_to_1_is_told_that_softmax_is_assumed(tmp_path: Path) -> None:
    found = pnn.predict(ending(tmp_path / "m.onnx", "Sigmoid"), ROWS, labels=["cat", "dog"])
    assert {each.label for each in found} <= {"cat", "dog"}
    assert "numbers from 0 to 1 may be probabilities already, each for itself" in found.warnings[0]


@pytest.mark.parametrize(("classes", "are_classes"), [(10, True), (9, False)])
def test_ten_numbers_of_a_picture_are_scores_and_that_is_said(tmp_path: Path, classes: int, are_classes: bool) -> None:
    x = np.random.default_rng(8).normal(size=(2, 1, 28, 28)).astype(np.float32)
    found = pnn.predict(pictures(tmp_path / "m.onnx", classes), x)
    assert [each.label is not None for each in found] == [are_classes] * 2
    expected = "10 of a picture are taken for scores of classes, of which softmax makes" if are_classes else AS_THEY_ARE
    assert expected in found.warnings[0]
    as_they_are = pnn.predict(tmp_path / "m.onnx", x, task="numbers")
    expected = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": x})[0]
    np.testing.assert_allclose([each.values for each in as_they_are], expected, rtol=1e-5)
    assert as_they_are.warnings == ()


def test_data_say_what_is_evaluated(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", weight=TWO)
    of_classes = pnn.evaluate(path, ROWS, np.argmax(ROWS @ TWO, axis=1))
    assert of_classes.accuracy == 1
    assert "softmax makes probabilities of them" in " ".join(of_classes.notes)
    whole = np.round(ROWS @ TWO * 10) + 3
    of_numbers = pnn.evaluate(path, ROWS, whole)
    errors = np.sqrt(((ROWS @ TWO - whole) ** 2).mean(axis=0))
    np.testing.assert_allclose([each.rmse for each in of_numbers.numbers], errors, rtol=1e-5)


@pytest.mark.parametrize(("operator", "kind"), [("Identity", "values"), ("Softmax", "probabilities")])
def test_an_imported_file_says_what_its_last_node_makes(tmp_path: Path, operator: str, kind: str) -> None:
    network = import_onnx(ending(tmp_path / "m.onnx", operator))
    assert network.outputs[0].kind == kind
    declare_classes(network, ["cat", "dog"])
    assert network.outputs[0].kind == ("logits" if kind == "values" else kind)
    shares = [[dict(each.top)[name] for name in ("cat", "dog")] for each in pnn.predict(network, ROWS, top=2)]
    np.testing.assert_allclose(shares, softmax(ROWS @ TWO), rtol=1e-5)
    with pytest.raises(UsageError, match="given are 3 labels, and no output has so many numbers: 'y' is "):
        declare_classes(network, "abc")


def test_labels_in_the_metadata_are_classes_before_and_after_import(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", weight=TWO, metadata={"labels": '["cat", "dog"]'})
    before, after = pnn.predict(path, ROWS), pnn.predict(import_onnx(path), ROWS)
    assert [each.label for each in before] == [each.label for each in after]
    assert {each.label for each in pnn.predict(path, ROWS)} <= {"cat", "dog"}


def test_probabilities_may_be_rounded_beyond_0_and_1(tmp_path: Path) -> None:
    """As sums over the trees of a forest are."""
    wanted = np.array([[1, 0], [0.25, 0.75], [0, 1]], np.float32)
    rounding = np.array([[1.2e-7, -1.2e-7], [0, 0], [-1.2e-7, 1.2e-7]], np.float32)
    path = linear(tmp_path / "m.onnx", weight=np.eye(2, dtype=np.float32))
    found = pnn.predict(path, wanted + rounding, top=2, task="classes")
    shares = [[dict(each.top)[name] for name in "01"] for each in found]
    np.testing.assert_allclose(shares, wanted, atol=1e-6)
    assert any("taken for probabilities, whose sum is 1" in note for note in found.notes)
