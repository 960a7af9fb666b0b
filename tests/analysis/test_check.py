"""Every kind of finding, on models made by hand; what is right comes from the standard, PyTorch and plain reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign import FLOAT, INT64, UINT8, write
from onnx import TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.analysis import Finding, Report, as_json, as_text
from portable_nn.catalog import find_model
from portable_nn.converters.onnx import export_onnx, read_onnx
from portable_nn.core.errors import FileError, FormatError, PortableNNError, UnsupportedError, UsageError
from portable_nn.outputs.reports import check

RNG = np.random.default_rng(0)
EXTENSION = "com.example"
Infos = list[onnx.ValueInfoProto] | None


def f32(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def n(operator: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node; inputs and outputs are words."""
    return helper.make_node(operator, inputs.split(), outputs.split(), name or None, **attributes)


def info(name: str, shape: list[Any] | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    *,
    x: list[Any] | None = None,
    inputs: Infos = None,
    y: Infos = None,
    stated: Infos = None,
    opset: int = 17,
    **weights: np.ndarray,
) -> Path:
    """A model that nothing vouches for: one input ``x``, (2, 4) unless said otherwise, and an output ``y``."""
    graph = helper.make_graph(
        nodes,
        "theirs",
        inputs or [info("x", x or [2, 4])],
        y or [info("y", None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
        value_info=stated or [],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(EXTENSION, 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def findings(path: Path, *levels: str, **options: Any) -> list[tuple[str, ...]]:
    """What is found of some levels, but for the words of ``onnx.checker``: with the hint, where there is one."""
    return [
        tuple(filter(None, (each.node, each.message, each.hint)))
        for each in check(path, **options).findings
        if each.level in levels and not each.message.startswith("onnx.checker")
    ]


def errors(path: Path, **options: Any) -> list[tuple[str, ...]]:
    return findings(path, "error", **options)


@pytest.fixture
def m(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


# -- clean models


@pytest.mark.parametrize("model", ["digits-mlp", find_model("digits-mlp").onnx])
def test_the_shipped_model_has_no_faults(model):
    assert check(model).passes(strict=True)


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_v3_small"])
def test_networks_of_torchvision_have_no_faults(exported, name):
    found = check(exported(name).path, inputs=(1, 3, 224, 224))
    assert found.passes(strict=True), as_text(found)


@pytest.mark.long
def test_squeezenet_never_reads_the_last_row_and_column(exported):
    torch = pytest.importorskip("torch")
    module, path = exported("squeezenet1_1")
    x = torch.rand(1, 3, 224, 224, requires_grad=True)
    module(x).sum().backward()
    seen = x.grad[0].abs().sum(0)
    assert (float(seen[:, 223].sum()), float(seen[223].sum())) == (0, 0)
    assert float(seen[:, 222].sum()) > 0
    assert findings(path, "error", "warning") == [
        (
            "/features/features.0/Conv",
            "never read: row 223 (the last of 224) and column 223 (the last of 224)",
            "kernel 3 → 4: output 111x111 as now",
        )
    ]


def test_a_network_in_memory():
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(2))
    found = check(net)
    assert (found.model, found.nodes, found.passes(strict=True)) == ("network", 1, True)
    net.parameters["dense_1.weight"][0, 0] = np.nan
    assert [each.message for each in check(net).findings if each.level == "error"] == [
        "weight 'dense_1.weight' (2, 4) is NaN in 1 of 8 elements"
    ]


# -- shapes and types


def test_shapes_that_do_not_fit_are_reported_with_both(m):
    nodes = [
        n("MatMul", "x w", "a", "product"),
        n("Add", "x b", "c", "sum"),
        n("Concat", "x b", "d", "join", axis=1),
        n("Sum", "a c d", "y", "all"),
    ]
    assert errors(save(m, nodes, w=f32(5, 3), b=f32(3, 2))) == [
        ("product", "MatMul does not fit: the shapes (2, 4) and (5, 3) cannot be multiplied"),
        ("sum", "Add does not fit: the shapes (2, 4) and (3, 2) do not broadcast"),
        ("join", "Concat does not fit: (2, 4) and (3, 2) differ outside axis 1"),
    ]


def test_types_that_do_not_fit_are_reported_with_both(m):
    found = errors(save(m, [n("Add", "x i", "y", "sum")], inputs=[info("x", [2]), info("i", [2], INT64)]))
    assert found == [("sum", "Add does not fit: its inputs have different element types: float32, int64")]


def test_faults_behind_a_fault_are_found_with_what_the_file_says(m):
    nodes = [n("MatMul", "x w", "a", "first"), n("MatMul", "a w", "y", "second")]
    said = [info("a", [2, 3])]
    assert errors(save(m, nodes, stated=said, w=f32(5, 3))) == [
        ("first", "MatMul does not fit: the shapes (2, 4) and (5, 3) cannot be multiplied"),
        ("second", "MatMul does not fit: the shapes (2, 3) and (5, 3) cannot be multiplied"),
    ]


def test_faults_behind_an_operator_that_nobody_knows_are_found(m):
    nodes = [
        n("Swirl", "x", "s", "swirl", domain=EXTENSION),
        n("Relu", "s", "r", "act"),
        n("Transpose", "r", "e", "turned", perm=[1, 0]),
        n("MatMul", "e w", "y", "product"),
    ]
    assert errors(save(m, nodes, stated=[info("s", [6, 7])], w=f32(5, 3)))[-1] == (
        "product",
        "MatMul does not fit: the shapes (7, 6) and (5, 3) cannot be multiplied",
    )


def test_what_only_the_standard_knows_of_a_node_is_reported(m):
    found = errors(save(m, [n("MaxRoiPool", "x x", "y", "pool", pooled_shape=[1, 1])]))
    assert found[-1][0] == "pool"
    assert found[-1][1].startswith("ai.onnx.MaxRoiPool does not fit: ")


def test_attributes_that_do_not_fit_are_reported(m):
    nodes = [n("Softmax", "x", "a", "far", axis=5), n("Relu", "x", "b", "odd", slope=0.5), n("Relu", "x", "y", "ok")]
    assert errors(save(m, nodes)) == [
        ("far", "Softmax does not fit: axis 5 is outside an input of 2 dimensions"),
        ("odd", "Relu does not fit: attribute 'slope' is not one of Relu's (none)"),
    ]


def test_a_node_of_an_older_opset_is_judged_by_its_opset(m):
    nodes = [
        n("Squeeze", "x", "a", "gone", axes=[1]),
        n("Dropout", "x", "b", "lost", ratio=3),
        n("Softmax", "x", "y", "soft"),
    ]
    assert errors(save(m, nodes, x=[2, 3], opset=9)) == [
        ("gone", "Squeeze does not fit: axis 1 of (2, 3) is not of size 1"),
        ("lost", "Dropout does not fit: at opset 9, attribute 'ratio' must be of type float, not 3"),
    ]


def test_what_the_file_says_of_a_value_must_be_so(m):
    nodes = [n("Relu", "x", "a", "act"), n("Relu", "a", "b", "more"), n("Relu", "b", "y", "last")]
    path = save(m, nodes, stated=[info("a", [2, 5]), info("b", [2, 4], INT64)], y=[info("y", ["n", 4, 1])])
    assert errors(path) == [("more", "makes 'b' as float32 (2, 4), but the file says int64 (2, 4)")]
    assert findings(path, "warning") == [
        ("act", "makes 'a' as float32 (2, 4), but the file says float32 (2, 5)"),
        ("last", "makes 'y' as float32 (2, 4), but the file says float32 (n, 4, 1)"),
    ]


# -- what is not supported


def test_operators_that_are_not_supported(m):
    nodes = [
        *(n("StringNormalizer", "x", f"s{place}", f"s{place}") for place in range(7)),
        n("Swirl", "x", "a", "swirl", domain=EXTENSION),
        n("Swirl", "a", "y", "", domain=EXTENSION),
        n("Relux", "x", "b", "typo"),
    ]
    assert errors(save(m, nodes, x=[4])) == [
        (
            "not supported: operator 'StringNormalizer' (domain ai.onnx, version 10), in 7 nodes: "
            "s0, s1, s2, s3, s4, …",
            "portable-nn cannot import or train it; predict runs the file if onnxruntime has the kernels: "
            "check --runtimes onnxruntime tells",
        ),
        (
            "not supported: operator 'com.example.Swirl' (domain com.example, version 3), in 2 nodes: swirl, y",
            "only a runtime with this extension can run it",
        ),
        (
            "typo",
            "not supported: operator 'Relux' (domain ai.onnx, no known version), in 1 node: typo",
            "opset 17 of the standard has no such operator",
        ),
    ]


def test_attributes_and_types_that_are_not_supported(m):
    body = helper.make_graph([], "body", [], [])
    nodes = [n("Relu", "x", "y", "act", extra=body), n("Cast", "x", "z", "cast", to=TensorProto.COMPLEX64)]
    path = save(m, nodes, inputs=[info("x", [2]), info("t", [2], TensorProto.COMPLEX64), info("u", None)])
    found = errors(path)
    assert found[:3] == [
        ("not supported: input 't', with elements of type COMPLEX64",),
        ("not supported: input 'u', of unknown rank",),
        ("act", "not supported: attribute 'extra' of node 'act' (Relu), of type GRAPH"),
    ]
    assert check(path).count("error") >= 3


@pytest.mark.parametrize(
    ("node", "sizes"),
    [
        (n("Reshape", "x numbers", "y", "reshape"), "size(reshape), size(reshape,1)"),
        (n("ReduceSum", "x numbers", "y", "reduce"), "size(reduce), size(reduce,1)"),
    ],
)
def test_sizes_and_axes_that_are_computed_while_the_model_runs(m, node, sizes):
    nodes = [n("Cast", "s", "numbers", "cast", to=INT64), node]
    path = save(m, nodes, inputs=[info("x", [2, 4]), info("s", [2])])
    assert errors(path) == []
    [note] = [found.message for found in check(path).findings if "data decide" in found.message]
    assert note == f"data decide 2 sizes: {sizes}"


@pytest.mark.parametrize("opset", [5, 99])
def test_an_opset_that_is_not_read(m, opset):
    path = save(m, [n("Relu", "x", "y", "act")], opset=opset)
    assert errors(path)[0] == (
        f"uses opset {opset}; 6 to 28 are read",
        "onnx.version_converter.convert_version(model, 17) may bring it to one that is",
    )
    assert check(path).nodes == 1


# -- names and order


def test_values_that_nothing_makes(m):
    nodes = [n("Add", "x weigth", "a", "sum"), n("Relu", "elsewhere", "y", "act")]
    path = save(m, nodes, y=[info("y", None), info("nowhere", None)], weight=f32(4))
    assert errors(path) == [
        ("output 'nowhere' is made by no node",),
        ("sum", "reads 'weigth', which nothing makes", "did you mean 'weight'?"),
        ("act", "reads 'elsewhere', which nothing makes"),
    ]


def test_a_name_that_is_made_twice_is_an_error(m):
    nodes = [
        n("Relu", "x", "a", "one"),
        n("Relu", "a", "a", "two"),
        n("Relu", "a", "x", "three"),
        n("Relu", "a", "y", "one"),
    ]
    path = save(m, nodes)
    assert errors(path) == [
        ("two", "makes 'a', which is the name of what node 'one' makes already"),
        ("three", "makes 'x', which is the name of an input or weight already"),
    ]
    assert ("one", "is the name of 2 nodes: import gives each one of its own") in findings(path, "note")


def test_a_weight_that_is_stored_twice_is_an_error(m):
    model = onnx.load(save(m, [n("Add", "x w", "y", "sum")], w=f32(4)))
    model.graph.initializer.append(model.graph.initializer[0])
    onnx.save(model, m)
    assert errors(m) == [("the weight 'w' is stored 2 times",)]


def test_nodes_in_the_wrong_order_are_looked_at_in_the_right_one(m):
    order = "a file must have its nodes in an order in which they can run"
    nodes = [n("MatMul", "a w", "y", "late"), n("Relu", "b", "a", "middle"), n("Relu", "x", "b", "first")]
    assert errors(save(m, nodes, w=f32(3, 3))) == [
        ("late", "reads 'a', which node 'middle' makes only later", order),
        ("late", "MatMul does not fit: the shapes (2, 4) and (3, 3) cannot be multiplied"),
        ("middle", "reads 'b', which node 'first' makes only later", order),
    ]


def test_a_cycle_is_an_error_at_each_of_its_nodes(m):
    nodes = [
        n("Add", "x b", "a", "one"),
        n("Relu", "a", "b", "two"),
        n("Relu", "c", "c", "self"),
        n("Relu", "a", "y", "behind"),
        n("MatMul", "x x", "z", "other"),
    ]
    found = errors(save(m, nodes))
    assert ("self", "is part of a cycle, in which no node can run first: 'self' → 'self'") in found
    [cycle] = [each for each in found if "'one'" in each[1] and "cycle" in each[1]]
    assert cycle[1].removeprefix("is part of a cycle, in which no node can run first: ") in {
        "'one' → 'two' → 'one'",
        "'two' → 'one' → 'two'",
    }
    assert ("other", "MatMul does not fit: the shapes (2, 4) and (2, 4) cannot be multiplied") in found
    assert len(found) == 3


def test_a_node_without_outputs_is_an_error(m):
    node = n("Relu", "x", "y", "act")
    silent = onnx.NodeProto(op_type="Relu", input=["x"])
    assert errors(save(m, [node, silent])) == [("a node (Relu) has no output",)]


def test_what_subgraphs_read_is_not_unused(m):
    bodies = {
        f"{word}_branch": helper.make_graph([n("Add", "outer w", "r")], word, [], [info("r", None)])
        for word in ("then", "else")
    }
    nodes = [n("Relu", "x", "outer", "before"), n("If", "c", "y", "if", **bodies)]
    path = save(m, nodes, inputs=[info("x", [2, 4]), info("c", [], TensorProto.BOOL)], w=f32(4))
    assert findings(path, "warning") == []
    assert errors(path) == []


# -- what nothing needs


def test_nodes_weights_and_inputs_that_nothing_needs(m):
    nodes = [
        n("Relu", "x", "y", "used"),
        n("Relu", "x", "a", "dead"),
        n("Relu", "a", "b", "dead_end"),
        n("Relu", "a", "c", "other_end"),
    ]
    path = save(m, nodes, inputs=[info("x", [2]), info("idle", [2])], spare=f32(100, 10), more=f32(2))
    assert findings(path, "warning") == [
        ("2 weights are read by no node: spare, more", "4.0 kB of the file can go"),
        ("input 'idle' is read by no node",),
        ("dead_end", "leads to no output, nor does the node before it: dead"),
        ("other_end", "leads to no output"),
    ]
    assert errors(path) == []


def test_weights_among_the_inputs(m):
    path = save(m, [n("Add", "x w", "y")], inputs=[info("x", [2, 4]), info("w", [4])], w=f32(4))
    assert findings(path, "error", "warning", "note") == [
        (
            "1 weight is listed among the inputs: w",
            "runtimes must expect others in their place: list them among the initializers alone",
        )
    ]


# -- numbers


def test_weights_that_are_no_numbers(m):
    w, b = f32(3, 4), np.array([np.inf, 1, -np.inf, 0], np.float32)
    w[0, :2] = np.nan
    w[1, 1] = np.inf
    path = save(m, [n("Gemm", "x w b", "y", "dense")], x=[2, 3], w=w, b=b)
    assert errors(path) == []
    assert findings(path, "warning") == [
        ("dense", "weight 'w' (3, 4) is NaN in 2 of 12 elements"),
        ("dense", "weight 'w' (3, 4) is infinite in 1 of 12 elements"),
        ("dense", "weight 'b' (4,) is infinite in 2 of 4 elements"),
    ]


def test_large_constants_are_weights_too(m):
    array = np.zeros((50, 40), np.float16)
    array[7, 7] = np.nan
    nodes = [
        n("Constant", "", "w", "large", value=numpy_helper.from_array(array)),
        n("MatMul", "x w", "y", "product"),
    ]
    path = save(m, nodes, inputs=[info("x", [2, 50], TensorProto.FLOAT16)])
    assert findings(path, "error", "warning") == [("product", "weight 'w' (50, 40) is NaN in 1 of 2,000 elements")]


def test_weights_that_are_all_the_same(m):
    nodes = [n("MatMul", "x a", "h", "one"), n("MatMul", "h b", "y", "two")]
    path = save(m, nodes, a=np.zeros((4, 3), np.float32), b=np.full((3, 2), 0.5, np.float32))
    assert findings(path, "note") == [
        ("one", "weight 'a' (4, 3) is 0 everywhere"),
        ("two", "weight 'b' (3, 2) is 0.5 everywhere"),
    ]


def test_damaged_tensors_and_attributes_do_not_hide_the_rest(m):
    nodes = [
        n("Pad", "x p", "a", "pad", mode=b"\xff"),
        n("MatMul", "x w", "b", "product"),
        n("MatMul", "x u", "y", "other"),
    ]
    model = onnx.load(save(m, nodes, p=np.array([0, 0, 0, 0]), w=f32(4, 3), u=f32(5, 3)))
    model.graph.initializer[1].raw_data = b"\0\0\0"
    onnx.save(model, m)
    found = errors(m)
    assert found[0][0].startswith("tensor 'w' is damaged")
    assert found[1:] == [
        ("pad", "attribute 'mode' is not text in UTF-8: b'\\xff'"),
        ("other", "MatMul does not fit: the shapes (2, 4) and (5, 3) cannot be multiplied"),
    ]


def test_tensors_in_files_that_are_not_there(m):
    model = onnx.load(save(m, [n("MatMul", "x w", "y", "product")], w=f32(5, 3)))
    onnx.save(model, m, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert errors(m) == [("product", "MatMul does not fit: the shapes (2, 4) and (5, 3) cannot be multiplied")]
    (m.parent / "w.bin").unlink()
    found = errors(m)
    assert found[0][0].startswith("tensor 'w' cannot be read from 'w.bin': ")
    assert found[1:] == [("product", "MatMul does not fit: the shapes (2, 4) and (5, 3) cannot be multiplied")]


def test_what_the_checker_of_the_standard_says(m):
    path = save(m, [n("Relu", "x", "y", "act", slope=0.5)], y=[info("y", [2, 4])])
    said = [each for each in check(path).findings if each.message.startswith("onnx.checker refuses it (")]
    assert [(each.level, each.node) for each in said] == [("warning", "")]
    assert ("act", "Relu does not fit: attribute 'slope' is not one of Relu's (none)") in errors(path)


# -- coverage


def test_cells_that_are_never_read_and_what_mends_it(m):
    path = save(m, [n("Conv", "x w", "y", "conv", strides=[2, 2])], x=[1, 3, 7, 8], w=f32(4, 3, 3, 3))
    assert findings(path, "error", "warning") == [
        ("conv", "never read: column 7 (the last of 8)", "kernel 3 → 4 for columns: output 3x3 as now")
    ]


def test_cells_that_another_node_reads_are_not_lost(m):
    nodes = [
        n("Conv", "x w", "a", "main", strides=[2, 2], pads=[1] * 4),
        n("Conv", "x v", "b", "shortcut", strides=[2, 2]),
        n("Add", "a b", "y", "join"),
    ]
    path = save(m, nodes, x=[1, 3, 8, 8], w=f32(4, 3, 3, 3), v=f32(4, 3, 1, 1))
    assert findings(path, "error", "warning") == []
    assert findings(path, "note") == []


def test_uneven_overlap_and_cells_that_hold_the_bias_alone(m):
    nodes = [
        n("ConvTranspose", "x w", "a", "checkers", strides=[2, 2]),
        n("ConvTranspose", "a v", "y", "holes", strides=[2, 2]),
    ]
    path = save(m, nodes, x=[1, 3, 5, 5], w=f32(3, 4, 3, 3), v=f32(4, 2, 1, 1))
    (first, message, hint), (second, other, _), *_ = findings(path, "warning")
    assert (first, hint) == ("checkers", "kernel 3 → 2: output 10x10 instead of 11x11")
    assert message.startswith("uneven overlap, which risks checkerboard artifacts: ")
    assert second == "holes"
    assert other.startswith("no tap of the kernel lands on rows 1, 3, 5, ... 19")


# -- sizes of inputs


def test_sizes_that_inputs_leave_open(m):
    path = save(m, [n("Conv", "x w", "y", "conv", strides=[2, 2])], x=["N", 3, "h", 8], w=f32(4, 3, 3, 3))
    assert findings(path, "error", "warning") == []
    assert findings(path, "note") == [
        ("coverage is unknown in 1 node with unknown sizes: conv", "give the sizes of the inputs"),
        ("input 'x' (N, 3, h, 8) has symbolic sizes: N, h", "--in N,3,h,8, with numbers for names, sets them"),
    ]
    assert [each[1] for each in findings(path, "warning", inputs=("N", 3, 7, 8))] == [
        "never read: column 7 (the last of 8)"
    ]
    assert errors(path, inputs={"x": (1, 3, 2, 8)})[0][:1] == ("conv",)


def test_what_depends_on_open_sizes_may_fit(m):
    inputs = [info("x", ["N", "h"]), info("z", ["N", "w"]), info("v", ["N", 3])]
    nodes = [n("Add", "x z", "a", "sum"), n("MatMul", "v w", "b", "product"), n("Sum", "a b", "y", "all")]
    path = save(m, nodes, inputs=inputs, w=f32(4, 2))
    assert errors(path) == [("product", "MatMul does not fit: the shapes (N, 3) and (4, 2) cannot be multiplied")]
    assert findings(path, "warning") == []
    assert ("sizes of the inputs that must be equal: w is h, for node 'sum' (Add) to fit",) in findings(path, "note")
    assert findings(path, "warning", inputs={"x": (1, 5), "z": (1, 5)}) == []
    assert ("sum", "Add does not fit: the shapes (1, 5) and (1, 6) do not broadcast") in errors(
        path, inputs={"x": (1, 5), "z": (1, 6)}
    )


def test_what_nothing_is_known_of(m):
    nodes = [n("Swirl", "x", "s", "swirl", domain=EXTENSION), n("MatMul", "s w", "y", "product")]
    found = findings(save(m, nodes, w=f32(5, 3)), "note")
    assert ("the types of the outputs of 1 node are unknown: swirl", "the nodes after them are not checked") in found


def test_what_comes_out_of_unknown_operators_with_unknown_sizes(m):
    nodes = [
        n("Swirl", "x", "s", "swirl", domain=EXTENSION),
        n("Add", "s x", "a", "sum"),
        n("Reshape", "s t", "y", "shape"),
    ]
    path = save(m, nodes, stated=[info("s", ["k", 4])], t=np.array([3, -1]))
    assert [each[0] for each in errors(path)] == ["swirl"]
    # What does not fit follows from the operator that is unknown.
    assert findings(path, "warning") == [("sum", "leads to no output")]
    with pytest.raises(UnsupportedError) as caught:
        read_onnx(path)
    assert "sum" not in str(caught.value)
    assert "shape" not in str(caught.value)


def test_what_follows_from_unknown_operators_through_several_nodes(m):
    """Sums and windows of a made-up size have others, which follow from it as well."""
    nodes = [
        n("Swirl", "x", "s", "swirl", domain=EXTENSION),
        n("Concat", "s s", "c", "twice", axis=0),
        n("Unsqueeze", "c zero", "p", "raised"),
        n("MaxPool", "p", "q", "pool", kernel_shape=[1]),
        n("Squeeze", "q zero", "r", "lowered"),
        n("Add", "r x", "y", "sum"),
    ]
    path = save(m, nodes, stated=[info("s", ["k", 4])], zero=np.array([0]))
    assert [each[0] for each in errors(path)] == ["swirl"]
    assert findings(path, "warning") == []


def test_a_model_without_outputs_is_reported_as_import_refuses_it(m):
    model = onnx.load(save(m, [n("Neg", "x", "y", "minus")]))
    del model.graph.output[:]
    onnx.save(model, m)
    with pytest.raises(FormatError, match="has no outputs") as caught:
        read_onnx(m)
    assert errors(m) == [(caught.value.reason,)]
    assert not check(m).passes()


@pytest.mark.parametrize(("operator", "attribute"), [("Cast", "to"), ("EyeLike", "dtype")])
def test_element_types_that_import_refuses_are_errors(m, operator, attribute):
    path = save(m, [n(operator, "x", "y", "it", **{attribute: onnx.TensorProto.COMPLEX64})], x=[3, 3])
    with pytest.raises(PortableNNError, match="an element type that is not supported"):
        read_onnx(path)
    [(node, message, hint)] = errors(path)
    assert (node, message) == ("it", "not supported: it makes 'y', with elements of type complex64")
    assert hint.startswith("portable-nn cannot import or train it")


def test_output_padding_that_onnxruntime_refuses_is_a_warning(m):
    node = n("ConvTranspose", "x w", "y", "it", dilations=[2, 2], output_padding=[1, 1])
    path = save(m, [node], x=[1, 3, 5, 5], w=f32(3, 4, 3, 3))
    assert (
        "it",
        "output_padding is not less than the stride (1 rows at stride 1 and 1 columns at stride 1): "
        "onnxruntime refuses it",
    ) in [each[:2] for each in findings(path, "warning")]


def test_an_input_of_unknown_rank_can_be_given_a_shape(m):
    path = save(m, [n("MatMul", "x w", "y", "product")], inputs=[info("x", None)], w=f32(5, 3))
    assert ("the shape of input 'x' is unknown", "--in N,3,H,W, with numbers for names, sets them") in findings(
        path, "note"
    )
    assert ("product", "MatMul does not fit: the shapes (2, 4) and (5, 3) cannot be multiplied") in errors(
        path, inputs=(2, 4)
    )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((1, 2, 3), "input 'x' has 2 dimensions, (N, 4), not 3"),
        ((1, 5), "input 'x' (N, 4), axis 1: the size is 4 and cannot be 5"),
        ((0, 4), "input 'x' (N, 4), axis 0: a size must be at least 1, not 0"),
        ({"z": (1, 4)}, "there is no input 'z': there are x"),
    ],
)
def test_sizes_that_cannot_be(m, sizes, message):
    path = save(m, [n("Relu", "x", "y")], x=["N", 4])
    with pytest.raises(UsageError) as caught:
        check(path, inputs=sizes)
    assert str(caught.value) == message


def test_sizes_for_several_inputs(m):
    path = save(m, [n("Add", "x z", "y")], inputs=[info("x", ["N", 4]), info("z", ["N", 4])])
    with pytest.raises(UsageError, match=r"^there are 2 inputs: say for which the sizes are, such as x=1,3$"):
        check(path, inputs=(1, 4))
    with pytest.raises(UsageError, match=r"^input 'z' \(N, 4\), axis 0: the size is 2 and cannot be 3$"):
        check(path, inputs={"x": (2, 4), "z": (3, 4)})
    assert findings(path, "error", "warning", "note", inputs={"x": (2, "any")}) == []


# -- files


def test_weight_files_have_the_errors_that_load_finds(tmp_path):
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(200))
    net.save(tmp_path / "m.safetensors")
    data = bytearray((tmp_path / "m.safetensors").read_bytes())
    data[-1] ^= 1
    data[-900] ^= 1
    (tmp_path / "m.safetensors").write_bytes(data)
    found = check(tmp_path / "m.safetensors")
    assert sorted((each.level, each.message.partition(":")[0]) for each in found.findings) == [
        ("error", "tensor 'dense_1.bias' is damaged or another network's"),
        ("error", "tensor 'dense_1.weight' is damaged or another network's"),
    ]
    with pytest.raises(FormatError) as caught:
        pnn.load(tmp_path / "m.safetensors")
    assert caught.value.faults == tuple(each.message for each in found.findings)
    assert as_text(found).splitlines()[-1] == "2 errors"


def test_infinite_weights_are_errors_in_weight_files_which_load_refuses(tmp_path):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2))
    net.parameters["dense_1.weight"][...] = np.array([[np.nan, 1], [np.inf, 2]])
    from portable_nn.format import save as save_file

    save_file(tmp_path / "m.safetensors", net.manifest(), net.parameters, allow_nonfinite=True)
    assert errors(tmp_path / "m.safetensors") == [
        ("dense_1", "weight 'dense_1.weight' (2, 2) is NaN in 1 of 4 elements"),
        ("dense_1", "weight 'dense_1.weight' (2, 2) is infinite in 1 of 4 elements"),
    ]


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        check(tmp_path / "m.onnx")
    for name in ("m.onnx", "m.safetensors"):
        (tmp_path / name).write_text("hello")
        with pytest.raises(FormatError):
            check(tmp_path / name)
    with pytest.raises(UsageError, match="no model is called 'digitz'"):
        check("digitz")


