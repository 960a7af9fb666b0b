"""Nodes without a home here stay in the network as they are: onnxruntime runs them, and all around them trains."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.jax import to_jax
from portable_nn.converters.keras import write_keras
from portable_nn.converters.onnx import read_onnx
from portable_nn.converters.source import write_c, write_numpy
from portable_nn.converters.torch import write_torch
from portable_nn.core.errors import PortableNNError, PortableNNWarning, UnsupportedError
from portable_nn.format import load as load_file
from portable_nn.format import save as save_file
from portable_nn.onnx.verification.proof import Proof
from portable_nn.outputs.reports import check, inspect

RNG = np.random.default_rng(0)
X = RNG.integers(-4, 5, (6, 4)).astype(np.float32)
node = helper.make_node

TREES = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1], "nodes_nodeids": [0, 1, 2, 0, 1, 2], "nodes_featureids": [0, 0, 0, 1, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * 2, "nodes_values": [0.5, 0.0, 0.0, -1.0, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0, 1, 0, 0], "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
}  # fmt: skip
REGRESSION = TREES | {
    "n_targets": 2, "target_treeids": [0, 0, 1, 1], "target_nodeids": [1, 2, 1, 2], "target_ids": [0, 1, 0, 1],
    "target_weights": [1.0, 2.0, 3.0, -1.0],
}  # fmt: skip
CLASSES = TREES | {
    "class_treeids": [0, 0, 1, 1], "class_nodeids": [1, 2, 1, 2], "class_ids": [0, 1, 0, 1],
    "class_weights": [1.0, 0.25, 0.5, 2.0], "classlabels_strings": ["no", "yes"], "post_transform": "NONE",
}  # fmt: skip
COUNTED = {
    "mode": "TF", "min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0, "ngram_counts": [0],
    "ngram_indexes": [0, 1, 2], "pool_int64s": [-1, 2, 3],
}  # fmt: skip
MACHINE = {
    "kernel_type": "RBF", "kernel_params": [0.1, 0.0, 3.0], "n_supports": 2, "coefficients": [1.0, -1.0],
    "support_vectors": [0.0, 1.0, 1.0, 0.0, 0.0, 2.0, 1.0, 3.0], "rho": [0.5],
}  # fmt: skip


def shaped(x: str, y: str, *shape: int) -> list[NodeProto]:
    """A Reshape."""
    return [node("Constant", [], [f"{y}.shape"], value_ints=shape), node("Reshape", [x, f"{y}.shape"], [y])]


ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"
MIDDLES: Mapping[str, tuple[Sequence[NodeProto], int, int]] = {
    "com.microsoft.Inverse": (
        [*shaped("h", "r", -1, 2, 2), node("Inverse", ["r"], ["i"], "it", domain=MICROSOFT), *shaped("i", "m", -1, 4)],
        4, 4,
    ),
    "com.microsoft.CDist": (
        [node("CDist", ["h", "points"], ["m"], "it", domain=MICROSOFT, metric="sqeuclidean")], 3, 2,
    ),
    "ai.onnx.TfIdfVectorizer": (
        [node("Cast", ["h"], ["r"], to=7), node("TfIdfVectorizer", ["r"], ["m"], "it", **COUNTED)], 4, 3,
    ),
    "ai.onnx.ml.TreeEnsembleRegressor": (
        [node("TreeEnsembleRegressor", ["h"], ["m"], "it", domain=ML, **REGRESSION)], 2, 2,
    ),
    "ai.onnx.ml.TreeEnsembleClassifier": (
        [node("TreeEnsembleClassifier", ["h"], ["label", "m"], "it", domain=ML, **CLASSES)], 2, 2,
    ),
    "ai.onnx.ml.SVMRegressor": ([node("SVMRegressor", ["h"], ["m"], "it", domain=ML, **MACHINE)], 4, 1),
}  # fmt: skip
"""Operators, the nodes between two dense layers, and how many numbers these nodes take and make of each example."""

every = pytest.mark.parametrize("name", MIDDLES)


def model(name: str) -> ModelProto:
    return around(*MIDDLES[name])


def around(middle: Sequence[NodeProto], taken: int, made: int) -> ModelProto:
    """y = last(nodes(first(x))) + beside(x), of weights with which no sum of products is rounded."""
    rng = np.random.default_rng(3)
    arrays = {
        "first.weight": rng.integers(-2, 3, (4, taken)), "first.bias": rng.integers(1, 3, taken),
        "last.weight": 2.0 ** rng.integers(-1, 2, (made, 3)) * (np.arange(made)[:, None] == np.arange(3)),
        "beside.weight": np.zeros((4, 3)), "points": [[1, 2, 0], [0, 1, 3]],
    }  # fmt: skip
    nodes = [
        node("Gemm", ["x", "first.weight", "first.bias"], ["h"], "first"), *middle,
        node("MatMul", ["m", "last.weight"], ["z"], "last"), node("MatMul", ["x", "beside.weight"], ["b"], "beside"),
        node("Add", ["z", "b"], ["y"], "sum"),
    ]  # fmt: skip
    read = {each for one in nodes for each in one.input}
    stored = [numpy_helper.from_array(np.float32(a), key) for key, a in arrays.items() if key in read]
    ends = [helper.make_tensor_value_info(each, 1, ["n", size]) for each, size in (("x", 4), ("y", 3))]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 3), helper.make_opsetid(MICROSOFT, 1)]
    used = {one.domain for one in nodes}
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[each for each in opsets if each.domain in used], ir_version=8)


def their(given: ModelProto, x: Any, output: str = "y") -> Any:
    """A value as onnxruntime computes it from the whole file."""
    whole = ModelProto()
    whole.CopyFrom(given)
    if output != "y":
        whole.graph.output.append(onnx.ValueInfoProto(name=output))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([output], {"x": x})[0]


def opaque_proto(given: ModelProto) -> NodeProto:
    [found] = [each for each in given.graph.node if each.name == "it"]
    return found


@every
def test_values_are_those_of_the_whole_file_bit_for_bit(name: str) -> None:
    given = model(name)
    network, proof, notes = read_onnx(given)
    assert [each.operator for each in network.graph.nodes if each.domain] == [name]
    for rows in (X, X[:1], np.concatenate([X, X + 1])):
        np.testing.assert_array_equal(network.predict(rows), their(given, rows))
        np.testing.assert_array_equal(network.predict(rows, engine="onnxruntime"), their(given, rows))
    assert isinstance(proof, Proof)
    words = dict(proof.in_words())
    assert words["not proved"] == f"run by onnxruntime itself on both sides: 'it' ({name})"
    assert not {*opaque_proto(given).output} & {*proof.compared}
    [note] = [each for each in notes if f"'it' ({name})" in each]
    assert note.startswith("needs onnxruntime, which runs 1 node")


@every
def test_what_is_around_it_learns_and_nothing_through_it(name: str) -> None:
    """A step of gradient descent on squared errors, with the derivatives written by hand from onnxruntime's values."""
    given = model(name)
    network, _, _ = read_onnx(given)
    old = {key: array.copy() for key, array in network.parameters.items()}
    target = RNG.normal(size=(6, 3)).astype(np.float32)
    with pytest.warns(PortableNNWarning, match=rf"nothing learns through it: 'it' \({name}\)"):
        network.fit(
            X, target, loss="mean_squared_error", optimizer=pnn.SGD(0.01), epochs=1, batch_size=6, progress=False
        )
    slope = 2 * (their(given, X) - target) / target.size
    new = old | {
        "last.weight": old["last.weight"] - 0.01 * their(given, X, "m").T @ slope,
        "beside.weight": old["beside.weight"] - 0.01 * X.T @ slope,
    }
    for key, array in new.items():
        np.testing.assert_allclose(network.parameters[key], array, rtol=1e-5, atol=1e-5, err_msg=key)
    assert (network.parameters["last.weight"] != old["last.weight"]).any()


