"""Operators of ``com.microsoft`` are read as onnxruntime computes them, written again, and computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import PortableNNError, UnsupportedError
from portable_nn.onnx.opsets.microsoft import DOMAIN, MICROSOFT

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(8)


class Case(NamedTuple):
    """A use of an operator: arrays that are fed (by name), stored ones, ``None`` where an input is left out."""

    operator: str
    inputs: tuple[tuple[str, Array] | Array | None, ...]
    attributes: Mapping[str, Any] = {}
    outputs: int = 1
    steps: float = 0
    """How far a result may be from onnxruntime's: so many steps of a quantised one."""

    def __str__(self) -> str:
        return f"{self.operator} {len(self.inputs)} {' '.join(map(str, self.attributes))}".strip()


def real(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


def fed(array: Array, name: str = "x") -> tuple[str, Array]:
    return name, array


def whole(*shape: int, dtype: str = "uint8") -> Array:
    limits = np.iinfo(dtype)
    return RANDOM.integers(limits.min, limits.max + 1, shape).astype(dtype)


def four_bits(*shape: int, sign: int = 0) -> Array:
    return RANDOM.integers(-sign, 16 - sign, shape).astype(ml_dtypes.int4 if sign else ml_dtypes.uint4)


def scale(value: float = 0.02) -> Array:
    return np.float32(value).reshape(())


def point(value: int = 120, dtype: str = "uint8") -> Array:
    return np.array(value, dtype)


X = (fed(whole(2, 3, 4)), scale(), point())
Y = (scale(0.03), point(99))
B = (whole(3, 4), scale(0.05), point(3))
IMAGE = (fed(whole(2, 3, 6, 6)), scale(), point())
WIDE = fed(real(2, 5, 12))
IDS = fed(RANDOM.integers(0, 20, (2, 5)).astype(np.int32))


def lstm_cases() -> Iterator[Case]:
    """Each direction, with states to begin with or without; a scale for all of a weight, or for each unit."""
    for direction, ways in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
        states = (None, None) if ways == 1 else (fed(real(2, 3, 6), "h"), fed(real(2, 3, 6), "c"))
        weights = whole(ways, 4, 24, dtype="int8"), whole(ways, 6, 24, dtype="int8")
        bias = None if direction == "reverse" else real(ways, 48)
        width = (ways, 24) if ways == 2 else (ways,)
        found = np.full(width, 0.01, np.float32), np.zeros(width, np.int8)
        inputs = (fed(real(20, 3, 4)), *weights, bias, None, *states, None, *found, *found)
        yield Case("DynamicQuantizeLSTM", inputs, {"hidden_size": 6, "direction": direction}, 3)


def rotary_cases() -> Iterator[Case]:
    """Arrays of features and of heads, places of each example or a first one, all features or some."""
    angles, ends = (real(16, 2), real(16, 2)), fed(np.int64([[3, 0, 7, 1, 2], [5, 6, 1, 9, 15]]), "places")
    for options in ({}, {"interleaved": 1}):
        yield Case("RotaryEmbedding", (WIDE, ends, *angles), options)
        yield Case("RotaryEmbedding", (fed(real(2, 3, 5, 4)), fed(np.int64([4]), "places"), *angles), options)
    some = {"rotary_embedding_dim": 4, "num_heads": 2}
    yield Case("RotaryEmbedding", (WIDE, fed(np.int64([4]), "places"), *angles), some)


def grouped(steps: int, before: int, lengths: Sequence[int], *more: Any, packed: bool = False, **options: Any) -> Case:
    """Examples with four heads of queries and two of keys, which have 16 features each."""
    examples, parts = len(lengths), [("x", 128)] if packed else [("x", 64), ("k", 32), ("v", 32)]
    new = [*(fed(real(examples, steps, width), name) for name, width in parts), *[None] * (3 - len(parts))]
    past = [fed(real(examples, 2, before, 16), name) for name in ("pk", "pv")] if before else [None, None]
    ends = fed(np.int32(lengths) - 1, "lengths"), fed(np.array(max(lengths), np.int32), "total")
    heads = {"num_heads": 4, "kv_num_heads": 2}
    return Case("GroupQueryAttention", (*new, *past, *ends, *more), {**heads, **options}, 3)


def grouped_cases() -> Iterator[Case]:
    """A first prompt, the next word of examples of one length or two, and more words."""
    angles, ways = (real(16, 8), real(16, 8)), ((5, 0, [5, 5]), (1, 6, [7, 7]), (1, 6, [4, 7]), (3, 6, [9]))
    for way in ways:
        for options in ({}, {"scale": 0.3}, {"softcap": 2.0}, {"local_window_size": 3}, {"packed": True}):
            yield grouped(*way, **options)
        for interleaved in (0, 1):
            yield grouped(*way, *angles, do_rotary=1, rotary_interleaved=interleaved)
    yield grouped(3, 6, [9], None, None, None, fed(real(1, 4, 3, 9), "bias"))


def quantised_attention_cases() -> Iterator[Case]:
    """Weights with one scale, or one a column; masks of numbers and of lengths; keys and values of a call before."""
    small = fed(whole(2, 5, 12)), whole(12, 36, dtype="int8"), real(36), scale(), scale(1e-3)
    columns = np.float32(RANDOM.uniform(1e-4, 1e-3, 36)), np.int8(RANDOM.integers(-3, 3, 36))
    yield Case("QAttention", small, {"num_heads": 3})
    lengths, seen = fed(np.int32([3, 5]), "m"), fed(np.int32([[1, 1, 1, 0, 0]] * 2), "m")
    yield Case("QAttention", (*small, lengths, point(), point(7, "int8")), {"num_heads": 2, "scale": 0.3})
    x, w, bias, x_scale, _ = small
    per_column = (x, w, bias, x_scale, columns[0], seen, point(), columns[1])
    yield Case("QAttention", per_column, {"num_heads": 2, "mask_filter_value": -50.0})
    past = fed(real(2, 2, 3, 4, 4), "past")
    more = x, whole(12, 36), bias, scale(), scale(1e-3), None, point(130), point(99), past
    yield Case("QAttention", more, {"num_heads": 3, "unidirectional": 1}, 2)


CASES = [
    *quantised_attention_cases(),
    *rotary_cases(),
    *grouped_cases(),
    Case("FusedConv", (fed(real(2, 3, 6, 6)), real(4, 3, 3, 3), real(4)), {"activation": "Relu", "pads": [1] * 4}),
    Case(
        "FusedConv",
        (fed(real(2, 3, 6, 6)), real(4, 3, 3, 3), real(4), fed(real(2, 4, 4, 4), "z")),
        {"activation": "LeakyRelu", "activation_params": [0.2]},
    ),
    Case(
        "FusedConv",
        (fed(real(2, 3, 6, 6)), real(4, 3, 1, 1)),
        {"activation": "Clip", "activation_params": [0.0, 1.0], "kernel_shape": [1, 1]},
    ),
    Case("FusedGemm", (fed(real(3, 4)), real(5, 4), real(5)), {"transB": 1, "activation": "Relu"}),
    Case(
        "FusedGemm",
        (fed(real(3, 4)), real(4, 5)),
        {"alpha": 0.5, "activation": "LeakyRelu", "activation_alpha": 0.3},
    ),
    Case("FusedMatMul", (fed(real(2, 3, 4)), real(2, 5, 4)), {"transB": 1, "alpha": 0.25}),
    Case("FusedMatMul", (fed(real(3, 2, 4)), fed(real(2, 4, 5), "y")), {"transBatchA": 1}),
    Case("FusedMatMul", (fed(real(4, 2, 3)), fed(real(2, 4, 5), "y")), {"transBatchA": 1, "transA": 1}),
    Case("Gelu", (fed(real(3, 4)),)),
    Case("BiasGelu", (fed(real(3, 4)), real(4))),
    Case("FastGelu", (fed(real(3, 4)), real(4))),
    Case("FastGelu", (fed(real(3, 4)),)),
    Case("QuickGelu", (fed(real(3, 4)),), {"alpha": 1.5}),
    Case("SkipLayerNormalization", (WIDE, fed(real(2, 5, 12), "s"), real(12), real(12)), {"epsilon": 1e-5}),
    Case("SkipLayerNormalization", (WIDE, fed(real(2, 5, 12), "s"), real(12), None, real(12)), {}, 4),
    Case("SkipSimplifiedLayerNormalization", (WIDE, fed(real(2, 5, 12), "s"), real(12)), {"epsilon": 1e-5}),
    Case(
        "EmbedLayerNormalization",
        (IDS, fed(IDS[1] % 2, "kinds"), real(20, 8), real(9, 8), real(2, 8), real(8), real(8)),
        {"epsilon": 1e-5},
        2,
    ),
    Case(
        "EmbedLayerNormalization",
        (IDS, None, real(20, 8), real(9, 8), None, real(8), real(8), fed(np.int32([[1, 1, 1, 0, 0]] * 2), "mask")),
        {},
        3,
    ),
    Case(
        "EmbedLayerNormalization",
        (IDS, None, real(20, 8), real(9, 8), None, real(8), real(8), fed(np.int32([[1, 3, -1, 0, 2]] * 2), "mask")),
        {},
        2,
    ),
    Case("Attention", (WIDE, real(12, 36), real(36)), {"num_heads": 3}),
    Case("Attention", (WIDE, real(12, 36), real(36)), {"num_heads": 3, "unidirectional": 1, "scale": 0.3}),
    Case("Attention", (WIDE, real(12, 36), real(36), fed(np.int32([[1, 1, 1, 0, 0]] * 2), "m")), {"num_heads": 2}),
    Case("Attention", (WIDE, real(12, 36), real(36), fed(np.int32([[1, 3, -1, 0, 2]] * 2), "m")), {"num_heads": 2}),
    Case("Attention", (WIDE, real(12, 36), real(36), fed(np.int32([3, 5]), "m")), {"num_heads": 2}),
    Case("Attention", (WIDE, real(12, 32), real(32)), {"num_heads": 2, "qkv_hidden_sizes": [12, 12, 8]}),
    Case("Attention", (WIDE, real(12, 36), real(36), None, fed(real(2, 2, 3, 4, 4), "past")), {"num_heads": 3}, 2),
    Case(
        "Attention",
        (WIDE, real(12, 36), real(36), None, None, fed(real(2, 3, 5, 5), "bias")),
        {"num_heads": 3},
    ),
    Case("MultiHeadAttention", (WIDE, fed(real(2, 7, 12), "k"), fed(real(2, 7, 12), "v")), {"num_heads": 4}),
    Case(
        "MultiHeadAttention",
        (
            WIDE, fed(real(2, 7, 12), "k"), fed(real(2, 7, 12), "v"), real(36),
            fed(np.int32([[1] * 5 + [0] * 2] * 2), "m"),
        ),
        {"num_heads": 4, "scale": 0.4},
    ),
    Case("QGemm", (fed(whole(3, 4)), scale(), point(), whole(4, 5), scale(), point()), {}),
    Case(
        "QGemm",
        (
            fed(whole(3, 4)), scale(), point(), whole(5, 4, dtype="int8"), np.full(5, 0.04, np.float32),
            np.zeros(5, np.int8), RANDOM.integers(-99, 99, 5).astype(np.int32), scale(0.1), point(),
        ),
        {"transB": 1},
        steps=1,
    ),
    Case("QLinearAdd", (*X, *B, *Y), steps=1),
    Case("QLinearMul", (*X, *B, *Y), steps=1),
    Case("QLinearSigmoid", (*X, scale(1 / 256), point(0)), steps=1),
    Case("QLinearLeakyRelu", (*X, *Y), {"alpha": 0.1}, steps=1),
    Case("QLinearSoftmax", (*X, scale(1 / 256), point(0)), {"axis": -1, "opset": 13}, steps=1),
    Case("QLinearSoftmax", (*X, scale(1 / 256), point(0)), {"axis": 1, "opset": 11}, steps=1),
    Case("QLinearAveragePool", (*IMAGE, *Y), {"kernel_shape": [2, 2], "strides": [2, 2]}, steps=1),
    Case("QLinearAveragePool", (*IMAGE, *Y), {"kernel_shape": [2, 2], "channels_last": 1}, steps=1),
    Case("QLinearGlobalAveragePool", (*IMAGE, *Y), {"channels_last": 0}, steps=1),
    Case("QLinearGlobalAveragePool", (*IMAGE, *Y), {"channels_last": 1}, steps=1),
    Case("QLinearConcat", (*Y, *X, fed(whole(2, 3, 2), "y"), scale(0.05), point(7)), {"axis": 2}, steps=1),
    Case(
        "QLinearWhere",
        (fed(RANDOM.random((2, 3, 4)) < 0.5, "c"), *X, fed(whole(2, 3, 4), "y"), scale(0.05), point(7), *Y),
        steps=1,
    ),
    Case(
        "MatMulIntegerToFloat",
        (fed(whole(3, 4)), whole(4, 5, dtype="int8"), scale(), np.full(5, 0.03, np.float32), point(), None, real(5)),
    ),
    Case("DynamicQuantizeMatMul", (fed(real(3, 4)), whole(4, 5, dtype="int8"), scale(), point(1, "int8"), real(5))),
    Case(
        "MatMulNBits",
        (fed(real(3, 40)), whole(5, 3, 8), real(15)),
        {"K": 40, "N": 5, "bits": 4, "block_size": 16},
    ),
    Case(
        "MatMulNBits",
        (fed(real(3, 40)), whole(5, 3, 8), real(15), whole(10)),
        {"K": 40, "N": 5, "bits": 4, "block_size": 16},
    ),
    Case("MatMulNBits", (fed(real(3, 32)), whole(5, 2, 16), real(10)), {"K": 32, "N": 5, "bits": 8, "block_size": 16}),
    Case(
        "GatherBlockQuantized",
        (four_bits(9, 32), (fed(np.int64([[0, 8, 3]]))), real(9, 2), four_bits(9, 2)),
        {"block_size": 16},
    ),
    Case(
        "GatherBlockQuantized",
        (four_bits(9, 32, sign=8), (fed(np.int64([[0, -1, 3]]))), real(9, 2)),
        {"block_size": 16, "gather_axis": 0, "quantize_axis": 1},
    ),
    Case("GatherBlockQuantized", (four_bits(9, 32), fed(np.int64([2])), real(9, 2)), {"block_size": 16}),
    Case("GatherBlockQuantized", (whole(9, 16), fed(np.int64([[2], [8]])), real(9, 2)), {"block_size": 16}),
    Case("GatherBlockQuantized", (whole(9, 8), fed(np.int64([2])), real(9, 1)), {"block_size": 16}),
    Case("GatherBlockQuantized", (whole(9, 8), fed(np.int64([2])), real(9, 1), whole(9, 1)), {"block_size": 16}),
    Case("GatherBlockQuantized", (four_bits(9, 8), fed(np.int64([2])), real(9, 1)), {"block_size": 16}),
    Case("GatherBlockQuantized", (four_bits(9, 8, sign=8), fed(np.int64([2])), real(9, 1)), {"block_size": 16}),
    Case("GatherBlockQuantized", (whole(9, 24), fed(np.int64([2])), real(9, 3), whole(9, 2)), {"block_size": 16}),
    Case("GatherBlockQuantized", (whole(9, 32), fed(np.int32([2])), real(9, 2)), {"block_size": 16, "bits": 8}),
    Case(
        "GatherBlockQuantized",
        (four_bits(3, 9, 32, sign=8), fed(np.int64([[0, -1, 3]])), real(3, 9, 2)),
        {"block_size": 16, "gather_axis": 1, "quantize_axis": 2},
    ),
    Case("QuantizeLinear", (fed(real(3, 4)), scale(), point())),
    Case("DequantizeLinear", (fed(whole(3, 4)), scale(), point())),
    *lstm_cases(),
]  # fmt: skip


def model_of(case: Case) -> tuple[onnx.ModelProto, dict[str, Array]]:
    names, feeds, stored = [], {}, []
    for place, each in enumerate(case.inputs):
        if each is None:
            names.append("")
        elif isinstance(each, tuple):
            names.append(each[0])
            feeds[each[0]] = each[1]
        else:
            names.append(f"stored{place}")
            stored.append(numpy_helper.from_array(each, names[-1]))
    outputs = [f"y{place}" for place in range(case.outputs)]
    if case.operator == "SkipLayerNormalization" and case.outputs == 4:
        outputs[1:3] = "", ""  # onnxruntime computes them on a graphics processor alone.
    node = helper.make_node(case.operator, names, outputs, domain=DOMAIN, **case.attributes)
    graph = helper.make_graph(
        [node],
        "case",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in feeds.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs if name],
        stored,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), feeds


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_is_what_onnxruntime_computes(case: Case, tmp_path: Any) -> None:
    model, feeds = model_of(case)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1  # Each thread of an LSTM has scales of its own.
    wanted = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    network = import_onnx(model, verify=False)
    found = network.predict(feeds)
    names = [each.name for each in model.graph.output]
    export_onnx(network, tmp_path / "again.onnx", verify=False)
    again = onnxruntime.InferenceSession(tmp_path / "again.onnx", options).run(None, feeds)
    for name, theirs, second in zip(names, wanted, again, strict=True):
        mine = found[name] if isinstance(found, Mapping) else found
        for each in (mine, second):
            assert (each.dtype, each.shape) == (theirs.dtype, theirs.shape)
            np.testing.assert_allclose(each.astype(float), theirs.astype(float), rtol=2e-5, atol=case.steps or 2e-5)