def test_a_model_without_opset_is_none(m):
    model = onnx.load(save(m, [n("Relu", "x", "y")]))
    del model.opset_import[:]
    onnx.save(model, m)
    with pytest.raises(FormatError, match="it has no version of the standard operators"):
        check(m)


# -- the report


def test_import_refuses_what_has_errors_and_takes_what_has_none(m):
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(2))
    export_onnx(net, m)
    assert check(m).passes(strict=True)
    model = onnx.load(m)
    model.graph.node[0].op_type = "Swirl"
    onnx.save(model, m)
    assert not check(m).passes()


REPORT = Report(
    "m.onnx", 53,
    (
        Finding("error", "conv1", "does not fit", "make it fit"),
        Finding("error", "", "onnx.checker: no"),
        Finding("warning", "a long name", "is in the way"),
    ),
)  # fmt: skip


def test_a_report_as_text_has_a_line_for_each_finding_and_counts_them():
    assert as_text(REPORT).splitlines() == [
        "level    node         message",
        "error    conv1        does not fit",
        "                        make it fit",
        "error                 onnx.checker: no",
        "warning  a long name  is in the way",
        "",
        "2 errors, 1 warning in 53 nodes",
    ]
    assert as_text(Report("m", 1, ())) == "nothing found in 1 node\n"


