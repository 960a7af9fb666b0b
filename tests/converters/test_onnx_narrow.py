"""Element types that numpy lacks, in ONNX files: read, computed as onnxruntime and ml_dtypes do, written, trained."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec import UNSET
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import portable_nn as pnn
from portable_nn.converters.onnx import read_onnx
from portable_nn.core.errors import EditedWarning, FormatError, GraphError, UsageError, VerificationError
from portable_nn.onnx.verify import compare_weights
from portable_nn.opening.convert import convert
from portable_nn.operators.narrow import NARROW, rounded

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
FLOAT, BFLOAT16, FLOAT8, INT4 = TensorProto.FLOAT, TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.INT4
NAMES = {
    16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4",
    22: "int4", 23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip
"""The types by their numbers in ONNX, as ml_dtypes calls them."""
FLOATS = [code for code, narrow in NARROW.items() if narrow.is_float]


def of(code: int, x: Any) -> Array:
    return np.asarray(x).astype(getattr(ml_dtypes, NAMES[code]))


@np.errstate(all="ignore")
def numbers(code: int) -> Array:
    """Random bits, all finite numbers of a type (or 65,536), what lies between two of them, and what is no number."""
    dtype = np.dtype(getattr(ml_dtypes, NAMES[code]))
    own = np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}").view(dtype).astype(np.float64)
    own = np.unique(own[np.isfinite(own)])
    drawn = RNG.integers(0, 2**32, 100_000, np.uint64).astype(np.uint32).view(np.float32)
    near = RNG.normal(size=10_000) * 10 ** RNG.uniform(-8, 8, 10_000)
    x = np.concatenate([drawn, near, own, (own[1:] + own[:-1]) / 2, [0.0, -0.0, np.inf, -np.inf, np.nan]])
    x = x.astype(np.float32)
    return np.abs(x[np.abs(x) >= 2.0**-126]) if code == 24 else x[~np.isnan(x)] if code == 23 else x


@pytest.mark.parametrize("code", FLOATS, ids=NAMES.get)
def test_floats_are_rounded_as_ml_dtypes_does(code: int) -> None:
    x = numbers(code)
    with np.errstate(all="ignore"):
        wanted, found = of(code, x).astype(np.float32), rounded(x, code, saturate=False)
    np.testing.assert_array_equal(found, wanted)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(wanted[known]))


@pytest.mark.parametrize("code", [21, 22, 25, 26], ids=NAMES.get)
def test_whole_numbers_lose_high_bits_as_in_ml_dtypes(code: int) -> None:
    x = np.arange(-300, 300)
    np.testing.assert_array_equal(rounded(x, code), of(code, x).astype(int))


def model(
    nodes: Sequence[NodeProto], weights: Mapping[str, Any], x: int = FLOAT, y: int = FLOAT, opset: int = 21
) -> onnx.ModelProto:
    """A model of one input (n, 16) and one output, of the given types."""
    entry, result = helper.make_tensor_value_info("x", x, ["n", 16]), helper.make_tensor_value_info("y", y, ["n", None])
    kept = [numpy_helper.from_array(np.asarray(each), name) for name, each in weights.items()]
    graph = helper.make_graph(nodes, "g", [entry], [result], kept)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(made)
    return made


@pytest.mark.parametrize("saturate", [1, 0])
@pytest.mark.parametrize("code", [17, 18, 19, 20], ids=NAMES.get)
def test_casts_to_floats_of_8_bits_are_those_of_onnxruntime(code: int, saturate: int) -> None:
    nodes = [node("Cast", "x", "t", to=code, saturate=saturate), node("Cast", "t", "y", to=FLOAT)]
    found = model(nodes, {})
    x, largest = numbers(code), NARROW[code].largest
    # Just beyond the largest, onnxruntime 1.32 makes NaN of some numbers, or the largest, unlike the standard.
    x = x if saturate else x[~((np.abs(x) > largest) & (np.abs(x) < 2 * largest))]
    x = x[: len(x) // 16 * 16].reshape(-1, 16)
    [wanted] = onnxruntime.InferenceSession(found.SerializeToString()).run(None, {"x": x})
    np.testing.assert_array_equal(pnn.import_onnx(found).predict(x), wanted)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


W1, B1, W2 = (of(BFLOAT16, RNG.normal(size=size)) for size in ((16, 32), 32, (32, 4)))
LAYERS = {"fc1.weight": W1, "fc1.bias": B1, "fc2.weight": W2}
Q4, Z4 = of(INT4, RNG.integers(-8, 8, (16, 320))), of(INT4, RNG.integers(-2, 3, (4, 320)))
S4 = RNG.uniform(0.01, 0.1, (4, 320)).astype(np.float32)
Q8, SCALE, ZERO = of(FLOAT8, RNG.normal(size=(16, 800)) * 100), np.float32(0.01), of(FLOAT8, 0)

STORED = model(
    [
        node("Cast", "fc1.weight", "w1", to=FLOAT), node("Cast", "fc1.bias", "b1", to=FLOAT),
        node("Cast", "fc2.weight", "w2", to=FLOAT), node("MatMul", "x w1", "p"), node("Add", "p b1", "h"),
        node("Relu", "h", "r"), node("MatMul", "r w2", "y"),
    ],
    LAYERS,
)  # fmt: skip
"""Weights in bfloat16, and all else in float32."""

WHOLE = model(
    [
        node("MatMul", "x fc1.weight", "p"), node("Add", "p fc1.bias", "h"), node("Cast", "h", "f", to=FLOAT),
        node("Softplus", "f", "s"), node("CastLike", "s h", "r"), node("MatMul", "r fc2.weight", "y"),
    ],
    LAYERS, BFLOAT16, BFLOAT16,
)  # fmt: skip
"""All in bfloat16 but for a part in float32."""

BLOCKS = model(
    [node("DequantizeLinear", "w_q w_s w_z", "w", axis=0, block_size=4), node("MatMul", "x w", "y")],
    {"w_q": Q4, "w_s": S4, "w_z": Z4},
)
"""Weights of 4 bits in blocks."""

FEW = model(
    [
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
        node("DequantizeLinear", "w_q s z", "w"), node("MatMul", "d w", "y"),
    ],
    {"s": SCALE, "z": ZERO, "w_q": Q8},
)  # fmt: skip
"""Weights and activations in floats of 8 bits."""

MODELS = {"stored in bfloat16": STORED, "bfloat16": WHOLE, "blocks of 4 bits": BLOCKS, "floats of 8 bits": FEW}
X = RNG.normal(size=(9, 16)).astype(np.float32)


def f32(x: Array) -> Array:
    return x.astype(np.float32)


def by_hand() -> Array:
    """What ``WHOLE`` computes, in float32 between the casts to bfloat16."""
    s = np.log1p(np.exp(f32(X) @ f32(W1) + f32(B1)))
    return f32(of(BFLOAT16, s)) @ f32(W2)


@pytest.mark.parametrize("name", MODELS)
def test_a_file_is_computed_written_and_kept(name: str, tmp_path: Path) -> None:
    given, path = MODELS[name], tmp_path / "theirs.onnx"
    onnx.save(given, path)
    assert [each for each in pnn.check(path).findings if each.level in ("error", "warning")] == []
    network = pnn.import_onnx(path)
    y = network.predict(X)
    whole = given is WHOLE
    wanted = by_hand() if whole else onnxruntime.InferenceSession(path).run(None, {"x": X})[0]
    np.testing.assert_allclose(y, wanted, rtol=1e-2 if whole else 1e-5, atol=1e-4)
    pnn.export_onnx(network, tmp_path / "again.onnx")
    np.testing.assert_array_equal(pnn.import_onnx(tmp_path / "again.onnx").predict(X), y)
    again = onnx.load(tmp_path / "again.onnx")
    [found] = onnxruntime.InferenceSession(tmp_path / "again.onnx").run(None, {"x": X})
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-5)
    del again.metadata_props[:]
    with pytest.warns(EditedWarning):
        read = pnn.import_onnx(again)
    np.testing.assert_array_equal(read.predict(X), y)
    network.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(pnn.load(tmp_path / "net.safetensors").predict(X), y)


def test_what_is_bfloat16_trains_and_what_is_of_8_bits_does_not() -> None:
    network, proof, notes = read_onnx(WHOLE)
    assert [value.dtype for value in network.graph.inputs] == ["float32"]
    assert [(each.name, each.trainable) for each in network.graph.parameters] == [(name, True) for name in LAYERS]
    assert {fate.kind for fate in proof.weights} == {"transformed"}
    assert any("bfloat16 is read as float32, which loses nothing; casts to it round (5): 'x'" in note for note in notes)
    assert any(note.startswith("compared with what is written of it") for note in proof.notes)
    for given, weight in ((BLOCKS, "w_q"), (FEW, "w_q")):
        network, _, notes = read_onnx(given)
        assert {each.name: each.trainable for each in network.graph.parameters}[weight] is False
        assert not any(each.trainable for each in network.graph.parameters)
        assert any("1 tensor of weights is quantised" in note and "dequantize()" in note for note in notes)


@pytest.mark.parametrize("code", [each for each in NAMES if each != BFLOAT16], ids=NAMES.get)
def test_weights_of_8_bits_and_fewer_stay_as_they_are_stored(code: int, tmp_path: Path) -> None:
    weight = of(code, RNG.integers(0, 2, (16, 801)) if NARROW[code].bits < 8 else np.exp(RNG.normal(size=(16, 801))))
    scales = {} if code == 24 else {"s": SCALE}
    read = node("DequantizeLinear", "w_q s", "w") if scales else node("Cast", "w_q", "w", to=FLOAT)
    given = model([read, node("MatMul", "x w", "y")], {"w_q": weight, **scales}, opset=25)
    network = pnn.import_onnx(given)
    assert [(each.name, each.packed) for each in network.graph.parameters] == [("w_q", NARROW[code].name)]
    paths = [tmp_path / name for name in ("a.npz", "b.onnx", "c.h5", "d.safetensors")]
    digest = network.save(paths[0])
    with np.load(paths[0]) as archive:
        assert archive["w_q"].tobytes() == numpy_helper.from_array(weight).raw_data
    for before, after in itertools.pairwise(paths):
        convert(before, after)
        assert [each for each in pnn.check(after).findings if each.level in ("error", "warning")] == []
    read = pnn.load(paths[-1], lazy=True, digest=digest)
    np.testing.assert_array_equal(read.predict(X), network.predict(X))
    body = pnn.Network(x := pnn.Input(16), network(x))
    floats = {UNSET: network.dequantize()} if scales else {}
    for packed, other in {NARROW[code].name: body, **floats}.items():
        assert [each.packed for each in other.graph.parameters] == [packed]
        other.save(tmp_path / "other.npz")


def codes(code: int, shape: tuple[int, ...]) -> Array:
    """Elements of a type at random, among its numbers up to 500."""
    bits = np.arange(2 ** NARROW[code].bits, dtype=np.uint8)
    own = bits.view(NAMES[code]) if NARROW[code].bits == 8 else of(code, bits) if code != 23 else of(code, bits / 2 - 4)
    return RNG.choice(own[np.abs(own.astype(np.float32)) <= 500], shape)


def reading(kind: str, code: int) -> tuple[list[NodeProto], dict[str, Any]]:
    """Nodes that make floats of a weight ``q``, (16, 320), and what else they read."""
    scale, zeros = RNG.uniform(0.5, 2, (4, 320)).astype(np.float32), np.zeros if NARROW[code].is_float else np.ones
    match kind:
        case "a scale":
            return [node("DequantizeLinear", "q s", "w")], {"s": np.float32(0.5)}
        case "blocks with zero points":
            options = {"axis": 0, "block_size": 4}
            return [node("DequantizeLinear", "q s z", "w", **options)], {"s": scale, "z": of(code, zeros((4, 320)))}
        case "columns with zero points":
            return [node("DequantizeLinear", "q s z", "w")], {"s": scale[0], "z": of(code, zeros(320))}
        case "a cast":
            return [node("Cast", "q", "w", to=FLOAT)], {}
        case _:
            nodes = [node("Cast", "q", "c", to=FLOAT), node("Reshape", "q like", "r"), node("Cast", "r", "f", to=FLOAT)]
            return [*nodes, node("Add", "c f", "w")], {"like": np.array([16, 320])}


SINCE = (
    {23: 23, 24: 24} | dict.fromkeys((17, 18, 19, 20), 19) | dict.fromkeys((21, 22), 21) | dict.fromkeys((25, 26), 25)
)
"""The first opsets of the types, as its operators' documentation has them."""

