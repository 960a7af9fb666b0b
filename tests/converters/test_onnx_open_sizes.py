"""Symbolic sizes of imported models stay symbolic: equal to onnxruntime at several sizes, one planning for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.analysis.onnx import onnx_surveyor
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import GraphError, ShapeError, UsageError
from portable_nn.core.graph import Node, Shape
from portable_nn.engines.plan import Plan
from portable_nn.operators import Type, integers, needed_equalities
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(5)
Inputs = Mapping[str, tuple[str, Sequence[int | str | None]]]
node = helper.make_node


def f32(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def model(nodes: list[NodeProto], inputs: Inputs, outputs: str, weights: Mapping[str, Any] | None = None) -> ModelProto:
    codes = {"float": TensorProto.FLOAT, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, codes[kind], shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def assert_equal(made: ModelProto, network: pnn.Network, *feeds: Mapping[str, Array]) -> None:
    """The network gives what onnxruntime gives of the file."""
    session = onnxruntime.InferenceSession(made.SerializeToString())
    for each in feeds:
        found = network.predict(each)
        found = found if isinstance(found, dict) else {network.graph.outputs[0]: found}
        for name, expected in zip(network.graph.outputs, session.run(None, dict(each)), strict=True):
            assert found[name].shape == expected.shape
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5)


def shapes(network: pnn.Network) -> list[Shape]:
    return [value.shape for value in network.graph.inputs]


# -- equalities


TWO = model(
    [node("Concat", ["a", "b"], ["y"], "join", axis=1)], {"a": ("float", ["p", 3]), "b": ("float", ["q", 4])}, "y"
)


def test_two_names_for_the_batch_become_one():
    network, proof, notes = read_onnx(TWO)
    assert shapes(network) == [("p", 3), ("p", 4)]
    assert notes[0] == "sizes of the inputs that must be equal: q is p, for node 'join' (Concat) to fit"
    assert proof.batches == (1, 3)
    assert_equal(TWO, network, *({"a": f32(n, 3), "b": f32(n, 4)} for n in (1, 2, 7)))
    with pytest.raises(ShapeError, match="b"):
        network.predict({"a": f32(2, 3), "b": f32(3, 4)})


def test_several_names_at_once():
    made = model(
        [node("Where", ["c", "x", "z"], ["y"], "mask")],
        {"c": ("bool", ["a", 1, "s", "t"]), "x": ("float", ["b", 2, "u", "v"])},
        "y",
        {"z": np.float32(0)},
    )
    network, proof, notes = read_onnx(made)
    assert shapes(network) == [("a", 1, "s", "t"), ("a", 2, "s", "t")]
    assert notes[0].startswith("sizes of the inputs that must be equal: b is a and u is s and v is t, ")
    assert set(proof.sizes) == {"s", "t"}
    assert all(s != t for s, t in zip(proof.sizes["s"], proof.sizes["t"], strict=True))


def test_a_name_that_a_weight_gives_a_number():
    made = model([node("MatMul", ["x", "w"], ["y"], "m")], {"x": ("float", ["n", "t", "f"])}, "y", {"w": f32(5, 2)})
    network, _, notes = read_onnx(made)
    assert shapes(network) == [("n", "t", 5)]
    assert "f is 5" in notes[0]
    assert_equal(made, network, {"x": f32(1, 2, 5)}, {"x": f32(3, 7, 5)})


@pytest.mark.parametrize(
    ("goal", "wanted"),
    [([6, 7], []), ([8, 12, 1], []), ([8, 5], [(("s", 8),)])],
    ids=["either way", "no product", "one way"],
)
def test_equalities_are_those_with_one_answer(goal, wanted):
    types = {"a": Type("float32", ("s", "t" if goal[-1] != 5 else 5)), "b": integers(goal).type}
    nodes = [Node("r", "Reshape", ("a", "b"), ("y",))]
    assert [each.equalities for each in needed_equalities(nodes, types, ["a"])] == wanted


def test_sizes_that_are_set_equal_by_hand():
    network = import_onnx(TWO, sizes={"q": "p"})
    assert shapes(network) == [("p", 3), ("p", 4)]
    assert shapes(import_onnx(TWO, sizes={"p": "q", "q": 5})) == [(5, 3), (5, 4)]
    with pytest.raises(UsageError, match=r"^the sizes q, p are set to each other: set one of them to a number$"):
        import_onnx(TWO, sizes={"q": "p", "p": "q"})
    with pytest.raises(UsageError, match=r"^no size is called 'r': the inputs have p, q$"):
        import_onnx(TWO, sizes={"q": "r"})


def test_the_same_in_a_network_of_this_package(tmp_path):
    a, b = pnn.Input("t", 3, name="a"), pnn.Input("u", 3, name="b")
    net = pnn.Network([a, b], [pnn.emit("Neg", a, name="y"), pnn.emit("Neg", b, name="z")])
    export_onnx(net, tmp_path / "m.onnx", sizes={"u": "t"})
    assert shapes(import_onnx(tmp_path / "m.onnx")) == [("batch", "t", 3), ("batch", "t", 3)]


# -- names


@pytest.mark.parametrize("names", [["?", 3, "?", "?"], ["", 3, "", ""], [None, 3, None, None], ["N", 3, "N", "N"]])
def test_names_that_name_nothing_are_sizes_of_their_own(names):
    """A picture network that halves, doubles and joins: even heights and widths of any size fit."""
    made = model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("ConvTranspose", ["p", "v"], ["u"], strides=[2, 2]),
            node("Concat", ["u", "c"], ["y"], "skip", axis=1),
        ],
        {"x": ("float", names)},
        "y",
        {"w": f32(4, 3, 3, 3), "v": f32(4, 4, 2, 2)},
    )
    network, proof, notes = read_onnx(made)
    assert shapes(network) == [("N" if "N" in names else "x.0", 3, "x.2", "x.3")]
    assert any("'N' stands for 3 sizes of input 'x'" in note for note in notes) == ("N" in names)
    assert len(set(proof.sizes["x.2"])) == 3
    assert proof.sizes["x.2"] != proof.sizes["x.3"]
    assert_equal(made, network, *({"x": f32(n, 3, h, w)} for n, h, w in ((1, 8, 8), (2, 16, 10), (3, 4, 20))))
    with pytest.raises(GraphError, match=r"'skip' \(Concat\): .* differ outside axis 1"):
        network.predict(f32(1, 3, 7, 8))
    assert shapes(import_onnx(made, sizes={"x.2": "x.3"}))[0][2:] == ("x.3", "x.3")


def test_a_repeated_name_that_nodes_need():
    nodes = [node("Transpose", ["x"], ["t"], perm=[1, 0]), node("Add", ["x", "t"], ["y"], "sum")]
    network, _, notes = read_onnx(model(nodes, {"x": ("float", ["N", "N"])}, "y"))
    assert shapes(network) == [("N", "N")]
    assert not any("stands for" in note for note in notes)


HOSTILE = {
    "deep": "floor(" * 3000 + "x" + "/2)" * 3000,
    "brackets": "(" * 5000 + ")" * 5000,
    "zero": "floor(w/0)",
    "sum": "+".join(f"a{i}" for i in range(500)),
}


@pytest.mark.long
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_names_of_any_text(text):
    made = model([node("Add", ["a", "b"], ["y"])], {"a": ("float", ["n", text]), "b": ("float", ["m", text])}, "y")
    network = import_onnx(made)
    assert [shape[0] for shape in shapes(network)] == ["n", "n"]
    assert_equal(made, network, {"a": f32(2, 3), "b": f32(2, 3)})


def test_many_numbers_are_no_endless_search():
    nodes = [node("Reshape", ["x", "s"], ["y"], "shaped")]
    with pytest.raises(GraphError, match=r"'shaped' \(Reshape\)"):
        import_onnx(model(nodes, {"x": ("float", ["n"])}, "y", {"s": np.arange(2, 1000)}))


# -- shape arithmetic


def _positions() -> ModelProto:
    """x + table[:length], as position embeddings are added, with a causal mask in the scores of attention."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "one"], ["length"], axis=0),
        node("Unsqueeze", ["length", "zero"], ["ends"]),
        node("Slice", ["table", "zero", "ends", "zero"], ["rows"]),
        node("Add", ["x", "rows"], ["h"], "positions"),
        node("Range", ["start", "length", "step"], ["places"]),
        node("Unsqueeze", ["places", "last"], ["column"]),
        node("LessOrEqual", ["places", "column"], ["sees"]),
        node("Transpose", ["h"], ["k"], perm=[0, 2, 1]),
        node("MatMul", ["h", "k"], ["scores"]),
        node("Where", ["sees", "scores", "low"], ["masked"]),
        node("Softmax", ["masked"], ["weights"], axis=-1),
        node("MatMul", ["weights", "h"], ["mixed"]),
        node("Concat", ["keep", "ends", "rest"], ["goal"], axis=0),
        node("Reshape", ["mixed", "goal"], ["y"]),
    ]
    weights = {
        "table": f32(64, 8), "one": np.array(1), "zero": np.array([0]), "last": np.array([-1]), "start": np.array(0),
        "step": np.array(1), "low": np.float32(-1e9), "keep": np.array([0]), "rest": np.array([2, -1]),
    }  # fmt: skip
    return model(nodes, {"x": ("float", ["batch", "time", 8])}, "y", weights)