def test_a_report_as_text_is_wrapped_on_a_narrow_terminal():
    finding = Finding(
        "note", "conv", "one two three four five six seven eight nine ten", "eleven twelve thirteen fourteen"
    )
    assert as_text(Report("m", 2, (finding,)), width=54).splitlines() == [
        "level  node  message",
        "note   conv  one two three four five six seven eight",
        "             nine ten",
        "               eleven twelve thirteen fourteen",
        "",
        "1 note in 2 nodes",
    ]
    assert as_text(Report("m", 2, (finding,)), width=50) == as_text(Report("m", 2, (finding,)))  # Too narrow to read.


def test_a_report_as_json_has_the_counts_and_all_findings():
    assert as_json(REPORT) == {
        "model": "m.onnx",
        "nodes": 53,
        "errors": 2,
        "warnings": 1,
        "notes": 0,
        "findings": [
            {"level": "error", "node": "conv1", "message": "does not fit", "hint": "make it fit"},
            {"level": "error", "node": "", "message": "onnx.checker: no", "hint": ""},
            {"level": "warning", "node": "a long name", "message": "is in the way", "hint": ""},
        ],
    }


def test_warnings_pass_and_errors_do_not_and_strict_passes_neither():
    assert not REPORT.passes()
    warned = Report("m", 1, REPORT.findings[2:])
    assert (warned.passes(), warned.passes(strict=True)) == (True, False)


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER"])
def test_a_quantised_convolution_is_one(tmp_path: Path, auto_pad: str) -> None:
    """Kernel 2 and stride 2 on 5 cells leave the last of them out, unless a pad completes the third window."""
    node = helper.make_node("ConvInteger", ["x", "w"], ["y"], name="conv", strides=[2, 2], auto_pad=auto_pad)
    size = 2 if auto_pad == "NOTSET" else 3
    inputs, outputs = {"x": (UINT8, ["n", 1, 5, 5])}, {"y": (TensorProto.INT32, ["n", 1, size, size])}
    path = write(tmp_path / "m.onnx", [node], inputs, outputs, {"w": np.ones((1, 1, 2, 2), np.uint8)})
    messages = [finding.message for finding in check(path).findings]
    never = "never read: row 4 (the last of 5) and column 4 (the last of 5)"
    assert (never in messages) == (auto_pad == "NOTSET")
