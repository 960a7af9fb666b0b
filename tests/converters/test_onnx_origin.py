"""Files of this package that were damaged, and those that another program has changed."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, compose, helper, numpy_helper, shape_inference, version_converter

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import FormatError, PortableNNError, UnsupportedError
from portable_nn.format.meaning import Column, InputInfo, Statistics
from portable_nn.onnx.origin import origin_of
from portable_nn.onnx.storage.files import parsed

Change = Callable[[Path, Path], object]
"""Reads a model from the first path, and writes it to the second."""


def perceptron() -> pnn.Network:
    return pnn.Sequential(pnn.Input(6, name="x"), pnn.Dense(8), pnn.ReLU(), pnn.Dense(3), labels="abc", seed=0)


def convolutional() -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(1, 12, 12, name="x"),
        pnn.Conv2d(4, kernel=3),
        pnn.BatchNorm2d(),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.Flatten(),
        pnn.Dense(3),
        labels="abc",
        seed=0,
    )


def residual() -> pnn.Network:
    """Two equal biases, which optimisers store once."""
    x = pnn.Input(1, 8, 8, name="x")
    first = pnn.Conv2d(4, kernel=3, padding=1)(x)
    second = pnn.Conv2d(4, kernel=3, padding=1)(pnn.ReLU()(first))
    return pnn.Network(inputs=x, outputs=pnn.Dense(3)(pnn.Flatten()(pnn.ReLU()(first + second))), seed=0)


def imported() -> pnn.Network:
    """A network that another program wrote: with documentation, constants among the initializers, and two outputs."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", doc_string="a convolution", strides=[2, 2]),
        helper.make_node("LeakyRelu", ["c"], ["l"], "leaky", alpha=0.2),
        helper.make_node("Reshape", ["l", "s"], ["r"], "shape"),
        helper.make_node("Clip", ["r", "lo", "hi"], ["k"], "clip"),
        helper.make_node("MatMul", ["k", "v"], ["y"], "product"),
        helper.make_node("Softmax", ["y"], ["p"], "softmax", axis=-1),
    ]
    arrays: dict[str, Any] = {"w": rng.normal(size=(2, 1, 2, 2)), "v": rng.normal(size=(8, 3)), "lo": -1, "hi": 1}
    weights = [numpy_helper.from_array(np.float32(array), name) for name, array in arrays.items()]
    value = partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "theirs",
        [value("x", shape=["n", 1, 4, 4])],
        [value("y", shape=["n", 3]), value("p", shape=["n", 3])],
        [*weights, numpy_helper.from_array(np.int64([-1, 8]), "s")],
        doc_string="the graph",
        value_info=[value("c", shape=["rows", 2, 2, 2])],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, doc_string="the model")
    helper.set_model_props(model, {"author": "somebody"})
    return import_onnx(model)


NETWORKS = {each.__name__: each for each in (perceptron, convolutional, residual, imported)}


def written(folder: Path, name: str) -> Path:
    path = folder / f"{name}.onnx"
    export_onnx(NETWORKS[name](), path, verify=False)
    return path


