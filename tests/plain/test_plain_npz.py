"""``.npz`` and ``.npy`` files; numpy is the other side."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mutations import changes

from portable_nn.core.errors import FileError, FormatError
from portable_nn.plain import Entry, open_tensors

TYPES = st.one_of(
    hnp.boolean_dtypes(), hnp.integer_dtypes(endianness="?"), hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"), hnp.complex_number_dtypes(endianness="?", sizes=(64, 128)),
)  # fmt: skip
ARRAYS = TYPES.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0)))
NAMES = st.text("abc/.:_0ü", min_size=1, max_size=6).filter(lambda name: not name.endswith("/"))


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def archive(members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w", method) as made:  # it warns of duplicates
        for name, data in members:
            made.writestr(name, data)
    return file.getvalue()


def header(text, version=(1, 0)):
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text.encode()


@pytest.fixture
def opened(tmp_path):
    """Opens a file of these bytes."""

    def call(data, suffix=".npz"):
        (tmp_path / f"m{suffix}").write_bytes(data)
        return open_tensors(tmp_path / f"m{suffix}")

    return call


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    arrays=st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=4),
    by_columns=st.booleans(),
    compressed=st.booleans(),
)
def test_the_same_as_numpy(opened, arrays, by_columns, compressed):
    if by_columns:
        arrays = {name: np.asfortranarray(array) for name, array in arrays.items()}
    members = [(f"{name}.npy", npy(array)) for name, array in arrays.items()]
    data = archive(members, zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED)
    found, expected = opened(data), np.load(io.BytesIO(data))
    assert list(found) == expected.files
    for name, array in expected.items():
        assert found.entries[name] == Entry(array.dtype.name, array.shape, array.nbytes)
        assert found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], array)
    assert found.notes == ()


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_what_numpy_writes(tmp_path, write):
    write(tmp_path / "m.npz", np.arange(3), w=np.eye(2), **{"layer/0.weight": np.ones((2, 5), ">f4")})
    found = open_tensors(tmp_path / "m.npz")
    assert set(found) == {"arr_0", "w", "layer/0.weight"}
    assert found["layer/0.weight"].tolist() == np.ones((2, 5)).tolist()
    assert found["layer/0.weight"].dtype.isnative


def test_zeros_that_deflate_packs_as_tightly_as_it_can(tmp_path):
    np.savez_compressed(tmp_path / "m.npz", a=np.zeros((1000, 1000)))
    assert (tmp_path / "m.npz").stat().st_size < 8200  # about 1,000 : 1, which is no bomb
    assert not open_tensors(tmp_path / "m.npz")["a"].any()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(array=ARRAYS)
def test_a_single_array(opened, tmp_path, array):
    found = opened(npy(array), ".npy")
    assert found.entries == {"m": Entry(array.dtype.name, array.shape, array.nbytes)}
    np.testing.assert_array_equal(found["m"], np.load(tmp_path / "m.npy"))


def test_headers_of_other_versions_and_writers(opened):
    numbers = np.arange(6, dtype="<f4")
    for start in (
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", (2, 0)),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", (3, 0)),
        header('{"shape":(2,3),"fortran_order":False,"descr":"<f4"}'),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }\n"),  # Python 2
    ):
        assert opened(start + numbers.tobytes(), ".npy")["m"].tolist() == [[0, 1, 2], [3, 4, 5]]
    by_columns = header("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n")
    assert opened(by_columns + numbers.tobytes(), ".npy")["m"].tolist() == [[0, 2, 4], [1, 3, 5]]


# -- what is no array of numbers


class Bomb:
    def __reduce__(self):
        return (print, ("run",))


PASSED_OVER = {
    "objects": (np.array([Bomb()], object), "holds Python objects (a pickle), which can run code and are never loaded"),
    "text": (np.array(["ab"]), "holds <U2, not numbers"),
    "bytes": (np.array([b"ab"]), "holds |S2, not numbers"),
    "records": (np.zeros(2, [("x", "<f4"), ("y", "<i2")]), "holds [('x', '<f4'), ('y', '<i2')], not numbers"),
    "objects in records": (np.zeros(2, [("x", object)]), "holds Python objects (a pickle), which can run code and are"),
    "dates": (np.array(["2024-01-01"], "M8[D]"), "holds datetime64[D], not numbers"),
    "raw": (np.array([b"abc"], "V3"), "holds |V3, not numbers"),
}


@pytest.mark.parametrize("case", PASSED_OVER)
def test_arrays_of_something_else_are_skipped(opened, capsys, case):
    array, reason = PASSED_OVER[case]
    found = opened(archive([("x.npy", npy(array, allow_pickle=True)), ("y.npy", npy(np.ones(2)))]))
    assert list(found) == ["y"]
    assert found["y"].tolist() == [1, 1]
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"'x' {reason}")
    assert found.notes[0].endswith(": it is skipped")
    assert "x" not in found
    alone = opened(npy(array, allow_pickle=True), ".npy")
    assert (len(alone), alone.notes) == (0, (found.notes[0].replace("'x'", "'m'", 1),))
    assert capsys.readouterr().out == ""


def test_other_members_are_skipped(opened, tmp_path):
    found = opened(archive([("archive/data.pkl", b"\x80\x02"), ("folder/", b""), ("a.npy", npy(np.ones(1)))]))
    assert list(found) == ["a"]
    assert found.notes == ("'archive/data.pkl' is not an array of numpy: it is skipped",)
    assert opened(archive([])).entries == {}


def test_names_are_only_names(opened, tmp_path):
    names = ["../../evil.npy", "/etc/evil.npy", "C:\\evil.npy"]
    before = set(tmp_path.parent.rglob("*"))
    found = opened(archive([(name, npy(np.ones(1))) for name in names]))
    assert list(found) == ["../../evil", "/etc/evil", "C:\\evil"]
    assert all(array == 1 for array in found.values())
    assert set(tmp_path.parent.rglob("*")) - before == {tmp_path / "m.npz"}


# -- what is refused


def patched(data, old, new):
    """``data`` with other bytes in the local header and in the table of contents of its only member."""
    assert data.count(old) == 2
    return data.replace(old, new)


def with_size(size, count):
    """An archive of one array that claims ``size`` bytes for it, where ``count`` zeros are."""
    array = header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size - 100},), }}".ljust(90)) + bytes(count)
    data = archive([("a.npy", array)])
    return patched(data, struct.pack("<I", len(array)), struct.pack("<I", size))


STORED = archive([("a.npy", npy(np.ones(3)))], zipfile.ZIP_STORED)
PACKED = archive([("a.npy", npy(np.arange(300)))])

REFUSED = {
    "no table": (STORED[:-30], r"m.npz: the archive is damaged"),
    "not a zip": (b"hello" * 100, r"m.npz: is not a zip archive, as .npz files are$"),
    "two of a name": (archive([("a.npy", b"1"), ("a.npy", b"2")]), r"m.npz: 'a' stands 2 times$"),
    "with and without .npy": (archive([("a.npy", b"1"), ("a", b"2")]), r"m.npz: 'a' stands 2 times$"),
    "bomb": (
        with_size(4_000_000_000, 0),
        r"m.npz: 'a' claims to unpack \d\d bytes to 4000000000; at most 1,100 times as",
    ),
    "stored bomb": (
        patched(STORED, struct.pack("<II", 152, 152), struct.pack("<II", 152, 10**9)),
        r"m.npz: 'a' claims to unpack 152 bytes to 1000000000; they are stored as they are$",
    ),
    "encrypted": (
        STORED.replace(b"PK\x03\x04\x14\0\0\0", b"PK\x03\x04\x14\0\1\0").replace(b"\x14\0\0\0\0\0", b"\x14\0\1\0\0\0"),
        r"m.npz: 'a' is encrypted$",
    ),
    "bzip2": (
        archive([("a.npy", bytes(9))], zipfile.ZIP_BZIP2),
        r"m.npz: 'a' is compressed by method 12; known are 0",
    ),
    "lzma": (archive([("a.npy", bytes(9))], zipfile.ZIP_LZMA), r"m.npz: 'a' is compressed by method 14; known are 0"),
    "shape": (
        archive([("a.npy", header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000,), }") + bytes(12))]),
        r"m.npz: 'a' is float32 \(1000000,\), which takes 4000000 bytes, but 12 follow the header$",
    ),
    "product": (
        archive([("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (2147483648, 2147483648), }"))]),
        r"m.npz: 'a' has a shape that no memory can hold: \(2147483648, 2147483648\)$",
    ),
    "beside nothing": (
        archive([("a.npy", header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0, {2**63}), }}"))]),
        r"m.npz: 'a' has a shape that no memory can hold: \(0, 9223372036854775808\)$",
    ),
    "negative": (
        archive([("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1), }") + bytes(8))]),
        r"m.npz: 'a' has a shape that is not a list of whole numbers from 0: \(-1, -1\)$",
    ),
    "trailing": (
        archive([("a.npy", npy(np.ones(2)) + b"x")]),
        r"m.npz: 'a' is float64 \(2,\), which takes 16 bytes, but 17",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(opened, case):
    data, message = REFUSED[case]
    tracemalloc.start()
    with pytest.raises(FormatError, match=message):
        opened(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(data) + 2**22


def test_the_shape_is_compared_with_what_the_archive_says(opened):
    """Where both agree on more than there is, as much memory is taken as the compressed data can give, and no more."""
    size = 100 + len(zlib.compress(bytes(1000))) * 1000
    found = opened(with_size(size, 50))
    with pytest.raises(FormatError, match=r"m.npz: 'a' in the archive is damaged \(it has only 150 bytes\)$"):
        found["a"]


def test_overlapping_members(opened):
    """Two entries of the table of contents that point to the same member: of one, a bomb makes thousands."""
    data = archive([("a.npy", npy(np.ones(3)))], zipfile.ZIP_STORED)
    start = data.index(b"PK\x01\x02")
    stop = data.index(b"PK\x05\x06")
    entry = data[start:stop]
    again = entry.replace(b"a.npy", b"b.npy")
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 2, 2, 2 * len(entry), start, 0)
    with pytest.raises(FormatError, match=r"m.npz: 'b' lies in the same bytes as 'a'$"):
        opened(data[:start] + entry + again + end)


def test_a_flipped_bit(opened):
    for data in (STORED, PACKED):
        at = len(data) // 2 if data is PACKED else data.index(np.ones(1).tobytes())
        with pytest.raises(FormatError, match=r"m.npz: 'a' in the archive is damaged"):
            dict(opened(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]))


def test_too_many_members(opened, monkeypatch):
    monkeypatch.setattr("portable_nn.plain.tensors.MAX_TENSORS", 3)
    with pytest.raises(FormatError, match=r"holds 4 tensors; at most 3 are allowed$"):
        opened(archive([(name, b"") for name in "abcd"]))


def test_a_long_header_is_not_read(opened):
    """numpy itself reads all of it first."""
    text = header("{'descr': '<f8', 'fortran_order': False, 'shape': ()}".ljust(2**24), (2, 0))
    found = opened(archive([("a.npy", text + bytes(8))]))
    assert found.notes == ("'a' is not an array of numpy: it is skipped",)


SINGLE = {
    "magic": (b"hello, world", r"m.npy: begins with b'hello,', not as an .npy file does$"),
    "header": (
        b"\x93NUMPY\x01\0\x10\0{'descr': open()}",
        r"m.npy: has a damaged header: it is not one that numpy writes$",
    ),
    "cut off": (npy(np.ones(3))[:-1], r"m.npy: the array is float64 \(3,\), which takes 24 bytes, but 23 follow the"),
    "two arrays": (
        npy(np.ones(3)) * 2,
        r"m.npy: the array is float64 \(3,\), which takes 24 bytes, but 176 follow the",
    ),
    "deep": (header("(" * 9000), r"m.npy: has a damaged header"),
    "65 axes": (
        header(f"{{'descr':'|u1','fortran_order':False,'shape':({'1,' * 65})}}") + b"1",
        r"has 65 axes; at most 64",
    ),
}


@pytest.mark.parametrize("case", SINGLE)
def test_single_arrays_that_are_refused(opened, case):
    data, message = SINGLE[case]
    with pytest.raises(FormatError, match=message):
        opened(data, ".npy")


def test_a_bool_is_0_or_1(opened):
    found = opened(npy(np.array([1, 7], np.uint8)).replace(b"|u1", b"|b1"), ".npy")
    with pytest.raises(FormatError, match=r"m.npy: 'm' is bool, but has bytes other than 0 and 1$"):
        found["m"]


VALID = archive([("a.npy", npy(np.arange(6.0).reshape(2, 3))), ("b/c.npy", npy(np.array([True, False])))])
VALID_STORED = archive([("a.npy", npy(np.arange(6.0).reshape(2, 3))), ("b.npy", npy(np.ones(2, ">i2")))], 0)
WORDS = [
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"\x93NUMPY",
    b"'<f8'",
    b"|O",
    b"True",
    b"(9,)",
    b"\xff\xff\xff\xff",
    b"'\\d'",
]


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(valid=st.sampled_from([VALID, VALID_STORED]), change=changes(WORDS))
def test_mutations_raise_our_errors_alone(opened, tmp_path, valid, change):
    """What is accepted is accepted by numpy, with the same numbers."""
    try:
        found = dict(opened(change(valid)))
    except FileError:
        return
    with np.load(tmp_path / "m.npz") as expected:
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(change=changes(WORDS))
def test_mutations_of_single_arrays_raise_our_errors_alone(opened, tmp_path, change):
    data = change(npy(np.arange(6.0).reshape(2, 3)))
    try:
        found = dict(opened(data, ".npy"))
    except FileError:
        return
    if found:
        with warnings.catch_warnings(action="ignore"):
            np.testing.assert_array_equal(found["m"], np.load(tmp_path / "m.npy"))
