"""Models with anything changed: a check gives a report, and finds something in all that import refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign import FLOAT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper, numpy_helper

from portable_nn.analysis import as_text
from portable_nn.analysis import sizes as net
from portable_nn.converters.onnx import read_onnx
from portable_nn.core.errors import PortableNNError
from portable_nn.outputs.reports import check, size_net


def base() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {"w": (4, 3, 3, 3), "b": (4,), "t": (4, 2, 2, 2), "d": (32, 5)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in weights.items()}
    arrays |= {"pads": np.array([0, 0, 1, 1, 0, 0, 0, 0]), "shape": np.array([0, -1]), "k": np.array([0])}
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], "pad"),
        helper.make_node("Conv", ["p", "w", "b"], ["c"], "conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "act"),
        helper.make_node("MaxPool", ["r"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        helper.make_node("ConvTranspose", ["m", "t"], ["u"], "up", strides=[2, 2]),
        helper.make_node("Concat", ["u", "u"], ["v"], "join", axis=1),
        helper.make_node("Add", ["v", "r"], ["a"], "sum"),
        helper.make_node("ReduceMean", ["a"], ["g"], "mean", axes=[3], keepdims=0),
        helper.make_node("Reshape", ["g", "shape"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "d"], ["h"], "dense"),
        helper.make_node("Softmax", ["h"], ["y"], "soft"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 3, 15, 15])],
        [helper.make_tensor_value_info("y", FLOAT, ["N", 5])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


BASE = base()
NAMES = sorted({name for node in BASE.graph.node for name in (*node.input, *node.output)})
OTHERS = (
    "BatchNormalization", "Cast", "Clip", "DepthToSpace", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "LRN",
    "LSTM", "Resize", "Shape", "Slice", "Split", "Squeeze", "Swirl", "Transpose", "Unsqueeze", "Upsample",
)  # fmt: skip
OPERATORS = sorted({*OTHERS, *(node.op_type for node in BASE.graph.node)})
ATTRIBUTES = {
    "auto_pad": ["SAME_UPPER", "SAME_LOWER", "VALID", "x", 1], "axes": [[1], [-9], 2.5], "axis": [-1, 2, 9, "x"],
    "blocksize": [0, 2], "ceil_mode": [0, 1], "dilations": [[2, 2], [0, 0]], "group": [0, 2], "keepdims": [1],
    "kernel_shape": [[3, 3], [3], 3], "mode": ["edge", "linear", "x"], "output_padding": [[1, 1], [5, 5]],
    "output_shape": [[8, 8], [-1, 3]], "pads": [[9, 9, 9, 9], [1, 1], [10**12] * 4], "perm": [[0, 1, 3, 2], [7]],
    "strides": [[1, 1], [0, 2], [10**12, 1]], "to": [1, 99], "transB": [1],
}  # fmt: skip


def changes() -> st.SearchStrategy[tuple[str, ...]]:
    names, attributes = st.sampled_from(["", "nowhere", *NAMES]), sorted(ATTRIBUTES)
    return st.one_of(
        st.tuples(st.just("operator"), st.sampled_from(OPERATORS)),
        st.tuples(st.just("input"), st.integers(0, 3), names),
        st.tuples(st.just("output"), names.filter(bool)),
        st.tuples(st.just("fewer")),
        st.sampled_from(attributes).flatmap(
            lambda name: st.tuples(st.just("attribute"), st.just(name), st.sampled_from(ATTRIBUTES[name]))
        ),
        st.tuples(st.just("swap"), st.integers(0, 10)),
        st.tuples(st.just("size"), st.integers(0, 6), st.sampled_from([1, 2, 7])),
        st.tuples(st.just("opset"), st.sampled_from([6, 7, 9, 11, 13, 18, 25, 99])),
        st.tuples(st.just("input size"), st.integers(0, 3), st.sampled_from([1, 2, 16, "h"])),
        st.tuples(st.just("domain")),
    )


def apply(model: onnx.ModelProto, node: NodeProto, kind: str, *change) -> None:
    match kind, *change:
        case "operator", name:
            node.op_type = name
        case "input", place, name:
            node.input.extend([""] * (place + 1 - len(node.input)))
            node.input[place] = name
        case "output", name:
            node.output[0] = name
        case ("fewer",):
            del node.input[-1:]
        case "attribute", name, value:
            kept = [each for each in node.attribute if each.name != name]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(name, value)])
        case "swap", place:
            other = NodeProto()
            other.CopyFrom(model.graph.node[place])
            model.graph.node[place].CopyFrom(node)
            node.CopyFrom(other)
        case "size", place, size:
            tensor = model.graph.initializer[place]
            tensor.dims[0] = size
        case "opset", version:
            model.opset_import[0].version = version
        case "input size", axis, size:
            dim = model.graph.input[0].type.tensor_type.shape.dim[axis]
            setattr(dim, "dim_param" if isinstance(size, str) else "dim_value", size)
        case ("domain",):
            node.domain = "com.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.mark.long
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 10), changes()), min_size=1, max_size=3))
def test_whatever_is_changed(folder, changed):
    model = onnx.ModelProto()
    model.CopyFrom(BASE)
    for place, change in changed:
        apply(model, model.graph.node[place], *change)
    path = folder / "m.onnx"
    onnx.save(model, path)
    found = check(path)
    assert as_text(found).splitlines()[-1].endswith(" in 11 nodes")
    assert len(net.as_text(size_net(path)).splitlines()) > 3
    try:
        read_onnx(path, verify=False)
    except PortableNNError:
        assert not found.passes(strict=True)


def test_the_model_as_it_is_has_no_faults(folder):
    onnx.save(BASE, folder / "base.onnx")
    assert check(folder / "base.onnx").count("error") == 0