def by_onnxruntime(model: bytes) -> dict[str, Any]:
    """The outputs by name for some inputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    [value] = session.get_inputs()
    shape = [dim if isinstance(dim, int) else 4 for dim in value.shape]
    x = np.random.default_rng(1).normal(size=shape).astype(np.float16 if "float16" in value.type else np.float32)
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {value.name: x}), strict=True))


# -- damage


def flipped(data: bytes, bits: Iterator[int] | range) -> Iterator[tuple[int, bytes]]:
    for bit in bits:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(changed)


def accepted(data: bytes) -> pnn.Network | None:
    """The network of a file, or ``None`` where it is refused."""
    try:
        return read_onnx(parsed(data, "a.onnx"), verify=False).network
    except PortableNNError:
        return None


def check_flips(path: Path, step: int) -> None:
    """Flip bits of a file: it is refused, or the network has the outputs of the file as it was, by onnxruntime."""
    data, taken = path.read_bytes(), 0
    expected, labels = by_onnxruntime(data), import_onnx(path, verify=False).labels
    for bit, changed in flipped(data, range(0, 8 * len(data), step)):
        network = accepted(changed)
        if network is None:
            continue
        taken += 1
        assert network.labels == labels, bit
        onto = path.with_name("again.onnx")
        export_onnx(network, onto, verify=False)
        found = by_onnxruntime(onto.read_bytes())
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, f"bit {bit}")
    assert taken < 8 * len(data) / step / 20  # Versions and names that say nothing of the graph.


@pytest.mark.long
@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("name", ["perceptron", "convolutional", "imported"])
def test_every_bit(tmp_path: Path, name: str, step: int) -> None:
    """With a step of nine, nearly one of each byte, of all places in turn."""
    check_flips(written(tmp_path, name), step)


def initializer(model: onnx.onnx.ModelProto, name: str) -> TensorProto:
    return next(each for each in model.graph.initializer if each.name == name)


def weight(model: onnx.onnx.ModelProto) -> None:
    tensor = initializer(model, "conv_1.weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.01, tensor.name))


def attribute(model: onnx.onnx.ModelProto) -> None:
    model.graph.node[1].attribute[0].f = 1e-3


def operator(model: onnx.onnx.ModelProto) -> None:
    assert model.graph.node[2].op_type == "Relu"
    model.graph.node[2].op_type = "Selu"  # A single bit.


def bias(model: onnx.onnx.ModelProto) -> None:
    del model.graph.node[0].input[2]


def labels(model: onnx.onnx.ModelProto) -> None:
    next(each for each in model.metadata_props if each.key == "labels").value = '["b", "a", "c"]'


def manifest(model: onnx.onnx.ModelProto) -> None:
    entry = next(each for each in model.metadata_props if each.key == "portable_nn")
    entry.value = entry.value.replace("Relu", "Selu")


def manifests_key(model: onnx.onnx.ModelProto) -> None:
    next(each for each in model.metadata_props if each.key == "portable_nn").key = "portable_nm"


DAMAGE = {each.__name__: each for each in (weight, attribute, operator, bias, labels, manifest, manifests_key)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("weight", "tensor 'conv_1.weight' is damaged or another network's: its XXH3-128 is "),
        ("attribute", "the contents of node 'batch_norm_1' have changed"),
        ("operator", "node 'relu_1' is not as it was written"),
        ("bias", "node 'conv_1' is not as it was written"),
        ("labels", "'labels' in the metadata is not what the manifest says"),
        ("manifest", "the manifest in it does not have the SHA-256 in 'portable_nn.sha256'"),
        ("manifests_key", "the manifest in it does not have the SHA-256 in 'portable_nn.sha256'"),
    ],
)
def test_what_changed_is_named_and_taken_on_purpose_only(tmp_path: Path, change: str, reason: str) -> None:
    model = onnx.load(written(tmp_path, "convolutional"))
    DAMAGE[change](model)
    with pytest.raises(FormatError) as caught:
        read_onnx(model, where="a.onnx")
    assert str(caught.value).startswith(f"a.onnx: is damaged: {reason}")
    assert "'portable-nn import --edited' (in Python edited=True)" in str(caught.value)
    found = read_onnx(model, edited=True)
    assert reason in found.notes[0]
    x = np.random.default_rng(1).normal(size=(4, 1, 12, 12)).astype(np.float32)
    [theirs] = by_onnxruntime(model.SerializeToString()).values()
    np.testing.assert_allclose(found.network.predict(x), theirs, atol=1e-5)
    assert found.network.labels == (("b", "a", "c") if change == "labels" else ("a", "b", "c"))


def test_another_file_for_large_weights_is_checked_as_well(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(40), pnn.Dense(50), pnn.Dense(3), seed=0)
    data = export_onnx(net, tmp_path / "a.onnx", external_data=True).data
    assert data is not None
    damaged = bytearray(data.read_bytes())
    damaged[100] ^= 16
    data.write_bytes(damaged)
    with pytest.raises(FormatError, match=r"is damaged: tensor 'dense_1.weight' is damaged or another network's"):
        read_onnx(tmp_path / "a.onnx")


def test_what_another_version_wrote_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version may write another graph of the same manifest."""
    path = written(tmp_path, "perceptron")
    model = onnx.load(path)
    model.graph.node[1].op_type = "Selu"
    monkeypatch.setattr("portable_nn.onnx.origin.PRODUCER", "portable-nn 99.0")
    found = origin_of(model, "a.onnx")
    assert (found.state, "wrote it, and this version writes another graph" in found.reason) == ("edited", True)


