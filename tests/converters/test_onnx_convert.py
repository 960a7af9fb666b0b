"""Networks as ONNX files and back, proved on the way."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import FileError, UnsupportedError, UsageError, VerificationError
from portable_nn.core.graph import Graph, Node, Value
from portable_nn.format import InputInfo
from portable_nn.format.manifest import VERSION
from portable_nn.layers import Dense, Input, Sigmoid
from portable_nn.network import Network, Sequential
from portable_nn.onnx.session import Session
from portable_nn.onnx.verify import Tolerance, compare, difference
from portable_nn.operators import REGISTRY, emit, integers, trace
from portable_nn.preprocessing.steps import GreyscaleStep, ResizeStep

LABELS = ("nein", "größer", "3, vier")


def network(**options: object) -> Network:
    """4 → 5 → 3 with labels, preprocessing, metadata, and a bias that is not trained."""
    made = Sequential(
        Input(4, name="x"), Dense(5), Sigmoid(), Dense(3), labels=LABELS, metadata={"author": "mé"}, seed=3, **options
    )
    parameters = [replace(value, trainable=value.name != "dense_1.bias") for value in made.graph.parameters]
    return Network.from_graph(
        replace(made.graph, parameters=tuple(parameters)),
        made.parameters,
        inputs=[InputInfo("x", "image", (GreyscaleStep(), ResizeStep(2, 2)))],
        outputs=made.outputs,
        metadata=made.metadata,
    )


def assert_same(found: Network, expected: Network) -> None:
    assert found.graph == expected.graph
    assert (found.inputs, found.outputs, found.metadata) == (expected.inputs, expected.outputs, expected.metadata)
    assert list(found.parameters) == list(expected.parameters)
    for name, array in expected.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], array, strict=True)


# -- there and back


@pytest.mark.parametrize("opset", [13, 15, 17, 18, 21, 25])
def test_a_network_comes_back_as_it_was_and_goes_again_as_the_same_bytes(tmp_path, opset):
    path, again = tmp_path / "a.onnx", tmp_path / "b.onnx"
    report = export_onnx(network(), path, opset=opset)
    assert (report.path, report.opset, report.bytes) == (path, opset, path.stat().st_size)
    assert [note.partition(": ")[0] for note in report.notes] == ["inputs are prepared outside the file"]
    found = read_onnx(path)
    assert found.notes == ()
    assert_same(found.network, network())
    assert_same(import_onnx(onnx.load(path)), network())
    export_onnx(found.network, again, opset=opset)
    assert again.read_bytes() == path.read_bytes()


def test_forms_that_an_older_opset_lacks_come_back_too(tmp_path):
    x = Input(4, name="x")
    graph = trace([x], [emit("ReduceMean", emit("Reshape", x, integers([0, 2, 2]), allowzero=0), integers([2]))]).graph
    made = Network.from_graph(graph, {})
    export_onnx(made, tmp_path / "a.onnx", opset=13)
    assert_same(import_onnx(tmp_path / "a.onnx"), made)


def test_others_can_read_the_file(tmp_path):
    path = tmp_path / "a.onnx"
    export_onnx(network(), path)
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    assert [node.name for node in model.graph.node] == ["dense_1", "sigmoid_1", "dense_2"]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert sorted(properties) == ["author", "labels", "portable_nn", "portable_nn.sha256"]
    assert json.loads(properties["labels"]) == list(LABELS)
    assert properties["author"] == "mé"

    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    w = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    hidden = 1 / (1 + np.exp(-(x @ w["dense_1.weight"].T + w["dense_1.bias"])))
    expected = hidden @ w["dense_2.weight"].T + w["dense_2.bias"]
    np.testing.assert_allclose(Session(path).run({"x": x})["dense_2"], expected, atol=1e-6)


def test_a_model_of_another_tool_can_be_trained():
    found = import_onnx(foreign())
    x = np.random.default_rng(1).standard_normal((32, 4)).astype(np.float32)
    classes = x[:, :3].argmax(axis=1)
    before = {name: array.copy() for name, array in found.parameters.items()}
    found.fit(x, np.eye(3, dtype=np.float32)[classes], loss="mean_squared_error", epochs=2)
    assert all((array != before[name]).any() for name, array in found.parameters.items())


def test_several_inputs_of_several_types_and_several_outputs(tmp_path):
    x, i, b = Input(3, name="x"), Input(3, name="i", dtype="int64"), Input(3, name="b", dtype="bool")
    chosen = emit("Where", b, x, emit("Cast", i, to=TensorProto.FLOAT))
    made = Network([x, i, b], [chosen, emit("ArgMax", x, axis=1)])
    report = export_onnx(made, tmp_path / "a.onnx")
    assert {name: found.max_abs_error for name, found in report.outputs.items()} == {"where_1": 0, "argmax_1": 0}
    assert_same(import_onnx(tmp_path / "a.onnx"), made)


def test_sizes_that_are_all_known_are_run_once(tmp_path):
    made = Network(x := Input(3, name="x", batch=2), emit("Relu", x))
    export_onnx(made, tmp_path / "a.onnx")
    assert_same(import_onnx(tmp_path / "a.onnx"), made)


def test_the_documentation_is_kept_through_the_metadata(tmp_path):
    model = foreign()
    model.doc_string = "what it is"
    found = import_onnx(model)
    assert found.metadata == {"doc_string": "what it is"}
    export_onnx(found, tmp_path / "a.onnx")
    written = onnx.load(tmp_path / "a.onnx")
    assert written.doc_string.partition("\n\n")[0] == "what it is"
    assert import_onnx(tmp_path / "a.onnx").metadata == found.metadata


@pytest.mark.parametrize("key", ["labels", "portable_nn", "portable_nn.sha256"])
def test_keys_with_a_meaning_are_not_the_users(tmp_path, key):
    made = network()
    made.metadata[key] = "mine"
    with pytest.raises(UsageError, match=f"^metadata key '{key}' has a meaning of its own in ONNX files: use another$"):
        export_onnx(made, tmp_path / "a.onnx")


# -- files that other tools have changed


def renamed(model: onnx.ModelProto) -> None:
    model.graph.node[0].name, model.graph.node[1].name = "first", "second"


def added_node(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["dense_2"], ["unused"], name="extra"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (renamed, "node 'dense_1' and 1 other part are not as they were written"),
        (added_node, "node 'extra' was added"),
    ],
)
def test_a_file_that_another_tool_changed_is_read_as_it_is(tmp_path, change, reason):
    path = tmp_path / "a.onnx"
    made = network()
    export_onnx(made, path)
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    found, _, [note] = read_onnx(path)
    expected = f"read as another tool's model: the manifest in it does not describe it any more ({reason})"
    assert note == expected
    assert found.labels == LABELS
    assert (found.inputs, found.outputs) == (made.inputs, made.outputs)
    assert found.metadata == {"author": "mé"}
    assert found.graph.parameters == made.graph.parameters


def test_a_manifest_of_a_newer_version_is_passed_over_with_its_reason(tmp_path, monkeypatch):
    path = tmp_path / "a.onnx"
    manifest = replace(network().manifest(), version=VERSION + 1)
    monkeypatch.setattr(Network, "manifest", lambda made: manifest)
    export_onnx(network(), path)
    [note] = read_onnx(path).notes
    assert f"version {VERSION + 1} of the format" in note


# -- files of other tools


def foreign(classes: int = 3, **metadata: str) -> onnx.ModelProto:
    """4 → 5 → ``classes``, written with the means of the onnx package alone; nodes have no names."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((4, 5)),
        "b1": rng.standard_normal(5),
        "w2": rng.standard_normal((5, classes)),
        "b2": rng.standard_normal(classes),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["g"]),
        helper.make_node("Relu", ["g"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["m"]),
        helper.make_node("Add", ["m", "b2"], ["a"]),
        helper.make_node("Softmax", ["a"], ["p"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    return model


def test_another_tools_model_computes_what_onnxruntime_computes(tmp_path):
    onnx.save(foreign(), tmp_path / "theirs.onnx")
    found = read_onnx(tmp_path / "theirs.onnx")
    x = np.random.default_rng(1).standard_normal((7, 4)).astype(np.float32)
    theirs = Session(tmp_path / "theirs.onnx").run({"x": x})["p"]
    np.testing.assert_allclose(found.network.predict(x), theirs, atol=1e-6)
    assert found.outputs["p"].max_abs_error < 1e-6
    assert found.notes == ()
    export_onnx(found.network, tmp_path / "ours.onnx")
    assert_same(import_onnx(tmp_path / "ours.onnx"), found.network)


def test_labels_of_other_tools_are_taken_where_they_fit():
    found = read_onnx(foreign(names="{0: 'a', 1: 'b', 2: 'c'}", other="kept"))
    assert (found.network.labels, found.notes) == (("a", "b", "c"), ())
    assert found.network.metadata == {"names": "{0: 'a', 1: 'b', 2: 'c'}", "other": "kept"}


def test_labels_that_do_not_fit_stay_in_the_metadata(tmp_path):
    found = read_onnx(foreign(labels="a,b"))
    assert found.notes == ("labels in the metadata are not used: no output has 2 entries",)
    assert (found.network.labels, found.network.metadata) == ((), {"labels": "a,b"})
    export_onnx(found.network, tmp_path / "a.onnx")
    assert_same(import_onnx(tmp_path / "a.onnx"), found.network)


def test_labels_that_were_taken_can_be_written_again(tmp_path):
    found = import_onnx(foreign(labels="a,b,c"))
    assert found.metadata == {}
    export_onnx(found, tmp_path / "a.onnx")
    assert import_onnx(tmp_path / "a.onnx").labels == ("a", "b", "c")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of the exporter that needs no other package.
@pytest.mark.parametrize("opset", [13, 17])
def test_a_model_of_torch_is_read(tmp_path, opset):
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3), torch.nn.Softmax(1)]
    theirs = torch.nn.Sequential(*layers)
    torch.onnx.export(
        theirs,
        (torch.zeros(2, 4),),
        tmp_path / "t.onnx",
        dynamo=False,
        opset_version=opset,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
    )
    found = import_onnx(tmp_path / "t.onnx")
    assert {name: array.shape for name, array in found.parameters.items()} == {
        name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()
    }
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    np.testing.assert_allclose(found.predict(x), theirs(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


# -- verification


@pytest.fixture
def wrong_sigmoid(monkeypatch):
    """A sigmoid whose numpy kernel is off by a thousandth."""
    right = REGISTRY["", "Sigmoid"]

    def kernel(bound):
        return [*right.kernel(bound), lambda: bound.plan._arrays[bound.node.outputs[0]].__iadd__(np.float32(1e-3))]

    monkeypatch.setitem(REGISTRY, ("", "Sigmoid"), dataclasses.replace(right, kernel=kernel))


PARTING = (
    r"^{}: numpy and onnxruntime part at node 'sigmoid_1' \(Sigmoid\), the first that differs: 'sigmoid_1'\[0, \d\] is "
    r"0\.\d+ in numpy and 0\.\d+ in onnxruntime, which may be \d\.\d+e-06 apart$"
)


@pytest.mark.usefixtures("wrong_sigmoid")
def test_a_network_that_computes_something_else_is_not_written(tmp_path):
    path = tmp_path / "a.onnx"
    with pytest.raises(VerificationError, match=PARTING.format(path)):
        export_onnx(network(), path)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with pytest.raises(VerificationError):
        export_onnx(network(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("wrong_sigmoid")
def test_without_verification_it_is_written_and_said(tmp_path):
    report = export_onnx(network(), tmp_path / "a.onnx", verify=False)
    assert report.notes[1:] == ("not verified: verify=False",)
    assert np.isnan(report.max_abs_error)
    with pytest.raises(VerificationError, match=PARTING.format(tmp_path / "a.onnx")):
        import_onnx(tmp_path / "a.onnx")
    assert_same(import_onnx(tmp_path / "a.onnx", verify=False), network())


@pytest.mark.usefixtures("wrong_sigmoid")
def test_the_tolerance_is_the_callers(tmp_path):
    report = export_onnx(network(), tmp_path / "a.onnx", atol=0.1)
    assert 1e-5 < report.max_abs_error < 0.1


def test_sides_of_different_types_part():
    graph = Graph((Value("x", "float32", (2,)),), ("y",), (), (Node("n", "Identity", ("x",), ("y",)),))
    model = foreign()
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.append(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.DOUBLE))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.DOUBLE, [2]))
    expected = r"'n' \(Identity\), .*: 'y' is float32 \(2,\) in numpy and float64 \(2,\) in onnxruntime$"
    with pytest.raises(VerificationError, match=expected):
        compare(graph, {}, model, "m", tolerance=Tolerance())


def test_float16_may_differ_in_its_last_digits(tmp_path):
    x = Input(64, name="x", dtype="float16")
    report = export_onnx(Network(x, emit("Softmax", emit("ReduceSum", x * 0.7, integers([0])))), tmp_path / "a.onnx")
    assert Tolerance().allowed(np.ones(1, np.float16)) == pytest.approx(8 * 2**-10 + 1e-5)
    assert report.max_abs_error < 8 * 2**-10


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1.0, 4.0], [1.0, 5.0], (1.0, 0.2)),
        ([np.nan, np.inf], [np.nan, np.inf], (0.0, 0.0)),
        ([np.nan], [1.0], (np.inf, np.inf)),
        ([np.inf], [-np.inf], (np.inf, np.inf)),
        ([0.5], [0.0], (0.5, 0.5)),
        ([], [], (0.0, 0.0)),
    ],
)
def test_differences(ours, theirs, expected):
    assert difference(np.array(ours), np.array(theirs)) == expected


