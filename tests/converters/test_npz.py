"""Networks as .npz files: for numpy as they are, for this package whole and strict."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors import safe_open

import portable_nn as pnn
from portable_nn.converters import npz
from portable_nn.converters.npz import has_manifest, read_contents, read_npz, write_contents, write_npz
from portable_nn.core.errors import FileError, FormatError, UsageError
from portable_nn.core.graph import Graph, Node, Parameter
from portable_nn.format import InputInfo, Manifest, OutputInfo, load
from portable_nn.format.tensors import ITEM_SIZES, Array
from portable_nn.preprocessing.steps import Reshape, Scale


def network() -> pnn.Network:
    """2 → 3 → 2 with all that a manifest can say."""
    made = pnn.Sequential(
        pnn.Input(2, name="x"),
        pnn.Dense(3),
        pnn.Sigmoid(),
        pnn.Dense(2),
        labels=("nein", "größer"),
        metadata={"author": "mé"},
        seed=3,
    )
    parameters = [replace(value, trainable=value.name != "dense_1.bias") for value in made.graph.parameters]
    return pnn.Network.from_graph(
        replace(made.graph, parameters=tuple(parameters)),
        made.parameters,
        outputs=made.outputs,
        inputs=[InputInfo("x", "table", (Scale(0.5, 0.01), Reshape((2,))))],
        metadata=made.metadata,
    )


def identities(tensors: dict[str, Array]) -> Manifest:
    """A network that only gives out its parameters, whatever their types are."""
    parameters = tuple(Parameter(name, array.dtype.name, array.shape) for name, array in tensors.items())
    nodes = tuple(Node(f"node {i}", "Identity", (p.name,), (f"out {i}",)) for i, p in enumerate(parameters))
    outputs = tuple(f"out {i}" for i in range(len(nodes)))
    graph = Graph(inputs=(), outputs=outputs, parameters=parameters, nodes=nodes)
    return Manifest(graph=graph, inputs=(), outputs=tuple(OutputInfo(name) for name in outputs))


EVERY_KIND: dict[str, Array] = {
    **{f"a {dtype}": (np.arange(6) % 2).astype(dtype).reshape(2, 3) for dtype in ITEM_SIZES},
    "one": np.array(2.5, np.float32),
    "none": np.zeros((0, 4), np.float64),
    "row": np.arange(5, dtype=np.int64),
    "encoder/layer.0/w:0": np.ones((2, 1, 2), np.float16),
    "größe.weight": np.full(3, -0.0),
    "transposed": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "strided": np.arange(12, dtype=np.int32)[::2],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of ``network()``."""
    write_npz(network(), tmp_path / "a.npz")
    return tmp_path / "a.npz"


# -- for everybody


def test_numpy_reads_every_parameter_by_its_name(path):
    with np.load(path) as found:
        assert found.files == ["portable_nn", "portable_nn.sha256", *network().parameters]
        for name, array in network().parameters.items():
            np.testing.assert_array_equal(found[name], array, strict=True)


def test_numpy_reads_every_type_and_shape(tmp_path):
    write_contents(tmp_path / "a.npz", identities(EVERY_KIND), EVERY_KIND)
    with np.load(tmp_path / "a.npz") as found:
        for name, array in EVERY_KIND.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
            assert np.signbit(found[name]).tolist() == np.signbit(array).tolist() if array.dtype.kind == "f" else True


def test_the_manifest_is_that_of_the_weight_file(path):
    digest = network().save(path.with_name("a.safetensors"))
    with safe_open(path.with_name("a.safetensors"), "np") as file, np.load(path) as found:
        text = found["portable_nn"].tobytes()
        assert text.decode() == file.metadata()["portable_nn"]
        assert found["portable_nn.sha256"].tobytes().decode() == hashlib.sha256(text).hexdigest() == digest
    assert json.loads(text)["metadata"] == {"author": "mé"}
    assert write_npz(network(), path) == digest


