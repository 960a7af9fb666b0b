from __future__ import annotations

import hashlib
import json
import tracemalloc

import h5py
import numpy as np
import onnx
import pytest
import safetensors.numpy
from foreign import FLOAT, convolutional, write
from msgspec.structs import replace
from onnx import helper

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import FileError, FormatError, UsageError
from portable_nn.format import load, save
from portable_nn.format.training import GeneratorState, TrainingRecord
from portable_nn.inspection import as_json, as_text
from portable_nn.inspection.rows import TensorRow, TrainingRow
from portable_nn.outputs.reports import against, inspect, manifest_text

DIGITS = find_model("digits-mlp")


@pytest.mark.parametrize("model", ["digits-mlp", DIGITS.onnx])
def test_the_shipped_model(model):
    found = inspect(model)
    # By hand: a factor, an offset, 784·200 + 200 and 200·10 + 10 numbers of four bytes.
    assert [(row.name, row.operator, row.parameters, row.bytes) for row in found.nodes] == [
        ("mul_1", "Mul", 1, 4),
        ("rescaling_1", "Add", 1, 4),
        ("hidden", "Gemm", 157_000, 628_000),
        ("activation", "Sigmoid", 0, 0),
        ("digit", "Gemm", 2_010, 8_040),
    ]
    assert [(row.inputs, row.outputs) for row in found.nodes] == [
        ((("batch", 784),),) * 2,
        ((("batch", 784),),) * 2,
        ((("batch", 784),), (("batch", 200),)),
        ((("batch", 200),),) * 2,
        ((("batch", 200),), (("batch", 10),)),
    ]
    assert (found.parameters, found.bytes, found.frozen) == (159_012, 636_048, 2)
    assert found.outputs[0].labels == tuple("0123456789")
    assert found.outputs[0].kind == "logits"
    assert found.inputs[0].kind == "image"
    assert "separate the drawings" in " ".join(found.inputs[0].preprocessing)


def test_the_digest_is_that_of_the_file():
    found = inspect(DIGITS.weights).file
    data = DIGITS.weights.read_bytes()
    assert (found.sha256, found.bytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_shared_parameters_are_counted_once():
    x = pnn.Input(4)
    layer = pnn.Dense(4)
    found = inspect(pnn.Network(x, layer(layer(x))))
    assert [row.parameters for row in found.nodes] == [20, 0]
    assert found.parameters == 20
    assert found.file is None


def test_operators_that_cannot_be_imported(tmp_path):
    found = inspect(convolutional(tmp_path / "m.onnx", metadata={"names": "a,b,c,d,e", "author": "them"}))
    assert [(row.operator, row.outputs, row.parameters) for row in found.nodes] == [
        ("Conv", (("n", 5, 6, 6),), 135),
        ("com.microsoft.Trilu", (("n", 5, 6, 6),), 0),
        ("GlobalAveragePool", (("n", 5, 1, 1),), 0),
        ("Flatten", (("n", 5),), 0),
    ]
    assert found.outputs[0].labels == tuple("abcde")
    assert found.metadata["author"] == "them"


def test_an_operator_that_nobody_knows(tmp_path):
    node = helper.make_node("Swirl", ["x"], ["y"], domain="com.example")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("com.example", 1)]), tmp_path / "m.onnx")
    found = inspect(tmp_path / "m.onnx")
    assert [(row.name, row.operator, row.outputs) for row in found.nodes] == [("y", "com.example.Swirl", (None,))]
    assert "y       com.example.Swirl  (n, 3)  ?" in as_text(found)
    assert "output y: float32 of unknown shape" in as_text(found)


def test_the_text():
    lines = as_text(inspect("digits-mlp")).splitlines()
    assert "node         operator  input         output        parameters    bytes" in lines
    assert "hidden       Gemm      (batch, 784)  (batch, 200)     157,000  628,000" in lines
    assert "frozen      2 of 159,012 parameters" in lines
    assert "5 nodes                                               159,012  636,048" in lines
    assert "output digit: float32(batch, 10), logits" in lines
    assert "  labels: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in lines
    assert any(line.startswith("  5. separate the drawings") for line in lines)


def test_many_labels_are_not_all_printed(tmp_path):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(1000), labels=[f"c{place}" for place in range(1000)])
    assert "c18, c19, … (1,000 labels)" in as_text(inspect(net))
    assert "c20" not in as_text(inspect(net))


GENERATOR = GeneratorState("0" * 32, "0" * 31 + "1", 0, 0)


