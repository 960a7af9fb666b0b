"""The forms of other opsets: models are read as onnxruntime computes them, and written as each opset has the words."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, checker, defs, helper, numpy_helper

from portable_nn.converters.onnx import import_onnx, read_onnx
from portable_nn.core.errors import GraphError, PortableNNError, UsageError
from portable_nn.core.graph import OPSET, Graph, Node
from portable_nn.engines.plan import Plan
from portable_nn.onnx.opsets.forms import changes_of
from portable_nn.onnx.opsets.support import NEWEST_READ, OLDEST_READ
from portable_nn.onnx.opsets.translation import OLDEST_WRITTEN
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.session import Session
from portable_nn.onnx.verify import Tolerance, compare
from portable_nn.onnx.writing import to_bytes, to_model
from portable_nn.operators import REGISTRY, Leaf, Symbol, constant, emit, emit_all, integers, trace
from portable_nn.operators.registry import EVERYWHERE, current_name

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(5)
IR_VERSIONS = {7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7}


def real(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def node(operator: str, *inputs: str, outputs: Sequence[str] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, outputs, name="it", **attributes)


def model_of(
    opset: int,
    nodes: Sequence[onnx.NodeProto],
    feeds: Mapping[str, Array],
    weights: Mapping[str, Array],
    outputs: Sequence[str] = ("y",),
    batch: str | None = None,
) -> onnx.ModelProto:
    """A model as files of that age are: before IR version 4 every initializer is an input, too."""
    ir = IR_VERSIONS.get(opset, 8)
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in {**feeds, **weights}.items()}
    shapes = {name: [batch or array.shape[0], *array.shape[1:]] for name, array in feeds.items()}
    entries = [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()]
    if ir < 4:
        entries += [helper.make_tensor_value_info(name, kinds[name], array.shape) for name, array in weights.items()]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "theirs", entries, results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def run(graph: Graph, parameters: Mapping[str, Array], feeds: Mapping[str, Array]) -> dict[str, Array]:
    plan = Plan(graph, {name: array.shape for name, array in feeds.items()}, parameters)
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return plan.outputs


def assert_computes(model: onnx.ModelProto, feeds: Mapping[str, Array], wanted: Mapping[str, Array]) -> Graph:
    """What is read from ``model`` computes ``wanted``, and is a graph that goes out at the present opset."""
    graph, parameters, _ = from_model(model, "theirs.onnx")
    found = run(graph, parameters, feeds)
    for name, array in wanted.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_allclose(found[name], array, rtol=2e-5, atol=2e-5)
    checker.check_model(to_model(graph, parameters, opset=OPSET), full_check=True)
    return graph


# -- files of old opsets, which onnxruntime runs as they are


@dataclass(frozen=True)
class Old:
    """A node in the form that it had from opset ``first`` to ``last``, and what it reads."""

    first: int
    last: int
    node: onnx.NodeProto
    feeds: tuple[Array, ...] = ()
    weights: Mapping[str, Array] = field(default_factory=dict)

    def __str__(self) -> str:
        attributes = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        return f"{self.first}-{self.last} {self.node.op_type} {attributes}".replace(" ", "_")

    @property
    def named(self) -> dict[str, Array]:
        """What is fed."""
        return dict(zip("xab", self.feeds, strict=False))


X = real(2, 3, 4, 5)
CHANNELS = {name: np.abs(real(3)) + 0.5 for name in ("s", "b", "m", "v")}
POSITIONS = {name: np.abs(real(3, 4, 5)) + 0.5 for name in ("s", "b", "m", "v")}
PIXELS = np.arange(24, dtype=np.float32).reshape(1, 1, 4, 6)


def _softmaxes() -> list[Old]:
    return [
        *(
            Old(7 if axis >= 0 else 11, 12, node(operator, "x", axis=axis), (X,))
            for operator in ("Softmax", "LogSoftmax", "Hardmax")
            for axis in (0, 1, 2, 3, -2)
        ),
        Old(7, 12, node("Softmax", "x"), (X,)),
        Old(7, 12, node("Softmax", "x"), (real(2, 5),)),
        Old(7, 12, node("LogSoftmax", "x"), (real(2, 5, 1, 1),)),
        Old(7, 12, node("Hardmax", "x"), (real(3, 4, 2),)),
    ]


def _attributes_that_became_inputs() -> list[Old]:
    reductions = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp")
    rows = [
        Old(7, 12 if name == "ReduceSum" else 17, node(name, "x", axes=[1, 3], keepdims=0), (X,)) for name in reductions
    ]
    rows += [Old(11, 12, node(name, "x", axes=[-1]), (X,)) for name in reductions]
    return [
        *rows,
        Old(7, 12, node("ReduceSum", "x"), (X,)),
        Old(7, 12, node("Squeeze", "x", axes=[0, 2]), (real(1, 3, 1, 4),)),
        Old(11, 12, node("Squeeze", "x", axes=[-2]), (real(1, 3, 1, 4),)),
        Old(7, 12, node("Squeeze", "x"), (real(2, 1, 4),)),
        Old(7, 12, node("Unsqueeze", "x", axes=[0, 3]), (real(2, 3),)),
        Old(11, 12, node("Unsqueeze", "x", axes=[-1]), (real(2, 3),)),
        Old(7, 12, node("Split", "x", outputs=["y", "z"], axis=1, split=[1, 2]), (X,)),
        Old(7, 17, node("Split", "x", outputs=["y", "z"], axis=2), (X,)),
        Old(13, 17, node("Split", "x", "n", outputs=["y", "z"], axis=1), (X,), {"n": ints(1, 2)}),
        Old(7, 10, node("Clip", "x", min=-0.5, max=0.25), (X,)),
        Old(7, 10, node("Clip", "x", max=0.25), (X,)),
        Old(7, 10, node("Clip", "x"), (X,)),
        Old(11, 12, node("Clip", "x", "low", ""), (X,), {"low": np.float32(0.1)}),
        Old(7, 11, node("Dropout", "x", ratio=0.3), (X,)),
        Old(7, 11, node("Dropout", "x"), (X,)),
        Old(12, 17, node("Dropout", "x", "r", "t"), (X,), {"r": np.float32(0.3), "t": np.bool_(0)}),
        Old(7, 9, node("Slice", "x", axes=[3, 1], starts=[1, -2], ends=[100, -1]), (X,)),
        Old(7, 9, node("Slice", "x", starts=[0, 1], ends=[2**31 - 1, 3]), (X,)),
        Old(10, 12, node("Slice", "x", "from", "to"), (X,), {"from": ints(0, 1), "to": ints(2**31 - 1, 3)}),
        Old(7, 10, node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 0, 3], value=0.5), (X,)),
        Old(7, 10, node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 0, 3]), (X,)),
        Old(7, 10, node("Pad", "x", pads=[0, 0, -1, 2, 0, 0, 0, -3]), (X,)),
        Old(7, 10, node("Pad", "x", mode="reflect", pads=[0, 0, 1, 2, 0, 0, 0, 3]), (X,)),
        Old(7, 10, node("Pad", "x", mode="edge", pads=[0, 0, 1, 2, 0, 0, 0, 3]), (X,)),
    ]


def _normalisations() -> list[Old]:
    trained = ["y", "mean", "var", "saved_mean", "saved_var"]
    return [
        Old(7, 13, node("BatchNormalization", "x", *CHANNELS, epsilon=0.01, momentum=0.8), (X,), CHANNELS),
        Old(7, 8, node("BatchNormalization", "x", *CHANNELS, spatial=1), (X,), CHANNELS),
        Old(7, 8, node("BatchNormalization", "x", *POSITIONS, spatial=0, epsilon=0.1), (X,), POSITIONS),
        Old(7, 13, node("BatchNormalization", "x", *CHANNELS, outputs=trained, momentum=0.7), (X,), CHANNELS),
        Old(
            18,
            20,
            node("GroupNormalization", "x", "s", "b", num_groups=2, epsilon=0.01),
            (real(2, 4, 3),),
            {"s": floats(1, 2), "b": floats(3, -4)},
        ),
        Old(7, 17, node("InstanceNormalization", "x", "s", "b"), (X,), {name: CHANNELS[name] for name in "sb"}),
        Old(7, 12, node("LRN", "x", size=3, alpha=0.1, beta=0.5, bias=2.0), (X,)),
        Old(7, 17, node("LpNormalization", "x", axis=1, p=1), (X,)),
    ]


def _resizes() -> list[Old]:
    grown, odd, shrunk, mixed = floats(1, 1, 2, 3), floats(1, 1, 1.3, 2.6), floats(1, 1, 0.6, 0.4), floats(1, 1, 2, 0.4)
    rows = []
    for mode in ("nearest", "linear"):
        for scales in (grown, odd):
            rows += [
                Old(7, 8, node("Upsample", "x", mode=mode, scales=scales.tolist()), (PIXELS,)),
                Old(9, 9, node("Upsample", "x", "f", mode=mode), (PIXELS,), {"f": scales}),
            ]
        rows += [
            Old(10, 10, node("Resize", "x", "f", mode=mode), (PIXELS,), {"f": scales})
            for scales in (grown, odd, shrunk, mixed, floats(1, 1, 1, 1))
        ]
    rows += [
        Old(11, 18, node("Resize", "x", "none", "f", mode="linear"), (PIXELS,), {"f": odd, "none": floats()}),
        Old(
            11,
            18,
            node("Resize", "x", "none", "none", "n", mode="linear"),
            (PIXELS,),
            {"n": ints(1, 1, 7, 5), "none": floats()},
        ),
        *(
            Old(
                11,
                12,
                node(
                    "Resize",
                    "x",
                    "none",
                    "f",
                    nearest_mode=rounding,
                    coordinate_transformation_mode="tf_half_pixel_for_nn",
                ),
                (PIXELS,),
                {"f": scales, "none": floats()},
            )
            for rounding in ("floor", "round_prefer_floor")
            for scales in (grown, odd, shrunk)
        ),
    ]
    return rows


def _others() -> list[Old]:
    unit = {"w": real(2, 3, 2, 2), "c": real(2)}
    return [
        Old(
            9,
            10,
            node("Scatter", "x", "i", "u", axis=1),
            (real(2, 4),),
            {"i": ints(1, 3, 0, 2).reshape(2, 2), "u": real(2, 2)},
        ),
        Old(7, 9, node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2]), (X,)),
        Old(10, 12, node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), (X,)),
        Old(7, 9, node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), (X,)),
        Old(7, 17, node("LpPool", "x", kernel_shape=[2, 2], p=2), (X,)),
        Old(7, 12, node("Conv", "x", "w", "c", pads=[1, 0, 1, 0], strides=[2, 1]), (X,), unit),
        Old(7, 10, node("Gemm", "x", "w", "c", alpha=0.5, transB=1), (real(2, 3),), {"w": real(4, 3), "c": real(4)}),
        Old(11, 12, node("Gemm", "x", "w"), (real(2, 3),), {"w": real(3, 4)}),
        Old(7, 15, node("PRelu", "x", "w"), (X,), {"w": real(3, 1, 1)}),
        Old(7, 12, node("DepthToSpace", "x", blocksize=2), (real(1, 8, 2, 3),)),
        Old(7, 12, node("Flatten", "x", axis=2), (X,)),
        Old(11, 12, node("Flatten", "x", axis=-1), (X,)),
        Old(7, 12, node("Concat", "x", "a", axis=1), (X, real(2, 1, 4, 5))),
        Old(11, 12, node("Concat", "x", "a", axis=-3), (X, real(2, 1, 4, 5))),
        Old(7, 11, node("ArgMax", "x", axis=1, keepdims=0), (X,)),
        Old(12, 12, node("ArgMax", "x", axis=1, select_last_index=1), (X,)),
        Old(8, 12, node("Mean", "x", "a"), (X, real(2, 3, 4, 5))),
        Old(8, 12, node("Max", "x", "a"), (X, real(2, 3, 4, 5))),
        Old(7, 12, node("Pow", "x", "w"), (np.abs(X),), {"w": floats(2)}),
        Old(7, 10, node("Equal", "x", "a"), (ints(1, 2, 3), ints(1, 0, 3))),
        Old(9, 12, node("OneHot", "x", "d", "on"), (ints(0, 2, 5),), {"d": ints(3), "on": floats(-1, 2)}),
        Old(7, 13, node("Reshape", "x", "n"), (X,), {"n": ints(0, -1, 2)}),
        Old(7, 14, node("Shape", "x"), (X,)),
        Old(7, 12, node("Gather", "x", "i", axis=1), (X,), {"i": ints(2, 0)}),
        Old(7, 12, node("Cast", "x", to=TensorProto.INT32), (X,)),
        Old(12, 12, node("Celu", "x", alpha=0.5), (X,)),
    ]


OLD = [*_softmaxes(), *_attributes_that_became_inputs(), *_normalisations(), *_resizes(), *_others()]
AT_OPSETS = [pytest.param(opset, row, id=f"{opset}:{row}") for row in OLD for opset in {row.first, row.last}]


@pytest.mark.parametrize(("opset", "row"), AT_OPSETS)
def test_an_old_form_computes_what_onnxruntime_makes_of_the_file(opset: int, row: Old) -> None:
    model = model_of(opset, [row.node], row.named, row.weights, [name for name in row.node.output if name in "yz"])
    wanted = Session(to_bytes(model)).run(row.named)
    graph = assert_computes(model, row.named, wanted)
    if graph.nodes[-1].operator == row.node.op_type:
        assert graph.nodes[-1].name == "it"


@pytest.mark.parametrize("row", [row for row in OLD if row.feeds[0].shape[0] == 2], ids=str)
def test_the_batch_may_be_unknown(row: Old) -> None:
    names = [name for name in row.node.output if name in "yz"]
    model = model_of(row.first, [row.node], row.named, row.weights, names, batch="batch")
    assert_computes(model, row.named, Session(to_bytes(model)).run(row.named))


def test_every_change_that_the_standard_made_has_a_row() -> None:
    """Where an attribute, an input or a default went away since the oldest opset that is read."""
    missing = {
        (operator, later.since_version)
        for operator in {name for domain, name in REGISTRY if not domain}
        for earlier, later in history(operator)
        if taken_away(earlier, later) and later.since_version not in {c.since for c in changes_of(operator)}
    }
    assert missing == set()


def history(operator: str) -> list[tuple[defs.OpSchema, defs.OpSchema]]:
    """Each version of an operator that is read, with the next one."""
    found = []
    for version in range(OLDEST_READ + 1, NEWEST_READ + 1):
        later = defs.get_schema(operator, version) if defs.has(operator, version) else None
        if later and later.since_version == version and defs.has(operator, version - 1):
            found.append((defs.get_schema(operator, version - 1), later))
    return found


def taken_away(earlier: defs.OpSchema, later: defs.OpSchema) -> bool:
    def default(schema: defs.OpSchema, name: str) -> object:
        return schema.attributes[name].default_value.SerializeToString()

    kept = earlier.attributes.keys() & later.attributes.keys()
    same = all(default(earlier, name) == default(later, name) for name in kept)
    return not same or len(kept) < len(earlier.attributes) or earlier.max_output > later.max_output


def test_what_was_read_has_names_of_its_own() -> None:
    graph = from_model(model_of(11, [node("Softmax", "x", axis=1)], {"x": X}, {}), "m").graph
    assert [(each.name, each.operator, each.outputs) for each in graph.nodes][-1] == ("it", "Reshape", ("y",))
    assert {each.operator for each in graph.nodes} == {"Constant", "Flatten", "Softmax", "Reshape"}
    assert all(each.name == "it" or each.name.startswith("it.") for each in graph.nodes)


def test_a_softmax_over_the_last_axis_stays_one_node() -> None:
    for shape, axis in (((2, 5), 1), ((2, 3, 4), 2), ((2, 5, 1, 1), 1)):
        graph = from_model(model_of(12, [node("Softmax", "x", axis=axis)], {"x": real(*shape)}, {}), "m").graph
        assert graph.nodes == (Node("it", "Softmax", ("x",), ("y",), {"axis": axis}),)


def test_settings_are_constants_and_statistics_are_not_trained() -> None:
    nodes = [
        helper.make_node("BatchNormalization", ["x", *CHANNELS], ["n"], name="norm"),
        helper.make_node("Clip", ["n", "low"], ["c"], name="clip"),
        helper.make_node("Dropout", ["c", "ratio"], ["y"], name="drop"),
    ]
    settings = {"low": np.float32(0.25), "ratio": np.float32(0.5)}
    graph = from_model(model_of(14, nodes, {"x": X}, {**CHANNELS, **settings}), "m").graph
    assert {value.name: value.trainable for value in graph.parameters} == {"s": True, "b": True, "m": False, "v": False}
    assert [each.outputs for each in graph.nodes if each.operator == "Constant"] == [("low",), ("ratio",)]


def test_the_running_statistics_of_old_files_are_read_too() -> None:
    outputs = ["y", "mean", "var", "saved_mean", "saved_var"]
    nodes = [node("BatchNormalization", "x", *CHANNELS, outputs=outputs, momentum=0.7)]
    model = model_of(9, nodes, {"x": X}, CHANNELS, outputs[:3])
    assert_computes(model, {"x": X}, Session(to_bytes(model)).run({"x": X}))


def test_statistics_of_the_batch_that_are_read_have_no_words_any_more() -> None:
    outputs = ["y", "mean", "var", "saved_mean", "saved_var"]
    model = model_of(9, [node("BatchNormalization", "x", *CHANNELS, outputs=outputs)], {"x": X}, CHANNELS, outputs)
    with pytest.raises(
        GraphError, match=r"^m: 'it' \(BatchNormalization\): BatchNormalization has 1 to 3 outputs, not 5$"
    ):
        from_model(model, "m")


def test_the_mask_of_an_old_dropout_has_the_type_of_the_data() -> None:
    model = model_of(7, [node("Dropout", "x", outputs=["y", "mask"])], {"x": X}, {}, ["y", "mask"])
    graph, parameters, _ = from_model(model, "m")
    found = run(graph, parameters, {"x": X})
    assert {name: array.dtype for name, array in found.items()} == {"y": np.float32, "mask": np.float32}


def test_attributes_of_newer_opsets_that_say_what_is_so_anyway_are_dropped() -> None:
    newest = model_of(28, [node("SpaceToDepth", "x", blocksize=2, mode="DCR")], {"x": X[:, :, :, :4]}, {})
    assert from_model(newest, "m").graph.nodes[0].attributes == {"blocksize": 2}


def test_what_does_not_fit_is_reported_of_the_node_in_the_file() -> None:
    weights = {"s": floats(1, 2, 3), "b": floats(1, 2, 3)}
    model = model_of(18, [node("GroupNormalization", "x", "s", "b", num_groups=2)], {"x": real(2, 4, 3)}, weights)
    with pytest.raises(GraphError, match=r"^m: 'it' \(GroupNormalization\): "):
        from_model(model, "m")


@pytest.mark.parametrize(
    ("opset", "wrong", "message"),
    [
        (9, node("Clip", "x", "x", "x"), "at opset 9, Clip takes 1 input, not 3"),
        (9, node("Slice", "x", starts=[0]), "at opset 9, attribute 'ends' is missing"),
        (11, node("Softmax", "x", axis="last"), "at opset 11, attribute 'axis' must be of type int, not 'last'"),
        (10, node("Softmax", "x", dim=1), "at opset 10, attribute 'dim' is not one of Softmax's (axis)"),
        (9, node("BatchNormalization", "x", "", "", "", ""), "at opset 9, input 'scale' is missing"),
        (9, node("Resize", "x", "x"), "at opset 9, there is no operator Resize"),
        (8, node("Dropout", "x", outputs=["y", "m", "n"]), "at opset 8, Dropout has 1 to 2 outputs, not 3"),
    ],
)
def test_an_old_form_must_be_what_its_opset_has(opset: int, wrong: onnx.NodeProto, message: str) -> None:
    model = model_of(opset, [wrong], {"x": X}, {})
    with pytest.raises(GraphError, match=rf"^m: 'it' \({wrong.op_type}\): {re.escape(message)}$"):
        from_model(model, "m")


def test_what_follows_from_a_fault_is_not_reported_again() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("Softmax", ["a"], ["y"], name="second"),
    ]
    with pytest.raises(GraphError, match=r"^m: 'first' \(MatMul\): [^\n]*$"):
        from_model(model_of(9, nodes, {"x": real(2, 3)}, {"w": real(4, 5)}), "m")


# -- constants that are computed


def pads_as_torch_computes_them() -> list[onnx.NodeProto]:
    """F.pad(x, (1, 2)) of an array of rank 2: the pads of the last axis first, and zeros for the others."""
    rows: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Constant", [], {"value_ints": [1, 2]}),
        ("Constant", [], {"value_ints": [2]}),
        ("ConstantOfShape", ["n1"], {"value": numpy_helper.from_array(ints(0))}),
        ("Concat", ["n0", "n2"], {"axis": 0}),
        ("Reshape", ["n3", "to_pairs"], {}),
        ("Slice", ["n4", "last", "before_first", "first_axis", "last"], {}),
        ("Transpose", ["n5"], {"perm": [1, 0]}),
        ("Reshape", ["n6", "to_list"], {}),
        ("Cast", ["n7"], {"to": TensorProto.INT64}),
    ]
    made = [
        helper.make_node(name, inputs, [f"n{i}"], f"n{i}", **options) for i, (name, inputs, options) in enumerate(rows)
    ]
    return [*made, helper.make_node("Pad", ["x", "n8"], ["y"], "pad")]


LISTS = {
    "to_pairs": ints(-1, 2), "last": ints(-1), "before_first": ints(-(2**63)), "first_axis": ints(0),
    "to_list": ints(-1),
}  # fmt: skip


def test_pads_that_are_computed_from_constants_are_constants() -> None:
    x = real(2, 3)
    model = model_of(13, pads_as_torch_computes_them(), {"x": x}, LISTS, batch="batch")
    found = read_onnx(model)
    constant, cast, pad = found.network.graph.nodes
    assert (constant.name, constant.operator, constant.outputs) == ("n7", "Constant", ("n7",))
    assert (cast.name, pad) == ("n8", Node("pad", "Pad", ("x", "n8"), ("y",)))
    assert found.notes == (
        "nodes folded into constants (1): 'n7'",
        "dropped: nodes, as nothing needs them any more (7): 'n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6'",
        "dropped: values, as nothing needs them any more (12): 'to_pairs', 'last', 'before_first', 'first_axis', "
        "'to_list', 'n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6'",
    )
    np.testing.assert_array_equal(found.network.predict(x), np.pad(x, ((0, 0), (1, 2))))


def test_all_parts_of_a_list_are_constants() -> None:
    nodes = [
        helper.make_node("Split", ["sizes", "parts"], ["front", "rest"], "split"),
        helper.make_node("Reshape", ["x", "rest"], ["y"], "reshape"),
    ]
    model = model_of(13, nodes, {"x": real(2, 6)}, {"sizes": ints(9, 4, 3), "parts": ints(1, 2)}, ["y", "front"])
    graph = from_model(model, "m").graph
    assert [each.name for each in graph.nodes] == ["sizes.constant", "parts.constant", "split", "reshape"]
    assert_computes(model, {"x": real(2, 6)}, {"front": ints(9)})


def test_what_is_no_list_of_whole_numbers_is_left_to_run() -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], "c", value_floats=[1.0, 4.0]),
        helper.make_node("Sqrt", ["c"], ["root"], "root"),
        helper.make_node("ConstantOfShape", ["long"], ["zeros"], "zeros", value=numpy_helper.from_array(ints(0))),
        helper.make_node("Shape", ["zeros"], ["n"], "n"),
        helper.make_node("Mul", ["x", "root"], ["y"], "y"),
    ]
    graph = from_model(model_of(13, nodes, {"x": real(3, 2)}, {"long": ints(2000)}, ["y", "n"]), "m").graph
    assert [each.name for each in graph.nodes] == ["long.constant", "c", "root", "zeros", "n", "y"]


def test_a_constant_that_cannot_be_computed_is_reported() -> None:
    nodes = [helper.make_node("Gather", ["i", "i"], ["y"], "pick")]
    with pytest.raises(GraphError, match=r"^m: 'pick' \(Gather\): index 2 is outside axis 0, which has 2 elements$"):
        from_model(model_of(13, nodes, {"x": X}, {"i": ints(0, 2)}), "m")


# -- files that make no sense


WINDOWED = {operator.name for operator in REGISTRY.values() if operator.window}
SCHEMAS = [
    schema for schema in defs.get_all_schemas_with_history()
    if schema.domain == "" and schema.since_version <= NEWEST_READ
    and (changes_of(schema.name) or schema.name in WINDOWED)
]  # fmt: skip
ATTRIBUTES = sorted({name for schema in SCHEMAS for name in schema.attributes})
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.integers(-4, 9),
    st.floats(-2, 2, width=32),
    st.sampled_from(["nearest", "linear", "SAME_UPPER", "VALID", "constant", "tf_half_pixel_for_nn", ""]),
    st.lists(st.integers(-3, 4), min_size=1, max_size=4),
    st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=4),
)
ARRAYS = st.sampled_from(
    [floats(), floats(1, 1, 2, 2), ints(1), ints(0, 1, 2, 3), real(3), real(3, 3, 2, 2), np.bool_(1)]
)


@pytest.mark.long
@pytest.mark.parametrize("examples", [100, pytest.param(400, marks=pytest.mark.long)])
def test_a_file_is_read_or_refused_whatever_is_in_it(examples: int) -> None:
    settings(max_examples=examples, deadline=None)(given(st.data())(a_file_of_anything))()


def a_file_of_anything(data: st.DataObject) -> None:
    schema = data.draw(st.sampled_from(SCHEMAS))
    opset = data.draw(st.integers(OLDEST_READ, NEWEST_READ))
    own = data.draw(st.lists(st.sampled_from(sorted(schema.attributes) or ATTRIBUTES), unique=True))
    others = data.draw(st.lists(st.sampled_from(ATTRIBUTES), max_size=1))
    options = {name: data.draw(ANYTHING) for name in {*own, *others}}
    count = data.draw(st.integers(schema.min_input, min(schema.max_input, 6)) | st.integers(0, 6))
    weights = {f"w{place}": data.draw(ARRAYS) for place in range(1, count)}
    x = data.draw(st.sampled_from([X, real(2, 3), ints(1, 2)]))
    outputs = ["y", "z", "u", "v", "w"][: data.draw(st.integers(1, 5))]
    inputs = [*["x"][:count], *(data.draw(st.sampled_from([name, name, name, ""])) for name in weights)]
    model = model_of(
        opset,
        [node(schema.name, *inputs, outputs=outputs, **options)],
        {"x": x},
        weights,
        batch=data.draw(st.sampled_from([None, "batch"])),
    )
    with contextlib.suppress(PortableNNError):
        graph, parameters, _ = from_model(model, "m")
        assert [value.name for value in graph.inputs] == ["x"]
        assert graph.outputs == ("y",)
        assert set(parameters) <= set(weights)


# -- files of old opsets with results, from the onnx package itself


def _has_an_old_form(case: Any) -> bool:
    [version] = [entry.version for entry in case.model.opset_import if entry.domain == ""] or [0]
    changed = [change.since for each in case.model.graph.node for change in changes_of(each.op_type)]
    return OLDEST_READ <= version < max(changed, default=OLDEST_WRITTEN)


def _is_known(case: Any) -> bool:
    names = {current_name(each.op_type) for each in case.model.graph.node}
    known = all(("", name) in REGISTRY for name in names) and names.isdisjoint({"If", "Loop", "Scan"})
    return known and not case.name.endswith("_expanded")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # What numpy says of the numbers in some of them.
def test_an_old_form_computes_what_the_onnx_package_says() -> None:
    from onnx.backend.test.case.node import collect_testcases

    stored = [case for case in collect_testcases(None) if case.model and _is_known(case) and _has_an_old_form(case)]
    assert {"test_scatter_with_axis", "test_upsample_nearest", "test_dropout_default_old"} <= {c.name for c in stored}
    for case in stored:
        [(arrays, results)] = case.data_sets
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        first, *others = zip(case.model.graph.input, arrays, strict=True)
        # These models have their weights among the inputs.
        model.graph.initializer.extend(numpy_helper.from_array(array, value.name) for value, array in others)
        wanted = {value.name: array for value, array in zip(case.model.graph.output, results, strict=True)}
        assert_computes(model, {first[0].name: first[1]}, wanted)


# -- files for old opsets


def graph_of(build: Callable[[Leaf], Symbol | Sequence[Symbol]], *shape: int | str, dtype: str = "float32") -> Graph:
    x = Leaf("x", dtype, ("batch", *shape))
    found = build(x)
    return trace([x], [found] if isinstance(found, Symbol) else found).graph


def operators(model: onnx.ModelProto) -> list[str]:
    return [each.op_type for each in model.graph.node if each.op_type != "Constant"]


def attributes(model: onnx.ModelProto, operator: str) -> dict[str, Any]:
    [found] = [each for each in model.graph.node if each.op_type == operator]
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in found.attribute}


LOWERED: list[tuple[int, Callable[[Leaf], Symbol], tuple[int, ...]]] = [
    (20, lambda x: emit("Gelu", x, name="it"), (5,)),
    (20, lambda x: emit("Gelu", x, name="it", approximate="tanh"), (5,)),
    (14, lambda x: emit("HardSwish", x, name="it"), (5,)),
    (18, lambda x: emit("Mish", x, name="it"), (5,)),
    (17, lambda x: emit("LayerNormalization", x, constant([1, 2, 3, 4], "float32"), name="it"), (3, 4)),
    (23, lambda x: emit("RMSNormalization", x, constant([1, 2, 3, 4], "float32"), name="it"), (3, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("since", "build", "shape"), LOWERED)
def test_an_operator_is_written_as_older_ones_where_the_opset_lacks_it(
    since: int, build: Callable[[Leaf], Symbol], shape: tuple[int, ...]
) -> None:
    graph = graph_of(build, *shape)
    operator = graph.nodes[-1].operator
    for opset in (OLDEST_WRITTEN, since - 1, since):
        model = to_model(graph, {}, opset=opset)
        checker.check_model(model, full_check=True)
        assert (operator in operators(model)) == (opset >= since)
        assert model.graph.node[-1].name == model.graph.node[-1].output[0] == graph.outputs[0] == "it"
        assert all(each.name.startswith(("it", "constant")) for each in model.graph.node)
        compare(graph, {}, model, "m", tolerance=Tolerance())


def test_all_outputs_of_what_is_written_as_older_operators_keep_their_names() -> None:
    def build(x: Leaf) -> Sequence[Symbol]:
        return emit_all("LayerNormalization", x, constant([1, 2, 3, 4], "float32"), outputs=3, name="it")

    graph = graph_of(build, 4)
    model = to_model(graph, {}, opset=16)
    assert [value.name for value in model.graph.output] == ["it", "it.Mean", "it.InvStdDev"]
    compare(graph, {}, model, "m", tolerance=Tolerance())


def test_names_of_added_nodes_do_not_meet_those_that_are_there() -> None:
    graph = graph_of(lambda x: emit("Mish", emit("Relu", x, name="it.softplus_1"), name="it"), 4)
    model = to_model(graph, {}, opset=13)
    names = [each.name for each in model.graph.node]
    assert len(set(names)) == len(names)
    compare(graph, {}, model, "m", tolerance=Tolerance())


@pytest.mark.parametrize("pads", [(0, 2, 0, 1), (0, -1, 0, 3), (0, 9, 0, 0)], ids=str)
@pytest.mark.parametrize("opset", [13, 18, 19])
def test_a_ring_is_gathered_where_there_is_no_mode_wrap(pads: tuple[int, ...], opset: int) -> None:
    graph = graph_of(lambda x: emit("Pad", x, integers(pads), mode="wrap"), 4)
    model = to_model(graph, {}, opset=opset)
    assert ("Pad" in {each.op_type for each in model.graph.node}) == (opset >= 19)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    cut = x[:, max(0, -pads[1]) :]
    [found] = Session(to_bytes(model)).run({"x": x}).values()
    np.testing.assert_array_equal(found, np.pad(cut, ((0, 0), (max(0, pads[1]), pads[3])), mode="wrap"))


def test_a_ring_of_an_unknown_size_needs_opset_19() -> None:
    graph = graph_of(lambda x: emit("Pad", x, integers([0, 1, 0, 1]), mode="wrap", name="ring"), "width")
    message = "node 'ring' (Pad): there is no mode 'wrap'; opset 19 is the lowest that can"
    with pytest.raises(UsageError, match=re.escape(message)):
        to_model(graph, {}, opset=18)


def test_what_neither_the_opset_nor_older_operators_can_say_is_refused() -> None:
    graph = graph_of(
        lambda x: emit(
            "Add",
            emit(
                "Resize",
                x,
                None,
                constant([1, 2], "float32"),
                name="even",
                coordinate_transformation_mode="half_pixel_symmetric",
            ),
            emit("Resize", x, None, None, integers([1]), axes=[1], antialias=1, mode="linear", name="small"),
        ),
        6,
    )
    with pytest.raises(UsageError) as caught:
        to_model(graph, {}, opset=17)
    assert str(caught.value).splitlines() == [
        "this network cannot be written at opset 17: 2 faults",
        "  node 'even' (Resize): there is no coordinate_transformation_mode 'half_pixel_symmetric'; "
        "opset 19 is the lowest that can",
        "  node 'small' (Resize): there is no attribute 'antialias'; opset 18 is the lowest that can",
    ]


@pytest.mark.parametrize(
    ("build", "since", "text"),
    [
        (
            lambda x: emit(
                "Resize",
                x,
                None,
                constant([1, 2], "float32"),
                name="it",
                coordinate_transformation_mode="half_pixel_symmetric",
            ),
            19,
            "there is no coordinate_transformation_mode 'half_pixel_symmetric'",
        ),
        (
            lambda x: emit(
                "ScatterElements",
                x,
                emit("ArgMax", x, axis=1),
                emit("ReduceSum", x, integers([1])),
                axis=1,
                reduction="max",
                name="it",
            ),
            18,
            "there is no reduction 'max'",
        ),
        (
            lambda x: emit(
                "ScatterElements",
                x,
                emit("ArgMax", x, axis=1),
                emit("ReduceSum", x, integers([1])),
                axis=1,
                reduction="add",
                name="it",
            ),
            16,
            "there is no attribute 'reduction'",
        ),
        (
            lambda x: emit(
                "AveragePool", emit("Unsqueeze", x, integers([1])), kernel_shape=[2], dilations=[2], name="it"
            ),
            19,
            "there is no attribute 'dilations'",
        ),
        (
            lambda x: emit_all("Split", emit("Transpose", x), num_outputs=2, axis=1, outputs=2, name="it")[0],
            18,
            "there is no attribute 'num_outputs'",
        ),
    ],
)
def test_a_form_without_older_words_names_the_first_opset_that_has_them(
    build: Callable[[Leaf], Symbol], since: int, text: str
) -> None:
    graph = graph_of(build, 6)
    operator = next(each.operator for each in graph.nodes if each.name == "it")
    expected = rf"node 'it' \({operator}\): {text}; opset {since} is the lowest that can"
    with pytest.raises(UsageError, match=rf"^this network cannot be written at opset {since - 1}: {expected}$"):
        to_model(graph, {}, opset=since - 1)
    compare(graph, {}, to_model(graph, {}, opset=since), "m", tolerance=Tolerance())


GROUPS: tuple[int, Callable[[Leaf], Symbol], tuple[int, ...]] = (
    21,
    lambda x: emit(
        "GroupNormalization", x, *(constant([value] * 4, "float32") for value in (1, 0)), num_groups=2, name="it"
    ),
    (4, 6),
)


@pytest.mark.parametrize(
    ("row", "text"), [(LOWERED[0], "there is no such operator"), (GROUPS, "there it means something else")]
)
def test_an_operator_that_has_no_other_words_needs_its_opset(
    monkeypatch: pytest.MonkeyPatch, row: tuple[int, Callable[[Leaf], Symbol], tuple[int, ...]], text: str
) -> None:
    since, build, shape = row
    graph = graph_of(build, *shape)
    operator = graph.nodes[-1].operator
    without = dataclasses.replace(REGISTRY["", operator], lowering=None, portability=EVERYWHERE)
    monkeypatch.setitem(REGISTRY, ("", operator), without)
    expected = rf"node 'it' \({operator}\): {text}; opset {since} is the lowest that can"
    with pytest.raises(UsageError, match=rf"^this network cannot be written at opset {since - 1}: {expected}$"):
        to_model(graph, {}, opset=since - 1)


OLDER: list[tuple[int, Callable[[Leaf], Symbol]]] = [
    (18, lambda x: emit_all("Split", x, axis=2, num_outputs=4, outputs=4)[3]),
    (18, lambda x: emit_all("Split", x, axis=-1, num_outputs=5, outputs=5)[0]),
    (19, lambda x: emit("AveragePool", x, kernel_shape=[2, 2], dilations=[1, 1])),
    (18, lambda x: emit("LpPool", x, kernel_shape=[2, 2], dilations=[1, 1], ceil_mode=0)),
    (18, lambda x: emit("Resize", x, None, constant([3, 0.5], "float32"), axes=[3, -2], mode="linear")),
    (18, lambda x: emit("Resize", x, None, None, integers([7, 3]), axes=[2, 3])),
    (18, lambda x: emit("Resize", x, constant([0.1, 0.2, 0.8, 0.7], "float32"), None, integers([7, 3]), axes=[3, 2],
                        coordinate_transformation_mode="tf_crop_and_resize", mode="linear")),
]  # fmt: skip


@pytest.mark.parametrize(("since", "build"), OLDER)
def test_newer_forms_are_said_in_older_words(since: int, build: Callable[[Leaf], Symbol]) -> None:
    graph = graph_of(build, 4, 7, 5)
    for opset in (OLDEST_WRITTEN, since - 1, since):
        model = to_model(graph, {}, opset=opset)
        checker.check_model(model, full_check=True)
        compare(graph, {}, model, "m", tolerance=Tolerance())
        compare(from_model(model, "m").graph, {}, model, "m", tolerance=Tolerance())


# -- files of PyTorch


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # Of the exporter for old opsets.
@pytest.mark.parametrize("opset", [9, 10, 11, 12, 13, 18])
def test_a_convolutional_network_of_torch_is_read(tmp_path: Path, opset: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU6(),
        torch.nn.Upsample(scale_factor=2),
        torch.nn.ZeroPad2d(1),
        torch.nn.MaxPool2d(3, 2, ceil_mode=opset > 9),
        torch.nn.PReLU(4),
        torch.nn.Dropout(0.3),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 5),
        torch.nn.LogSoftmax(1),
    ]
    theirs = torch.nn.Sequential(*layers).eval()
    torch.onnx.export(
        theirs,
        (torch.zeros(2, 3, 6, 8),),
        tmp_path / "t.onnx",
        dynamo=False,
        opset_version=opset,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
    )
    network = import_onnx(tmp_path / "t.onnx")
    x = real(3, 3, 6, 8)
    with torch.no_grad():
        np.testing.assert_allclose(network.predict(x), theirs(torch.from_numpy(x)).numpy(), atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_shapes_that_torch_computes_are_followed(tmp_path: Path, opset: int) -> None:
    """Pads, sizes to resize to and shapes, all of them computed from the shape of an input of any size."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.down = torch.nn.Conv2d(3, 8, 3, 2, 1)
            self.up = torch.nn.Conv2d(11, 4, 3, padding=1)

        def forward(self, x: Any) -> Any:
            small = torch.nn.functional.gelu(self.down(x))
            large = torch.nn.functional.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)
            large = torch.nn.functional.pad(large, (1, 1, 1, 1), mode="reflect")[:, :, 1:-1, 1:-1]
            y = self.up(torch.cat([x, large], 1))
            n, c, h, w = y.shape
            return y.view(n, c // 2, 2, h, w).transpose(1, 2).reshape(n, c, -1).softmax(1).mean(-1)

    theirs = Net().eval()
    torch.onnx.export(
        theirs,
        (torch.zeros(2, 3, 6, 8),),
        tmp_path / "t.onnx",
        dynamo=False,
        opset_version=opset,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch", 2: "height", 3: "width"}},
    )
    x = real(3, 3, 10, 7)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(import_onnx(tmp_path / "t.onnx").predict(x), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("opset", "operator", "scales"),
    [
        (9, "Upsample", [1, 1, 2, 3]),
        (9, "Upsample", [1, 1, 1.3, 1.7]),
        (10, "Resize", [1, 1, 2, 3]),
        (10, "Resize", [1, 1, 1.3, 1.7]),
        (10, "Resize", [1, 1, 0.5, 0.7]),
        (10, "Resize", [1, 1, 1.6, 0.6]),
    ],
)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_computed_scales_of_old_opsets(opset: int, operator: str, mode: str, scales: list[float]) -> None:
    """They are an input of the model, so that the options of the node do not follow from them when it is read."""
    inputs = {"x": real(1, 1, 4, 5), "s": real(4)}
    model = model_of(opset, [node(operator, "x", "s", mode=mode)], inputs, {})
    feeds = {"x": RNG.normal(size=(1, 1, 4, 5)).astype(np.float32), "s": np.array(scales, np.float32)}
    [expected] = Session(to_bytes(model)).run(feeds).values()
    network = import_onnx(model, verify=False)
    [found] = network.predict(feeds, engine="numpy").values()
    np.testing.assert_allclose(found, expected, atol=1e-6)