def test_every_row_has_a_case() -> None:
    assert set(MICROSOFT) == {case.operator for case in CASES}


@pytest.mark.parametrize(
    "case",
    [
        Case("Attention", (WIDE, real(12, 36), real(36))),
        Case("Attention", (WIDE, real(12, 36), real(36)), {"num_heads": 3, "heads": 1}),
        Case("Attention", (WIDE, real(), real(36)), {"num_heads": 3}),
        Case("Attention", (WIDE,), {"num_heads": 3}),
        Case("Attention", (WIDE, None, real(36)), {"num_heads": 3}),
        Case("FusedConv", (fed(real(2, 3, 6, 6)), real(4, 3, 1, 1)), {"activation": "Nothing"}),
        Case("FusedMatMul", (fed(real(4)), real(4)), {"transA": 1, "transBatchB": 1}),
        Case("MatMulNBits", (fed(real(3, 40)), whole(5, 3, 8), real(15)), {"K": 40, "N": 5, "block_size": 0}),
        Case("MatMulNBits", (fed(real(3, 40)), whole(5, 3, 8), real(15)), {"K": 2**40, "N": 5, "block_size": 16}),
        Case("MatMulNBits", (fed(real(3, 40)), whole(5, 3, 8), real(15)), {"K": "x", "N": 5, "block_size": 16}),
        Case("QLinearAdd", (*X, *Y)),
        Case("GatherBlockQuantized", (whole(9, 16), fed(np.int64([2])), real(9, 3)), {"block_size": 16}),
        Case("GatherBlockQuantized", (whole(9, 8), fed(np.int64([2])), real(9, 2)), {"block_size": 16}),
        Case("GatherBlockQuantized", (four_bits(9, 16), fed(np.int64([2])), real(9, 2)), {"block_size": 16}),
        Case("QLinearSoftmax", (*X, *Y), {"axis": 1}),
        Case("QLinearConcat", (*Y, *X[:1]), {"axis": 2}),
        Case("QGemm", (fed(whole(3, 4)), scale(), point(), whole(4), scale(), point()), {"transB": 1}),
        *(
            each._replace(attributes={**each.attributes, **wrong})
            for each in list(lstm_cases())[:1]
            for wrong in ({"direction": "up"}, {"activations": ["Relu"] * 3}, {"clip": 1.0}, {"hidden_size": 5})
        ),
    ],
    ids=str,
)
def test_a_node_that_does_not_fit_is_named(case: Case) -> None:
    with pytest.raises(PortableNNError, match=case.operator):
        import_onnx(model_of(case)[0], verify=False)