def _filled() -> ModelProto:
    """Expand, ConstantOfShape and Trilu of an open length, by way of Where and Equal as PyTorch writes them."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "one", "two"], ["length"]),
        node("Concat", ["length", "length"], ["square"], axis=0),
        node("ConstantOfShape", ["square"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        node("Trilu", ["ones"], ["lower"], upper=0),
        node("MatMul", ["lower", "x"], ["sums"]),
        node("Mul", ["length", "two"], ["twice"]),
        node("Div", ["twice", "two"], ["again"]),
        node("Concat", ["minus", "again", "one"], ["wish"], axis=0),
        node("Equal", ["wish", "minus"], ["free"]),
        node("Where", ["free", "units", "wish"], ["goal"]),
        node("Expand", ["offset", "goal"], ["offsets"]),
        node("Add", ["sums", "offsets"], ["y"]),
    ]
    weights = {
        "one": np.array([1]), "two": np.array([2]), "minus": np.array([-1]), "units": np.ones(3, np.int64),
        "offset": np.full((1, 1, 1), 0.5, np.float32),
    }  # fmt: skip
    return model(nodes, {"x": ("float", ["batch", "time", 4])}, "y", weights)


def _halves() -> ModelProto:
    """The first and second half of an open length, subtracted: fits an even one."""
    nodes = [
        node("Shape", ["x"], ["length"], start=1, end=2),
        node("Div", ["length", "two"], ["half"]),
        node("Slice", ["x", "zero", "half", "one"], ["a"]),
        node("Slice", ["x", "half", "length", "one"], ["b"]),
        node("Sub", ["a", "b"], ["y"]),
    ]
    weights = {"two": np.array([2]), "zero": np.array([0]), "one": np.array([1])}
    return model(nodes, {"x": ("float", ["batch", "time", 3])}, "y", weights)


@pytest.mark.parametrize(("made", "features"), [(_positions(), 8), (_filled(), 4), (_halves(), 3)])
def test_lengths_stay_open(made, features):
    network, proof, _ = read_onnx(made)
    assert shapes(network) == [("batch", "time", features)]
    assert len(set(proof.sizes["time"])) == 3
    lengths = (2, 8, 30)
    assert_equal(made, network, *({"x": f32(n, length, features)} for n in (1, 3) for length in lengths))


def test_a_limit_of_the_length_is_found_by_the_plan():
    network = import_onnx(_positions())
    with pytest.raises(
        GraphError, match=r"'positions' \(Add\): the shapes \(1, 65, 8\) and \(64, 8\) do not broadcast"
    ):
        network.predict(f32(1, 65, 8))


def test_training_with_an_open_length(tmp_path):
    """Gradients flow to the rows of the table that a length reads, also for another length; the rest stay."""
    network = import_onnx(_positions())
    before = network.parameters["table"].copy()
    network.fit(f32(4, 5, 8), f32(4, 5, 2, 4), loss="mean_squared_error", epochs=1, batch_size=4, optimizer="sgd")
    after = network.parameters["table"].copy()
    assert (after[:5] != before[:5]).all()
    np.testing.assert_array_equal(after[5:], before[5:])
    network.fit(f32(4, 9, 8), f32(4, 9, 2, 4), loss="mean_squared_error", epochs=1, batch_size=4, optimizer="sgd")
    assert (network.parameters["table"][5:9] != after[5:9]).all()
    network.save(tmp_path / "n.safetensors")
    assert pnn.load(tmp_path / "n.safetensors").graph == network.graph
    report = export_onnx(network, tmp_path / "n.onnx")
    assert report.outputs.sizes["time"]


def test_a_new_length_is_planned_once(monkeypatch):
    planned = []
    original = Plan.__init__

    def counted(self, graph, shapes, *arguments, **options):
        planned.append(shapes)
        original(self, graph, shapes, *arguments, **options)

    network = import_onnx(_positions())
    monkeypatch.setattr(Plan, "__init__", counted)
    for _ in range(3):
        for length in range(2, 20):
            network.predict(f32(1, length, 8))
    assert len(planned) == 18


# -- what depends on the data


NEEDS_NUMBERS = model(
    [
        node("Shape", ["x"], ["s"], end=1),
        node("ConstantOfShape", ["s"], ["o"], value=numpy_helper.from_array(np.array([1]))),
        node("NonZero", ["o"], ["z"], "places"),
        node("Cast", ["z"], ["y"], to=1),
    ],
    {"x": ("float", ["n", "t"])},
    "y",
)
DEPENDS = model(
    [node("ReduceMax", ["i"], ["most"], keepdims=1), node("Expand", ["x", "most"], ["y"], "stretch")],
    {"x": ("float", [1]), "i": ("int64", ["k"])},
    "y",
)


def test_advice_on_the_size_that_helps(tmp_path):
    with pytest.raises(GraphError, match=r"'places' \(NonZero\): input 'X' must be a constant") as caught:
        import_onnx(NEEDS_NUMBERS)
    advice = "it fits where n is a number: portable-nn import --dim n=SIZE, in Python sizes={'n': SIZE}"
    assert caught.value.__notes__ == [advice]
    network = import_onnx(NEEDS_NUMBERS, sizes={"n": 3})
    np.testing.assert_array_equal(network.predict(f32(3, 2)), [[0, 1, 2]])
    path = tmp_path / "m.onnx"
    path.write_bytes(NEEDS_NUMBERS.SerializeToString())
    assert advice in [finding.hint for finding in onnx_surveyor(path)(None).findings]


def test_what_no_size_helps():
    with pytest.raises(GraphError, match=r"'stretch' \(Expand\): input 'shape' must be a constant") as caught:
        import_onnx(DEPENDS)
    assert not hasattr(caught.value, "__notes__")


def test_dropout_in_training_mode_is_named():
    made = model(
        [node("Dropout", ["x", "ratio", "training"], ["y"], "drop")],
        {"x": ("float", ["n", 8])},
        "y",
        {"ratio": np.float32(0.5), "training": np.array(True)},
    )
    [note, *_] = read_onnx(made, verify=False).notes
    assert note.startswith("'drop' (Dropout): this training mode drops elements at random in each run")
    assert note.endswith("export the model in evaluation mode, which in PyTorch is model.eval()")


# -- opsets


def test_export_takes_the_lowest_opset_that_can_hold_the_network(tmp_path):
    x = pnn.Input(4, name="x")
    plain = pnn.Network(x, pnn.emit("Relu", x, name="y"))
    assert export_onnx(plain, tmp_path / "a.onnx").opset == 17
    indices = pnn.Input(4, dtype="int64", name="i")
    newer = pnn.Network([x, indices], pnn.emit("ScatterElements", x, indices, x, axis=1, reduction="max", name="y"))
    assert export_onnx(newer, tmp_path / "b.onnx").opset == 18


def test_lengths_that_a_table_of_positions_has_not_are_not_drawn() -> None:
    """As GPT-2 looks its positions up: no shape says that there are 40 of them."""
    nodes = [
        node("Shape", ["x"], ["end"], start=1, end=2),
        node("Squeeze", ["end"], ["count"]),
        node("Range", ["zero", "count", "one"], ["places"]),
        node("Unsqueeze", ["places", "axis"], ["rows"]),
        node("Gather", ["pos.weight", "rows"], ["p"]),
        node("Add", ["x", "p"], ["y"]),
    ]
    weights = {"zero": np.int64(0), "one": np.int64(1), "axis": [0], "pos.weight": f32(40, 3)}
    made = model(nodes, {"x": ("float", ["batch", "length", 3])}, "y", weights)
    network, proof, _ = read_onnx(made)
    assert max(proof.sizes["length"]) <= 40
    assert len(proof.sizes["length"]) == 3
    assert_equal(made, network, {"x": f32(2, 40, 3)}, {"x": f32(1, 1, 3)})