# -- other programs


def through(change: Callable[[onnx.onnx.ModelProto], onnx.onnx.ModelProto | None]) -> Change:
    def run(source: Path, target: Path) -> None:
        model = onnx.load(source)
        onnx.save(change(model) or model, target)

    return run


def optimised(level: str) -> Change:
    def run(source: Path, target: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])

    return run


def quantised(source: Path, target: Path) -> None:
    pytest.importorskip("onnxruntime.quantization")
    from onnxruntime.quantization import quantize_dynamic

    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(str(source), str(target))
    finally:
        logging.disable(logging.NOTSET)


def calibrated(source: Path, target: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    shape = [dim.dim_value or 4 for dim in onnx.load(source).graph.input[0].type.tensor_type.shape.dim]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.left = [{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(3)]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    logging.disable(logging.WARNING)
    try:
        quantize_static(str(source), str(target), Reader())
    finally:
        logging.disable(logging.NOTSET)


def in_float16(source: Path, target: Path) -> None:
    float16 = pytest.importorskip("onnxconverter_common.float16")
    onnx.save(float16.convert_float_to_float16(onnx.load(source)), target)


def simplified(source: Path, target: Path) -> None:
    onnx.save(pytest.importorskip("onnxsim").simplify(onnx.load(source))[0], target)


def slim(source: Path, target: Path) -> None:
    onnx.save(pytest.importorskip("onnxslim").slim(onnx.load(source)), target)


def by_onnxscript(source: Path, target: Path) -> None:
    optimizer, ir = pytest.importorskip("onnxscript.optimizer"), pytest.importorskip("onnx_ir")
    model = ir.load(source)
    optimizer.optimize(model)
    ir.save(model, target)


def input_renamed(model: onnx.onnx.ModelProto) -> None:
    for node in model.graph.node:
        names = ["pixels" if name == "x" else name for name in node.input]
        del node.input[:]
        node.input.extend(names)
    model.graph.input[0].name = "pixels"


def batch_fixed(model: onnx.onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4


def input_fixed(model: onnx.onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4


def documented(model: onnx.onnx.ModelProto) -> None:
    model.graph.node[1].doc_string = "the second"


def licensed(model: onnx.onnx.ModelProto) -> None:
    model.metadata_props.add(key="license", value="MIT")


def undocumented(model: onnx.onnx.ModelProto) -> None:
    model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""


TOOLS: dict[str, Change] = {
    "onnxruntime basic": optimised("ENABLE_BASIC"),
    "onnxruntime extended": optimised("ENABLE_EXTENDED"),
    "onnxruntime none": optimised("DISABLE_ALL"),
    "quantize_dynamic": quantised,
    "quantize_static": calibrated,
    "float16": in_float16,
    "onnxsim": simplified,
    "onnxslim": slim,
    "onnxscript": by_onnxscript,
    "opset 15": through(lambda model: version_converter.convert_version(model, 15)),
    "opset 21": through(lambda model: version_converter.convert_version(model, 21)),
    "prefix": through(lambda model: compose.add_prefix(model, "a/")),
    "inferred": through(shape_inference.infer_shapes),
    "saved": through(lambda model: None),
    **{f.__name__: through(f) for f in (input_renamed, batch_fixed, input_fixed, documented, licensed, undocumented)},
}
OWN = {"onnxruntime none", "opset 15", "opset 21", "inferred", "saved", "licensed", "undocumented"}
"""Those that leave the graph as it was: what the manifest says still holds."""
EDITS = {"prefix", "input_renamed", "batch_fixed", "input_fixed", "documented", "quantize_dynamic", "quantize_static"}
"""Those that never do."""


@pytest.mark.parametrize(("tool", "name"), list(itertools.product(TOOLS, NETWORKS)))
def test_what_other_programs_do_is_no_damage(tmp_path: Path, tool: str, name: str) -> None:
    """The result computes what onnxruntime computes with it, or has operators that are not supported."""
    source, target = written(tmp_path, name), tmp_path / "theirs.onnx"
    TOOLS[tool](source, target)
    state = origin_of(parsed(target.read_bytes(), target), str(target)).state
    assert state in ({"own"} if tool in OWN else {"edited"} if tool in EDITS else {"own", "edited"})
    model = onnx.load(target)
    try:
        found = read_onnx(target, verify=False)
    except UnsupportedError:
        return
    assert bool([note for note in found.notes if note.startswith("read as another tool's model")]) == (state != "own")
    again = tmp_path / "again.onnx"
    export_onnx(found.network, again, verify=False)
    expected = by_onnxruntime(model.SerializeToString())
    for output, values in by_onnxruntime(again.read_bytes()).items():
        np.testing.assert_allclose(values, expected[output], atol=1e-3 if tool == "float16" else 1e-5)
    assert found.network.labels == NETWORKS[name]().labels


def test_what_another_program_added_to_the_metadata_is_kept(tmp_path: Path) -> None:
    model = onnx.load(written(tmp_path, "imported"))
    licensed(model)
    assert import_onnx(model).metadata == {"author": "somebody", "doc_string": "the model", "license": "MIT"}


def _renamed(path: Path) -> onnx.ModelProto:
    """Every node renamed, as optimisers do."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.name += "_x"
    return model


def _with_another_weight(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    tensor = next(each for each in model.graph.initializer if each.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] += 1
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return model


def _without_a_manifest(model: onnx.ModelProto) -> onnx.ModelProto:
    kept = [each for each in model.metadata_props if not each.key.startswith("portable_nn")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return model


def test_weights_that_an_edit_has_changed_are_named(tmp_path: Path) -> None:
    """Whether a program has only renamed nodes, or the numbers are others as well."""
    export_onnx(pnn.Sequential(pnn.Input(6), pnn.Dense(8), pnn.ReLU(), pnn.Dense(3), seed=0), tmp_path / "m.onnx")
    plain = origin_of(_renamed(tmp_path / "m.onnx"), "m")
    changed = origin_of(_with_another_weight(_renamed(tmp_path / "m.onnx"), "dense_2.weight"), "m")
    assert (plain.state, changed.state) == ("edited", "edited")
    assert "weights have changed" not in plain.reason
    assert changed.reason == f"{plain.reason}; weights have changed as well: 'dense_2.weight'"


def test_a_file_of_ours_without_its_manifest_is_no_foreign_one(tmp_path: Path) -> None:
    export_onnx(pnn.Sequential(pnn.Input(6), pnn.Dense(3), seed=0), tmp_path / "m.onnx")
    found = origin_of(_without_a_manifest(onnx.load(tmp_path / "m.onnx")), "m")
    assert (found.state, found.reason) == ("edited", "portable-nn wrote it, and its manifest was removed")


@pytest.mark.parametrize("change", [_renamed, lambda path: _without_a_manifest(onnx.load(path))])
def test_an_edited_file_is_warned_of_where_no_notes_are_given(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "m.onnx"
    export_onnx(pnn.Sequential(pnn.Input(6), pnn.Dense(3), seed=0), path)
    onnx.save(change(path), path)
    with pytest.warns(pnn.EditedWarning, match=r"m\.onnx: read as another tool's model: ") as found:
        import_onnx(path)
    assert [Path(each.filename) for each in found] == [Path(__file__)]
    with pytest.warns(pnn.EditedWarning, match=r"^the model: read as another tool's model: "):
        import_onnx(onnx.load(path))


def test_whole_numbers_where_floats_are_meant_do_not_make_a_file_another_tool_s(tmp_path: Path) -> None:
    network = pnn.Sequential(pnn.Input(1), pnn.Dense(1), seed=0)
    whole = Column("a", statistics=Statistics(900, 1100, 1000, 50))
    meant = Column("a", statistics=Statistics(900.0, 1100.0, 1000.0, 50.0))
    network.inputs = (InputInfo("input", "table", columns=(whole,), range=(0, 2000)),)
    export_onnx(network, tmp_path / "t.onnx")
    assert import_onnx(tmp_path / "t.onnx").inputs == (
        InputInfo("input", "table", columns=(meant,), range=(0.0, 2000.0)),
    )