KINDS = ["a scale", "blocks with zero points", "columns with zero points", "a cast", "a reshape as well"]
READ = [(code, kind) for code in SINCE for kind in KINDS if code != 24 or kind == "a cast"]
"""What reads weights of which type: DequantizeLinear has no float8e8m0, nor has onnxruntime's Reshape."""


@pytest.mark.parametrize(
    "opset", [None, 20, 25, *(pytest.param(opset, marks=pytest.mark.sweep) for opset in (13, 19, 21, 23, 24))], ids=str
)
@pytest.mark.parametrize(("code", "kind"), READ, ids=str)
def test_export_keeps_the_type_of_a_weight_where_the_opset_has_it(
    code: int, kind: str, opset: int | None, tmp_path: Path
) -> None:
    weight, path = codes(code, (16, 320)), tmp_path / "again.onnx"
    nodes, others = reading(kind, code)
    network = pnn.import_onnx(model([*nodes, node("MatMul", "x w", "y")], {"q": weight, **others}, opset=25))
    digest, y = network.save(tmp_path / "a.npz"), network.predict(X)
    report = pnn.export_onnx(network, path, opset=opset)
    written = onnx.load(path)
    onnx.checker.check_model(written, full_check=True)
    stored, given = {each.name: each for each in written.graph.initializer}, numpy_helper.from_array(weight)
    is_kept = SINCE[code] <= (opset or (25 if code != 23 else 17))  # onnxruntime has no kernel for floats of 4 bits.
    assert ("weights in wider types" in " ".join(report.notes)) is not is_kept
    if is_kept:
        assert (stored["q"].data_type, stored["q"].raw_data) == (code, given.raw_data)
        assert {each.data_type for name, each in stored.items() if name == "z"} <= {code}
        assert report.bytes < len(given.raw_data) + 8 * 4 * 320 + 5000
    if opset is None or opset >= 19:  # onnx's reference evaluator has no older DequantizeLinear.
        np.testing.assert_allclose(ReferenceEvaluator(written).run(None, {"x": X})[0], y, rtol=1e-4, atol=1e-2)
    if code != 23 or not is_kept:
        options = onnxruntime.SessionOptions()  # It would round what it multiplies with whole numbers to whole ones.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(path, options)
        np.testing.assert_allclose(session.run(None, {"x": X})[0], y, rtol=1e-4, atol=1e-2)
    assert pnn.import_onnx(path).save(tmp_path / "b.npz") == digest
    del written.metadata_props[:]
    with pytest.warns(EditedWarning):
        bare = pnn.import_onnx(written)
    np.testing.assert_array_equal(bare.predict(X), y)
    assert [each.packed for each in bare.graph.parameters if each.name == "q"] == [
        NARROW[code].name if is_kept else UNSET
    ]


