"""Rows 43 to 53 of the list of hostile files: what an HDF5 file can hold beside plain arrays.

What may lead elsewhere is refused, and what is another form of the same is read.

The files of the first part were written by h5py around a true manifest. Those of the second begin as they should, have
right checksums, and say something else of one object.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from forge import DATA, Forge, sha256
from forge_hdf5 import (
    DATASPACE,
    DATATYPE,
    DATATYPES,
    FILL_VALUE,
    INT8,
    LAYOUT,
    LINK,
    SUPERBLOCK,
    UNDEFINED,
    Messages,
    attribute,
    dataspace,
    link,
    pack,
    text_type,
)
from rows import READ, met, register

ARRAYS = {
    "a/weight": np.frombuffer(DATA[:16], "<f4").reshape(2, 2),
    "b/weight": np.frombuffer(DATA[16:32], "<f4").reshape(2, 2),
    "b/bias": np.frombuffer(DATA[32:], "<f4"),
}

# Written by h5py

WRITTEN: list[Any] = []
written = register(WRITTEN)


def write(path: Path, leave: str = "", **options: Any) -> h5py.File:
    """A file with a true manifest and the tensors that go with it, but for the one that is to ``leave``."""
    file = h5py.File(path, "w", libver="latest", **options)
    file["portable_nn"] = np.bytes_(Forge().text)
    file["portable_nn"].attrs["sha256"] = np.bytes_(sha256(Forge().text))
    for name, array in ARRAYS.items():
        if name != leave:
            file[name] = array
    return file


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another HDF5 file of the same user, which an HDF5 library opens wherever a link leads to it."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.float32([13, 13])
        file["group/bias"] = np.float32([13, 13])
        file["group/weight"] = ARRAYS["b/weight"]
    return tmp_path / "other.h5"


@written("43", "is an external link to '.*' in '.*': external links are not followed$")
def external_link(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file["b/bias"] = h5py.ExternalLink(other, "secret")


@written("43", "is an external link to '.*' in '.*': external links are not followed$")
def external_link_on_the_way(path: Path, other: Path) -> None:
    with write(path) as file:
        del file["b"]
        file["b"] = h5py.ExternalLink(other, "group")


@written("43", "is an external link to '.*' in '.*': external links are not followed$")
def external_link_to_the_manifest(path: Path, other: Path) -> None:
    with write(path) as file:
        del file["portable_nn"]
        file["portable_nn"] = h5py.ExternalLink(other, "secret")


@written("44", "is a soft link to '.*': soft links are not followed$")
def soft_link(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file["hidden"] = np.float32([13, 13])
        file["b/bias"] = h5py.SoftLink("/hidden")


@written("44", "is a soft link to '.*': soft links are not followed$")
def dangling_link(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file["b/bias"] = h5py.SoftLink("/nowhere")


@written("45", "'/b/bias' has its numbers in another file, '.*', which is not opened$")
def external_raw_storage(path: Path, other: Path) -> None:
    other.with_suffix(".bin").write_bytes(np.float32([13, 13]).tobytes())
    with write(path, "b/bias") as file:
        file.create_dataset("b/bias", (2,), "<f4", external=[(str(other.with_suffix(".bin")), 0, 8)])


@written("46", "'/b/bias' is a virtual dataset, whose numbers are those of others: they are not followed$")
def virtual_dataset(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        layout = h5py.VirtualLayout((2,), "<f4")
        layout[:] = h5py.VirtualSource(other, "secret", (2,))
        file.create_virtual_dataset("b/bias", layout)


@written("47", r"has 2 names \(hard links\): objects with several names, and circles of them, are refused$")
def alias(path: Path, other: Path) -> None:
    with write(path) as file:
        file["b/again"] = file["b/bias"]


@written("47", r"has 2 names \(hard links\): objects with several names, and circles of them, are refused$")
def cycle(path: Path, other: Path) -> None:
    with write(path) as file:
        file["b/up"] = file["/"]


@written("48", r"'/b/bias' is float32 \(1099511627776,\), which takes 4398046511104 bytes .*, but 0 are stored$")
def shape_bomb(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file.create_dataset("b/bias", (2**40,), "<f4", chunks=(2**20,))


@written("49", READ)
def compressed(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file.create_dataset("b/bias", data=ARRAYS["b/bias"], compression="gzip", chunks=(2,))


@written("49", READ)
def checksummed_by_a_filter(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file.create_dataset("b/bias", data=ARRAYS["b/bias"], fletcher32=True, chunks=(2,))


@written("50", r"'/b/bias' is float32 \(2,\), which takes 8 bytes, but 0 are stored$")
def never_written(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file.create_dataset("b/bias", (2,), "<f4", fillvalue=13)


@written("51", "'/b/bias' holds rows of different lengths .*: it is no tensor of the network")
def variable_length(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file.create_dataset("b/bias", (2,), h5py.vlen_dtype(np.float32))


@written("51", "'/b/bias' holds references, .*: it is no tensor of the network")
def references(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file.create_dataset("b/bias", (2,), h5py.ref_dtype)[0] = file["a"].ref


@written("51", "'/b/bias' holds records .*: it is no tensor of the network")
def compound(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file["b/bias"] = np.zeros(2, [("re", "<f4"), ("im", "<f4")])


@written("51", "'/b/bias' holds an enumeration, .*: it is no tensor of the network")
def enumeration(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file.create_dataset("b/bias", (2,), h5py.enum_dtype({"no": 0, "yes": 1}, "i4"))


@written("51", "'/b/bias' has a type that is an object of its own: it is no tensor of the network")
def committed_type(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file["type"] = np.dtype("<f4")
        file.create_dataset("b/bias", data=ARRAYS["b/bias"], dtype=file["type"])


@written("52", READ)
def user_block(path: Path, other: Path) -> None:
    write(path, userblock_size=512).close()


@written("52", READ)
def trailing_data(path: Path, other: Path) -> None:
    write(path).close()
    with path.open("ab") as file:
        file.write(b"PK\x05\x06" + bytes(18))


@written("53", "tensor 'c' is in the HDF5 file, but not in the graph$")
def unexpected_object(path: Path, other: Path) -> None:
    with write(path) as file:
        file["c"] = 1


@written(
    "53", r"tensor 'b.bias' is in the HDF5 file, but not in the graph\n  tensor 'b.bias' is missing in the HDF5 file"
)
def dataset_with_the_name_of_a_tensor(path: Path, other: Path) -> None:
    """In place of the one at its path."""
    with write(path, "b/bias") as file:
        file["b.bias"] = ARRAYS["b/bias"]


@written("53", READ)
def unexpected_attribute(path: Path, other: Path) -> None:
    with write(path) as file:
        file["b/bias"].attrs["unit"] = "mV"


@written("53", READ)
def big_endian(path: Path, other: Path) -> None:
    with write(path, "b/bias") as file:
        file["b/bias"] = ARRAYS["b/bias"].astype(">f4")


@written("53", READ)
def nothing_that_is_wrong_but_written_by_another_program(path: Path, other: Path) -> None:
    write(path).close()


@pytest.mark.parametrize(("make", "message"), WRITTEN)
def test_hostile_file_of_h5py(tmp_path: Path, other: Path, make: Callable[[Path, Path], None], message: str) -> None:
    make(tmp_path / "net.h5", other)
    met(tmp_path / "net.h5", lambda _: (tmp_path / "net.h5").read_bytes(), message)


@pytest.mark.parametrize(
    "make", [external_link, external_link_on_the_way, soft_link, external_raw_storage, virtual_dataset, never_written]
)
def test_the_hdf5_library_follows_such_files_elsewhere(
    tmp_path: Path, other: Path, make: Callable[[Path, Path], None]
) -> None:
    """So these files are what they seem, and the refusals above are worth something."""
    make(tmp_path / "net.h5", other)
    with h5py.File(tmp_path / "net.h5") as file:
        assert file["b/bias"][()].tolist() == [13, 13]
        assert file["portable_nn"][()] == Forge().text


# Packed by hand

ALTERED: list[Any] = []
altered = register(ALTERED)
OF_BIAS = "the header of '/b/bias' is not what the manifest demands: byte "
OF_GROUP = "the header of '/b' is not what the manifest demands: byte "
OF_ANY = "is not what the manifest demands: byte "


def replaced(messages: Messages, *new: Any) -> Messages:
    """The messages of an object, with others in place of those of the same kind, or at the end."""
    found = {kind: data for kind, *data in new}
    kinds = {kind for kind, *_ in messages}
    return [(kind, *found.get(kind, data)) for kind, *data in messages] + [each for each in new if each[0] not in kinds]


def bias(valid: Forge, *new: Any) -> bytes:
    """The valid file with other messages of the dataset ``/b/bias``."""
    return pack(valid, lambda path, messages: replaced(messages, *new) if path == "/b/bias" else messages)


def linked(valid: Forge, name: str, kind: int, value: bytes) -> bytes:
    """The valid file with a link of another kind in place of one in the group ``/b`` or in the root."""
    text = name.rpartition("/")[2].encode()
    new = b"\1\x19" + bytes([kind, 1]) + struct.pack("<H", len(text)) + text + struct.pack("<H", len(value)) + value

    def alter(path: str, messages: Messages) -> Messages:
        inside = path == (name.rpartition("/")[0] or "/")
        return [(LINK, new) if inside and data[5:-8] == text else (number, data) for number, data in messages]

    return pack(valid, alter)


def member(valid: Forge, *links: Any) -> bytes:
    """The valid file with more links in the group ``/b``."""
    return pack(valid, lambda path, messages: [*messages, *links] if path == "/b" else messages)


@altered("43", "is an external link to '.*' in '.*': external links are not followed$")
def an_external_link(valid: Forge) -> bytes:
    return linked(valid, "/b/bias", 64, b"\0other.h5\0/secret\0")


@altered("43", "is an external link to '.*' in '.*': external links are not followed$")
def an_external_link_on_the_way(valid: Forge) -> bytes:
    return linked(valid, "/b", 64, b"\0other.h5\0/group\0")


@altered("44", "is a soft link to '.*': soft links are not followed$")
def a_soft_link(valid: Forge) -> bytes:
    return linked(valid, "/b/bias", 1, b"/a/weight")


@altered("44", "is a soft link to '.*': soft links are not followed$")
def a_dangling_link(valid: Forge) -> bytes:
    return linked(valid, "/b/bias", 1, b"/nowhere")


@altered("46", "'/b/bias' is a virtual dataset, whose numbers are those of others: they are not followed$")
def a_virtual_layout(valid: Forge) -> bytes:
    return bias(valid, (LAYOUT, b"\4\3" + UNDEFINED + bytes(8)))


@altered("46", OF_BIAS)
def a_layout_in_chunks(valid: Forge) -> bytes:
    return bias(valid, (LAYOUT, b"\3\2\2" + UNDEFINED + struct.pack("<II", 2, 4)[:7]))


@altered("46", READ)
def data_in_the_header(valid: Forge) -> bytes:
    return bias(valid, (LAYOUT, b"\3\0" + struct.pack("<H", 8) + DATA[32:]))


@altered("47", r"has 2 names \(hard links\): objects with several names, and circles of them, are refused$")
def an_alias(valid: Forge) -> bytes:
    return member(valid, link("again", SUPERBLOCK))


@altered("47", r"has 2 names \(hard links\): objects with several names, and circles of them, are refused$")
def one_dataset_for_two(valid: Forge) -> bytes:
    def alter(path: str, messages: Messages) -> Messages:
        address = messages[2][1][-8:]
        return [*messages[:3], (LINK, messages[3][1][:-8] + address)] if path == "/b" else messages

    return pack(valid, alter)


@altered("48", OF_BIAS)
def a_shape_bomb(valid: Forge) -> bytes:
    return bias(valid, dataspace([2**62]))


@altered("48", READ)
def a_shape_that_may_grow(valid: Forge) -> bytes:
    return bias(valid, (DATASPACE, b"\2\1\1\1" + struct.pack("<QQ", 2, 2**64 - 1)))


@altered("49", READ)
def a_filter(valid: Forge) -> bytes:
    return bias(valid, (11, b"\2\1" + struct.pack("<HHH", 1, 1, 0)))


@altered("49", "'/b/bias' needs the filter 32004, which is not one of gzip, shuffle, fletcher32, lzf")
def an_unknown_filter(valid: Forge) -> bytes:
    return bias(valid, (11, b"\2\1" + struct.pack("<HHHH", 32004, 4, 1, 0) + b"lz4\0"))


@altered("50", r"'/b/bias' is float32 \(2,\), which takes 8 bytes, but 0 are stored$")
def no_data(valid: Forge) -> bytes:
    return bias(valid, (LAYOUT, b"\3\1" + UNDEFINED + struct.pack("<Q", 8)))


@altered("50", READ)
def a_fill_value(valid: Forge) -> bytes:
    return bias(valid, (FILL_VALUE, b"\3\x2a" + struct.pack("<If", 4, 13)))


@altered("51", OF_BIAS)
def a_reference(valid: Forge) -> bytes:
    return bias(valid, (DATATYPE, b"\x17\0\0\0" + struct.pack("<I", 4) + bytes(12)))


@altered("51", "'/b/bias' holds an enumeration, .*: it is no tensor of the network")
def an_enumeration(valid: Forge) -> bytes:
    return bias(valid, (DATATYPE, bytes.fromhex("38010000 01000000") + INT8 + b"TRUE\0\1"))


@altered("51", OF_ANY)
def texts_of_variable_length(valid: Forge) -> bytes:
    return bias(valid, (DATATYPE, b"\x19\1\0\0" + struct.pack("<I", 16) + text_type(1)))


@altered("51", OF_BIAS)
def a_shared_type(valid: Forge) -> bytes:
    return bias(valid, (DATATYPE, DATATYPES["float32"], 2))


@altered("53", READ)
def an_attribute(valid: Forge) -> bytes:
    return bias(valid, attribute(b"unit", text_type(2), b"mV"))


@altered("53", READ)
def an_attribute_of_a_group(valid: Forge) -> bytes:
    return member(valid, attribute(b"unit", text_type(2), b"mV"))


@altered("53", READ)
def a_comment(valid: Forge) -> bytes:
    return bias(valid, (13, b"mV\0"))


@altered("53", READ)
def a_date(valid: Forge) -> bytes:
    return bias(valid, (18, b"\1\0\0\0" + struct.pack("<I", 1)))


@altered("53", READ)
def room_that_hides_something(valid: Forge) -> bytes:
    return bias(valid, (0, b"hidden"))


@altered("53", OF_ANY)
def a_continuation_elsewhere(valid: Forge) -> bytes:
    return bias(valid, (16, struct.pack("<QQ", 0, 48)))


@altered("53", "tensor 'b.bias' is damaged or another network's: its XXH3-128 is ")
def a_big_endian_type(valid: Forge) -> bytes:
    return bias(valid, (DATATYPE, DATATYPES["float32"][:1] + b"\x21" + DATATYPES["float32"][2:]))


@altered("53", "'/b/bias' holds floats of an unusual form, .*: it is no tensor of the network")
def another_bias_of_the_exponent(valid: Forge) -> bytes:
    return bias(valid, (DATATYPE, DATATYPES["float32"][:-4] + struct.pack("<I", 126)))


@altered("53", READ)
def messages_in_another_order(valid: Forge) -> bytes:
    return pack(valid, lambda path, messages: messages[::-1] if path == "/b/bias" else messages)


@altered("53", READ)
def links_in_another_order(valid: Forge) -> bytes:
    return pack(valid, lambda path, messages: [*messages[:2], *messages[:1:-1]] if path == "/b" else messages)


@pytest.mark.parametrize(("make", "message"), ALTERED)
def test_hostile_hdf5_object(tmp_path: Path, make: Callable[[Forge], bytes], message: str) -> None:
    met(tmp_path / "net.h5", make, message)


@pytest.mark.parametrize("make", [row.values[0] for row in ALTERED])
def test_the_hdf5_library_opens_such_a_file(make: Callable[[Forge], bytes]) -> None:
    """So its checksums are right, and something more than those is what is refused."""
    with h5py.File(io.BytesIO(make(Forge()))) as file:
        assert file["a/weight"][()].tolist() == [[1, 2], [3, 4]]
        assert "b" in file


# The library

SCRIPT = """
import sys
from pathlib import Path
from portable_nn.core.errors import FormatError
from portable_nn.format import load

valid = Path(sys.argv[1], "valid.h5")
for path in [valid, *sorted(Path(sys.argv[1]).glob("*-*.h5"))]:
    for lazy in (False, True):
        try:
            print(path.stem, sum(array.size for array in load(path, lazy=lazy).tensors.values()))
        except FormatError as error:
            print(path.stem, "refused")
    assert path != valid or "h5py" not in sys.modules
"""


@pytest.mark.long
def test_the_hdf5_library_never_sees_a_file_of_this_package(tmp_path: Path, other: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "valid.h5").write_bytes(pack(Forge()))
    for row in WRITTEN:
        row.values[0](folder / f"{row.id}.h5", other)
    for row in ALTERED:
        (folder / f"{row.id}.h5").write_bytes(row.values[0](Forge()))
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    lines = [line.split(" ") for line in result.stdout.splitlines()]
    read = {row.id for row in WRITTEN + ALTERED if row.values[1] == READ}
    assert {name for name, what in lines if what == "refused"} == {row.id for row in WRITTEN + ALTERED} - read
    assert {name for name, what in lines if what == "10"} == {"valid", *read}
    assert len(lines) == 2 * len({name for name, _ in lines})
