"""ONNX files of this package that another program has changed: all uses of one say so, in the same words."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.scale import Predictor

NETWORKS: dict[str, Callable[[], pnn.Network]] = {
    "dense": lambda: pnn.Sequential(
        pnn.Input(6), pnn.Dense(8), pnn.LeakyReLU(0.2), pnn.Dense(8), pnn.Tanh(), pnn.Dense(3), labels="abc", seed=0
    ),
    "convolution": lambda: pnn.Sequential(
        pnn.Input(2, 6, 6), pnn.Conv2d(4, 3), pnn.ReLU(), pnn.AvgPool2d(2), pnn.Flatten(), pnn.Dense(3), seed=0
    ),
    "recurrent": lambda: pnn.Sequential(pnn.Input(5, 4), pnn.LSTM(4), pnn.Sigmoid(), pnn.Dense(2), seed=0),
    "normalised": lambda: pnn.Sequential(
        pnn.Input(6), pnn.Rescaling(0.5), pnn.Dense(6), pnn.LayerNorm(), pnn.GELU(), pnn.Dense(4), pnn.Softmax(), seed=0
    ),
}

Change: TypeAlias = Callable[[random.Random, ModelProto], None]
CHANGES: dict[str, Change] = {}


def change(function: Change) -> Change:
    CHANGES[function.__name__] = function
    return function


def _a_weight(rng: random.Random, model: ModelProto) -> TensorProto:
    floats = [each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT]
    return rng.choice(floats)


@change
def another_number(rng: random.Random, model: ModelProto) -> None:
    tensor = _a_weight(rng, model)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[rng.randrange(array.size)] += rng.choice((1, -0.5, 3))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


@change
def other_weights(rng: random.Random, model: ModelProto) -> None:
    tensor = _a_weight(rng, model)
    array = numpy_helper.to_array(tensor)
    made = rng.choice((array * 1.5, -array, np.flip(array), np.zeros_like(array))).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(made), tensor.name))


@change
def an_operator(rng: random.Random, model: ModelProto) -> None:
    plain = ("LeakyRelu", "Relu", "Tanh", "Sigmoid", "Gelu", "Softmax", "Erf")
    if nodes := [node for node in model.graph.node if node.op_type in plain]:
        node = rng.choice(nodes)
        node.op_type = rng.choice([name for name in ("Relu", "Tanh", "Neg", "Abs", "Softplus") if name != node.op_type])
        del node.attribute[:]


@change
def an_attribute(rng: random.Random, model: ModelProto) -> None:
    numbers = [each for node in model.graph.node for each in node.attribute if each.type == each.FLOAT]
    if numbers:
        rng.choice(numbers).f += rng.choice((0.5, -0.25))
    elif nodes := [node for node in model.graph.node if node.op_type == "Gemm"]:
        rng.choice(nodes).attribute.append(helper.make_attribute("alpha", 2.0))


def _shapes(model: ModelProto) -> dict[str, str]:
    found = onnx.shape_inference.infer_shapes(model).graph
    return {each.name: str(each.type) for each in (*found.value_info, *found.output, *found.input)}


@change
def an_edge(rng: random.Random, model: ModelProto) -> None:
    """Read another value of the same shape that is there by then."""
    shapes, known = _shapes(model), [value.name for value in model.graph.input]
    places = list[tuple[int, int, list[str]]]()
    for number, node in enumerate(model.graph.node):
        for place, name in enumerate(node.input):
            others = [each for each in known if each != name and shapes.get(each) == shapes.get(name, "")]
            places += [(number, place, others)] if others else []
        known += node.output
    if places:
        number, place, others = rng.choice(places)
        model.graph.node[number].input[place] = rng.choice(others)


def _insert(graph: GraphProto, place: int, node: onnx.NodeProto) -> None:
    nodes = [*graph.node[:place], node, *graph.node[place:]]
    del graph.node[:]
    graph.node.extend(nodes)


@change
def a_node_more(rng: random.Random, model: ModelProto) -> None:
    place = rng.randrange(len(model.graph.node))
    node, operator = model.graph.node[place], rng.choice(("Neg", "Tanh", "Identity", "Abs", "Exp"))
    if not node.input:
        return
    name = rng.choice(("", "added", f"Neg_{place}"))
    made = helper.make_node(operator, [node.input[0]], [f"more_{place}"], name=name)
    node.input[0] = f"more_{place}"
    _insert(model.graph, place, made)


@change
def a_node_less(rng: random.Random, model: ModelProto) -> None:
    shapes, graph = _shapes(model), model.graph
    alike = [node for node in graph.node if node.input and shapes.get(node.input[0]) == shapes.get(node.output[0], "")]
    if alike:
        gone = rng.choice(alike)
        old, new = gone.output[0], gone.input[0]
        graph.node.remove(gone)
        for node in graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
        if old in [value.name for value in graph.output]:
            graph.node.append(helper.make_node("Identity", [new], [old]))


@change
def two_weights_swapped(rng: random.Random, model: ModelProto) -> None:
    tensors = list(model.graph.initializer)
    pairs = [(a, b) for a in tensors for b in tensors if a.name < b.name and a.dims == b.dims]
    if pairs:
        one, other = rng.choice(pairs)
        one.raw_data, other.raw_data = other.raw_data, one.raw_data


@change
def constants_for_initializers(rng: random.Random, model: ModelProto) -> None:
    """As optimisers write them, with other numbers."""
    graph = model.graph
    tensor = _a_weight(rng, model)
    made = TensorProto()
    made.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.5), tensor.name))
    graph.initializer.remove(tensor)
    _insert(graph, 0, helper.make_node("Constant", [], [made.name], value=made))


@change
def other_names(rng: random.Random, model: ModelProto) -> None:
    prefix = rng.choice(("their_", "x"))
    model.CopyFrom(onnx.compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False))


@change
def names_of_nodes(rng: random.Random, model: ModelProto) -> None:
    for number, node in enumerate(model.graph.node):
        node.name = rng.choice(("", f"{node.op_type}_{number}"))


@change
def no_manifest(rng: random.Random, model: ModelProto) -> None:
    """As programs write it that take no metadata over; the name of the producer is often kept."""
    kept = [each for each in model.metadata_props if rng.random() < 0.2]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)


@change
def an_entry_twice(rng: random.Random, model: ModelProto) -> None:
    if model.metadata_props:
        each = rng.choice(list(model.metadata_props))
        model.metadata_props.add(key=each.key, value=each.value.replace('"a"', '"c"').replace("0", "1"))


@change
def other_outputs(rng: random.Random, model: ModelProto) -> None:
    """The last node writes something else under the name of the output."""
    graph = model.graph
    [value] = graph.output
    last = next(node for node in graph.node if value.name in node.output)
    last.output[0] = "before"
    graph.node.append(helper.make_node(rng.choice(("Neg", "Exp", "Sigmoid")), ["before"], [value.name]))


def outputs(model: ModelProto, x: np.ndarray) -> list[np.ndarray] | None:
    """What onnxruntime computes; None where it does not take the model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        return list(session.run(None, {session.get_inputs()[0].name: x}))
    except Exception:
        return None


