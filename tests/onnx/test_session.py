"""The onnxruntime engine, on models that this package did not write and on its own graphs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from portable_nn.core.errors import FormatError, ShapeError, UnsupportedError, UsageError
from portable_nn.core.graph import Graph, Node, Parameter, Value
from portable_nn.onnx.session import Session, session_of


def model(
    node: onnx.NodeProto | None = None, inputs: dict[str, list[int | str | None]] | None = None, kind: int = 1
) -> bytes:
    shapes = inputs or {"a": ["n", 3], "b": ["n", 1]}
    graph = helper.make_graph(
        [node or helper.make_node("Add", ["a", "b"], ["c"])],
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("c", kind, None)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {"author": "them"})
    return made.SerializeToString()


def test_inputs_outputs_and_metadata_are_reported():
    session = Session(model(), threads=1)
    assert session.inputs == (Value("a", "float32", ("n", 3)), Value("b", "float32", ("n", 1)))
    assert session.outputs == (Value("c", "float32", ("n", 3)),)
    assert session.metadata == {"author": "them"}


def test_it_runs_from_a_path_and_converts_what_loses_only_precision(tmp_path):
    (tmp_path / "m.onnx").write_bytes(model())
    found = Session(tmp_path / "m.onnx").run({"a": np.ones((2, 3), np.int64), "b": np.full((2, 1), 0.5)})
    np.testing.assert_array_equal(found["c"], np.full((2, 3), 1.5, np.float32), strict=True)


@pytest.mark.parametrize("optimise", [True, False])
def test_weights_are_used_where_they_are(tmp_path, optimise):
    rng = np.random.default_rng(0)
    x, stored, given = (rng.standard_normal((64, 64)).astype(np.float32) for _ in range(3))
    (tmp_path / "w").write_bytes(stored.tobytes())
    w = TensorProto(name="w", dims=stored.shape, data_type=1, data_location=TensorProto.EXTERNAL)
    w.external_data.add(key="location", value="w")
    made = onnx.ModelProto.FromString(model(helper.make_node("MatMul", ["x", "w"], ["c"]), {"x": ["n", 64]}))
    made.graph.initializer.append(w)
    data = made.SerializeToString()

    read = Session(data, folder=tmp_path, optimise=optimise)
    np.testing.assert_allclose(read.run({"x": x})["c"], x.astype(float) @ stored, atol=1e-4)
    shared = Session(data, folder=tmp_path, optimise=optimise, weights={"w": given})
    np.testing.assert_allclose(shared.run({"x": x})["c"], x.astype(float) @ given, atol=1e-4)
    given *= 2  # It is no copy.
    np.testing.assert_allclose(shared.run({"x": x})["c"], x.astype(float) @ given, atol=1e-4)


def test_all_that_does_not_fit_is_listed():
    with pytest.raises(ShapeError) as caught:
        Session(model(), where="m.onnx").run({"a": np.zeros((2, 4)), "d": np.zeros(1)})
    assert str(caught.value).splitlines() == [
        "m.onnx: 3 faults",
        "  'd' is not one of the inputs a, b",
        "  input 'b' is missing",
        "  input 'a' needs (n, 3), not (2, 4)",
    ]


@pytest.mark.parametrize(
    ("feeds", "fault"),
    [
        ({"a": np.zeros((2, 3)), "b": np.zeros((1, 1))}, r"input 'b' needs \(n, 1\) where n is 2 by 'a', not \(1, 1\)"),
        (
            {"a": np.zeros(3), "b": np.zeros((1, 1))},
            r"input 'a' needs \(n, 3\), not \(3,\): one example alone is x\[np.newaxis\]",
        ),
    ],
)
def test_each_fault_is_reported(feeds, fault):
    with pytest.raises(ShapeError, match=f"^m.onnx: {fault}$"):
        Session(model(), where="m.onnx").run(feeds)


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="input 'a' must be an array of numbers, but holds complex numbers"):
        Session(model()).run({"a": np.zeros((1, 3), complex), "b": np.zeros((1, 1))})


def test_sizes_without_a_name_are_independent():
    session = Session(model(inputs={"a": [None, 3], "b": [None, 1]}))
    assert session.inputs == (Value("a", "float32", ("a.0", 3)), Value("b", "float32", ("b.0", 1)))
    assert session.run({"a": np.zeros((2, 3)), "b": np.zeros((1, 1))})["c"].shape == (2, 3)


def test_what_fails_while_it_runs_is_reported():
    session = Session(model(inputs={"a": ["n"], "b": ["m"]}), where="m.onnx")
    with pytest.raises(FormatError, match=r"^m\.onnx: onnxruntime cannot run it on these inputs \("):
        session.run({"a": np.zeros(2), "b": np.zeros(3)})


def test_an_operator_that_does_not_exist_is_reported():
    with pytest.raises(FormatError, match=r"^m\.onnx: is not a valid ONNX model \("):
        Session(model(helper.make_node("Foo", ["a", "b"], ["c"])), where="m.onnx")


def test_an_operator_that_onnxruntime_lacks_is_reported():
    node = helper.make_node("Hardmax", ["a"], ["c"])
    with pytest.raises(UnsupportedError, match=r"^m\.onnx: onnxruntime lacks an operator that it needs \("):
        Session(model(node, {"a": [2]}, kind=TensorProto.DOUBLE), where="m.onnx")


def test_values_that_are_not_arrays_of_numbers_are_refused():
    node = helper.make_node("StringNormalizer", ["a"], ["c"])
    data = model(node, {"a": [1]}, kind=TensorProto.STRING)
    with pytest.raises(
        UnsupportedError, match=r"^m\.onnx: 'a' is tensor\(string\), not an array of numbers: import the file"
    ):
        Session(data, where="m.onnx")


def test_a_graph_is_run(capfd):
    graph = Graph(
        (Value("x", "float32", ("n", 2)),),
        ("y",),
        (Parameter("w", "float32", (2,)),),
        (Node("n", "Mul", ("x", "w"), ("y",)),),
    )
    session = session_of(graph, {"w": np.array([2, 3], np.float32)})
    assert session.run({"x": np.ones((1, 2))})["y"].tolist() == [[2, 3]]
    assert capfd.readouterr() == ("", "")


def test_a_model_that_the_runtimes_own_rewrites_make_invalid_runs_without_them():
    """onnxruntime 1.32 fuses a GELU though a node that nothing reads needs a value in the middle of it."""
    numbers = {"cubed": 3.0, "part": 0.044715, "scale": 0.7978845608, "one": 1.0, "half": 0.5}
    steps = [
        ("Pow", "x", "cubed", "p"), ("Mul", "p", "part", "q"), ("Add", "x", "q", "r"), ("Mul", "r", "scale", "s"),
        ("Add", "t", "one", "u"), ("Mul", "x", "half", "h"), ("Mul", "h", "u", "gelu"),
    ]  # fmt: skip
    nodes = [helper.make_node(operator, [one, other], [made]) for operator, one, other, made in steps]
    nodes.insert(4, helper.make_node("Tanh", ["s"], ["t"]))
    nodes += [helper.make_node("Neg", ["gelu"], ["c"]), helper.make_node("Relu", ["h"], ["dead"])]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5]) for name in "xc"]
    tensors = [helper.make_tensor(name, TensorProto.FLOAT, [], [number]) for name, number in numbers.items()]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    x = np.linspace(-2, 2, 5, dtype=np.float32)
    expected = -0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(Session(made).run({"x": x})["c"], expected, rtol=1e-6)