@pytest.mark.parametrize("is_cast", [True, False])
def test_large_scales_of_floats_of_4_bits_are_kept(is_cast: bool, tmp_path: Path) -> None:
    weight, scale, path = codes(23, (16, 640)), codes(24, (4, 640)), tmp_path / "again.onnx"
    assert scale.size > 1024
    nodes = [
        *([node("Cast", "s", "scale", to=FLOAT)] if is_cast else []),
        node("DequantizeLinear", "q scale" if is_cast else "q s", "w", axis=0, block_size=4, output_dtype=FLOAT),
        node("MatMul", "x w", "y"),
    ]
    network = pnn.import_onnx(model(nodes, {"q": weight, "s": scale}, opset=25))
    y = X.astype(float) @ (f32(weight) * np.repeat(f32(scale), 4, axis=0))
    np.testing.assert_allclose(network.predict(X), y, rtol=1e-4, atol=1e-2)
    assert {each.name: each.packed for each in network.graph.parameters} == {"q": "float4e2m1", "s": "float8e8m0"}
    digest = network.save(tmp_path / "a.npz")
    pnn.export_onnx(network, path)
    [found] = onnxruntime.InferenceSession(path).run(None, {"x": X})
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-2)
    assert pnn.import_onnx(path).save(tmp_path / "b.npz") == digest


