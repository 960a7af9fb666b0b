"""Safetensors files of other projects; the safetensors package is the other side."""

from __future__ import annotations

import json
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mutations import changes

from portable_nn.core.errors import FormatError, UnsupportedError
from portable_nn.plain import Entry, open_tensors

TYPES = ("F64", "F32", "F16", "BOOL", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "C64")
NUMPY = (
    "float64", "float32", "float16", "bool", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8",
    "complex64",
)  # fmt: skip


def frame(header, data=bytes(16)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(start=0, stop=16, dtype="F32", shape=(4,), **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop], **more}


@pytest.fixture
def opened(tmp_path):
    """Opens a file of these bytes."""

    def call(data):
        (tmp_path / "m.safetensors").write_bytes(data)
        return open_tensors(tmp_path / "m.safetensors")

    return call


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    arrays=st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "__metadata__"),
        st.sampled_from(NUMPY[:-1]).flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0))),
        max_size=5,
    ),
    metadata=st.dictionaries(st.text(max_size=4), st.text(max_size=20), min_size=1, max_size=3),
)
def test_the_same_as_the_safetensors_package(opened, tmp_path, arrays, metadata):
    metadata.pop("portable_nn", None)
    found = opened(safetensors.numpy.save(arrays, metadata))
    expected = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    assert set(found) == set(expected)
    assert found.metadata == metadata
    for name, array in expected.items():
        assert found.entries[name] == Entry(array.dtype.name, array.shape, array.nbytes)
        assert found[name].tobytes() == array.tobytes()
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)


@pytest.mark.parametrize(("code", "name"), list(zip(TYPES, NUMPY, strict=True)))
def test_each_type(opened, code, name):
    data = np.array([0, 1], name).tobytes()
    found = opened(frame({"a": tensor(0, len(data), code, [2])}, data))
    assert found.entries["a"].dtype == name
    assert found["a"].tolist() == [0, 1]


def test_bfloat16_is_read_as_float32(opened):
    numbers = np.array([[1, -2.5, 3e38], [np.inf, -0.0, 1e-40]], ml_dtypes.bfloat16)
    found = opened(frame({"w": tensor(0, 12, "BF16", [2, 3])}, numbers.tobytes()))
    assert found.entries["w"] == Entry("BF16", (2, 3), 12)
    np.testing.assert_array_equal(found["w"], numbers.astype(np.float32), strict=True)
    assert found.notes == ("BF16 is read as float32, which loses nothing",)


@pytest.mark.parametrize(
    ("code", "shape", "size"),
    [
        *((code, [3], 3) for code in ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ")),
        ("F6_E2M3", [2, 2], 3),
        ("F6_E3M2", [4], 3),
        ("F4", [6], 3),
    ],
)
def test_types_that_numpy_lacks_are_listed(opened, code, shape, size):
    data = frame({"w": tensor(0, size, code, shape), "b": tensor(size, size + 4, "F32", [1])}, bytes(size + 4))
    assert len(safetensors.deserialize(data)) == 2
    found = opened(data)
    assert found.entries["w"] == Entry(code, tuple(shape), size)
    assert found["b"].tolist() == [0]
    assert found.notes == (f"{code}: numpy has no such type, so these tensors are listed and cannot be read",)
    with pytest.raises(UnsupportedError, match=rf"m.safetensors: tensor 'w' is {code}, which numpy does not have$"):
        found["w"]


@pytest.mark.parametrize(
    "data",
    [
        frame(b' \n\t{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}\r\n\t '),
        frame(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),  # a header of 55 bytes
        frame({"b": tensor(12, 16, shape=[1]), "a": tensor(0, 12, shape=[3])}),
        frame({"a": tensor(1, 5, shape=[1]), "b": tensor(0, 1, "U8", [1])}, bytes(5)),  # not aligned
        frame({"a": tensor(), "b": tensor(16, 16, shape=[0, 5]), "c": tensor(0, 0, shape=[0])}),
        frame({}, b""),
        frame({"": tensor(), "__metadata__": {}}),
        frame({"../../etc/passwd": tensor(0, 8, shape=[2]), "a\0b": tensor(8, 16, shape=[2])}),
    ],
    ids=["white space", "length", "order", "misaligned", "empty arrays", "nothing", "no name", "names are names"],
)
def test_what_other_writers_may_do(opened, data):
    expected = dict(safetensors.deserialize(data))
    found = opened(data)
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: bytes(each["data"]) for name, each in expected.items()
    }