def test_a_weight_that_only_such_a_node_reads_is_frozen() -> None:
    network, _, _ = read_onnx(model("com.microsoft.CDist"))
    assert {each.name: each.trainable for each in network.graph.parameters}["points"] is False
    assert [dict(each.attributes).get("sampled") for each in network.graph.nodes if each.domain] == [1]


@pytest.mark.parametrize("shape", [(-1, 2, 2), (1, -1, 4)], ids=str)
def test_examples_are_cut_into_batches_only_where_they_are_computed_one_by_one(shape: tuple[int, ...]) -> None:
    """The triangle of a matrix whose rows are the examples needs all of them at once."""
    triangle = node("Trilu", ["r"], ["i"], "it", domain=MICROSOFT, upper=0)
    given = around([*shaped("h", "r", *shape), triangle, *shaped("i", "m", -1, 4)], 4, 4)
    network, _, _ = read_onnx(given)
    [found] = [each.attributes.get("apart") for each in network.graph.nodes if each.domain]
    assert found == (("d0",) if shape[0] < 0 else None)
    rows = RNG.normal(size=(1200, 4)).astype(np.float32)
    wanted = their(given, rows)
    np.testing.assert_allclose(network.predict(rows), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@every
@pytest.mark.parametrize("suffix", ["safetensors", "h5", "npz"])
def test_files_keep_it_to_the_byte(name: str, suffix: str, tmp_path: Path) -> None:
    given = model(name)
    network, _, _ = read_onnx(given)
    digest = network.save(tmp_path / f"n.{suffix}")
    again = pnn.load(tmp_path / f"n.{suffix}", digest=digest)
    assert again.graph == network.graph
    np.testing.assert_array_equal(again.predict(X), their(given, X))
    assert load_file(tmp_path / f"n.{suffix}").manifest.version == 4
    pnn.export_onnx(again, tmp_path / "n.onnx")
    written = onnx.load(tmp_path / "n.onnx")
    assert opaque_proto(written).SerializeToString() == opaque_proto(given).SerializeToString()
    domain = opaque_proto(given).domain
    versions = [{each.domain: each.version for each in one.opset_import}[domain] for one in (given, written)]
    assert versions[0] == versions[1]
    np.testing.assert_array_equal(their(written, X), their(given, X))
    assert pnn.import_onnx(tmp_path / "n.onnx").graph == network.graph


def test_what_tells_of_a_file_says_what_it_needs(tmp_path: Path) -> None:
    name = "ai.onnx.ml.TreeEnsembleRegressor"
    onnx.save(model(name), tmp_path / "n.onnx")
    read_onnx(tmp_path / "n.onnx").network.save(tmp_path / "n.npz")
    for path in (tmp_path / "n.onnx", tmp_path / "n.npz"):
        said = f"needs onnxruntime, which runs 1 node as in the file; nothing learns through it: 'it' ({name})"
        assert said in inspect(path).notes
        assert name in [row.operator for row in inspect(path).nodes]
        report = check(path)
        assert report.passes()
        assert said in [finding.message for finding in report.findings]
    with pytest.raises(UnsupportedError, match=rf"n\.npz: needs onnxruntime.* 'it' \({name}\): .*opaque=False"):
        pnn.load(tmp_path / "n.npz", opaque=False)
    assert pnn.load(tmp_path / "n.npz").until("h").save(tmp_path / "plain.npz")
    assert pnn.load(tmp_path / "plain.npz", opaque=False)


WRITERS: Mapping[str, Callable[[pnn.Network, Path], object]] = {
    "numpy": lambda network, folder: write_numpy(network, folder / "n.py"),
    "c": lambda network, folder: write_c(network, folder / "n.c"),
    "torch": lambda network, folder: write_torch(network, folder / "n.py"),
    "keras": lambda network, folder: write_keras(network, folder / "n.keras"),
    "jax": lambda network, folder: to_jax(network),
}


@pytest.mark.parametrize("target", WRITERS)
def test_code_bases_refuse_it_by_name(target: str, tmp_path: Path) -> None:
    if target in ("keras", "jax", "torch"):
        pytest.importorskip(target)
    network, _, _ = read_onnx(model("com.microsoft.Inverse"))
    with pytest.raises(PortableNNError, match=r"'it' \(com\.microsoft\.Inverse\)"):
        WRITERS[target](network, tmp_path)
    assert list(tmp_path.iterdir()) == []


ALONE: Mapping[str, tuple[NodeProto, str]] = {
    "an operator that there is not": (node("Nothing", ["h"], ["m"], "it", domain=MICROSOFT), "com.microsoft.Nothing"),
    "a name of two parts": (node("Inv.erse", ["h"], ["m"], "it", domain=MICROSOFT), r"com\.microsoft\.Inv\.erse"),
    "another domain": (node("Inverse", ["h"], ["m"], "it", domain="evil"), "evil.Inverse"),
    "text": (node("TreeEnsembleClassifier", ["h"], ["m", "p"], "it", domain=ML, **CLASSES), "ai.*string"),
    "numbers that are drawn": (node("RandomNormalLike", ["h"], ["m"], "it"), "Random.*other numbers each time"),
    "a sequence": (node("SequenceConstruct", ["h"], ["m"], "it"), "SequenceConstruct"),
}  # fmt: skip


@pytest.mark.parametrize(("alone", "wanted"), ALONE.values(), ids=ALONE)
def test_what_onnxruntime_cannot_run_for_a_graph_is_refused_by_name(alone: NodeProto, wanted: str) -> None:
    given = model("ai.onnx.ml.TreeEnsembleRegressor")
    opaque_proto(given).CopyFrom(alone)
    del given.opset_import[:]
    domains = [("", 17), (ML, 3), (MICROSOFT, 1), ("evil", 1)]
    given.opset_import.extend(helper.make_opsetid(*each) for each in domains)
    with pytest.raises(UnsupportedError, match=rf"not supported: operator '{wanted}"):
        read_onnx(given)


# -- files of strangers


def forged(path: Path, data: bytes | str, operator: str = "com.microsoft.Inverse", **attributes: Any) -> Path:
    """A weight file whose opaque node holds other bytes, or says something else."""
    network, _, _ = read_onnx(model("com.microsoft.Inverse"))
    network.save(path)
    contents = load_file(path)
    told = {"node": data if isinstance(data, str) else b64encode(data).decode(), **attributes}
    nodes = [
        replace(each, operator=operator, attributes={**each.attributes, **told}) if each.name == "it" else each
        for each in contents.manifest.graph.nodes
    ]
    manifest = replace(contents.manifest, graph=replace(contents.manifest.graph, nodes=tuple(nodes)))
    save_file(path, manifest, dict(contents.tensors))
    return path


def outside(path: Path) -> TensorProto:
    """A tensor whose elements are in another file."""
    path.write_bytes(np.ones(4, np.float32).tobytes())
    tensor = TensorProto(dims=[4], data_type=1, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=str(path))
    return tensor


@pytest.mark.long
def test_a_node_of_a_stranger_is_checked_before_it_runs(tmp_path: Path) -> None:
    good = node("Inverse", ["r"], ["i"], "it", domain=MICROSOFT)
    pnn.load(forged(tmp_path / "good.npz", good.SerializeToString()))
    bad = [
        (b"\xff\xff", {}, "are no NodeProto"),
        (node("Gelu", ["r"], ["i"], domain=MICROSOFT), {}, "bytes are those of com.microsoft.Gelu"),
        (node("Inverse", ["r"], ["i"], domain=MICROSOFT, a=outside(tmp_path / "w")), {}, "'a' is in another file"),
        (node("EPContext", ["r"], ["i"], domain=MICROSOFT, ep_cache_context="w", embed_mode=0),
         {"operator": "com.microsoft.EPContext"}, "are those of com.microsoft.EPContext"),
        (node("If", ["r"], ["i"], a=model("com.microsoft.CDist").graph), {"operator": "ai.onnx.If"}, "numbers or text"),
        (good, {"gives": ("float32[d0,4,1]",)}, r"says .*float32\[d0,4,1\].* shows .*float32\[d0,2,2\]"),
        (good, {"sampled": 1}, "says .*'sampled': 1.* where onnxruntime shows"),
        (good, {"takes": ("int32[d0,2,2]",)}, "input 1 must be int32"),
        (good, {"takes": ("os.system",)}, "is no type of an array"),
        (good, {"version": 10**12}, "is that of no domain"),
        (good, {"version": 99}, "cannot run it"),
        ("%%", {}, "not written in base64"),
        (node("Inverse", ["r"], ["i"], domain="evil"), {"operator": "evil.Inverse"}, "cannot be in a file"),
    ]  # fmt: skip
    for place, (data, told, wanted) in enumerate(bad):
        given: Any = data.SerializeToString() if isinstance(data, NodeProto) else data
        with pytest.raises(PortableNNError, match=wanted):
            pnn.load(forged(tmp_path / f"{place}.npz", given, **told))


MANY = [
    pytest.param(each, marks=pytest.mark.long)
    for each in ("ai.onnx.TfIdfVectorizer", "ai.onnx.ml.TreeEnsembleRegressor")
]


@pytest.mark.parametrize("name", ["com.microsoft.Inverse", *MANY])
def test_mutated_bytes_give_errors_of_this_package_or_numbers(name: str, tmp_path: Path) -> None:
    network, _, _ = read_onnx(model(name), verify=False)
    [place] = [place for place, each in enumerate(network.graph.nodes) if each.domain]
    plain, rng = network.graph.nodes[place], np.random.default_rng(1)
    whole = b64decode(str(plain.attributes["node"]))
    for _ in range(12 if name == "com.microsoft.Inverse" else 300):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        text = b64encode(bytes(data)).decode()
        nodes = [*network.graph.nodes]
        nodes[place] = replace(plain, attributes={**plain.attributes, "node": text})
        graph = replace(network.graph, nodes=tuple(nodes))
        changed = pnn.Network.from_graph(graph, dict(network.parameters))
        with suppress(PortableNNError):
            assert changed.predict(X).shape == (6, 3)
