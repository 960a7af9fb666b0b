"""Symbolic sizes of imported models stay symbolic: equal to onnxruntime at several sizes, one planning for each."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import portable_nn as pnn
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


def test_inputs_that_are_left_out_are_no_outputs_that_nobody_names():
    made = model(
        [
            node("LSTM", ["x", "w", "r"], ["", "h"], "one", hidden_size=4),
            node("LSTM", ["z", "w", "r", "", "", "h"], ["", "y"], "two", hidden_size=4),
        ],
        {"x": ("float", ["t", "n", 3]), "z": ("float", ["t", "k", 3])},
        "y",
        {"w": f32(1, 16, 3), "r": f32(1, 16, 4)},
    )
    network, _, notes = read_onnx(made)
    assert shapes(network) == [("t", "n", 3), ("t", "n", 3)]
    assert notes[0] == "sizes of the inputs that must be equal: k is n, for node 'two' (LSTM) to fit"
    assert_equal(made, network, {"x": f32(2, 3, 3), "z": f32(2, 3, 3)})


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


# -- equalities that are sums


MASKED = model(
    [
        node("Concat", ["p", "x"], ["k"], axis=1),
        node("Transpose", ["k"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["x", "t"], ["s"]),
        node("Add", ["s", "mask"], ["a"], "masked"),
        node("Softmax", ["a"], ["w"], axis=-1),
        node("MatMul", ["w", "k"], ["y"]),
    ],
    {
        "mask": ("float", ["masks", 1, "total"]),
        "x": ("float", ["batch", "new", 4]),
        "p": ("float", ["caches", "past", 4]),
    },
    "y",
)
"""Attention of new words to those in a cache and to each other; the mask is as long as both together."""


def test_the_length_of_a_mask_is_that_of_the_cache_and_the_new_words(tmp_path):
    network, proof, notes = read_onnx(MASKED)
    assert shapes(network) == [("masks", 1, "new+past"), ("masks", "new", 4), ("masks", "past", 4)]
    assert notes[-1].endswith("total is new+past, for node 'masked' (Add) to fit")
    assert {name: len(set(sizes)) for name, sizes in proof.sizes.items()} == {"new": 3, "past": 3}
    assert not any("stands for" in note for note in notes)
    export_onnx(network, tmp_path / "again.onnx")
    again = import_onnx(tmp_path / "again.onnx")
    for new, past in ((1, 5), (3, 2)):
        feeds = {"mask": f32(2, 1, new + past), "x": f32(2, new, 4), "p": f32(2, past, 4)}
        assert_equal(MASKED, network, feeds)
        assert_equal(MASKED, again, feeds)
    wrong = {"mask": f32(2, 1, 6), "x": f32(2, 3, 4), "p": f32(2, 2, 4)}
    where = "where new is 3 by 'x', past is 2 by 'p'"
    with pytest.raises(ShapeError, match=rf"'mask' needs \(masks, 1, new\+past\) {where}, not \(2, 1, 6\)"):
        network.predict(wrong)
    sizes = {"past": 5, "new": 1}
    assert shapes(import_onnx(MASKED, sizes=sizes)) == [("masks", 1, 6), ("masks", 1, 4), ("masks", 5, 4)]
    export_onnx(network, tmp_path / "fixed.onnx", sizes={"past": 5})
    assert shapes(import_onnx(tmp_path / "fixed.onnx"))[0] == ("masks", 1, "new+5")


SUMS: Mapping[str, tuple[list[NodeProto], Inputs, Mapping[str, Any], str]] = {
    "two halves": ([node("Concat", ["a", "a"], ["j"], axis=0), node("Mul", ["j", "b"], ["y"])], {}, {}, "2*p"),
    "a sum with itself and one more": (
        [node("Concat", ["a", "w", "a"], ["j"], axis=0), node("Where", ["c", "j", "b"], ["y"])],
        {"c": ("bool", [1])}, {"w": f32(1)}, "2*p+1",
    ),
    "a product": (
        [node("Unsqueeze", ["a", "one"], ["u"]), node("Expand", ["u", "shape"], ["e"]),
         node("Reshape", ["e", "flat"], ["f"]), node("Concat", ["f", "c"], ["j"], axis=0),
         node("Add", ["j", "b"], ["y"])],
        {"c": ("float", ["r"])}, {"one": np.array([1]), "shape": np.array([1, 3]), "flat": np.array([-1])}, "3*p+r",
    ),
    "a product of two": (
        [node("Unsqueeze", ["a", "one"], ["u"]), node("Mul", ["u", "c"], ["m"]),
         node("Reshape", ["m", "flat"], ["f"]), node("MatMul", ["f", "b"], ["y"])],
        {"c": ("float", ["r"])}, {"one": np.array([1]), "flat": np.array([-1])}, "p*r",
    ),
    "a window": (
        [node("Reshape", ["a", "row"], ["u"]), node("Conv", ["u", "w"], ["v"]), node("Reshape", ["v", "flat"], ["f"]),
         node("Concat", ["f", "a"], ["j"], axis=0), node("Sub", ["j", "b"], ["y"])],
        {}, {"row": np.array([1, 1, -1]), "flat": np.array([-1]), "w": f32(1, 1, 1)}, "2*p",
    ),
    "the rows of a table": (
        [node("Concat", ["a", "b"], ["j"], axis=0), node("MatMul", ["j", "w"], ["y"])], {}, {"w": f32(9)}, "",
    ),
}  # fmt: skip
"""Nodes that read a of p elements and b of q, further inputs, weights, and what q must be; empty if that is open."""


@pytest.mark.parametrize(("nodes", "more", "weights", "wanted"), SUMS.values(), ids=SUMS)
def test_sizes_that_are_computed_of_others(nodes, more, weights, wanted):
    made = model(nodes, {"a": ("float", ["p"]), "b": ("float", ["q"]), **more}, "y", weights)
    if not wanted:
        with pytest.raises(GraphError, match=r"MatMul"):
            import_onnx(made)
        return
    network, proof, _ = read_onnx(made)
    assert shapes(network)[1] == (wanted,)
    assert proof.batches == (1, 3)
    for p, r in ((1, 2), (4, 3)):
        feeds = {"a": f32(p), "b": f32(eval(wanted, {"p": p, "r": r}))}
        feeds |= {name: np.ones(1, bool) if kind == "bool" else f32(r) for name, (kind, _) in more.items()}
        assert_equal(made, network, feeds)


def _joined(seed: int) -> tuple[ModelProto, dict[str, list[str]], dict[str, str]]:
    """Random sequences that are joined, doubled and combined with others, with a name for each size of each input.

    Returns the model, the names of the sizes of its inputs, and what each of them is: an expression in a, b, c and k.
    """
    rng = random.Random(seed)
    nodes, sizes, truth = list[NodeProto](), dict[str, list[str]](), {"batch": "k"}

    def fresh(what: str) -> str:
        truth[f"s{len(truth)}"] = what
        return f"s{len(truth) - 1}"

    def start(length: str) -> str:
        name = f"x{len(sizes)}"
        sizes[name] = [rng.choice(["batch", fresh("k")]), fresh(length)]
        return name

    def apply(operator: str, *given: str, **attributes: int) -> str:
        nodes.append(node(operator, given, [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    values = [(start(each), each) for each in "abc"[: rng.randint(1, 3)]]
    for step in range(rng.randint(3, 7)):
        (one, length), (other, more) = rng.choice(values), rng.choice(values)
        if step and rng.random() < 0.6:
            values.append((apply("Concat", one, other, axis=1), f"({length}+{more})"))
        else:
            values.append((apply(rng.choice(["Add", "Sub", "Mul"]), one, start(length)), length))
    last, length = values[-1]
    nodes.append(node("Add", [last, start(length)], ["y"]))
    order = rng.sample(list(sizes), len(sizes))
    return model(nodes, {name: ("float", sizes[name]) for name in order}, "y"), sizes, truth


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 120))])
def test_sizes_of_sequences_that_are_joined_at_random(seed: int) -> None:
    made, sizes, truth = _joined(seed)
    network = import_onnx(made)
    rng = random.Random(seed)
    for _ in range(3):
        numbers = {name: rng.randint(1, 6) for name in "abck"}
        feeds = {name: f32(*(eval(truth[dim], dict(numbers)) for dim in dims)) for name, dims in sizes.items()}
        assert_equal(made, network, {value.name: feeds[value.name] for value in network.graph.inputs})


def test_examples_of_inputs_whose_batches_have_several_names_are_trained_on():
    """As PyTorch writes Whisper: states are viewed with the batch of the other input, and with their own again."""
    made = model(
        [
            node("MatMul", ["x", "k"], ["h"]),
            node("Shape", ["i"], ["others"], start=0, end=1),
            node("Concat", ["others", "rest"], ["goal"], axis=0),
            node("Reshape", ["h", "goal"], ["view"]),
            node("MatMul", ["i", "v"], ["q"]),
            node("Transpose", ["view"], ["t"], perm=[0, 2, 1]),
            node("MatMul", ["q", "t"], ["scores"]),
            node("MatMul", ["scores", "view"], ["y"]),
        ],
        {"x": ("float", ["s10", 5, 4]), "i": ("float", ["s86", "words", 3])},
        "y",
        {"k": f32(4, 6), "v": f32(3, 6), "rest": np.array([-1, 6])},
    )
    network = import_onnx(made)
    assert shapes(network) == [("s10", 5, 4), ("s86", "words", 3)]  # Ten states for one question fit, too.
    assert_equal(made, network, {"x": f32(2, 5, 4), "i": f32(1, 7, 3)}, {"x": f32(3, 5, 4), "i": f32(3, 2, 3)})
    one_name = import_onnx(made, sizes={"s86": "s10"})
    x, y = {"x": f32(8, 5, 4), "i": f32(8, 7, 3)}, f32(8, 7, 6)
    options = {"loss": "mean_squared_error", "epochs": 3, "batch_size": 2, "shuffle": False, "validation": 0.5}
    found, expected = (each.fit(x, y, optimizer=pnn.SGD(1e-5), **options)["loss"] for each in (network, one_name))
    np.testing.assert_array_equal(found, expected)
    for name, array in one_name.parameters.items():
        np.testing.assert_array_equal(network.parameters[name], array)


# -- sizes that positions ask for


def _positions_after(past: list[NodeProto], mask: list[NodeProto]) -> ModelProto:
    """What GPT-2 does: positions go on behind a cache, are looked up in a table of 40 rows, and pick from a mask."""
    nodes = [
        node("Shape", ["x"], ["new"], start=1, end=2),
        node("Shape", ["p"], ["old"], start=1, end=2),
        node("Shape", ["x"], ["examples"], start=0, end=1),
        node("Add", ["old", "new"], ["both"]),
        *(node("Squeeze", [name], [f"{name}.0"]) for name in ("new", "old", "both", "examples")),
        *past,
        node("Gather", ["rows", "at"], ["h"]),
        node("Range", ["zero", "both.0", "one"], ["places"]),
        *mask,
        node("ReduceSum", ["picked", "last"], ["s"]),
        node("Add", ["h", "s"], ["y"]),
    ]
    weights = {"zero": np.array(0), "one": np.array(1), "last": np.array([1]), "rows": f32(40), "first": np.array([0])}
    weights["end"] = np.array([-1])
    inputs = {
        "x": ("float", ["batch", "new", 1]), "p": ("float", ["batch", "past", 1]), "m": ("float", ["batch", "total"]),
    }  # fmt: skip
    return model(nodes, inputs, "y", weights)


COUNTED = [node("Range", ["zero", "new.0", "one"], ["count"]), node("Add", ["count", "old.0"], ["at"])]
BETWEEN = [node("Range", ["old.0", "both.0", "one"], ["at"])]
PICKED = [node("Gather", ["m", "places"], ["picked"], axis=1)]
FLAT = [
    node("Reshape", ["m", "end"], ["flat"]),
    node("Shape", ["m"], ["wide"], start=1, end=2),
    node("Range", ["zero", "examples.0", "one"], ["example"]),
    node("Unsqueeze", ["example", "last"], ["upright"]),
    node("Mul", ["upright", "wide"], ["starts"]),
    node("Add", ["places", "starts"], ["where"]),
    node("Gather", ["flat", "where"], ["picked"]),
]
ROWS = [
    node("Range", ["zero", "examples.0", "one"], ["example"]),
    node("Unsqueeze", ["example", "last"], ["upright"]),
    node("Unsqueeze", ["places", "first"], ["across"]),
    node("Max", ["upright", "across"], ["square"]),
    node("Shape", ["square"], ["shape"]),
    *(step for name in ("upright", "across") for step in (
        node("Expand", [name, "shape"], [f"{name}.e"]), node("Unsqueeze", [f"{name}.e", "end"], [f"{name}.u"]))),
    node("Concat", ["upright.u", "across.u"], ["pairs"], axis=-1),
    node("GatherND", ["m", "pairs"], ["picked"]),
]  # fmt: skip
"""How exporters of PyTorch pick the part of a mask: along an axis, by places in all of it, and by pairs."""


@pytest.mark.parametrize("mask", [PICKED, FLAT, ROWS], ids=["along an axis", "in all of it", "by pairs"])
@pytest.mark.parametrize("past", [COUNTED, BETWEEN], ids=["counted", "between"])
def test_positions_are_within_tables_and_masks(past, mask):
    made = _positions_after(past, mask)
    network, proof, _ = read_onnx(made)
    tried = list(zip(*(proof.sizes[name] for name in ("new", "past", "total")), strict=True))
    assert all(new + past <= min(total, 40) for new, past, total in tried)
    assert len({new for new, _, _ in tried}) == len({past for _, past, _ in tried}) == 3
    for past, new, total in ((2, 3, 5), (1, 4, 9)):
        assert_equal(made, network, {"x": f32(2, new, 1), "p": f32(2, past, 1), "m": f32(2, total)})


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


def test_sizes_that_data_decide_are_computed():
    np.testing.assert_array_equal(import_onnx(NEEDS_NUMBERS).predict(f32(3, 2)), [[0, 1, 2]])
    x = f32(1)
    np.testing.assert_array_equal(
        import_onnx(DEPENDS).predict({"x": x, "i": np.array([1, 4, 2])})["y"], np.repeat(x, 4)
    )


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