def test_an_opset_is_flipped_where_the_ir_version_is_that_of_another(tmp_path: Path) -> None:
    nodes = [node("DequantizeLinear", "w s", "f"), node("MatMul", "x f", "y")]
    network, path = pnn.import_onnx(model(nodes, {"w": Q8, "s": SCALE})), tmp_path / "wider.onnx"
    pnn.export_onnx(network, path, opset=17)  # With the weight as float32, which is no DequantizeLinear's at 21.
    written = onnx.load(path)
    written.opset_import[0].version = 21
    with pytest.raises(FormatError, match="it says opset 21, and its nodes are those of opset 17"):
        pnn.import_onnx(written)
    written.ir_version = 10
    with pytest.warns(EditedWarning):
        np.testing.assert_array_equal(pnn.import_onnx(written).predict(X), network.predict(X))


def test_a_body_reads_a_weight_of_8_bits_behind_a_cast(tmp_path: Path) -> None:
    def branch(name: str, *nodes: NodeProto) -> onnx.GraphProto:
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)])

    branches = {
        "then_branch": branch("then", node("DequantizeLinear", "w s", "f"), node("MatMul", "x f", "a")),
        "else_branch": branch("else", node("Cast", "w", "g", to=FLOAT), node("MatMul", "x g", "b")),
    }
    nodes = [
        node("ReduceSum", "x", "sum", keepdims=0), node("Greater", "sum zero", "c"), node("If", "c", "y", **branches)
    ]  # fmt: skip
    given = model(nodes, {"w": Q8, "s": SCALE, "zero": np.float32(0)})
    network = pnn.import_onnx(given)
    pnn.export_onnx(network, tmp_path / "again.onnx")
    written = onnx.load(tmp_path / "again.onnx")
    assert {each.name: each.data_type for each in written.graph.initializer}["w"] == FLOAT8
    for x in (np.abs(X), -np.abs(X)):
        [wanted] = onnxruntime.InferenceSession(given.SerializeToString()).run(None, {"x": x})
        [found] = onnxruntime.InferenceSession(tmp_path / "again.onnx").run(None, {"x": x})
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(network.predict(x), wanted, rtol=1e-5, atol=1e-3)


