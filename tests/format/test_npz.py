"""Networks as .npz files: for numpy as they are, for this package whole and strict, and a model like all others."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import tracemalloc
import zipfile
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors import safe_open
from weight_files import identities

import portable_nn as pnn
import portable_nn.format as weight_file
from portable_nn.core.errors import FormatError, UsageError
from portable_nn.core.tensors import ITEM_SIZES, Array
from portable_nn.format import InputInfo, has_manifest, load, npz, save
from portable_nn.format.reading import HEADS
from portable_nn.preprocessing.steps import ReshapeStep, ScaleStep


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
        inputs=[InputInfo("x", "table", (ScaleStep(0.5, 0.01), ReshapeStep((2,))))],
        metadata=made.metadata,
    )


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
    network().save(tmp_path / "a.npz")
    return tmp_path / "a.npz"


# -- for everybody


def test_numpy_reads_every_parameter_by_its_name(path):
    with np.load(path) as found:
        assert found.files == ["portable_nn", "portable_nn.sha256", *network().parameters]
        for name, array in network().parameters.items():
            np.testing.assert_array_equal(found[name], array, strict=True)


def test_numpy_reads_every_type_and_shape(tmp_path):
    save(tmp_path / "a.npz", identities(EVERY_KIND), EVERY_KIND)
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
    assert network().save(path) == digest


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
    save(tmp_path / "a.npz", identities(EVERY_KIND), EVERY_KIND)
    data = (tmp_path / "a.npz").read_bytes()
    starts = [found.start() for found in re.finditer(b"\x93NUMPY", data)]
    assert len(starts) == len(EVERY_KIND) + 2
    assert {start % 64 for start in starts} == {0}


def test_the_same_network_gives_the_same_bytes(path):
    before = path.read_bytes()
    network().save(path)
    assert path.read_bytes() == before
    pnn.load(path).save(path)
    assert path.read_bytes() == before


# -- there and back


def test_a_network_comes_back_as_it_was(path):
    found, expected = pnn.load(path), network()
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
    digest = save(tmp_path / "a.npz", identities(EVERY_KIND), EVERY_KIND)
    found = load(tmp_path / "a.npz", lazy=lazy)
    assert (found.digest, list(found.tensors)) == (digest, list(EVERY_KIND))
    for name, array in EVERY_KIND.items():
        np.testing.assert_array_equal(found.tensors[name], array, strict=True)
        assert found.tensors[name].flags.aligned
        assert found.tensors[name].flags.writeable is not lazy


def test_mapped_arrays_outlive_the_file(path):
    found = load(path, lazy=True)
    path.unlink()
    np.testing.assert_array_equal(found.tensors["dense_1.weight"], network().parameters["dense_1.weight"])


def test_a_network_without_parameters(tmp_path):
    made = pnn.Sequential(pnn.Input(2), pnn.ReLU())
    made.save(tmp_path / "a.npz")
    assert pnn.load(tmp_path / "a.npz").graph == made.graph
    assert np.load(tmp_path / "a.npz").files == ["portable_nn", "portable_nn.sha256"]


def test_no_more_than_one_tensor_is_in_memory(tmp_path):
    count, size = 8, 4 * 2**20
    names = [f"w{i}" for i in range(count)]
    manifest = identities({name: np.broadcast_to(np.float32(0), (size // 4,)) for name in names})
    pairs = ((name, np.full(size // 4, i, np.float32)) for i, name in enumerate(names))
    tracemalloc.start()
    save(tmp_path / "a.npz", manifest, pairs)
    found = load(tmp_path / "a.npz", lazy=True)
    sums = [float(found.tensors[name].sum()) for name in reversed(names)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sums == [i * size / 4 for i in reversed(range(count))]
    assert peak < 2.5 * size


@pytest.mark.parametrize("wide", [1, 300, 4000, 12_000])
def test_what_is_larger_than_4_gib_stands_in_fields_of_64_bits(tmp_path, monkeypatch, wide):
    """With the limit set to a few bytes: sizes, places or both are beyond it."""
    monkeypatch.setattr(npz, "WIDE", wide)
    monkeypatch.setattr(weight_file, "_prepared", deque())  # ... with another limit
    HEADS.clear()
    tensors = {"a": np.arange(4, dtype=np.float32), "b": np.arange(1000.0), "c": np.arange(3, dtype=np.int8)}
    save(tmp_path / "a.npz", identities(tensors), tensors)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None
        assert [info.file_size for info in archive.infolist()][2:] == [128 + 16, 128 + 8000, 128 + 3]
    with np.load(tmp_path / "a.npz") as found:
        for name, array in tensors.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
    if wide > 3000:  # The manifest itself is always small.
        np.testing.assert_array_equal(load(tmp_path / "a.npz").tensors["b"], tensors["b"])


# -- names


NAMES = {
    "portable_nn": "%portable_nn%",
    "portable_nn.sha256": "%portable_nn.sha256%",
    "w.npy": "%w.npy%",
    "W.NPY": "%W.NPY%",
    "%": "%%%",
    "%w%": "%%w%%",
    "w": "w",
    "a/b.c": "a/b.c",
    "/a/": "/a/",
    "größe": "größe",
}


def test_every_name_has_an_array_of_its_own(tmp_path):
    """Those too that mean something else in an archive, or to numpy."""
    tensors = {name: np.full(2, number, np.float32) for number, name in enumerate(NAMES)}
    save(tmp_path / "a.npz", identities(tensors), tensors)
    with np.load(tmp_path / "a.npz") as found:
        assert found.files == ["portable_nn", "portable_nn.sha256", *NAMES.values()]
        for name, array in tensors.items():
            np.testing.assert_array_equal(found[NAMES[name]], array)
    for lazy in (False, True):
        found = load(tmp_path / "a.npz", lazy=lazy).tensors
        assert {name: array.tolist() for name, array in found.items()} == {n: a.tolist() for n, a in tensors.items()}


def test_the_longest_name_goes_and_no_longer_one(tmp_path):
    tensors = {"w" * 65_531: np.ones(2)}
    save(tmp_path / "a.npz", identities(tensors), tensors)
    with np.load(tmp_path / "a.npz") as found:
        np.testing.assert_array_equal(found["w" * 65_531], np.ones(2))
    assert list(load(tmp_path / "a.npz").tensors) == ["w" * 65_531]
    tensors = {"w" * 65_532: np.ones(2)}
    with pytest.raises(
        UsageError, match=r"the name 'w+…' has 65536 bytes with its suffix; at most 65535 are possible$"
    ):
        save(tmp_path / "b.npz", identities(tensors), tensors)
    assert not (tmp_path / "b.npz").exists()


# -- a model like all others


def test_a_training_goes_on_from_an_archive(tmp_path):
    """A checkpoint in an .npz file is one like any other."""
    x, y = np.random.default_rng(0).random((8, 2), np.float32), [0, 1] * 4
    made = network()
    made.fit(x, y, epochs=2, checkpoint=tmp_path / "run", progress=False)
    stored = load(max((tmp_path / "run").glob("*.safetensors")))
    save(tmp_path / "a.npz", stored.manifest, stored.tensors)
    found = load(tmp_path / "a.npz")
    assert (found.digest, found.manifest.training) == (stored.digest, stored.manifest.training)
    assert {name: array.tobytes() for name, array in found.tensors.items()} == {
        name: array.tobytes() for name, array in stored.tensors.items()
    }


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_it_predicts_as_every_carrier_does(path, engine):
    network().save(path.with_suffix(".safetensors"))
    (path.parent / "rows.csv").write_text("0.5,2\n-1,3\n")
    expected = list(pnn.predict(path.with_suffix(".safetensors"), path.parent / "rows.csv", engine=engine))
    assert list(pnn.predict(path, path.parent / "rows.csv", engine=engine)) == expected
    assert len(expected) == 2


# -- what is not read


def numpys(**arrays: Array) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


NO_MANIFEST = "is an .npz file without a portable-nn manifest: it holds arrays, not a network"

OTHERS = {
    "nothing": (b"", "is empty"),
    "text": (b"hello", "begins with b'hell', not as an .npz file does"),
    "page": (b"<!DOCTYPE html><html>", "is an HTML page"),
    "pickle": (b"\x80\x04\x95\x10", "is a Python pickle"),
    "arrays": (numpys(w=np.ones(2)), NO_MANIFEST),
    "arrays of these names": (numpys(portable_nn=np.ones(2)), NO_MANIFEST),
    "an empty archive": (b"PK\x05\x06" + bytes(18), "begins with b'PK\\x05\\x06'"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_files_without_a_network_are_refused(tmp_path, kind):
    data, reason = OTHERS[kind]
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"^{re.escape(f'{path}: {reason}')}"):
        pnn.load(path)
    assert not has_manifest(path)


@pytest.mark.parametrize("size", [2**32 - 2, 2**32 - 1, 2**32])
def test_a_large_size_is_in_an_extra_field(size: int) -> None:
    """As APPNOTE.TXT of zip has it: the field of 32 bits is all ones, and a field with the id 1 has 64 bits."""
    member = npz._Member("w", b"", size, size)
    local, central = npz._local(member, 0), npz._central(member, 0)
    wide = size >= 2**32 - 1
    assert struct.unpack_from("<2I", local, 18) == (min(size, 2**32 - 1),) * 2
    assert struct.unpack_from("<2I", central, 20) == (min(size, 2**32 - 1),) * 2
    assert struct.unpack_from("<I", central, 42) == (min(size, 2**32 - 1),)
    assert (struct.pack("<2H2Q", 1, 16, size, size) in local) is wide
    assert central.endswith(struct.pack("<2H3Q", 1, 24, size, size, size)) is wide
    needed = struct.unpack_from("<H", local, 4) + struct.unpack_from("<H", central, 6)
    assert needed == ((45, 45) if wide else (20, 20))
    assert len([*npz._end(size, 1, 1)]) == (3 if wide else 1)
