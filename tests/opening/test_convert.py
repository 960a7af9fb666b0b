"""Networks from every kind of file into every other: the same numbers for other readers, and the same bytes back."""

from __future__ import annotations

import itertools
import re
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from foreign import WEIGHT, linear
from msgspec.structs import replace
from onnx import helper, numpy_helper
from safetensors.numpy import load_file, save_file

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import FileError, FormatError, UsageError, VerificationError
from portable_nn.core.graph import Graph, Node, Parameter
from portable_nn.core.tensors import Array
from portable_nn.format import InputInfo, Manifest, OutputInfo, load
from portable_nn.format import save as save_contents
from portable_nn.opening import convert as module
from portable_nn.opening.carried import WrittenNetwork
from portable_nn.opening.convert import Conversion, convert
from portable_nn.opening.kinds import NETWORKS
from portable_nn.operators import REGISTRY
from portable_nn.preprocessing.steps import GreyscaleStep, ResizeStep

KINDS = ("safetensors", "h5", "npz", "onnx")

DIRECTIONS = list(itertools.product(KINDS, KINDS))


def network(dtype: str = "float32") -> pnn.Network:
    """4 → 5 → 3 with all that a manifest can say."""
    made = pnn.Sequential(
        pnn.Input(4, name="x", dtype=dtype),
        pnn.Dense(5),
        pnn.BatchNorm1d(),
        pnn.Sigmoid(),
        pnn.Dense(3),
        labels=("nein", "größer", "3, vier"),
        metadata={"author": "mé"},
        seed=3,
    )
    parameters = [
        replace(value, trainable=value.trainable and value.name != "dense_1.bias") for value in made.graph.parameters
    ]
    return pnn.Network.from_graph(
        replace(made.graph, parameters=tuple(parameters)),
        made.parameters,
        outputs=made.outputs,
        inputs=[InputInfo("x", "image", (GreyscaleStep(), ResizeStep(2, 2)))],
        metadata=made.metadata,
    )


OUTSIDE = (
    "inputs are prepared outside the file: convert to grey, 0 (black) to 255 (white), with the ITU-R 601 weights, on "
    "white where transparent; scale to 2x2 pixels (bilinear); the file takes {} (4,), levels 0 to 255. portable-nn "
    "predict and pnn.prepare do this"
)


def outside(target: str, dtype: str = "float32") -> tuple[str, ...]:
    """The notes on what an ONNX file of ``network`` does not do."""
    return (OUTSIDE.format(dtype),) if target == "onnx" else ()


WRITERS: Mapping[str, Callable[[pnn.Network, Path], object]] = {
    "safetensors": pnn.Network.save,
    "h5": pnn.Network.save,
    "npz": pnn.Network.save,
    "onnx": export_onnx,
}


def write(folder: Path, kind: str, made: pnn.Network | None = None) -> Path:
    """The file ``a.KIND``, by the function that writes such files and not by ``convert``."""
    WRITERS[kind](made or network(), folder / f"a.{kind}")
    return folder / f"a.{kind}"


def _h5(path: Path) -> dict[str, Array]:
    found = {}
    with h5py.File(path) as file:
        for layer, group in file.items():
            if isinstance(group, h5py.Group):
                found.update({f"{layer}.{name}": dataset[()] for name, dataset in group.items()})
    return found


def _npz(path: Path) -> dict[str, Array]:
    with np.load(path) as found:
        return {name: found[name] for name in found.files if not name.startswith("portable_nn")}


def _onnx(path: Path) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


READERS: Mapping[str, Callable[[Path], dict[str, Array]]] = {
    "safetensors": load_file, "h5": _h5, "npz": _npz, "onnx": _onnx,
}  # fmt: skip
"""How other programs read the tensors."""


def assert_tensors(path: Path, expected: Mapping[str, Array]) -> None:
    found = READERS[path.suffix.removeprefix(".")](path)
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