@pytest.mark.parametrize(
    ("epoch", "batch", "step", "text"),
    [
        (0, 0, 0, "stopped after 0 epochs, 0 steps in all"),
        (1, 0, 1000, "stopped after 1 epoch, 1,000 steps in all"),
        (2, 7, 2007, "stopped after 2 epochs and batch 7 of the next, 2,007 steps in all"),
    ],
)
def test_where_the_training_of_a_checkpoint_stands(tmp_path, epoch, batch, step, text):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
    training = TrainingRecord(
        tensors=(),
        settings={},
        epoch=epoch,
        batch=batch,
        step=step,
        loss=0.5,
        weight=1.0,
        generator=GENERATOR,
        epoch_generator=GENERATOR,
        rows=tuple({"epoch": place, "loss": 1.0} for place in range(1, epoch + 1)),
        best_epoch=None,
    )
    save(tmp_path / "c.safetensors", replace(net.manifest(), training=training), net.parameters)
    found = inspect(tmp_path / "c.safetensors")
    assert found.training == TrainingRow(epoch, batch, step)
    assert f"training    {text}" in as_text(found).splitlines()
    assert as_json(found)["training"] == {"epoch": epoch, "batch": batch, "step": step}
    assert inspect("digits").training is None


@pytest.mark.parametrize("suffix", [".safetensors", ".h5", ".npz"])
def test_a_large_file_is_not_read_into_memory(tmp_path, suffix):
    if suffix == ".npz":
        np.savez(tmp_path / "m.npz", w=np.zeros((3000, 2000), np.float32))
    else:
        net = pnn.Sequential(pnn.Input(2000), pnn.Dense(3000), seed=0)
        net.save(tmp_path / f"m{suffix}")
    path = tmp_path / f"m{suffix}"
    inspect(path)
    tracemalloc.start()
    found = inspect(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.bytes >= 24_000_000
    assert peak < 5_000_000


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
def test_damaged_weight_files_are_told_and_not_shown_as_arrays(tmp_path, suffix):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
    path = tmp_path / f"m{suffix}"
    net.save(path)
    data = path.read_bytes()
    at = data.index(b"dense_1")
    for place, message in ((at, "the manifest is damaged"), (len(data) - 1, "tensor 'dense_1.bias' is damaged")):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        for use in (inspect, manifest_text):
            with pytest.raises(FormatError, match=message):
                use(path)


# -- files of arrays


@pytest.fixture
def arrays(tmp_path):
    """The same arrays in a file of each kind."""
    found = {"dense/kernel": np.ones((3, 2), np.float32), "dense/bias": np.zeros(2), "step": np.int64(7)}
    safetensors.numpy.save_file(
        {name: np.asarray(array) for name, array in found.items()},
        tmp_path / "m.safetensors",
        {"format": "pt", "story": "x" * 2000},
    )
    np.savez(tmp_path / "m.npz", note=np.array("text"), **found)
    np.save(tmp_path / "m.npy", found["dense/kernel"])
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["keras_version"] = np.bytes_("3.5.0")
        for name, array in found.items():
            file[name] = array
    (tmp_path / "m.hdf5").write_bytes((tmp_path / "m.h5").read_bytes())
    return tmp_path


ROWS = {
    TensorRow("dense/kernel", "float32", (3, 2), 24), TensorRow("dense/bias", "float64", (2,), 16),
    TensorRow("step", "int64", (), 8),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".h5", ".hdf5"])
def test_a_file_of_arrays(arrays, suffix):
    path = arrays / f"m{suffix}"
    found = inspect(str(path))
    assert set(found.tensors) == ROWS
    assert (found.parameters, found.bytes, found.nodes, found.digest) == (9, 48, (), "")
    assert found.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    lines = as_text(found).splitlines()
    assert lines[0].split() == ["file", str(path), f"({path.stat().st_size / 1000:.1f}", "kB)"]
    assert "tensor        dtype    shape   bytes" in lines
    assert "dense/kernel  float32  (3, 2)     24" in lines
    assert "3 tensors                         48" in lines
    assert "opset" not in as_text(found)
    written = json.loads(json.dumps(as_json(found)))
    assert {"name": "step", "dtype": "int64", "shape": [], "bytes": 8} in written["tensors"]


def test_a_single_array(arrays):
    assert inspect(arrays / "m.npy").tensors == (TensorRow("m", "float32", (3, 2), 24),)


