"""HDF5 files that are opened as plain arrays: each row of the project's list of hostile files from 43 to 53.

The HDF5 library takes part in reading them, and would follow all of this.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bounded import bounded
from h5py import h5d, h5g, h5p, h5s, h5t, h5z

from portable_nn.core.errors import FormatError
from portable_nn.plain import open_tensors

ROWS: list[Any] = []

Make = Callable[[h5py.File, Path], None]


def row(number: str, *messages: str) -> Callable[[Make], Make]:
    """Register a function that puts something hostile into a file, and all that must be said of the file."""

    def register(make: Make) -> Make:
        ROWS.append(pytest.param(make, messages, id=f"{number}-{make.__name__}"))
        return make

    return register


def other_file(path: Path) -> str:
    """A file in the same folder, with what nobody may get at."""
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["secret"] = np.arange(3.0)
    return "other.h5"


def low_level(file: h5py.File, name: str, shape: tuple[int, ...], change: Callable[[Any], None]) -> Any:
    """An empty dataset of float32 whose properties were changed."""
    properties = h5p.create(h5p.DATASET_CREATE)
    change(properties)
    return h5d.create(file.id, name.encode(), h5t.IEEE_F32LE, h5s.create_simple(shape), properties)


# Links


@row("43", "'/dense_1/kernel' is an external link to '/secret' in 'other.h5': external links are not followed")
def external_link(file, path):
    file.create_group("dense_1")["kernel"] = h5py.ExternalLink(other_file(path), "/secret")


@row("43", "'/dense' is an external link to '/' in 'other.h5': external links are not followed")
def external_link_on_the_way(file, path):
    """``/dense/secret`` can be reached through it."""
    file["dense"] = h5py.ExternalLink(other_file(path), "/")
    assert file["dense/secret"][2] == 2


@row("43", "'/a' is an external link to '/a' in '/etc/passwd': external links are not followed")
def external_link_to_anything(file, path):
    file["a"] = h5py.ExternalLink("/etc/passwd", "/a")


@row("44", "'/alias' is a soft link to '/a': soft links are not followed")
def soft_link(file, path):
    file["a"], file["alias"] = np.ones(3), h5py.SoftLink("/a")


@row("44", "'/alias' is a soft link to '/nowhere': soft links are not followed")
def dangling_link(file, path):
    file["alias"] = h5py.SoftLink("/nowhere")


@row("44", "'/g/up' is a soft link to '/': soft links are not followed")
def soft_link_in_a_circle(file, path):
    file.create_group("g")["up"] = h5py.SoftLink("/")


@row("47", "'/g/b' has 2 names (hard links): objects with several names, and circles of them, are refused")
def two_names(file, path):
    file["a"] = np.ones(3)
    file.create_group("g")["b"] = file["a"]


@row("47", "'/g/again' has 2 names (hard links): objects with several names, and circles of them, are refused")
def circle(file, path):
    group = file.create_group("g")
    group["again"] = group


@row("47", "'/g/root' has 2 names (hard links): objects with several names, and circles of them, are refused")
def circle_through_the_root(file, path):
    file.create_group("g")["root"] = file["/"]


@row("53", r"'/\\xff' has a name that is no part of a path")
def name_that_is_no_text(file, path):
    h5g.create(file.id, b"\xff")


# Numbers that are elsewhere


@row("45", "'/a' has its numbers in another file, 'secret.bin', which is not opened")
def external_numbers(file, path):
    path.with_name("secret.bin").write_bytes(bytes(12))
    file.create_dataset("a", shape=(3,), dtype="<f4", external=[("secret.bin", 0, 12)])


@row("45", "'/a' has its numbers in another file, '/etc/passwd' and 1 others, which is not opened")
def external_numbers_in_several_files(file, path):
    file.create_dataset("a", shape=(3,), dtype="<f4", external=[("/etc/passwd", 0, 4), ("x", 0, 8)])


@row("46", "'/a' is a virtual dataset, whose numbers are those of others: they are not followed")
def virtual(file, path):
    layout = h5py.VirtualLayout((3,), "<f8")
    layout[:] = h5py.VirtualSource(other_file(path), "secret", (3,))
    file.create_virtual_dataset("a", layout)


# Sizes


@row("48", "'/a' is float32 (1000000, 1000000), which takes 4000000000000 bytes, but 0 are stored")
def shape_bomb(file, path):
    file.create_dataset("a", shape=(10**6, 10**6), dtype="<f4")


@row("48", "'/a' has a shape that no memory can hold: (4294967296, 4294967296)")
def shape_beyond_all_memory(file, path):
    file.create_dataset("a", shape=(2**32, 2**32), dtype="<f4", chunks=(1, 1))


@row(
    "48",
    "'/a' is float32 (1000000,), which takes 4000000 bytes (in whole chunks, 4000000), but 10 are stored, "
    "which unpack to at most 1,100 times as much",
)
def chunk_bomb(file, path):
    made = file.create_dataset("a", shape=(10**6,), dtype="<f4", chunks=(10**6,), compression="gzip")
    made.id.write_direct_chunk((0,), bytes(10))


@row(
    "48",
    "'/a' is float32 (1,), which takes 4 bytes (in whole chunks, 400000000), but 10 are stored, "
    "which unpack to at most 1,100 times as much",
)
def one_number_of_a_large_chunk(file, path):
    made = file.create_dataset("a", shape=(1,), maxshape=(None,), dtype="<f4", chunks=(10**8,), compression="gzip")
    made.id.write_direct_chunk((0,), bytes(10))


@row("50", "'/a' is float32 (3,), which takes 12 bytes, but 0 are stored")
def never_written(file, path):
    file.create_dataset("a", shape=(3,), dtype="<f4", fillvalue=7)


@row("50", "'/a' is float32 (3,), which takes 12 bytes (in whole chunks, 12), but 0 are stored")
def chunks_never_written(file, path):
    file.create_dataset("a", shape=(3,), dtype="<f4", chunks=(3,))


@row("50", "'/a' is float32 (100,), which takes 400 bytes, in 10 chunks, but 5 are stored")
def some_chunks_never_written(file, path):
    file.create_dataset("a", shape=(100,), dtype="<f4", chunks=(10,), compression="gzip")[:50] = 1


# Filters


@row("49", "'/a' needs the filter 32015, which is not one of gzip, shuffle, fletcher32, lzf: filters are not loaded")
def unknown_filter(file, path):
    def change(properties):
        properties.set_chunk((3,))
        properties.set_filter(32015, h5z.FLAG_OPTIONAL, ())

    low_level(file, "a", (3,), change).write_direct_chunk((0,), bytes(12))


@row("49", "'/a' needs the filter 6, which is not one of gzip, shuffle, fletcher32, lzf: filters are not loaded")
def filter_that_rounds(file, path):
    file.create_dataset("a", data=np.arange(9), scaleoffset=2)


# Types: whoever hides something in them gets no array


def passed_over(file: h5py.File, path: Path) -> None:
    """51: variable length, reference, compound, enumeration, a type that is an object."""
    file.create_dataset("vlen", shape=(2,), dtype=h5py.vlen_dtype(np.float32))
    file.create_dataset("text", data=["a", "b"], dtype=h5py.string_dtype())
    file.create_dataset("reference", data=[file.ref], dtype=h5py.ref_dtype)
    file.create_dataset("region", shape=(1,), dtype=h5py.regionref_dtype)
    file["compound"] = np.zeros(2, [("x", "f4")])
    file.create_dataset("enum", data=[1], dtype=h5py.enum_dtype({"A": 1}))
    file["type"] = np.dtype("f4")
    file.create_dataset("committed", data=np.zeros(3), dtype=file["type"])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize(("make", "messages"), ROWS)
def test_hostile_files(tmp_path, make, messages, libver):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver=libver) as file:
        make(file, path)
        file["harmless"] = np.ones(3)
    tracemalloc.start()
    with pytest.raises(FormatError) as caught:
        open_tensors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(caught.value.faults) == list(messages)
    assert str(caught.value).startswith(f"{path}: ")
    assert peak < path.stat().st_size + 2**20


def test_51_types_of_something_else(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        passed_over(file, tmp_path / "m.h5")
        names = list(file)
    found = open_tensors(tmp_path / "m.h5")
    assert dict(found) == {}
    assert [note.split("'")[1] for note in found.notes] == [f"/{name}" for name in names]


@pytest.mark.parametrize("size", [512, 4096])
def test_52_data_of_another_kind_before_the_file(tmp_path, size):
    """The format calls them a user block, and h5py does not look at them either: what is read is what it reads."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", userblock_size=size) as file:
        file["a"] = np.arange(3)
    with path.open("r+b") as file:
        file.write(b"#!/bin/sh\n")
    found = open_tensors(path)
    assert found["a"].tolist() == found.mapped("a").tolist() == [0, 1, 2]
    assert found.notes == (f"the HDF5 data begin at byte {size}, after a user block, which is not read",)
    path.write_bytes(b"x" + path.read_bytes())
    with pytest.raises(FormatError, match=r"m.h5: begins with b'x#!/bin/', not as an HDF5 file does$"):
        open_tensors(path)