# -- every direction


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_direction(tmp_path, source, target, dtype):
    made = network(dtype)
    a, b, back = write(tmp_path, source, made), tmp_path / f"b.{target}", tmp_path / f"back.{source}"
    found = convert(a, b)
    assert_tensors(b, made.parameters)
    assert isinstance(found, Conversion)
    assert (found.source, found.target, found.files) == (a, b, (b,))
    assert found.bytes == b.stat().st_size
    assert (found.tensors, found.tensor_bytes) == (
        len(made.parameters),
        sum(w.nbytes for w in made.parameters.values()),
    )
    assert (found.verified, found.same_digest, found.dropped) == (True, True, ())
    assert found.notes == outside(target, dtype)
    assert found.digest == made.save(tmp_path / "c.safetensors")
    assert (found.opset, found.ir_version) == ((17, 8) if target == "onnx" else (None, None))
    assert list(found.outputs) == (["dense_2"] if "onnx" in (source, target) else [])
    assert all(difference.max_abs_error < 1e-5 for difference in found.outputs.values())
    assert b.read_bytes() == write(tmp_path, target, made).read_bytes()
    convert(b, back)
    assert back.read_bytes() == a.read_bytes()


@pytest.mark.parametrize("target", KINDS)
def test_a_shipped_model_by_its_name(tmp_path, target):
    found = convert("digits-mlp", tmp_path / f"b.{target}")
    assert found.source == find_model("digits-mlp").weights
    assert_tensors(found.target, load_file(found.source))
    back = convert(found.target, tmp_path / "back.safetensors")
    assert_tensors(back.target, load_file(found.source))
    assert back.digest == found.digest


@pytest.mark.parametrize("target", KINDS)
def test_a_file_of_version_1(tmp_path, target):
    golden = Path(__file__).parents[1] / "golden" / "v1.safetensors"
    found = convert(golden, tmp_path / f"b.{target}")
    assert_tensors(found.target, load_file(golden))
    assert found.same_digest is False
    *steps, note = found.notes
    assert note == f"the digest differs: {golden} is of version 1 of the format, and this is version 3"
    assert len(steps) == (target == "onnx")
    assert all(
        "centre its mass in 2x2; multiply by 0.004 and add 0.01; reshape to (4,); the file" in step for step in steps
    )


def test_who_wrote_a_network_is_said_until_an_onnx_file_says_another(tmp_path):
    manifest = replace(network().manifest(hashed=False), producer="portable-nn 0.0.1")
    digest = save_contents(tmp_path / "a.h5", manifest, network().parameters)
    for kind in ("safetensors", "h5", "npz"):
        found = convert(tmp_path / "a.h5", tmp_path / f"b.{kind}")
        assert (found.digest, found.same_digest, found.notes) == (digest, True, ())
    found = convert(tmp_path / "a.h5", tmp_path / "b.onnx")
    assert found.same_digest is False
    said = "the digest differs: the manifest names another version of portable-nn as its writer"
    assert found.notes == (*outside("onnx"), said)