def test_what_a_file_of_arrays_says_besides(arrays):
    found = inspect(arrays / "m.npz")
    assert found.notes == ("'note' holds <U4, not numbers: it is skipped",)
    assert as_text(found).endswith("\n\nnotes\n  'note' holds <U4, not numbers: it is skipped")
    assert inspect(arrays / "m.h5").metadata == {"keras_version": "3.5.0"}
    found = inspect(arrays / "m.safetensors")
    assert found.metadata == {"format": "pt", "story": "x" * 2000}
    assert f"  story: {'x' * 1000}… (2,000 characters)" in as_text(found).splitlines()


def test_names_in_files_of_arrays_cannot_command_the_terminal(tmp_path):
    data = {"\x1b[31mred": np.ones(2)}
    safetensors.numpy.save_file(data, tmp_path / "m.safetensors", {"\x1b[2J": "\x1b[1m\n"})
    text = as_text(inspect(tmp_path / "m.safetensors"))
    assert "\x1b" not in text
    assert r"\x1b[31mred" in text
    assert r"  \x1b[2J: \x1b[1m\n" in text


def test_a_file_of_arrays_has_no_manifest(arrays):
    with pytest.raises(
        UsageError, match=r"m.npz: has no manifest: it holds arrays, not a network that portable-nn wrote$"
    ):
        manifest_text(arrays / "m.npz")
    (arrays / "page.h5").write_text("<html><body>404</body></html>")
    with pytest.raises(FormatError, match=r"page.h5: is an HTML page"):
        manifest_text(arrays / "page.h5")


@pytest.mark.parametrize("name", ["no.npz", "no.npy", "no.h5", "no.hdf5", "no.safetensors"])
def test_files_of_arrays_that_do_not_exist(tmp_path, name):
    with pytest.raises(FileError, match=r"does not exist$"):
        inspect(tmp_path / name)


# -- what of a file fits a model


@pytest.fixture
def small(tmp_path):
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0)
    net.save(tmp_path / "small.h5")
    export_onnx(net, tmp_path / "small.onnx")
    return tmp_path


@pytest.mark.parametrize("model", ["small.h5", "small.onnx"])
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".h5", ".hdf5"])
def test_arrays_against_a_model(arrays, small, suffix, model):
    found = against(arrays / f"m{suffix}", small / model)
    assert [(row.name, row.status, row.suggestion, row.axes) for row in found.rows] == [
        ("dense_1.weight", "missing", "dense/kernel", (1, 0)),
        ("dense_1.bias", "missing", "dense/bias", ()),
    ]
    assert found.left_over == ("step",)


@pytest.mark.parametrize("file", ["digits-mlp", DIGITS.weights, DIGITS.onnx])
@pytest.mark.parametrize("model", ["digits-mlp", DIGITS.weights, DIGITS.onnx])
def test_a_model_against_itself(file, model):
    found = against(file, model)
    assert found.fits
    scaling = ["rescaling_1.scale", "rescaling_1.offset"]
    assert [row.name for row in found.rows] == [*scaling, "hidden.weight", "hidden.bias", "digit.weight", "digit.bias"]
    assert found.left_over == ()


def test_a_model_against_another(small):
    found = against("digits-mlp", "digits-cnn")
    assert {row.name: row.status for row in found.rows} == {
        "rescaling_1.scale": "fits",
        "rescaling_1.offset": "fits",
        "strokes.weight": "missing",
        "strokes.bias": "missing",
        "shapes.weight": "missing",
        "shapes.bias": "missing",
        "parts.weight": "missing",
        "parts.bias": "missing",
        "digit.weight": "shape differs",
        "digit.bias": "fits",
    }
    assert found.left_over == ("hidden.weight", "hidden.bias")


def test_an_onnx_file_that_cannot_be_imported_against_a_model(tmp_path):
    found = against(convolutional(tmp_path / "m.onnx"), "digits-mlp")
    assert not found.fits
    assert found.left_over


def test_the_weights_of_a_training_are_not_those_of_the_network(tmp_path):
    """Of a checkpoint, what the optimizer keeps neither fits nor is left over."""
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
    state = {f"training/state/{name}/first": np.zeros_like(array) for name, array in net.parameters.items()}
    values = tuple(replace(value, name=f"training/state/{value.name}/first") for value in net.graph.parameters)
    plain = tuple(type(net.graph.inputs[0])(value.name, value.dtype, value.shape) for value in values)
    training = TrainingRecord(
        tensors=plain,
        settings={},
        epoch=0,
        batch=0,
        step=0,
        loss=0.0,
        weight=0.0,
        generator=GENERATOR,
        epoch_generator=GENERATOR,
        rows=(),
        best_epoch=None,
    )
    save(tmp_path / "c.h5", replace(net.manifest(), training=training), dict(net.parameters) | state)
    found = against(tmp_path / "c.h5", tmp_path / "c.h5")
    assert (len(found.rows), found.fits, found.left_over) == (2, True, ())
    assert set(state) < set(load(tmp_path / "c.h5").tensors)


