"""``check`` has an error exactly where ``import`` refuses a file: files of others, and files made to be refused."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx_suite import Case, cases

from portable_nn.converters.onnx import read_onnx
from portable_nn.core.errors import PortableNNError, VerificationError
from portable_nn.outputs.reports import check

node = helper.make_node
FLOAT, BFLOAT16 = TensorProto.FLOAT, TensorProto.BFLOAT16
UNLIKE = {
    "test_attention_4d_diff_heads_mask4d_padded_kv",  # onnxruntime 1.32 refuses masks that are shorter than the keys.
    "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",  # Its masked scores are no infinities.
    "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal",
    "test_convinteger_with_padding",  # It has one zero point for all filters.
    "test_upsample_nearest",  # onnxruntime copies what keeps its size, though fractional scales move the cells.
    "test_top_k_uint64",  # onnxruntime 1.32 has no TopK of these.
    "test_simple_rnn_batchwise",  # It rounds sums that cancel out otherwise.
    "test_simple_rnn_bidirectional",
}
"""Tests whose nodes import takes, and on which the engines do not agree: no check of the file alone finds that."""


def disagreement(path: Path) -> str:
    """What check and import say where only one of them takes a file; otherwise empty.

    Where inputs decide sizes, import may find none on which both engines run, and asks for some.
    """
    report = check(path)
    try:
        read_onnx(path)
        refusal = ""
    except PortableNNError as error:
        refusal = f"{type(error).__name__}: {error}"
    decided = any(each.message.startswith("data decide ") for each in report.findings)
    if report.passes() == (not refusal) or (decided and "--io FILE.npz gives inputs that it can run on" in refusal):
        return ""
    return f"{path.name}: import: {refusal or 'takes it'}; check: {report.findings}"


def save(path: Path, nodes: Sequence[NodeProto], inputs: Mapping[str, Any], weights: Mapping[str, Any]) -> Path:
    """A file of these nodes; inputs are shapes of floats, or pairs of a type and a shape; ``y`` is the output."""
    typed = {name: each if isinstance(each, tuple) else (FLOAT, each) for name, each in inputs.items()}
    kept = [each if isinstance(each, TensorProto) else numpy_helper.from_array(np.asarray(each), name)
            for name, each in weights.items()]  # fmt: skip
    entries = [helper.make_tensor_value_info(name, *each) for name, each in typed.items()]
    output = helper.make_tensor_value_info("y", next(iter(typed.values()))[0], None)
    graph = helper.make_graph(nodes, "g", entries, [output], kept)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


RNG = np.random.default_rng(3)


def f32(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


def half(name: str, *shape: int) -> TensorProto:
    """A tensor of bfloat16, as its bytes."""
    count = int(np.prod(shape))
    return TensorProto(name=name, data_type=BFLOAT16, dims=shape, raw_data=b"\x80\x3f" * count)


HEAD = [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"], "head")]
MADE: Mapping[str, tuple[Sequence[NodeProto], Mapping[str, Any], Mapping[str, Any], str]] = {
    "two sizes that a dense layer fixes": (HEAD, {"x": ["n", 3, "h", "w"]}, {"w": f32(3 * 64, 5)}, "fits some sizes"),
    "one size that a dense layer fixes": (HEAD, {"x": ["n", 3, "h", 8]}, {"w": f32(3 * 64, 5)}, ""),
    "sizes that none of those tried fits": (
        [node("Reshape", ["x", "s"], ["y"])],
        {"x": ["n", "k"]},
        {"s": np.array([-1, 13])},
        "import refuses it: none of",
    ),
    "a kernel that is wider than what is tried": (
        [node("Conv", ["x", "w"], ["y"])], {"x": ["n", 1, "t"]}, {"w": f32(1, 1, 9999)}, "import refuses it: none of",
    ),
    "dropout while training": (
        [node("Dropout", ["x", "r", "t"], ["d"]), node("MatMul", ["d", "w"], ["y"])], {"x": ["n", 40]},
        {"r": np.float32(0.5), "t": np.array(True), "w": f32(40, 3)}, "at random",
    ),
    "dropout that drops nothing": (
        [node("Dropout", ["x", "r", "t"], ["y"])], {"x": ["n", 40]}, {"r": np.float32(0), "t": np.array(True)}, "",
    ),
    "dropout that an input turns on": (
        [node("Dropout", ["x", "r", "t"], ["y"])], {"x": ["n", 4], "t": (TensorProto.BOOL, [])}, {"r": np.float32(0.5)},
        "must be a constant",
    ),
    "a length that the data decide": (
        [node("Cast", ["x"], ["s"], to=TensorProto.INT64), node("CumSum", ["x", "s"], ["y"])], {"x": [1]}, {}, "",
    ),
    "the statistics of a batch": (
        [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "m2", "v2"], training_mode=1)], {"x": ["n", 4]},
        {"s": f32(4), "b": f32(4), "m": f32(4), "v": np.abs(f32(4))}, "",
    ),
    "names that are equal": ([node("Add", ["x", "z"], ["y"])], {"x": ["a", 4], "z": ["b", 4]}, {}, ""),
    "a sum of names": (
        [node("Concat", ["x", "z"], ["c"], axis=0), node("Add", ["c", "m"], ["y"])],
        {"x": ["a"], "z": ["b"], "m": ["t"]}, {}, "",
    ),
    "an unknown rank": ([node("Relu", ["x"], ["y"])], {"x": None}, {}, "of unknown rank"),
    "weights that are no numbers": (
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["n", 2]}, {"w": np.float32([[np.nan], [1]])}, "",
    ),
    "an operator that draws": ([node("RandomNormalLike", ["x"], ["y"])], {"x": [3]}, {}, "RandomNormalLike"),
    "whole numbers of 16 bits": (
        [node("Clip", ["x", "w"], ["c"]), node("Max", ["c", "x"], ["y"])], {"x": (TensorProto.INT16, ["n", 3])},
        {"w": np.int16(2)}, "",
    ),
    "powers of unsigned numbers": ([node("Pow", ["x", "w"], ["y"])], {"x": ["n", 3]}, {"w": np.uint32([0, 1, 2])}, ""),
    "bfloat16": ([node("MatMul", ["x", "w"], ["y"])], {"x": (BFLOAT16, ["n", 4])}, {"w": half("w", 4, 3)}, ""),
    "bfloat16 made float32": (
        [node("Cast", ["w"], ["v"], to=FLOAT), node("MatMul", ["x", "v"], ["y"])], {"x": ["n", 4]},
        {"w": half("w", 4, 3)}, "",
    ),
}  # fmt: skip
"""Nodes, inputs and weights; and what check says of them as an error, empty where there is none."""


@pytest.mark.parametrize(("nodes", "inputs", "weights", "wanted"), MADE.values(), ids=MADE)
def test_files_that_one_of_them_took(nodes: Any, inputs: Any, weights: Any, wanted: str, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", nodes, inputs, weights)
    assert disagreement(path) == ""
    found = [each.message for each in check(path).findings if each.level == "error"]
    assert bool(found) == bool(wanted)
    assert not wanted or any(wanted in message for message in found)


def test_sizes_that_are_given_are_those_that_are_checked(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", HEAD, {"x": ["n", 3, "h", "w"]}, {"w": f32(3 * 64, 5)})
    assert check(path, inputs=("n", 3, 8, 8)).passes()
    read_onnx(path, sizes={"h": 8, "w": 8})
    assert not check(path, inputs=("n", 3, 8, 9)).passes()
    path = save(tmp_path / "r.onnx", [node("Reshape", ["x", "s"], ["y"])], {"x": ["n", None]}, {"s": np.array([-1, 6])})
    assert not check(path).passes()
    assert check(path, inputs=("n", 12)).passes()
    read_onnx(path, sizes={"x.1": 12})


@pytest.mark.parametrize(
    "shape",
    [(4, 3), (200, 100), pytest.param((4200, 4000), marks=pytest.mark.long)],
    ids=["in the file", "on its own", "in pieces"],
)
@pytest.mark.parametrize("external", [False, True], ids=["inside", "beside"])
def test_bfloat16_is_read_as_float32(shape: Any, external: bool, tmp_path: Path) -> None:
    nodes = [node("Cast", ["w"], ["v"], to=FLOAT), node("MatMul", ["x", "v"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {"x": ["n", shape[0]]}, {"w": half("w", *shape)})
    if external:
        onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert [each.message for each in check(path).findings if each.level == "error"] == []
    network, proof, notes = read_onnx(path)
    assert "bfloat16 is read as float32, which loses nothing; casts to it round (1): 'w'" in notes
    assert [(fate.name, fate.kind) for fate in proof.weights] == [("w", "transformed")]
    assert [(each.name, each.dtype, each.trainable) for each in network.graph.parameters] == [("w", "float32", True)]
    x = f32(2, shape[0])
    [y] = onnxruntime.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_allclose(network.predict(x), y, rtol=1e-4, atol=1e-4)


def test_random_outputs_are_no_roundings(tmp_path: Path) -> None:
    """Elements that were dropped at random differed by more than rounding explains, and were excused as such."""
    weights = {"r": np.float32(0.5), "t": np.array(True)}
    path = save(tmp_path / "m.onnx", [node("Dropout", ["x", "r", "t"], ["y"], "drop")], {"x": ["n", 40]}, weights)
    with pytest.raises(VerificationError, match=r"'drop' \(Dropout\): .* at random"):
        read_onnx(path)
    assert read_onnx(path, verify=False).network.graph.nodes


def of_suite(kind: str, case: Case, folder: Path) -> Path:
    path = folder / f"{kind}-{case.name}.onnx"
    onnx.save(case.model, path)
    return path


@pytest.mark.parametrize("kind", ["simple", "pytorch-operator"])
def test_files_of_the_standard(kind: str, tmp_path: Path) -> None:
    """One in three of them."""
    found = [disagreement(of_suite(kind, case, tmp_path)) for case in cases(kind)[::3]]
    assert list(filter(None, found)) == []


@pytest.mark.long
@pytest.mark.parametrize("kind", ["simple", "light", "pytorch-operator", "pytorch-converted"])
def test_all_files_of_the_standard(kind: str, tmp_path: Path) -> None:
    assert list(filter(None, (disagreement(of_suite(kind, case, tmp_path)) for case in cases(kind)))) == []


@pytest.mark.long
def test_all_nodes_of_the_standard(tmp_path: Path) -> None:
    """As they are, with weights and settings fed: what is refused is refused by both."""
    wanted = [case for case in cases("node") if case.name not in UNLIKE]
    assert len(wanted) > 1000
    assert list(filter(None, (disagreement(of_suite("node", case, tmp_path)) for case in wanted))) == []


TORCHVISION = {"alexnet": 224, "resnet18": 32, "squeezenet1_1": 64, "mobilenet_v3_small": 32, "shufflenet_v2_x0_5": 32}
"""Networks, and a height and width that they take."""


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.sweep if name == "alexnet" else pytest.mark.long) for name in TORCHVISION],
)
def test_networks_of_torchvision(name: str, training: bool, tmp_path: Path) -> None:
    """With open heights and widths, and as they train: with dropout, and the statistics of the batch."""
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    torch.manual_seed(0)
    network, size = getattr(torchvision.models, name)(num_classes=10), TORCHVISION[name]
    path = tmp_path / "m.onnx"
    mode = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
    axes = {"x": {0: "n"} if name in {"alexnet", "squeezenet1_1"} else {0: "n", 2: "h", 3: "w"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.train(training), (torch.zeros(2, 3, size, size),), str(path), dynamo=False, training=mode,
            input_names=["x"], dynamic_axes=axes, opset_version=17, do_constant_folding=not training,
        )  # fmt: skip
    assert disagreement(path) == ""


@pytest.mark.long
def test_models_of_scikit_learn(tmp_path: Path) -> None:
    convert = pytest.importorskip("skl2onnx")
    linear, tree = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.tree")
    neural, svm = pytest.importorskip("sklearn.neural_network"), pytest.importorskip("sklearn.svm")
    x, y = RNG.normal(size=(60, 4)).astype(np.float32), RNG.integers(0, 3, 60)
    models = [
        linear.LogisticRegression(), linear.LinearRegression(), linear.Ridge(), linear.SGDClassifier(), svm.SVC(),
        svm.LinearSVC(), tree.DecisionTreeClassifier(max_depth=3), neural.MLPClassifier((5,), max_iter=20),
        neural.MLPRegressor(hidden_layer_sizes=(5,), max_iter=20),
    ]  # fmt: skip
    found = []
    for model in models:
        path = tmp_path / f"{type(model).__name__}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            onnx.save(convert.to_onnx(model.fit(x, y), x[:1], target_opset=17), path)
        found.append(disagreement(path))
    assert list(filter(None, found)) == []