def test_an_existing_file_is_replaced(tmp_path):
    a, b = write(tmp_path, "npz"), tmp_path / "b.h5"
    b.write_bytes(b"old")
    convert(a, b)
    assert_tensors(b, network().parameters)


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(["safetensors", "h5", "npz"], 2)))
def test_no_more_than_one_tensor_is_in_memory(tmp_path, source, target):
    size = 2**20
    made = pnn.Sequential(pnn.Input(512), *(pnn.Dense(512, bias=False) for _ in range(8)), seed=0)
    a = write(tmp_path, source, made)
    tracemalloc.start()
    convert(a, tmp_path / f"b.{target}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * size  # A tensor, and chunks of a mebibyte for each thread.


def test_large_onnx_models_have_their_tensors_beside_them(tmp_path, monkeypatch):
    from portable_nn.converters.onnx import exporting

    made = pnn.Sequential(pnn.Input(40), pnn.Dense(30), pnn.ReLU(), pnn.Dense(2), seed=0)
    a = write(tmp_path, "npz", made)
    monkeypatch.setattr(exporting, "MAX_BYTES", exporting.MARGIN)
    found = convert(a, tmp_path / "b.onnx")
    assert len(found.files) == 2
    assert found.bytes == sum(file.stat().st_size for file in found.files)
    assert_tensors(tmp_path / "b.onnx", made.parameters)
    monkeypatch.undo()
    convert(tmp_path / "b.onnx", tmp_path / "back.npz")
    assert (tmp_path / "back.npz").read_bytes() == a.read_bytes()


# -- checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that stands after one epoch."""
    folder = tmp_path_factory.mktemp("checkpoint") / "run"
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    options = {"epochs": 1, "batch_size": 4, "checkpoint": folder, "progress": False}
    network().fit(x, np.arange(8) % 3, optimizer=pnn.Adam(), **options)
    return max(folder.glob("*.safetensors"))


@pytest.mark.parametrize("target", ["h5", "npz"])
def test_weight_files_hold_a_training_in_every_carrier(tmp_path, checkpoint, target):
    found = convert(checkpoint, tmp_path / f"b.{target}")
    contents = load(checkpoint)
    assert contents.manifest.training is not None
    assert load(found.target).manifest == contents.manifest
    assert (found.same_digest, found.dropped, found.notes) == (True, (), ())
    assert found.tensors == len(contents.tensors) > len(network().parameters)
    convert(found.target, tmp_path / "back.safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == checkpoint.read_bytes()


def test_onnx_files_hold_the_network_alone(tmp_path, checkpoint):
    found = convert(checkpoint, tmp_path / "b.onnx")
    contents = load(checkpoint)
    own = {value.name: contents.tensors[value.name] for value in contents.manifest.graph.parameters}
    extra = {name: array for name, array in contents.tensors.items() if name not in own}
    assert_tensors(found.target, own)
    [line] = found.dropped
    assert re.fullmatch(r"the state of its training after 1 epoch and 2 steps: (\d+) tensors \(\d+ B\)", line)
    assert f": {len(extra)} tensors ({sum(array.nbytes for array in extra.values())} B)" in line
    assert found.notes == (*outside("onnx"), "the digest differs: it is that of the network without its training")
    assert found.digest == pnn.load(checkpoint).save(tmp_path / "c.safetensors")


# -- ONNX


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_the_opset_of_onnx_files(tmp_path, opset):
    a = write(tmp_path, "npz")
    assert convert(a, tmp_path / "b.onnx", opset=opset).opset == opset
    assert onnx.load(tmp_path / "b.onnx").opset_import[0].version == opset
    back = convert(tmp_path / "b.onnx", tmp_path / "back.npz")
    assert (tmp_path / "back.npz").read_bytes() == a.read_bytes()
    again = convert(tmp_path / "b.onnx", tmp_path / "c.onnx")
    said = f"that its operators are those of opset {opset}: "
    assert back.dropped == (() if opset == 17 else (f"{said}export writes 17 by default",))
    assert again.dropped == (() if opset == 17 else (f"{said}it is 17 there",))


@pytest.mark.parametrize("target", KINDS)
def test_a_model_of_another_tool(tmp_path, target):
    a = linear(tmp_path / "a.onnx", metadata={"author": "somebody"})
    model = onnx.load(a)
    model.producer_name, model.producer_version = "painter", "2.0"
    onnx.save(model, a)
    found = convert(a, tmp_path / f"b.{target}")
    if target == "h5":
        with h5py.File(found.target) as file:
            np.testing.assert_array_equal(file["w"], WEIGHT)
    else:
        assert_tensors(found.target, {"w": WEIGHT})
    assert found.dropped == ()
    said = "the network comes from a file of opset 17 and IR version 8, written by painter 2.0: here they are 17 and 8"
    assert found.notes == ((said,) if target == "onnx" else ())
    assert found.same_digest is None
    assert list(found.outputs) == ["y"]
    back = convert(found.target, tmp_path / "back.safetensors")
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    made = pnn.load(back.target)
    np.testing.assert_allclose(made.predict(x), x @ WEIGHT, atol=1e-6)
    assert made.metadata == {"author": "somebody"}
    assert (made.documentation.origin.producer, made.documentation.origin.producer_version) == ("painter", "2.0")


def test_what_is_read_otherwise_than_it_is_written_is_noted(tmp_path):
    from foreign import FLOAT
    from foreign import write as write_model

    nodes = [helper.make_node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[2, 2], auto_pad="SAME_UPPER")]
    a = write_model(tmp_path / "a.onnx", nodes, {"x": (FLOAT, ["n", 1, 4, 4])}, {"y": (FLOAT, ["n", 1, 4, 4])})
    found = convert(a, tmp_path / "b.h5")
    assert found.notes == ("node 'pool' (MaxPool): auto_pad SAME_UPPER is read as pads (0, 0, 1, 1)",)


def test_an_onnx_file_that_another_tool_changed(tmp_path):
    a = write(tmp_path, "onnx")
    model = onnx.load(a)
    [tensor] = [tensor for tensor in model.graph.initializer if tensor.name == "dense_2.bias"]
    tensor.CopyFrom(numpy_helper.from_array(np.float32([1, 2, 3]), "dense_2.bias"))
    onnx.save(model, a)
    with pytest.raises(FormatError, match=r"is damaged: tensor 'dense_2\.bias' is damaged or another network's"):
        convert(a, tmp_path / "b.npz")
    found = convert(a, tmp_path / "b.npz", edited=True)
    [note] = found.notes
    assert note.startswith("read as another tool's model: the manifest in it does not describe it any more")
    assert found.same_digest is None
    np.testing.assert_array_equal(np.load(tmp_path / "b.npz")["dense_2.bias"], [1, 2, 3])


# -- arrays of other projects


def arrays() -> dict[str, Array]:
    """Other values for every parameter of ``network()``."""
    rng = np.random.default_rng(7)
    return {name: rng.uniform(0.5, 1, array.shape).astype(array.dtype) for name, array in network().parameters.items()}


def _save_h5(path: Path, tensors: Mapping[str, Array]) -> None:
    with h5py.File(path, "w") as file:
        for name, array in tensors.items():
            file[name] = array


SAVERS: Mapping[str, Callable[[Path, Mapping[str, Array]], None]] = {
    "safetensors": lambda path, tensors: save_file(dict(tensors), path),
    "npz": lambda path, tensors: np.savez(path, **tensors),  # type: ignore[arg-type]
    "compressed.npz": lambda path, tensors: np.savez_compressed(path, **tensors),  # type: ignore[arg-type]
    "h5": _save_h5,
    "hdf5": _save_h5,
}
"""How other programs write tensors."""


def save(folder: Path, kind: str, tensors: Mapping[str, Array]) -> Path:
    path = folder / f"plain.{kind}"
    SAVERS[kind](path, tensors)
    return path


@pytest.mark.parametrize(("source", "target"), list(itertools.product(SAVERS, KINDS)))
def test_arrays_become_the_network_of_a_model(tmp_path, source, target):
    model, plain = write(tmp_path, "safetensors"), save(tmp_path, source, arrays())
    found = convert(plain, tmp_path / f"b.{target}", against=model)
    assert_tensors(found.target, arrays())
    assert found.same_digest is None
    assert found.dropped == ()
    assert set(found.notes) - {f"'/{name}' is compressed" for name in arrays()} == {
        f"graph, labels and preprocessing are those of {model}",
        f"the metadata of {model} describe other weights, and are dropped",
        *outside(target),
    }
    expected = network()
    expected.load_weights(arrays())
    made = pnn.load(convert(found.target, tmp_path / "back.h5").target)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(made.predict(x), expected.predict(x))
    assert (made.graph, made.inputs, made.outputs, made.metadata) == (
        expected.graph,
        expected.inputs,
        expected.outputs,
        {},
    )


@pytest.mark.parametrize("model", [*KINDS, "digits-mlp"])
def test_the_model_may_be_of_any_kind(tmp_path, model):
    if model in KINDS:
        against, tensors = write(tmp_path, model), arrays()
    else:
        against, tensors = Path(model), {k: v + 1 for k, v in pnn.load_model(model).parameters.items()}
    found = convert(save(tmp_path, "npz", tensors), tmp_path / "b.safetensors", against=str(against))
    assert_tensors(found.target, tensors)


def test_names_can_be_changed_and_tensors_left_out(tmp_path):
    tensors = arrays()
    renamed = {"w1": tensors.pop("dense_1.weight"), "dense_1.weight": tensors.pop("dense_2.weight")}
    plain = save(tmp_path, "npz", {**tensors, **renamed, "steps": np.arange(3)})
    rename = {"w1": "dense_1.weight", "dense_1.weight": "dense_2.weight", "steps": ""}
    found = convert(plain, tmp_path / "b.h5", against=write(tmp_path, "npz"), rename=rename)
    assert_tensors(found.target, arrays())
    assert found.dropped == ("tensor 'steps', int64 (3,)",)


def test_words_that_belong_to_the_file_are_dropped(tmp_path):
    save_file(arrays(), tmp_path / "plain.safetensors", metadata={"format": "pt"})
    found = convert(tmp_path / "plain.safetensors", tmp_path / "b.npz", against=write(tmp_path, "npz"))
    assert found.dropped == ("the file's metadata 'format'",)


def test_an_archive_that_numpy_wrote_again(tmp_path):
    model = write(tmp_path, "npz")
    with np.load(model) as found:
        np.savez(tmp_path / "plain.npz", **{**found, **arrays()})
    with pytest.raises(FormatError, match=r"tensor 'dense_1.weight' is damaged or another network's: "):
        convert(tmp_path / "plain.npz", tmp_path / "b.h5")
    found = convert(tmp_path / "plain.npz", tmp_path / "b.h5", against=model)
    assert_tensors(found.target, arrays())
    assert found.dropped == ()
    assert found.notes[0] == "the manifest in it is not read: another program has changed the file"


@pytest.mark.parametrize("kind", SAVERS)
def test_arrays_alone_are_no_network(tmp_path, kind):
    plain = save(tmp_path, kind, {"a": np.ones(2), "b": np.ones(3)})
    expected = (
        f"{plain}: holds arrays and not a network (2 tensors: a, b). --against MODEL says which network they are of: a "
        "shipped model or a file whose tensors have the same names and shapes (--rename OLD=NEW, where a name is "
        "another)"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(expected)}$"):
        convert(plain, tmp_path / "b.h5")
    assert [path.name for path in tmp_path.iterdir()] == [plain.name]


def without(*names: str) -> dict[str, Array]:
    return {name: array for name, array in arrays().items() if name not in names}


FITTING = {
    "missing": (without("dense_2.bias"), "tensor 'dense_2.bias' (3,) is missing"),
    "another name": (
        {**without("dense_2.bias"), "output.bias": np.ones(3, np.float32)},
        "tensor 'dense_2.bias' (3,) is missing: perhaps --rename output.bias=dense_2.bias",
    ),
    "transposed, of another name": (
        {**without("dense_2.weight"), "output/kernel": np.ones((5, 3), np.float32)},
        "tensor 'dense_2.weight' (3, 5) is missing: perhaps --rename output/kernel=dense_2.weight, transposed, which "
        "has to be done before",
    ),
    "left over": (
        {**arrays(), "steps": np.arange(3)}, "tensor 'steps' is not of the network: --rename steps= leaves it out",
    ),
    "another shape": (
        {**arrays(), "dense_2.bias": np.ones((3, 1), np.float32)},
        "tensor 'dense_2.bias' has shape (3, 1), but the network needs (3,)",
    ),
    "transposed": (
        {**arrays(), "dense_2.weight": np.ones((5, 3), np.float32)},
        "tensor 'dense_2.weight' has shape (5, 3), but the network needs (3, 5), transposed, which has to be "
        "done before",
    ),
    "another type": (
        {**arrays(), "dense_2.bias": np.ones(3)}, "tensor 'dense_2.bias' is float64, but the network needs float32",
    ),
    "several": (
        {**without("dense_1.bias", "dense_2.bias"), "steps": np.arange(2)},
        "3 faults\n  tensor 'dense_1.bias' (5,) is missing\n  tensor 'dense_2.bias' (3,) is missing\n  "
        "tensor 'steps' is not of the network",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FITTING)
def test_arrays_that_do_not_fit_are_listed_one_by_one(tmp_path, case):
    tensors, message = FITTING[case]
    model, plain = write(tmp_path, "safetensors"), save(tmp_path, "npz", tensors)
    expected = f"{plain}: does not fit {model}: {message}"
    with pytest.raises(FormatError, match=f"^{re.escape(expected)}"):
        convert(plain, tmp_path / "b.h5", against=model)
    assert not (tmp_path / "b.h5").exists()


def test_a_damaged_file_of_arrays_is_refused(tmp_path):
    plain = save(tmp_path, "safetensors", arrays())
    plain.write_bytes(plain.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"plain\.safetensors: .*truncated"):
        convert(plain, tmp_path / "b.h5", against=write(tmp_path, "npz"))


# -- what is refused


@pytest.mark.parametrize(
    ("source", "target", "options", "error", "message"),
    [
        (
            "a.npz",
            "b.txt",
            {},
            UsageError,
            "b.txt: the name of a file that can be written ends in .safetensors, .h5, .npz or .onnx",
        ),
        ("a.npz", "b", {}, UsageError, "b: the name of a file that can be written ends in"),
        (
            "a.txt",
            "b.h5",
            {},
            UsageError,
            "a.txt: the name of a file that can be read ends in .safetensors, .h5, .npz or .onnx",
        ),
        ("digit", "b.h5", {}, UsageError, "no model is called 'digit': did you mean 'digits'?"),
        ("none.npz", "b.h5", {}, FileError, "none.npz: does not exist"),
        ("a.npz", "a.npz", {}, UsageError, "a.npz is the file to read: write to another one"),
        ("a.npz", "b.h5", {"opset": 17}, UsageError, "b.h5: opset is an option of ONNX files, whose names"),
        ("a.npz", "b.onnx", {"opset": 3}, UsageError, "opset must be 13 to 25, not 3"),
        (
            "a.npz",
            "b.h5",
            {"against": "digits"},
            UsageError,
            "a.npz: holds a network of its own: --against and --rename are for files that hold arrays only",
        ),
        ("a.npz", "b.h5", {"rename": {"a": "b"}}, UsageError, "a.npz: holds a network of its own"),
        ("plain.npz", "b.h5", {"against": "digit"}, UsageError, "no model is called 'digit': did you mean 'digits'?"),
        ("plain.npz", "b.h5", {"against": "plain.npz"}, UsageError, "plain.npz: holds arrays and not a network"),
        (
            "plain.npz",
            "b.h5",
            {"against": "a.npz", "rename": {"dense_1.weigh": "x"}},
            UsageError,
            "plain.npz: there is no tensor 'dense_1.weigh' to rename: did you mean 'dense_1.weight'?",
        ),
        (
            "plain.npz",
            "b.h5",
            {"against": "a.npz", "rename": {"?": "x"}},
            UsageError,
            "plain.npz: there is no tensor '?' to rename",
        ),
        (
            "plain.npz",
            "b.h5",
            {"against": "a.npz", "rename": {"dense_1.bias": "dense_2.bias"}},
            UsageError,
            "plain.npz: 'dense_1.bias' and 'dense_2.bias' would both be called 'dense_2.bias'",
        ),
        ("a.npz", "none/b.h5", {}, FileError, "none/b.h5: cannot be written: there is no folder "),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path, monkeypatch, source, target, options, error, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "npz")
    save(tmp_path, "npz", arrays())
    (tmp_path / "a.txt").touch()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        convert(source, target, **options)
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "a.txt", "plain.npz"}


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_damage_is_found_before_anything_is_left(tmp_path, source, target):
    a = write(tmp_path, source)
    bias = network().parameters["dense_2.weight"].tobytes()
    data = a.read_bytes()
    a.write_bytes(data.replace(bias, bytes(len(bias))))
    with pytest.raises(FormatError, match=rf"a\.{source}: .*tensor 'dense_2.weight' is damaged or another network's"):
        convert(a, tmp_path / f"b.{target}")
    assert list(tmp_path.iterdir()) == [a]


def test_what_a_target_cannot_hold_is_listed(tmp_path):
    long = "b" * 65_532
    node = Node("n", "Identity", (long,), ("y",))
    graph = Graph((), ("y",), (Parameter(long, "float32", (2,)),), (node,))
    outputs = (OutputInfo("y", labels=("no", "yes")),)
    manifest = Manifest(graph=graph, inputs=(), outputs=outputs, metadata={"labels": "mine"})
    save_contents(tmp_path / "a.safetensors", manifest, {long: np.ones(2, np.float32)})
    for suffix in (".h5", ".npz"):
        with pytest.raises(UsageError, match=r"the name 'b+…' has 655.. bytes"):
            convert(tmp_path / "a.safetensors", tmp_path / f"b{suffix}")
    with pytest.raises(UsageError, match="metadata key 'labels' has a meaning of its own in ONNX files"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


# -- verification


def spoil(monkeypatch: pytest.MonkeyPatch, kind: str, **changes: object) -> None:
    """Have files of a kind written with something else in them than was given."""
    found_kind = NETWORKS[f".{kind}"]
    right = found_kind.write

    def wrong(path: Path, source: module.ReadNetwork, options: object) -> WrittenNetwork:
        tensors = {name: array + 1 if name == "dense_2.bias" else array for name, array in source.tensors.items()}
        return right(path, source._replace(**{"tensors": tensors, **changes}), options)  # type: ignore[arg-type]

    monkeypatch.setattr(found_kind, "write", wrong)


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", ["safetensors", "onnx"])
def test_another_tensor_is_noticed_and_nothing_is_left(tmp_path, monkeypatch, source, target):
    a, b = write(tmp_path, source), tmp_path / f"b.{target}"
    spoil(monkeypatch, target)
    expected = (
        rf"{b} does not hold what was written: tensor 'dense_2\.bias' has the SHA-256 [0-9a-f]{{64}} there, and "
        rf"[0-9a-f]{{64}} in {a} \(it is removed, and the earlier file is back\)$"
    )
    with pytest.raises(VerificationError, match=expected):
        convert(a, b)
    assert list(tmp_path.iterdir()) == [a]
    b.write_bytes(b"what was there")
    with pytest.raises(VerificationError, match=expected):
        convert(a, b)
    assert sorted(tmp_path.iterdir()) == sorted([a, b])
    assert b.read_bytes() == b"what was there"
    convert(a, b, verify=False)


@pytest.mark.parametrize("target", KINDS)
def test_another_description_is_noticed(tmp_path, monkeypatch, target):
    a, b = write(tmp_path, "npz"), tmp_path / f"b.{target}"
    manifest = network().manifest(hashed=False)
    spoil(monkeypatch, target, tensors=network().parameters, manifest=replace(manifest, metadata={"author": "me"}))
    expected = rf"b\.{target} does not hold what was written: its manifest differs from that in {a}"
    with pytest.raises(VerificationError, match=expected):
        convert(a, b)
    assert list(tmp_path.iterdir()) == [a]


@pytest.mark.parametrize("target", ["h5", "safetensors", "npz"])
def test_a_file_that_cannot_be_read_back_is_removed(tmp_path, monkeypatch, target):
    a, b = write(tmp_path, "onnx"), tmp_path / f"b.{target}"
    found_kind = NETWORKS[f".{target}"]
    right = found_kind.write

    def torn(path: Path, *given: object) -> WrittenNetwork:
        written = right(path, *given)  # type: ignore[arg-type]
        path.write_bytes(path.read_bytes()[:-1])
        return written

    monkeypatch.setattr(found_kind, "write", torn)
    with pytest.raises(VerificationError, match=rf"b\.{target}: .*: it is truncated \(it is removed"):
        convert(a, b)
    assert list(tmp_path.iterdir()) == [a]


def test_engines_that_do_not_agree_leave_no_file(tmp_path, monkeypatch):
    import dataclasses

    right = REGISTRY["", "Sigmoid"]

    def kernel(bound):
        return [*right.kernel(bound), lambda: bound.plan._arrays[bound.node.outputs[0]].__iadd__(np.float32(1e-3))]

    a = write(tmp_path, "npz")
    monkeypatch.setitem(REGISTRY, ("", "Sigmoid"), dataclasses.replace(right, kernel=kernel))
    with pytest.raises(VerificationError, match="numpy and onnxruntime part at node 'sigmoid_1'"):
        convert(a, tmp_path / "b.onnx")
    assert list(tmp_path.iterdir()) == [a]
    found = convert(a, tmp_path / "b.onnx", verify=False)
    assert (found.verified, found.outputs) == (False, {})
    assert found.notes == (*outside("onnx"), "not verified: the written file was not compared with the source")
    with pytest.raises(VerificationError, match="numpy and onnxruntime part"):
        convert(tmp_path / "b.onnx", tmp_path / "c.npz")
    assert_tensors(convert(tmp_path / "b.onnx", tmp_path / "c.npz", verify=False).target, network().parameters)


@pytest.mark.long
def test_without_verification_nothing_is_read_back(tmp_path, monkeypatch):
    for found_kind in set(NETWORKS.values()):
        monkeypatch.setattr(found_kind, "read_back", lambda *_: 1 / 0)
    for source, target in DIRECTIONS:
        a, b = write(tmp_path, source), tmp_path / f"b.{target}"
        assert not convert(a, b, verify=False).verified
        assert b.read_bytes() == write(tmp_path, target).read_bytes()
    assert import_onnx(b).metadata == {"author": "mé"}