def test_arrays_are_no_model(arrays):
    with pytest.raises(FormatError, match="is an HDF5 file"):
        against("digits", arrays / "m.h5")
    for name in ("m.safetensors", "m.npz"):
        with pytest.raises(FormatError, match="it holds arrays"):
            against("digits", arrays / name)
    with pytest.raises(
        UsageError, match=r"m.npy: expected a model, whose name ends in .safetensors, .h5, .npz or .onnx"
    ):
        against("digits", arrays / "m.npy")


def test_names_cannot_command_the_terminal(tmp_path):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), labels=["\x1b[31mred", "new\nline"])
    assert r"labels: \x1b[31mred, new\nline" in as_text(inspect(net))


def test_the_summary_of_a_network_is_the_same_text():
    net = pnn.load(DIGITS.weights)
    assert net.summary() == as_text(inspect(net))


def test_json_has_all_of_it():
    found = json.loads(json.dumps(as_json(inspect("digits-mlp"))))
    assert found["nodes"][0]["inputs"] == [["batch", 784]]
    assert found["outputs"][0]["labels"] == list("0123456789")
    assert found["file"]["path"] == str(DIGITS.weights)


@pytest.mark.parametrize("model", ["digits-mlp", DIGITS.onnx])
def test_the_manifest_is_the_one_in_the_file(model):
    text = manifest_text(model)
    assert text.encode() in DIGITS.onnx.read_bytes()
    assert json.loads(text)["outputs"][0]["labels"] == list("0123456789")


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
def test_the_digest_is_that_of_the_manifest_in_every_carrier(tmp_path, suffix):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
    path = tmp_path / f"m{suffix}"
    digest = net.save(path)
    assert inspect(path).digest == digest
    assert hashlib.sha256(manifest_text(path).encode()).hexdigest() == digest
    assert f"digest      {digest}" in as_text(inspect(path)).splitlines()
    pnn.load(path, digest=inspect(path).digest)


def test_onnx_files_and_networks_have_no_digest():
    assert inspect(DIGITS.onnx).digest == ""
    assert "digest" not in as_text(inspect(DIGITS.onnx))


def test_no_manifest(tmp_path):
    with pytest.raises(UsageError, match="has no manifest: ONNX files have one if portable-nn wrote them"):
        manifest_text(convolutional(tmp_path / "m.onnx"))


def test_a_changed_manifest_is_not_believed(tmp_path):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), labels=["a", "b"])
    export_onnx(net, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    for entry in model.metadata_props:
        entry.value = entry.value.replace('"a"', '"c"') if entry.key == "portable_nn" else entry.value
    onnx.save(model, tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").outputs[0].labels == ("a", "b")


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        inspect(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_text("hello")
    with pytest.raises(FormatError, match="is a text file, not an ONNX model"):
        inspect(tmp_path / "m.onnx")
    (tmp_path / "m.safetensors").write_bytes(bytes(100))
    with pytest.raises(FormatError):
        inspect(tmp_path / "m.safetensors")


def test_sizes_of_other_types_are_counted(tmp_path):
    node = helper.make_node("Gather", ["w", "x"], ["y"])
    weight = np.zeros((7, 2), np.float16)
    path = write(tmp_path / "m.onnx", [node], {"x": (7, ["n"])}, {"y": (10, ["n", 2])}, {"w": weight})
    assert (inspect(path).parameters, inspect(path).bytes) == (14, 28)
    assert inspect(path).outputs[0].dtype == "float16"


@pytest.mark.parametrize(("dtype", "size"), [("int4", 8), ("uint2", 4), ("float8_e4m3fn", 15), ("bfloat16", 30)])
def test_sizes_of_types_of_few_bits_are_those_in_the_file(tmp_path, dtype, size):
    weight = np.ones((5, 3), getattr(pytest.importorskip("ml_dtypes"), dtype))
    tensor = onnx.numpy_helper.from_array(weight, "w")
    assert len(tensor.raw_data) == size
    graph = helper.make_graph([helper.make_node("Cast", ["w"], ["y"], to=1)], "g", [], [], [tensor])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    assert [(row.parameters, row.bytes) for row in inspect(tmp_path / "m.onnx").nodes] == [(15, size)]