def test_53_numbers_of_the_other_byte_order_are_read(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a"] = np.array([1, 256], ">i2")
    assert open_tensors(tmp_path / "m.h5")["a"].tolist() == [1, 256]


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_6_truncated_at_any_length(tmp_path, libver):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["a"], file["g/b"] = np.ones(3), np.ones(2)
    data = path.read_bytes()
    for length in [*range(0, len(data), 37), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(FormatError):
            dict(open_tensors(path))


def test_47_a_circle_that_lies_about_its_names(tmp_path):
    """The library believes the count of links that stands in the file; a walk that did so as well would not end."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        group = file.create_group("g")
        group["again"] = group
        address = h5py.h5o.get_info(group.id).addr
    data = bytearray(path.read_bytes())
    assert data[address + 4 : address + 8] == b"\2\0\0\0"
    data[address + 4] = 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"m.h5: '/g/again' has 2 names \(hard links\)"):
        open_tensors(path)


def test_41_a_name_that_is_out_of_order(tmp_path):
    """Links are found by halving: the library lists a name of which it then finds nothing."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        for name in ("first", "other", "third"):
            file[name] = np.ones(3)
    path.write_bytes(path.read_bytes().replace(b"other\0", b"zzzzz\0"))
    with pytest.raises(FormatError, match=r"m.h5: 2 faults") as caught:
        open_tensors(path)
    assert caught.value.faults == tuple(
        f"'/{name}' cannot be found by its name: the group is damaged" for name in ("zzzzz", "third")
    )


def test_24_two_arrays_in_the_same_bytes(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file["a"], file["b"] = np.arange(100.0), np.arange(100.0)
        first, second = (file[name].id.get_offset().to_bytes(8, "little") for name in "ab")
    data = path.read_bytes()
    assert data.count(second) == 1
    path.write_bytes(data.replace(second, first))
    with pytest.raises(FormatError, match=r"m.h5: '/b' lies in the same bytes as '/a'$"):
        open_tensors(path)


def test_3_an_array_that_ends_behind_the_file(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file["a"] = np.arange(100.0)
        offset = file["a"].id.get_offset()
    data, size = path.read_bytes(), (800).to_bytes(8, "little")
    old = offset.to_bytes(8, "little") + size
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, (len(data) - 8).to_bytes(8, "little") + size))
    ours = f"would end at byte {len(data) + 792} of a file of {len(data)}"
    theirs = "invalid dataset size, likely file corruption"  # from HDF5 1.14.4 on
    with pytest.raises(FormatError, match=rf"m.h5: '?/?.*({ours}|{theirs})"):
        open_tensors(path)


def test_32_too_many_objects(tmp_path, monkeypatch):
    monkeypatch.setattr("portable_nn.plain.tensors.MAX_TENSORS", 10)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for number in range(11):
            file[str(number)] = np.float32(1)
    with pytest.raises(FormatError, match=r"m.h5: holds 12 tensors; at most 10 are allowed$"):
        open_tensors(tmp_path / "m.h5")


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there are no FIFOs")
def test_no_other_file_is_opened(tmp_path):
    """The others are FIFOs: a process that opened one of them would wait for ever."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        for make in (external_link, virtual, external_numbers):
            make(file, path)
            file.move("dense_1" if "dense_1" in file else "a", make.__name__)
    for other in tmp_path.iterdir():
        if other != path:
            other.unlink()
            os.mkfifo(other)
    code = (
        f"from portable_nn.plain import open_tensors\ntry: open_tensors({str(path)!r})\nexcept Exception as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "3 faults" in done.stdout


MUTATE = """
import random, sys
from pathlib import Path
from portable_nn.core.errors import FileError
from portable_nn.plain import open_tensors

path, rng = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
valid = path.read_bytes()
for _ in range(1500):
    data = bytearray(valid)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(data))
        data[at] = rng.choice((data[at] ^ 1 << rng.randrange(8), 0, 255))
    path.write_bytes(data)
    try:
        with open_tensors(path) as found:
            dict(found)
    except FileError:
        pass
"""


@pytest.mark.long
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.sweep) for seed in (1, 2))])
def test_41_mutations_raise_our_errors_alone(tmp_path, libver, seed):
    """In a process of its own: where the library ends it or never comes back, this fails and the others go on."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["g/w"], file["g/b"], file["flag"] = np.arange(12.0).reshape(3, 4), np.ones(3, np.float32), np.array([True])
        file.create_dataset("packed", data=np.arange(200.0), compression="gzip", chunks=(50,))
        file["text"], file.attrs["any length"], file.attrs["fixed"] = "x", "v", np.bytes_("x")
    subprocess.run([sys.executable, "-W", "error", "-c", MUTATE, str(path), str(seed)], timeout=120, check=True)


GREEDY = (
    r"c-rllzY4-Y490WSVi5%e!G8#jK8AvoPAcl)Xa~VT9TWuLpuUNtkKyPe_$KPvM0y1gL~!W$Thio01G$eJ<luFC`D`sq8pokD6)4J$"
    r"nbu8T&Sz{D+koxSlDK-FRXASc|HtztBiGg0w-{3AYKPV#kVHJUGt_p<zUb*}nRz>Zv(<L#@8|kUblLv0uA-Eo-vaBml`-`n>X+W?"
    r"7eK#J{mL8*Y%@>d!ynZh_Xk}?)@!N<WpiGi*uPZG`pp#XEQ-8a9`|Lz_m<<yqR6JwqkC(AHP?Pssn|;j0000000000fTZ(oPafaT"
    r"eA<&cjnKBx(nKPA#uHlcSMF;(US0"
)
"""A file of 7,000 bytes that a fuzzer has found: of its group libhdf5 computes sizes that take gigabytes."""


@pytest.mark.long
def test_a_damaged_group_takes_no_gigabytes(tmp_path):
    path = tmp_path / "greedy.h5"
    path.write_bytes(zlib.decompress(base64.b85decode(GREEDY)))
    found = bounded(f"with portable_nn.plain.open_tensors({str(path)!r}) as tensors: print(list(tensors))")
    assert str(path) in found.text or found.text == "[]"
    assert found.bytes < 2**27
