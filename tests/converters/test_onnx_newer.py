"""Operators of opsets behind the vocabulary's, in its words; and inputs that decide a shape, wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import checker, helper, numpy_helper

from portable_nn.converters.onnx import import_onnx
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.core.graph import OPSET
from portable_nn.engines.plan import Plan
from portable_nn.onnx.opsets.newer import NEWER
from portable_nn.onnx.opsets.support import NEWEST_READ
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.writing import to_model
from portable_nn.operators import Leaf, Symbol, emit, emit_all, integers, trace

Array = np.ndarray[Any, Any]


def model_of(
    opset: int, operator: str, feeds: Mapping[str, Array], constants: Mapping[str, Array] = {}, **attributes: Any
) -> onnx.ModelProto:
    """One node that reads ``feeds`` and then ``constants``."""
    node = helper.make_node(operator, [*feeds, *constants], ["y"], name="it", **attributes)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "g", inputs, [onnx.ValueInfoProto(name="y")], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def computed(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Array:
    read = from_model(model, "m")
    plan = Plan(read.graph, {}, read.parameters)
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return plan.outputs["y"]


def array(values: Any, dtype: str = "float32") -> Array:
    return np.array(values, dtype)


EIGHTS = array([-128, -7, -1, 0, 1, 5, 127], "int8")
SHIFTS = array([1, 2, 9, 3, 7, -1, 6], "int8")
BLOCKS = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
SIGNS = (array([-7.5, 7.5, 6, -6, -0.0, 3, -3]), array([2, -2, -3, 3, 5, -np.inf, -np.inf]))

Row = tuple[int, str, Mapping[str, Array], Mapping[str, Array], Mapping[str, Any], Array]
ROWS: list[Row] = [
    (28, "BitShift", {"x": EIGHTS, "by": SHIFTS}, {}, {"direction": "RIGHT"}, array([-64, -2, -1, 0, 0, 0, 1], "int8")),
    (28, "BitShift", {"x": EIGHTS, "by": SHIFTS}, {}, {"direction": "LEFT"},
     array([0, -28, 0, 0, -128, 0, -64], "int8")),
    (28, "Celu", {"x": array([-2, 0, 3], "float16")}, {}, {"alpha": 2.0}, array([-1.26424, 0, 3], "float16")),
    (26, "BitCast", {"x": array([-1, 0, 7], "int8")}, {}, {"to": 2}, array([255, 0, 7], "uint8")),
    (26, "BitCast", {"x": array([1, -0.0, np.inf])}, {}, {"to": 6}, array([0x3F800000, -(2**31), 0x7F800000], "int32")),
    (26, "BitCast", {"x": array([0x4009, 0xFC00, 0x7E00], "uint16")}, {}, {"to": 10},
     array([2.017578125, -np.inf, np.nan], "float16")),
    (26, "CumProd", {"x": array([[1, 2, 3], [4, 5, 6]])}, {"axis": array(1, "int64")}, {},
     array([[1, 2, 6], [4, 20, 120]])),
    (26, "CumProd", {"x": array([[1, 2, 3], [4, 5, 6]])}, {"axis": array(-1, "int32")}, {"exclusive": 1, "reverse": 1},
     array([[6, 3, 1], [30, 6, 1]])),
    (26, "CumProd", {"x": array([2, 0, 3], "int32")}, {"axis": array(0, "int64")}, {"exclusive": 1},
     array([1, 2, 0], "int32")),
    (26, "CumProd", {"x": array([[[1], [2]], [[3], [4]]])}, {"axis": array(0, "int64")}, {"reverse": 1},
     array([[[3], [8]], [[3], [4]]])),
    (28, "Mod", {"a": SIGNS[0], "b": SIGNS[1]}, {}, {}, array([0.5, -0.5, -0.0, 0, 0, -np.inf, -3])),
    (28, "Mod", {"a": SIGNS[0], "b": SIGNS[1]}, {}, {"fmod": 1}, array([-1.5, 1.5, 0, -0.0, -0.0, 3, -3])),
    (27, "Range", {}, {name: array(value, "float16") for name, value in (("a", 1), ("b", 2), ("c", 0.25))}, {},
     array([1, 1.25, 1.5, 1.75], "float16")),
    (28, "SpaceToDepth", {"x": BLOCKS}, {}, {"blocksize": 2, "mode": "CRD"},
     BLOCKS.reshape(1, 2, 2, 2, 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(1, 8, 2, 2)),
    (28, "SpaceToDepth", {"x": BLOCKS}, {}, {"blocksize": 2, "mode": "DCR"},
     BLOCKS.reshape(1, 2, 2, 2, 2, 2).transpose(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 2)),
    (28, "SwiGLU", {"a": array([1, -1]), "b": array([2, 3])}, {}, {"alpha": 2.0}, array([1.7615942, -0.35760877])),
]  # fmt: skip


@pytest.mark.skipif(onnx.defs.onnx_opset_version() < NEWEST_READ, reason="this onnx does not know it")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[1]}-{row[4]}")
def test_what_the_vocabulary_lacks_is_said_in_its_words(row: Row) -> None:
    opset, operator, feeds, constants, attributes, wanted = row
    model = model_of(opset, operator, feeds, constants, **attributes)
    checker.check_node(model.graph.node[0], _context(opset))
    found = computed(model, feeds)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-3 if wanted.dtype == np.float16 else 1e-6)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))


def _context(opset: int) -> checker.C.CheckerContext:
    context = checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 10, {"": opset}
    return context


def test_every_row_of_the_table_is_tested() -> None:
    elsewhere = {"CausalConvWithState", "LinearAttention"}  # test_onnx_stateful.py has those.
    assert {row[1] for row in ROWS} | elsewhere == NEWER.keys()
    assert all(newer.since > OPSET for newer in NEWER.values())


@pytest.mark.parametrize(
    ("opset", "operator", "feeds", "constants", "attributes", "message"),
    [
        (
            26,
            "CumProd",
            {"x": array([1])},
            {"axis": array(1, "int64")},
            {},
            "axis must be one number from -1 to 0, not [1]",
        ),
        (26, "CumProd", {"x": array([1])}, {}, {}, "CumProd takes 2 inputs, not 1"),
        *(
            (
                26,
                "BitCast",
                {"x": array([1])},
                {},
                {"to": code},
                f"it takes bits of one type of numpy for those of another of its size, not float32 for {dtype}",
            )
            for code, dtype in [(16, "element type 16"), (10, "float16"), (8, "element type 8")]
        ),
        (28, "SpaceToDepth", {"x": BLOCKS}, {}, {"blocksize": 2, "mode": "RGB"}, "mode must be DCR or CRD, not 'RGB'"),
        (
            28,
            "SpaceToDepth",
            {"x": BLOCKS[0]},
            {},
            {"blocksize": 2, "mode": "CRD"},
            "mode CRD needs (batch, channels, height, width) with known channels, not (2, 4, 4)",
        ),
        (
            28,
            "SwiGLU",
            {"a": array([1]), "b": array([1, 2])},
            {},
            {},
            "A and B must be of one type and shape, not float32 (1,) and float32 (2,)",
        ),
    ],
)
def test_what_does_not_fit_is_reported_of_the_node_in_the_file(
    opset: int, operator: str, feeds: Mapping[str, Array], constants: Mapping[str, Array], attributes: Any, message: str
) -> None:
    with pytest.raises(GraphError, match="^" + re.escape(f"m: 'it' ({operator}): at opset {opset}, {message}") + "$"):
        from_model(model_of(opset, operator, feeds, constants, **attributes), "m")


@pytest.mark.parametrize(("dtype", "whole"), [("float16", "int16"), ("float32", "uint32"), ("float64", "int64")])
def test_bits_of_floats_are_those_of_the_processor(dtype: str, whole: str) -> None:
    """All of float16; otherwise drawn ones, and the numbers beside each power of two, of which a logarithm is off."""
    info, size = np.finfo(dtype), np.dtype(dtype).itemsize
    bits = np.random.default_rng(0).integers(0, 256, 2**17 * size, np.uint8).view(dtype)
    powers = array(2.0 ** np.arange(info.minexp - info.nmant, info.maxexp), dtype)
    one = np.dtype(whole).type(1)
    near = np.concatenate([powers.view(whole) - one, powers.view(whole), powers.view(whole) + one]).view(dtype)
    x = np.concatenate([np.arange(2**16, dtype=np.uint16).view(dtype) if size == 2 else bits, near, -near])
    known = ~np.isnan(x)
    there = model_of(26, "BitCast", {"x": x}, to=helper.np_dtype_to_tensor_dtype(np.dtype(whole)))
    np.testing.assert_array_equal(computed(there, {"x": x})[known], x.view(whole)[known], strict=True)
    back = model_of(26, "BitCast", {"x": x.view(whole)}, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    found = computed(back, {"x": x.view(whole)})
    np.testing.assert_array_equal(found, x, strict=True)
    np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(x)[known])


CHOSEN: list[tuple[str, Sequence[Array], Mapping[str, Array], Mapping[str, Any], Array]] = [
    ("Compress", [array([1, 2, 3])], {"condition": array([1, 0, 1], "bool")}, {"axis": 0}, array([1, 3])),
    ("NonZero", [], {"x": array([0, 0.5, 2])}, {}, array([[1, 2]], "int64")),
    ("NonZero", [], {"x": array([[0, 5], [2, 0]], "int32")}, {}, array([[0, 1], [1, 0]], "int64")),
    ("NonZero", [], {"x": array([[[1, 0]], [[0, 1]]], "bool")}, {}, array([[0, 1], [0, 0], [0, 1]], "int64")),
    ("NonZero", [], {"x": array(3, "int32")}, {}, array([], "int64").reshape(0, 1)),
    ("OneHot", [array([0, 1], "int64")], {"depth": array(2), "values": array([0, 3])}, {}, array([[3, 0], [0, 3]])),
    ("Range", [], {"start": array(0.5), "limit": array(2), "delta": array(1)}, {}, array([0.5, 1.5])),
    ("HannWindow", [], {"size": array(4, "int32")}, {}, array([0, 0.5, 1, 0.5])),
    ("Tile", [array([1, 2])], {"repeats": array([2], "int64")}, {}, array([1, 2, 1, 2])),
]


@pytest.mark.parametrize(("operator", "feeds", "constants", "attributes", "wanted"), CHOSEN)
def test_initializers_that_decide_a_shape_are_seen(
    operator: str, feeds: Sequence[Array], constants: Mapping[str, Array], attributes: Any, wanted: Array
) -> None:
    named = {f"x{place}": value for place, value in enumerate(feeds)}
    found = computed(model_of(17, operator, named, constants, **attributes), named)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, atol=1e-7)


@pytest.mark.parametrize("of", [3, [[0, 5], [2, 0]]])
def test_an_attribute_that_nonzero_has_not_is_refused(of: object) -> None:
    with pytest.raises(GraphError, match=r"^m: 'it' \(NonZero\): attribute 'axis' is not one of NonZero's \(none\)$"):
        from_model(model_of(17, "NonZero", {}, {"x": array(of, "int64")}, axis=1), "m")


def test_unpooling_to_a_larger_output_is_not_written() -> None:
    x = Leaf("x", "float32", (1, 1, 4))
    small, places = emit_all("MaxPool", x, kernel_shape=[2], strides=[2], outputs=2)
    options = {"kernel_shape": [2], "strides": [2]}
    to_model(trace([x], [emit("MaxUnpool", small, places, integers([1, 1, 4]), **options)]).graph, {})
    graph = trace([x], [emit("MaxUnpool", small, places, integers([1, 1, 5]), name="it", **options)]).graph
    message = (
        "this network cannot be written at opset 17: node 'it' (MaxUnpool): runtimes disagree on whether its indices "
        "count through output_shape (1, 1, 5) or (1, 1, 4): leave output_shape out, and pad the output"
    )
    with pytest.raises(UsageError, match="^" + re.escape(message) + "$"):
        to_model(graph, {})


@pytest.mark.parametrize(
    ("operator", "inputs", "message"),
    [
        ("CenterCropPad", [integers([2, 3])], "before opset 18, sizes must be known: (batch, height)"),
        (
            "DeformConv",
            [Leaf("w", "float32", (1, 1, 2)), Leaf("o", "float32", ("batch", 2, "places"))],
            "the sizes (height,) of input 'X' must be known",
        ),
    ],
)
def test_older_words_need_sizes_that_are_known(operator: str, inputs: Sequence[Symbol], message: str) -> None:
    x = Leaf("x", "float32", ("batch", 1, "height") if operator == "DeformConv" else ("batch", "height"))
    leaves = [x, *(each for each in inputs if isinstance(each, Leaf))]
    graph = trace(leaves, [emit(operator, x, *inputs, name="it")]).graph
    to_model(graph, {}, opset=19)
    reported = f"node 'it' ({operator}): there is no such operator; {message}; opset"
    with pytest.raises(UsageError, match="at opset 17: " + re.escape(reported) + r" \d\d is the lowest that can$"):
        to_model(graph, {}, opset=17)


def test_a_network_without_inputs_predicts() -> None:
    network = import_onnx(model_of(17, "HannWindow", {}, {"size": array(2, "int64")}), verify=False)
    np.testing.assert_array_equal(network.predict({})["y"], [0, 1])
