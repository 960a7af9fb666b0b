"""The models in the ``onnx`` package's own suite: every one right as it is, and again after it was exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_suite import Case, Result, cases, count, run

from portable_nn.converters.onnx import read_onnx
from portable_nn.onnx.session import Session
from portable_nn.onnx.writing import to_bytes, to_model

SIMPLE = {
    "test_expand_shape_model1", "test_expand_shape_model2", "test_expand_shape_model3", "test_expand_shape_model4",
    "test_shrink", "test_sign_model", "test_single_relu_model",
}  # fmt: skip
"""Those of the simple models that compute with arrays of numbers; the others have sequences, text, or gradients."""

MODELS = [case for kind in ("pytorch-converted", "pytorch-operator") for case in cases(kind)]
MODELS += [case for case in cases("simple") if case.name in SIMPLE]


def test_how_many_there_are() -> None:
    found = {kind: len(cases(kind)) for kind in ("pytorch-converted", "pytorch-operator", "simple")}
    assert found == {"pytorch-converted": 82, "pytorch-operator": 35, "simple": 23}
    assert len(MODELS) == 82 + 35 + 7


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_a_model_is_right(case: Case) -> None:
    assert run(case)._replace(as_it_is=True) == Result(True, True, way="own operator", as_it_is=True)


@pytest.mark.long
def test_most_tests_of_nodes_are_right_as_they_are() -> None:
    """With all their inputs as inputs, whose elements may decide sizes and axes; onnxruntime has 1,089."""
    found = count(cases("node"))
    assert found.tests == 1404
    assert found.own + found.folded >= 1290
    assert found.as_they_are >= 1280


# -- the light models: constant weights, which prove little, are replaced

LIGHT = {
    "bvlc_alexnet": 16, "densenet121": 848, "inception_v1": 116, "inception_v2": 485, "resnet50": 267,
    "shufflenet": 248, "squeezenet": 52, "vgg19": 38, "zfnet512": 16,
}  # fmt: skip
"""The models, and how many of their weights lead to the logits."""

SMALL, LARGE = {"squeezenet"}, {"bvlc_alexnet", "vgg19", "zfnet512"}
"""Those that take no more than a second or two; those whose sums of products take most of a minute."""


def light(name: str) -> onnx.ModelProto:
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    return onnx.load(folder / f"light_{name}.onnx")


def test_how_many_light_models_there_are() -> None:
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    assert {path.stem.removeprefix("light_") for path in folder.glob("*.onnx")} == set(LIGHT)


def logits_with_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model up to its last Softmax, with seeded random weights that keep the scale of what goes through."""
    graph, rng = model.graph, np.random.default_rng(0)
    noise = rng.standard_normal(100_003, np.float32)
    shapes = {tensor.name: tuple(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    variances = {node.input[4] for node in graph.node if node.op_type == "BatchNormalization"}
    nodes = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        shape, name = shapes[node.input[0]], node.output[0]
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:]))) if len(shape) > 1 else np.float32(0.1)
        array = np.resize(np.roll(noise, len(nodes)), shape) * scale
        array = np.abs(array) + 1 if name in variances else array
        graph.initializer.append(numpy_helper.from_array(array, name))
    if nodes[-1].op_type == "Softmax":
        graph.output[0].CopyFrom(onnx.ValueInfoProto(name=nodes.pop().input[0]))
    read = {name for node in nodes for name in node.input}
    for field, kept in (
        (graph.node, nodes),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read]),
        (graph.input, [value for value in graph.input if value.name in read]),
    ):
        copies = [type(each).FromString(each.SerializeToString()) for each in kept]
        del field[:]
        field.extend(copies)
    return model


def _rows() -> Iterator[Any]:
    for name in LIGHT:
        kind = pytest.mark.sweep if name in LARGE else pytest.mark.long
        yield pytest.param(name, id=name, marks=[] if name in SMALL else kind)


@pytest.mark.parametrize("name", list(_rows()))
def test_a_light_model_is_imported_as_it_is(name: str) -> None:
    """By the default import, which compares all its values with onnxruntime."""
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    found = read_onnx(folder / f"light_{name}.onnx")
    expected = numpy_helper.to_array(onnx.load_tensor(folder / f"light_{name}_output_0.pb"))
    x = np.zeros((1, 3, 224, 224), np.float32)
    assert found.network.predict(x).shape == expected.shape
    assert len(found.outputs.compared) > len(found.network.graph.nodes) / 3


@pytest.mark.long
@pytest.mark.parametrize("name", list(_rows()))
def test_a_light_model_has_the_logits_of_onnxruntime(name: str) -> None:
    model = logits_with_weights(light(name))
    stored = {tensor.name for tensor in model.graph.initializer}
    [entry] = [value.name for value in model.graph.input if value.name not in stored]
    found = read_onnx(model)
    x = np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32)
    expected = next(iter(Session(to_bytes(model)).run({entry: x}).values()))
    assert expected.std() > 0.05, "the weights make no difference"
    assert len(found.network.graph.parameters) == LIGHT[name]
    np.testing.assert_allclose(found.network.predict(x), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    written = to_model(found.network.graph, found.network.parameters)
    again = next(iter(Session(to_bytes(written)).run({entry: x}).values()))
    np.testing.assert_allclose(again, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