def example(network: pnn.Network) -> np.ndarray:
    shape = tuple(map(int, network.graph.inputs[0].shape[1:]))
    return np.random.default_rng(7).normal(size=(3, *shape)).astype(np.float32)


def changed(seed: int, whole: ModelProto) -> tuple[str, ModelProto]:
    """A changed copy, and what was done to it."""
    rng = random.Random(seed)
    model = ModelProto()
    model.CopyFrom(whole)
    names = rng.choices(list(CHANGES), k=rng.choice((1, 1, 2, 3)))
    for name in names:
        CHANGES[name](rng, model)
    return f"{seed}: {', '.join(names)}", model


def verdict(path: Path, use: Callable[[], object]) -> tuple[str, str]:
    """Whether a use of a file is refused, warned of or silent, and the reason in words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            use()
        except pnn.PortableNNError as error:  # Or of NaN, in predictions alone.
            if "is damaged" in str(error):
                return "refused", str(error).removeprefix(f"{path}: ")
    said = [str(each.message) for each in caught if issubclass(each.category, pnn.EditedWarning)]
    assert len(said) <= 1
    return ("edited", said[0].removeprefix(f"{path}: ")) if said else ("silent", "")


def uses(path: Path, x: np.ndarray) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "run", lambda: pnn.run(path, x)
    yield "run in numpy", lambda: pnn.run(path, x, engine="numpy")
    yield "predict", lambda: list(pnn.predict(path, x.reshape(3, -1)))
    yield "evaluate", lambda: pnn.evaluate(path, x.reshape(3, -1), np.zeros((3,), int), task="classes")
    yield "Predictor", lambda: Predictor(str(path))(x)
    yield "import", lambda: import_onnx(path, verify=False)


def go_through(folder: Path, name: str, seeds: range) -> int:
    """Compare what is said of changed files; the number of those whose outputs are others."""
    network = NETWORKS[name]()
    export_onnx(network, folder / "m.onnx", verify=False)
    whole, x, altered = onnx.load(folder / "m.onnx"), example(network), 0
    before = outputs(whole, x)
    assert before is not None
    for seed in seeds:
        what, model = changed(seed, whole)
        after = outputs(model, x)
        if after is None:
            continue
        path = folder / f"{seed}.onnx"
        path.write_bytes(model.SerializeToString())
        found = {use: verdict(path, call) for use, call in uses(path, x)}
        assert len(set(found.values())) == 1, (what, found)
        if not all(a.shape == b.shape and np.allclose(a, b, 1e-5, 1e-6) for a, b in zip(before, after, strict=True)):
            altered += 1
            assert found["run"][0] != "silent", what
        path.unlink()
    return altered


@pytest.mark.parametrize("name", ["dense", *(pytest.param(name, marks=pytest.mark.long) for name in [*NETWORKS][1:])])
def test_whatever_computes_with_a_changed_file_says_so_in_the_same_words(tmp_path: Path, name: str) -> None:
    assert go_through(tmp_path, name, range(8)) >= 4


@pytest.mark.long
@pytest.mark.parametrize("count", [50, pytest.param(200, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("name", NETWORKS)
def test_many_changed_files(tmp_path: Path, name: str, count: int) -> None:
    assert go_through(tmp_path, name, range(100, 100 + count)) >= count / 2


def test_what_is_changed_on_purpose_is_taken_without_a_word(tmp_path: Path) -> None:
    network = NETWORKS["dense"]()
    export_onnx(network, tmp_path / "m.onnx", verify=False)
    model = onnx.load(tmp_path / "m.onnx")
    other_outputs(random.Random(0), model)
    onnx.save(model, tmp_path / "m.onnx")
    expected = outputs(model, example(network))
    assert expected is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [found] = pnn.run(tmp_path / "m.onnx", example(network), edited=True).values()
    np.testing.assert_allclose(found, expected[0], rtol=1e-6)