def test_it_is_an_ordinary_archive(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert (info.compress_type, info.date_time) == (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
            assert (info.external_attr >> 16, info.create_system, info.comment) == (0o100644, 3, b"")
        assert archive.comment == b""
        archive.extractall(path.parent)
    np.testing.assert_array_equal(np.load(path.parent / "dense_1.weight.npy"), network().parameters["dense_1.weight"])


def test_every_array_begins_where_it_can_be_mapped(tmp_path):
    write_contents(tmp_path / "a.npz", identities(EVERY_KIND), EVERY_KIND)
    data = (tmp_path / "a.npz").read_bytes()
    starts = [found.start() for found in re.finditer(b"\x93NUMPY", data)]
    assert len(starts) == len(EVERY_KIND) + 2
    assert {start % 64 for start in starts} == {0}


def test_the_same_network_gives_the_same_bytes(path):
    before = path.read_bytes()
    write_npz(network(), path)
    assert path.read_bytes() == before
    write_npz(read_npz(path), path)
    assert path.read_bytes() == before


# -- there and back


def test_a_network_comes_back_as_it_was(path):
    found, expected = read_npz(path), network()
    assert found.graph == expected.graph
    assert (found.inputs, found.outputs, found.metadata) == (expected.inputs, expected.outputs, expected.metadata)
    assert list(found.parameters) == list(expected.parameters)
    for name, array in expected.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], array, strict=True)
    x = np.ones((1, 2), np.float32)
    found.fit(x, [0], epochs=1, progress=False)
    assert (found.parameters["dense_1.weight"] != expected.parameters["dense_1.weight"]).any()


@pytest.mark.parametrize("lazy", [False, True])
def test_every_type_and_shape_comes_back(tmp_path, lazy):
    digest = write_contents(tmp_path / "a.npz", identities(EVERY_KIND), EVERY_KIND)
    found = read_contents(tmp_path / "a.npz", lazy=lazy)
    assert (found.digest, list(found.tensors)) == (digest, list(EVERY_KIND))
    for name, array in EVERY_KIND.items():
        np.testing.assert_array_equal(found.tensors[name], array, strict=True)
        assert found.tensors[name].flags.aligned
        assert found.tensors[name].flags.writeable is not lazy


def test_mapped_arrays_outlive_the_file(path):
    found = read_contents(path, lazy=True)
    path.unlink()
    np.testing.assert_array_equal(found.tensors["dense_1.weight"], network().parameters["dense_1.weight"])


def test_a_network_without_parameters(tmp_path):
    made = pnn.Sequential(pnn.Input(2), pnn.ReLU())
    write_npz(made, tmp_path / "a.npz")
    assert read_npz(tmp_path / "a.npz").graph == made.graph
    assert np.load(tmp_path / "a.npz").files == ["portable_nn", "portable_nn.sha256"]