def test_weights_of_4_bits_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    network, path = pnn.import_onnx(BLOCKS), tmp_path / "apart.onnx"
    report = pnn.export_onnx(network, path, external_data=True)
    assert report.data
    written = onnx.load(path)
    for name, array in (("w_q", Q4), ("w_s", S4)):
        [found] = [each for each in written.graph.initializer if each.name == name]
        np.testing.assert_array_equal(numpy_helper.to_array(found), array)
    np.testing.assert_array_equal(pnn.import_onnx(path).predict(X), network.predict(X))


@pytest.mark.parametrize("code", [17, 23], ids=NAMES.get)
def test_floats_that_shall_train_are_packed_no_more(code: int, tmp_path: Path) -> None:
    weight = of(code, RNG.normal(size=(16, 80)))
    nodes = [node("DequantizeLinear", "w s", "f"), node("MatMul", "x f", "y")]
    network = pnn.import_onnx(model(nodes, {"w": weight, "s": SCALE}, opset=23))
    pnn.export_onnx(network, tmp_path / "half.onnx", float16=True)
    network.unfreeze("w")
    network.fit(X, np.ones((9, 80), np.float32), loss="mean_squared_error", epochs=1, progress=False)
    network.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(pnn.load(tmp_path / "net.npz").predict(X), network.predict(X))


def test_weights_that_are_others_are_found() -> None:
    network = pnn.import_onnx(STORED)
    network.parameters["fc1.bias"][3] += 1e-3
    with pytest.raises(VerificationError, match=r"'fc1.bias' differs in 1 of 32 elements"):
        compare_weights(network.graph, network.parameters.arrays, STORED, "m.onnx")


def test_an_opset_without_the_type_is_refused(tmp_path: Path) -> None:
    network = pnn.import_onnx(model([node("Cast", "x", "t", to=FLOAT8), node("Cast", "t", "y", to=FLOAT)], {}))
    with pytest.raises(UsageError, match="there is no element type float8e4m3fn; opset 19 is the lowest that can"):
        pnn.export_onnx(network, tmp_path / "old.onnx", opset=17)
    pnn.export_onnx(network, tmp_path / "new.onnx")
    written = onnx.load(tmp_path / "new.onnx")
    assert (written.opset_import[0].version, [each.op_type for each in written.graph.node]) == (19, ["Cast", "Cast"])