def test_where_every_step_agrees_it_is_the_output(monkeypatch):
    """onnxruntime as it would be with an optimiser that changes what the model computes."""
    model = foreign()
    found = import_onnx(model)
    run = Session.run

    def run_other(self, feeds):
        return {name: array + np.float32([0.1, 0, 0]) for name, array in run(self, feeds).items()}

    monkeypatch.setattr(Session, "run", run_other)
    expected = (
        r"^m: numpy and onnxruntime part at node 'softmax' \(Softmax\), though every step agrees by itself: 'p'\["
    )
    with pytest.raises(VerificationError, match=expected):
        compare(found.graph, found.parameters, model, "m", tolerance=Tolerance())


def test_weights_that_differ_are_named(monkeypatch):
    model = foreign()
    found = import_onnx(model)
    changed = dict(found.parameters) | {"b2": found.parameters["b2"] + np.float32([1, 0, 0])}
    expected = r"^m: weights differ between the two sides: 'b2' differs in 1 of 3 elements: 'b2'\[0\] is \S+ in the net"
    with pytest.raises(VerificationError, match=expected):
        compare(found.graph, changed, model, "m", tolerance=Tolerance())


def test_a_network_that_onnxruntime_cannot_run_says_why(tmp_path):
    node = Node("n", "Hardmax", ("x",), ("y",))
    made = Network.from_graph(Graph((Value("x", "float64", (2,)),), ("y",), (), (node,)), {})
    with pytest.raises(UnsupportedError, match=r"a\.onnx: onnxruntime lacks an operator that it needs \("):
        export_onnx(made, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileError, match=r"cannot be written: there is no folder '.*none'"):
        export_onnx(network(), tmp_path / "none" / "a.onnx")