def test_no_more_than_one_tensor_is_in_memory(tmp_path):
    count, size = 8, 4 * 2**20
    names = [f"w{i}" for i in range(count)]
    manifest = identities({name: np.broadcast_to(np.float32(0), (size // 4,)) for name in names})
    pairs = ((name, np.full(size // 4, i, np.float32)) for i, name in enumerate(names))
    tracemalloc.start()
    write_contents(tmp_path / "a.npz", manifest, pairs)
    found = read_contents(tmp_path / "a.npz", lazy=True)
    sums = [float(found.tensors[name].sum()) for name in reversed(names)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sums == [i * size / 4 for i in reversed(range(count))]
    assert peak < 2.5 * size


@pytest.mark.parametrize("wide", [1, 300, 4000, 12_000])
def test_what_is_larger_than_4_gib_stands_in_fields_of_64_bits(tmp_path, monkeypatch, wide):
    """With the limit set to a few bytes: sizes, places or both are beyond it."""
    monkeypatch.setattr(npz, "WIDE", wide)
    tensors = {"a": np.arange(4, dtype=np.float32), "b": np.arange(1000.0), "c": np.arange(3, dtype=np.int8)}
    write_contents(tmp_path / "a.npz", identities(tensors), tensors)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None
        assert [info.file_size for info in archive.infolist()][2:] == [128 + 16, 128 + 8000, 128 + 3]
    with np.load(tmp_path / "a.npz") as found:
        for name, array in tensors.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
    if wide > 3000:  # The manifest itself is always small.
        np.testing.assert_array_equal(read_contents(tmp_path / "a.npz").tensors["b"], tensors["b"])


# -- what is not written


def _with_training(folder: Path) -> Manifest:
    made = network()
    made.fit(np.ones((4, 2)), [0, 1, 0, 1], epochs=1, checkpoint=folder / "run", progress=False)
    return load(max((folder / "run").glob("*.safetensors"))).manifest


UNWRITABLE = {
    "portable_nn": "tensor 'portable_nn' has a name that means something else in an .npz file",
    "portable_nn.sha256": "tensor 'portable_nn.sha256' has a name that means something else in an .npz file",
    "w.npy": "tensor 'w.npy' has a name that ends in .npy, which numpy takes off",
    "w" * 65_532: f"tensor '{'w' * 40}…' has a name longer than the 65535 bytes that an archive can hold",
    "../w": "the name '../w' of a value looks like a path",
}


@pytest.mark.parametrize("name", UNWRITABLE, ids=lambda name: name[:20])
def test_names_that_an_archive_cannot_hold(tmp_path, name):
    tensors = {name: np.ones(2)}
    expected = re.escape(f"cannot save {tmp_path / 'a.npz'}: {UNWRITABLE[name]}")
    with pytest.raises(UsageError, match=f"^{expected}"):
        write_contents(tmp_path / "a.npz", identities(tensors), tensors)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_goes(tmp_path):
    tensors = {"w" * 65_531: np.ones(2)}
    write_contents(tmp_path / "a.npz", identities(tensors), tensors)
    with np.load(tmp_path / "a.npz") as found:
        np.testing.assert_array_equal(found["w" * 65_531], np.ones(2))
    assert list(read_contents(tmp_path / "a.npz").tensors) == ["w" * 65_531]


def test_a_training_has_no_place(tmp_path):
    expected = r"a\.npz: the state of an unfinished training has no place in an \.npz file: it holds a network only$"
    with pytest.raises(UsageError, match=expected):
        write_contents(tmp_path / "a.npz", _with_training(tmp_path), {})
    assert not (tmp_path / "a.npz").exists()


W = np.ones((2, 2), np.float32)

MISFITS = {
    "missing": ([("a", W)], "tensor 'b' is missing in the given arrays: node 'node 1' (Identity) needs float32 (2, 2)"),
    "left over": ([("a", W), ("b", W), ("c", W)], "tensor 'c' is in the given arrays, but not in the graph"),
    "shape": (
        [("a", W), ("b", W[:1])],
        "tensor 'b' has shape (1, 2) in the given arrays, but node 'node 1' (Identity) needs (2, 2)",
    ),
    "type": (
        [("a", W), ("b", W.astype(np.float64))],
        "tensor 'b' has dtype float64 in the given arrays, but node 'node 1' (Identity) needs float32",
    ),
    "twice": ([("a", W), ("b", W), ("a", W)], "tensor 'a' is given twice"),
    "NaN": ([("a", W), ("b", W * np.nan)], "tensor 'b' holds NaN or infinite values"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_tensors_that_do_not_fit_are_not_written(tmp_path, kind):
    pairs, message = MISFITS[kind]
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=f"^{re.escape(f'cannot save {path}: {message}')}"):
        write_contents(path, identities({"a": W, "b": W}), pairs)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileError, match=r"a\.npz: cannot be written: there is no folder '.*none'"):
        write_npz(network(), tmp_path / "none" / "a.npz")


# -- what is not read


def numpys(**arrays: Array) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


CHANGED = (
    "is an .npz file that does not begin with a portable-nn manifest: it holds arrays and not a network, or another "
    "program has changed it"
)

OTHERS = {
    "nothing": (b"", "is empty"),
    "text": (b"hello", "begins with b'hell', not as an .npz file does"),
    "page": (b"<!DOCTYPE html><html>", "is an HTML page"),
    "pickle": (b"\x80\x04\x95\x10", "is a Python pickle"),
    "arrays": (numpys(w=np.ones(2)), CHANGED),
    "arrays of these names": (numpys(portable_nn=np.ones(2)), CHANGED),
    "an empty archive": (b"PK\x05\x06" + bytes(18), "begins with b'PK\\x05\\x06'"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_network_is_told(tmp_path, kind):
    data, reason = OTHERS[kind]
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"^{re.escape(f'{path}: {reason}')}"):
        read_npz(path)
    assert not has_manifest(path)


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(FileError, match=r"none\.npz: does not exist$"):
        read_npz(tmp_path / "none.npz")
    with pytest.raises(FileError, match=r"is a folder, not a regular file$"):
        read_npz(tmp_path)
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(FileError, match=r"a\.npz: is a FIFO, not a regular file$"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("how", ["as they are", "compressed", "in another order"])
def test_an_archive_that_another_program_wrote_again_is_told(path, how):
    with np.load(path) as found:
        arrays = dict(found)
    if how == "in another order":
        arrays = dict(reversed(arrays.items()))
    (np.savez_compressed if how == "compressed" else np.savez)(path, **arrays)
    with pytest.raises(FormatError, match=re.escape(CHANGED)):
        read_npz(path)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.long)])
def test_no_length_but_the_right_one(path, step):
    whole = path.read_bytes()
    for length in range(0, len(whole), step):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"a\.npz: "):
            read_contents(path)
    for more in (b"\0", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(whole + more)
        with pytest.raises(FormatError, match=rf"is {len(whole) + len(more)} bytes long, but .* {len(more)} too many$"):
            read_contents(path)


def _flip(path: Path, whole: bytes, byte: int, bit: int) -> None:
    damaged = bytearray(whole)
    damaged[byte] ^= 1 << bit
    path.write_bytes(damaged)
    with pytest.raises(FormatError, match=r"a\.npz: "):
        read_contents(path)


def test_of_some_bytes_none_may_change(path):
    whole = path.read_bytes()
    bits = np.random.default_rng(0).integers(0, 8, len(whole))
    for byte in range(0, len(whole), 5):
        _flip(path, whole, byte, int(bits[byte]))


@pytest.mark.long
def test_no_bit_may_change(path):
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        _flip(path, whole, *divmod(place, 8))


def reforged(data: bytes, old: bytes, new: bytes) -> bytes:
    """A file with another manifest of the same length, and the digest that belongs to it."""
    assert len(old) == len(new)
    start = data.index(b'{"checksums"')
    stop = data.index(b"PK\x03\x04", start)
    text = data[start:stop].replace(old, new)
    assert text != data[start:stop]
    digest = hashlib.sha256(data[start:stop]).hexdigest().encode()
    changed = data[:start] + text + data[stop:]
    return changed.replace(digest, hashlib.sha256(text).hexdigest().encode())


FORGED = {
    "version": (b'"version":2', b'"version":9', "the file has version 9 of the format, and this"),
    "format": (b'"format":"portable-nn"', b'"format":"portable-mm"', "the manifest's format is 'portable-mm'"),
    "unknown field": (b'"opset":25', b'"opsot":25', "the manifest is malformed: Object contains unknown field `opsot`"),
    "shape": (b'"shape":[3,2]', b'"shape":[9,2]', "'dense_1' (Gemm): "),
    "a huge shape": (b'"dtype":"float32","name":"dense_2.bias","shape":[2]',
                     b'"dtype":"int8","name":"dense_2.bias","shape":[2   ]', "the manifest is not canonical JSON"),
    "operator": (b'"operator":"Sigmoid"', b'"operator":"os.exec"', "'sigmoid_1' (os.exec): "),
    "metadata": (b'"author"', b'"auther"', "the header of 'portable_nn.npy' is not what the manifest demands"),
    "path": (b"sigmoid_1", b"sigmo/../", "the name 'sigmo/../' of a value looks like a path"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGED)
def test_a_manifest_that_was_forged(path, kind):
    old, new, message = FORGED[kind]
    path.write_bytes(reforged(path.read_bytes(), old, new))
    with pytest.raises(FormatError, match=re.escape(message)):
        read_npz(path)
    assert has_manifest(path)


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    tensors = {"a": np.ones(1_000_000, np.int8)}
    write_contents(tmp_path / "a.npz", identities(tensors), tensors)
    data = reforged((tmp_path / "a.npz").read_bytes(), b'"shape":[1000000]', b'"shape":[9999999]')
    (tmp_path / "a.npz").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(
        FormatError, match=r"is 10\d+ bytes long, but its manifest describes \d+: \d+ missing: it is tr"
    ):
        read_contents(tmp_path / "a.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000


def test_two_tensors_that_were_exchanged_are_found(tmp_path):
    tensors = {"a": np.arange(100.0), "b": np.arange(100.0) + 1}
    write_contents(tmp_path / "a.npz", identities(tensors), tensors)
    data = (tmp_path / "a.npz").read_bytes()
    a, b = (array.tobytes() for array in tensors.values())
    (tmp_path / "a.npz").write_bytes(data.replace(a, b"?" * 800).replace(b, a).replace(b"?" * 800, b))
    with pytest.raises(
        FormatError, match=r"a\.npz: 2 faults\n  tensor 'a' is damaged or another network's: its SHA-256"
    ):
        read_contents(tmp_path / "a.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_not_read(tmp_path, monkeypatch, value):
    tensors = {"a": np.array([1.0, value])}
    with monkeypatch.context() as patch:
        patch.setattr(npz, "value_fault", lambda *_, **__: None)
        write_contents(tmp_path / "a.npz", identities(tensors), tensors)
    with pytest.raises(FormatError, match="tensor 'a' holds NaN or infinite values"):
        read_npz(tmp_path / "a.npz")


def test_a_training_in_an_archive_is_refused(tmp_path, monkeypatch):
    manifest = _with_training(tmp_path)
    tensors = load(max((tmp_path / "run").glob("*.safetensors"))).tensors
    own = {value.name: tensors[value.name] for value in manifest.graph.parameters}
    with monkeypatch.context() as patch:
        patch.setattr(npz, "_npz_faults", lambda _: ())
        patch.setattr(npz, "agreement_faults", lambda *_: [])
        write_contents(tmp_path / "a.npz", manifest, own)
    with pytest.raises(FormatError, match=r"an unfinished training has no place in an \.npz file"):
        read_npz(tmp_path / "a.npz")