def test_an_operator_beside_them_may_have_any_number_of_outputs() -> None:
    split = helper.make_node("Split", ["x"], ["a", "b", "c"], num_outputs=3, axis=1)
    nodes = [node("Cast", "x", "t", to=FLOAT8), node("Cast", "t", "u", to=FLOAT), split, node("Add", "c c", "d")]
    network = pnn.import_onnx(model([*nodes, node("Concat", "a b d u", "y", axis=1)], {}, opset=23), verify=False)
    a, b, c = np.split(X, [6, 12], axis=1)
    np.testing.assert_array_equal(network.predict(X), np.hstack([a, b, c + c, f32(of(FLOAT8, X))]))


@pytest.mark.parametrize(("x", "to"), [(21, 22), (10, 16), (2, 17)], ids=str)
def test_bits_are_not_taken_for_those_of_a_type_that_is_held_in_another(x: int, to: int) -> None:
    given = model([node("BitCast", "x", "b", to=to), node("Cast", "b", "y", to=FLOAT)], {}, x, opset=26)
    with pytest.raises(GraphError, match=rf"at opset 26, it takes bits of one type .* for element type {to}$"):
        pnn.import_onnx(given, verify=False)


def test_casts_in_bodies_round() -> None:
    body = helper.make_graph(
        [node("CastLike", "x like", "b"), node("Cast", "b", "out", to=FLOAT)], "then", [],
        [helper.make_tensor_value_info("out", FLOAT, None)],
    )  # fmt: skip
    other = helper.make_graph(
        [node("Neg", "x", "out2")], "else", [], [helper.make_tensor_value_info("out2", FLOAT, None)]
    )
    nodes = [
        node("ReduceSum", "x", "sum", keepdims=0), node("Greater", "sum zero", "c"),
        node("If", "c", "y", then_branch=body, else_branch=other),
    ]  # fmt: skip
    network = pnn.import_onnx(model(nodes, {"like": W1[:1, :1], "zero": np.float32(0)}))
    x = np.abs(X)
    np.testing.assert_array_equal(network.predict(x), f32(of(BFLOAT16, x)))
    np.testing.assert_array_equal(network.predict(-x), x)


@pytest.mark.parametrize("given", [BLOCKS, FEW], ids=["blocks of 4 bits", "floats of 8 bits"])
def test_quantised_weights_as_floats_are_the_same_and_train(given: onnx.ModelProto, tmp_path: Path) -> None:
    network = pnn.import_onnx(given)
    floats = network.dequantize()
    assert [(each.name, each.dtype, each.trainable) for each in floats.graph.parameters] == [("w", "float32", True)]
    np.testing.assert_array_equal(floats.predict(X), network.predict(X))
    history = floats.fit(
        X, np.zeros_like(floats.predict(X)), loss="mean_squared_error", optimizer=pnn.Adam(0.01), epochs=9,
        progress=False,
    )  # fmt: skip
    assert history["loss"][-1] < history["loss"][0]
    pnn.export_onnx(floats, tmp_path / "floats.onnx")


def test_weights_packed_in_bytes_as_floats() -> None:
    packed = RNG.integers(0, 256, (24, 1, 8)).astype(np.uint8)
    scales = RNG.uniform(0.01, 0.1, 24).astype(np.float32)
    product = node("MatMulNBits", "x w s", "y", domain="com.microsoft", K=16, N=24, bits=4, block_size=16)
    entry, result = (helper.make_tensor_value_info(name, FLOAT, ["n", size]) for name, size in (("x", 16), ("y", 24)))
    kept = [numpy_helper.from_array(packed, "w"), numpy_helper.from_array(scales, "s")]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    given = helper.make_model(helper.make_graph([product], "g", [entry], [result], kept), opset_imports=opsets)
    given.ir_version = 10
    network = pnn.import_onnx(given)
    floats = network.dequantize()
    assert [each.shape for each in floats.graph.parameters] == [(16, 24)]
    assert [each.operator for each in floats.graph.nodes] == ["MatMul"]
    [wanted] = onnxruntime.InferenceSession(given.SerializeToString()).run(None, {"x": X})
    np.testing.assert_allclose(floats.predict(X), wanted, rtol=1e-4, atol=1e-4)


def test_a_network_without_quantised_weights_has_none_as_floats() -> None:
    with pytest.raises(UsageError, match=r"^dequantize: no weights are quantised so that they could be floats$"):
        pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0).dequantize()