NESTED = b'{"a":' * 100_000 + b"1" + b"}" * 100_000

REFUSED = {
    "7 bytes": (bytes(7), r"is only 7 bytes long: it does not even hold the 8 bytes of the header's length$"),
    "no header": (bytes(16), r"has a header of 0 bytes$"),
    "longer than the file": (struct.pack("<Q", 5000) + b"{}", r"should have a header of 5000 bytes, but only 2 follow"),
    "all ones": (b"\xff" * 8 + b"{}", r"header length of 18446744073709551615 bytes; at most 100000000 are allowed$"),
    "no JSON": (frame(b"hello   "), "the header is malformed: it cannot be read as JSON in UTF-8"),
    "a list": (frame(b"[]"), r"the header is malformed: it is not a JSON object$"),
    "byte order mark": (frame(b"\xef\xbb\xbf{}"), "the header is malformed: it cannot be read as JSON in UTF-8"),
    "not UTF-8": (frame(b'{"\xff":1}'), "the header is malformed: it cannot be read as JSON in UTF-8"),
    "lone surrogate": (
        frame(b'{"__metadata__":{"a":"\\ud800"}}'),
        "the header is malformed: a name or a text has half of a surrogate pair$",
    ),
    "NaN": (frame(b'{"a":NaN}'), r"the header is malformed: NaN is not JSON$"),
    "deep": (frame(NESTED), r"the header is malformed: it is nested too deeply$"),
    "giant integer": (
        frame(b'{"a":' + b"9" * 5000 + b"}"),
        "the header is malformed: it cannot be read as JSON in UTF-8",
    ),
    "duplicate name": (
        frame(
            b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"U8","shape":[16],'
            b'"data_offsets":[0,16]}}'
        ),
        r"the header is malformed: 'a' stands in it twice$",
    ),
    "duplicate metadata": (frame(b'{"__metadata__":{"k":"1","k":"2"}}', b""), r"malformed: 'k' stands in it twice$"),
    "duplicate field": (
        frame(b'{"a":{"dtype":"F32","dtype":"U8","shape":[4],"data_offsets":[0,16]}}'),
        r"'dtype' stands in it twice$",
    ),
    "metadata null": (frame({"__metadata__": None}, b""), "malformed: __metadata__ cannot be null"),
    "metadata number": (
        frame({"__metadata__": {"a": 1}}, b""),
        "malformed: __metadata__.a cannot be 1",
    ),
    "unknown field": (frame({"a": tensor(more=1)}), "tensor 'a' has the unknown field 'more'"),
    "missing field": (frame({"a": {"dtype": "F32"}}), "tensor 'a' lacks the field 'shape'"),
    "offset 4.0": (frame({"a": tensor(0.0)}), r"tensor 'a'.data_offsets\[0\] cannot be 0.0"),
    "offset true": (frame({"a": tensor(True)}), r"tensor 'a'.data_offsets\[0\] cannot be true"),
    "offset -4": (frame({"a": tensor(-4)}), r"tensor 'a'.data_offsets\[0\] cannot be -4"),
    "three offsets": (
        frame({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 16]}}),
        r"tensor 'a'.data_offsets cannot be \[0, 16, 16\]",
    ),
    "backwards": (frame({"a": tensor(16, 0)}), r"tensor 'a' has -16 bytes of data, but F32 \(4,\) takes 16\n"),
    "unknown type": (frame({"a": tensor(dtype="F31")}), r"tensor 'a' has the unknown dtype 'F31'$"),
    "size": (frame({"a": tensor(shape=[5])}), r"tensor 'a' has 16 bytes of data, but F32 \(5,\) takes 20$"),
    "half bytes": (
        frame({"a": tensor(0, 1, "F4", [3])}, b"a"),
        r"tensor 'a' is F4 \(3,\), which is not a whole number of",
    ),
    "negative size": (
        frame({"a": tensor(shape=[-4])}),
        r"'a' has a shape that is not a list of whole numbers from 0: \(-4,\)",
    ),
    "product": (
        frame({"a": tensor(shape=[2**40, 2**40])}),
        r"'a' has a shape that no memory can hold: \(1099511627776,",
    ),
    "beside nothing": (
        frame({"a": tensor(0, 0, shape=[0, 2**63])}, b""),
        r"'a' has a shape that no memory can hold: \(0,",
    ),
    "1000 axes": (frame({"a": tensor(shape=[1] * 999 + [4])}), r"tensor 'a' has 1000 axes; at most 64 are allowed$"),
    "overlap": (
        frame({"a": tensor(0, 12, shape=[3]), "b": tensor(8, 16, shape=[2])}),
        r"tensor 'b' begins at byte 8 of the data, where tensor 'a' is, up to 12$",
    ),
    "hole": (
        frame({"a": tensor(0, 4, shape=[1]), "b": tensor(8, 16, shape=[2])}),
        r"bytes 4 to 8 of the data, before tensor 'b', belong to no tensor$",
    ),
    "truncated": (
        frame({"a": tensor()}, bytes(15)),
        r"should have 16 bytes of data, but 15 follow the header: it is trunc",
    ),
    "trailing": (
        frame({"a": tensor()}, bytes(17)),
        r"should have 16 bytes of data, but 17 follow the header: 1 belong to",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(opened, case):
    data, message = REFUSED[case]
    tracemalloc.start()
    with pytest.raises(FormatError, match=f"(?s)m.safetensors: .*{message}"):
        opened(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * len(data) + 2**22


def test_all_faults_are_reported_at_once(opened):
    with pytest.raises(FormatError) as caught:
        opened(frame({"a": tensor(0, 4), "b": tensor(0, 16), "c": tensor(dtype="F31")}))
    assert str(caught.value).splitlines()[1:] == [
        "  tensor 'a' has 4 bytes of data, but F32 (4,) takes 16",
        "  tensor 'c' has the unknown dtype 'F31'",
        "  tensor 'b' begins at byte 0 of the data, where tensor 'a' is, up to 4",
        "  tensor 'c' begins at byte 0 of the data, where tensor 'b' is, up to 16",
    ]


def test_too_many_tensors(opened, monkeypatch):
    monkeypatch.setattr("portable_nn.plain.tensors.MAX_TENSORS", 3)
    with pytest.raises(FormatError, match=r"holds 4 tensors; at most 3 are allowed$"):
        opened(frame({name: tensor(0, 0, shape=[0]) for name in "abcd"}, b""))


def test_a_bool_is_0_or_1(opened):
    found = opened(frame({"a": tensor(0, 2, "BOOL", [2])}, b"\x01\x07"))
    with pytest.raises(FormatError, match=r"m.safetensors: 'a' is bool, but has bytes other than 0 and 1$"):
        found["a"]


def test_a_file_that_becomes_shorter(opened, tmp_path):
    found = opened(frame({"a": tensor()}))
    (tmp_path / "m.safetensors").write_bytes(frame({"a": tensor()}, b""))
    with pytest.raises(FormatError, match=r"became shorter while it was read: 16 bytes are missing$"):
        found["a"]


VALID = frame(
    {"__metadata__": {"format": "pt"}, "a": tensor(0, 8, shape=[2]), "b.c": tensor(8, 12, "I16", [1, 2]),
     "d": tensor(12, 16, "BOOL", [4])},
    bytes(range(12)) + b"\0\1\0\1",
)  # fmt: skip

WORDS = [
    b'"F16"',
    b'"BF16"',
    b"[0]",
    b"[]",
    b"-1",
    b"0.0",
    b"1e5",
    b"99999999999999999999",
    b'"b.c"',
    b"\\u0000",
    b"null",
]


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(change=changes(WORDS))
def test_mutations_raise_our_errors_alone(opened, change):
    """What is accepted is accepted by the safetensors package, with the same numbers."""
    data = change(VALID)
    try:
        found = {name: (each.tobytes(), each.shape) for name, each in opened(data).items()}
    except (FormatError, UnsupportedError):
        return
    expected = {name: each for name, each in safetensors.deserialize(data) if each["dtype"] != "BF16"}
    assert {name: found[name] for name in expected} == {
        name: (bytes(each["data"]), tuple(each["shape"])) for name, each in expected.items()
    }
