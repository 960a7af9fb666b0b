"""HDF5 files as other programs write them; h5py is the other side."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t

import portable_nn as pnn
from portable_nn.converters.keras import read_keras
from portable_nn.converters.onnx import import_onnx
from portable_nn.core.errors import FormatError, PortableNNError
from portable_nn.plain import Entry, open_tensors

KINDS = ("f2", "f4", "f8", "i2", "i4", "i8", "u2", "u4", "u8", "c8", "c16")
TYPES = [*(order + kind for order in "<>" for kind in KINDS), "i1", "u1", "?"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.h5"


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("kind", TYPES)
def test_each_type(path, kind, libver):
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(kind)
    with h5py.File(path, "w", libver=libver) as file:
        file["a"] = array
    found = open_tensors(path)
    assert found.entries == {"a": Entry(array.dtype.name, (2, 3), array.nbytes)}
    assert found["a"].dtype == array.dtype.newbyteorder("=")
    assert found["a"].dtype.isnative
    np.testing.assert_array_equal(found["a"], array)


def test_a_file_of_keras_2(path):
    """One group for each layer in ``model_weights``, names with ``:0``, and the names again as attributes."""
    kernel, bias = np.arange(12, dtype=np.float32).reshape(3, 4), np.ones(4, np.float32)
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = np.bytes_("2.15.0")
        file.attrs["backend"] = np.bytes_("tensorflow")
        file.attrs["model_config"] = '{"class_name": "Sequential"}'
        file.attrs["training_config"] = "{}"
        file.attrs["numbers"] = np.arange(3)
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([b"dense", b"activation"])
        layer = weights.create_group("dense")
        layer.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"])
        layer["dense/kernel:0"], layer["dense/bias:0"] = kernel, bias
        weights.create_group("activation")
    found = open_tensors(path)
    assert list(found) == ["model_weights/dense/dense/bias:0", "model_weights/dense/dense/kernel:0"]
    np.testing.assert_array_equal(found["model_weights/dense/dense/kernel:0"], kernel, strict=True)
    assert found.metadata == {"keras_version": "2.15.0", "backend": "tensorflow"}
    assert found.notes == (
        "the file has attributes with texts of variable length: model_config, training_config: skipped",
    )


def test_a_file_of_keras_3(path):
    with h5py.File(path, "w") as file:
        for layer, shapes in {"dense": [(3, 4), (4,)], "dense_1": [(4, 2), (2,)], "dropout": []}.items():
            vars = file.create_group(f"layers/{layer}/vars")
            for place, shape in enumerate(shapes):
                vars[str(place)] = np.full(shape, place, np.float32)
        file.create_group("optimizer/vars")["0"] = np.int64(7)
    found = open_tensors(path)
    assert set(found.entries.items()) == {
        ("layers/dense/vars/0", Entry("float32", (3, 4), 48)),
        ("layers/dense/vars/1", Entry("float32", (4,), 16)),
        ("layers/dense_1/vars/0", Entry("float32", (4, 2), 32)),
        ("layers/dense_1/vars/1", Entry("float32", (2,), 8)),
        ("optimizer/vars/0", Entry("int64", (), 8)),
    }
    assert found["optimizer/vars/0"] == 7


@pytest.mark.parametrize(
    ("options", "filters"),
    [
        ({"compression": "gzip"}, "gzip"),
        ({"compression": "gzip", "shuffle": True, "fletcher32": True}, "fletcher32, gzip, shuffle"),
        ({"compression": "lzf"}, "lzf"),
        ({"chunks": (3, 7)}, ""),
        ({"chunks": (16, 16), "maxshape": (None, None)}, ""),
        ({"chunks": (16, 16), "maxshape": (None, None), "compression": 9}, "gzip"),
    ],
)
def test_chunks_and_the_filters_of_h5py(path, options, filters):
    array = np.arange(200, dtype=np.float32).reshape(10, 20)
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=array, **options)
        file["b"] = array
    found = open_tensors(path)
    np.testing.assert_array_equal(found["a"], array, strict=True)
    assert found.notes == ((f"1 dataset filtered by {filters}",) if filters else ())


def test_zeros_that_gzip_packs_as_tightly_as_it_can(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.zeros((1000, 1000)), compression=9, chunks=(1000, 1000))
        assert file["a"].id.get_storage_size() < 8000
    assert not open_tensors(path)["a"].any()


def test_small_arrays_may_be_in_the_header_of_their_object(path):
    with h5py.File(path, "w") as file:
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_layout(h5d.COMPACT)
        dataset = h5d.create(file.id, b"a", h5t.IEEE_F32LE, h5s.create_simple((3,)), properties)
        dataset.write(h5s.ALL, h5s.ALL, np.array([1, 2, 3], np.float32))
    assert open_tensors(path)["a"].tolist() == [1, 2, 3]


def test_arrays_without_elements(path):
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros((0, 5), np.float32)
        file.create_dataset("b", shape=(0,), maxshape=(None,), dtype="f8")
    found = open_tensors(path)
    assert {name: array.shape for name, array in found.items()} == {"a": (0, 5), "b": (0,)}


@pytest.mark.long
def test_groups_are_walked_by_a_loop(path):
    """Five thousand groups in one another are no recursion."""
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(5000):
            group = group.create_group("g")
        group["a"] = np.float32(3)
    assert open_tensors(path)["g/" * 5000 + "a"] == 3


def test_what_is_no_array_of_numbers_is_skipped(path):
    narrow = h5t.STD_I32LE.copy()
    narrow.set_precision(24)
    with h5py.File(path, "w") as file:
        file["array"] = np.zeros(2, np.dtype([("x", "f4", (3,))]))
        file["empty"] = h5py.Empty("f4")
        file.create_dataset("enumeration", data=[1, 2], dtype=h5py.enum_dtype({"A": 1, "B": 2}))
        file["named"] = np.dtype("f4")
        file.create_dataset("of a named type", data=np.zeros(3), dtype=file["named"])
        file["opaque"] = np.void(b"abc")
        file["records"] = np.zeros(2, [("x", "f4"), ("y", "i2")])
        file.create_dataset("references", data=[file["records"].ref], dtype=h5py.ref_dtype)
        file["small arrays"] = np.zeros(2, np.dtype("i4"))
        del file["small arrays"]
        h5d.create(file.id, b"small arrays", h5t.array_create(h5t.NATIVE_FLOAT, (3,)), h5s.create_simple((2,)))
        file["text"], file["texts"] = "hello", np.array([b"ab", b"cd"])
        file.create_dataset("vlen", shape=(2,), dtype=h5py.vlen_dtype(np.int32))
        h5d.create(file.id, b"width", narrow, h5s.create_simple((3,)))
        file["x"] = np.ones(2)
    found = open_tensors(path)
    assert list(found) == ["x"]
    other = "not numbers that numpy has: it is skipped"
    assert found.notes == (
        f"'/array' holds records (a compound type), {other}",
        "'/empty' is empty and without a shape: it is skipped",
        f"'/enumeration' holds an enumeration, {other}",
        "'/named' is a type, not an array: it is skipped",
        "'/of a named type' has a type that is an object of its own: it is skipped",
        f"'/opaque' holds opaque bytes, {other}",
        f"'/records' holds records (a compound type), {other}",
        f"'/references' holds references, {other}",
        f"'/small arrays' holds small arrays, {other}",
        f"'/text' holds text, {other}",
        f"'/texts' holds text, {other}",
        f"'/vlen' holds rows of different lengths (vlen), {other}",
        f"'/width' holds integers of an unusual width, {other}",
    )


def test_a_bool_is_0_or_1(path):
    with h5py.File(path, "w") as file:
        file["a"] = np.array([True, False])
        offset = file["a"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[offset] = 7
    path.write_bytes(data)
    found = open_tensors(path)
    with pytest.raises(FormatError, match=r"m.h5: 'a' is bool, but has bytes other than 0 and 1$"):
        found["a"]


def test_damaged_data(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.arange(1000.0), compression="gzip", fletcher32=True)
        start = file["a"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[start + 100] ^= 1
    path.write_bytes(data)
    found = open_tensors(path)
    with pytest.raises(FormatError, match=r"m.h5: '/a' is damaged, or HDF5 cannot read it"):
        found["a"]


def test_text_that_is_not_utf_8(path):
    with h5py.File(path, "w") as file:
        file.attrs["by"] = np.bytes_(b"M\xfcller")
        attribute = h5py.h5a.create(file.id, b"n\xff", h5t.C_S1, h5s.create(h5s.SCALAR))
        attribute.write(np.array(b"x"))
    assert open_tensors(path).metadata == {"by": "M\ufffdller"}


def test_no_reader_tells_a_file_to_have_the_name_that_it_has(path):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
    for read in (import_onnx, read_keras, pnn.load):  # None of which reads Keras's old files.
        with pytest.raises(PortableNNError) as raised:
            read(path)
        assert "should end in .h5" not in str(raised.value)
        assert "HDF5 file" in str(raised.value)