def test_what_has_no_row_is_refused_by_name() -> None:
    case = Case("Outverse", (fed(real(3, 3)),))
    with pytest.raises(UnsupportedError, match=r"com\.microsoft\.Outverse"):
        import_onnx(model_of(case)[0])


def test_grouped_queries_of_open_sizes() -> None:
    """A decoder as exporters write one: lengths are counted in a mask, and past keys are fed from call to call."""
    width, head = 24, 16
    sizes = {"q": 4 * head, "k": 2 * head, "v": 2 * head}
    stored = {name: real(width, size) for name, size in sizes.items()} | {"axes": np.int64([1]), "one": np.int64([1])}
    nodes = [helper.make_node("MatMul", ["x", name], [f"{name}x"]) for name in sizes]
    nodes += [
        helper.make_node("ReduceSum", ["mask", "axes"], ["counted"], keepdims=0),
        helper.make_node("Sub", ["counted", "one"], ["last"]),
        helper.make_node("Cast", ["last"], ["lengths"], to=onnx.TensorProto.INT32),
        helper.make_node("Shape", ["mask"], ["total64"], start=1, end=2),
        helper.make_node("Cast", ["total64"], ["total"], to=onnx.TensorProto.INT32),
        helper.make_node(
            "GroupQueryAttention",
            ["qx", "kx", "vx", "pk", "pv", "lengths", "total"],
            ["y", "nk", "nv"],
            domain=DOMAIN, num_heads=4, kv_num_heads=2,
        ),
    ]  # fmt: skip
    kept, known = ["batch", 2, "before", head], ["batch", 2, "all", head]
    shapes = {"x": ["batch", "steps", width], "pk": kept, "pv": kept}
    inputs = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    inputs.append(helper.make_tensor_value_info("mask", 7, ["batch", "all"]))
    ends = {"y": ["batch", "steps", 4 * head], "nk": known, "nv": known}
    outputs = [helper.make_tensor_value_info(name, 1, shape) for name, shape in ends.items()]
    constants = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    graph = helper.make_graph(nodes, "decoder", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    network = import_onnx(model, verify=False)
    for examples in (1, 2):
        past = [np.zeros((examples, 2, 0, head), np.float32)] * 2
        for steps in (5, 1, 1):
            mask = np.ones((examples, past[0].shape[2] + steps), np.int64)
            feeds = {"x": real(examples, steps, width), "mask": mask, "pk": past[0], "pv": past[1]}
            wanted, found = session.run(None, feeds), network.predict(feeds)
            for name, each in zip(ends, wanted, strict=True):
                np.testing.assert_allclose(found[name], each, rtol=2e-5, atol=2e-5)
            past = wanted[1:]
