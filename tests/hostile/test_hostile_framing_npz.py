"""Rows 1 to 54 of the list of hostile files, as far as they are about archives: records, members, places."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forge import DATA, Forge, sha256
from forge_npz import Members, archive, member, members, npy, pack
from rows import foreign, refused, register

from portable_nn.format import has_manifest, load

ROWS: list[Any] = foreign("html_page", "git_lfs_pointer", "pickle")
row = register(ROWS)

A, B, BIAS = 2, 3, 4
"""The places of the tensors among the members."""


def set_fields(number: int, *, local: bool = True, central: bool = True, **fields: int) -> Callable[[Members], Members]:
    """A change of fields of a member, in its local header, in the central directory or in both."""

    def alter(found: Members) -> Members:
        for record in ["local"] * local + ["central"] * central:
            found[number][record].update(fields)
        return found

    return alter


def put(number: int, **parts: Any) -> Callable[[Members], Members]:
    def alter(found: Members) -> Members:
        found[number].update(parts)
        return found

    return alter


# The file as a whole


@row("1", "is empty$")
def empty(_: Forge) -> bytes:
    return b""


@row("1", "begins with b'PK', not as an .npz file does$")
def two_bytes(valid: Forge) -> bytes:
    return pack(valid)[:2]


@row("3", r"is \d+ bytes long, but its manifest would end at byte \d+: it is truncated$")
def manifest_longer_than_the_file(valid: Forge) -> bytes:
    return pack(valid)[:1000]


@row("2", "the manifest is malformed: it cannot be read as JSON in UTF-8")
def empty_manifest(valid: Forge) -> bytes:
    valid.text = b""
    return pack(valid)


@row("2", r"another program has changed it: the first header is not what .* \(compressed size\)$")
def first_member_too_short_for_an_array(valid: Forge) -> bytes:
    return pack(valid, set_fields(0, size=100, packed=100))


@row("4", r"should have a manifest of \d+ bytes; at most 16777216 are allowed$")
def manifest_of_4_gib(valid: Forge) -> bytes:
    data = bytearray(pack(valid, set_fields(0, size=2**32 - 2, packed=2**32 - 2)))
    data[64:192] = npy("uint8", [2**32 - 2 - 128], b"")
    return bytes(data)


@row("5", "is an HDF5 file")
def hdf5(_: Forge) -> bytes:
    return b"\x89HDF\r\n\x1a\n" + bytes(100)


@row(
    "5",
    "is an .npz file that does not begin with a portable-nn manifest: it holds arrays and not a network, or another ",
)
def plain_npz(_: Forge) -> bytes:
    file = BytesIO()
    np.savez(file, w=np.ones(3))
    return file.getvalue()


@row("5", "does not begin with a portable-nn manifest")
def zipped_anew(valid: Forge) -> bytes:
    """The same members, as zipfile writes them: nothing but the flags, the dates and the padding differ."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for each in members(valid):
            made.writestr(each["name"].decode(), each["content"])
    return file.getvalue()


@row("5", "begins with b'PK.x05.x06', not as an .npz file does$")
def archive_without_members(_: Forge) -> bytes:
    return archive([])


@row("7", r"is \d+ bytes long, but its header describes \d+: 1 too many at the end$")
def trailing_byte(valid: Forge) -> bytes:
    return pack(valid) + b"\0"


@row("7", r"is \d+ bytes long, but its header describes \d+: \d+ too many at the end$")
def appended_archive(valid: Forge) -> bytes:
    """The last end record of a file is the one that other programs read: for them, this is another archive."""
    other = BytesIO()
    np.savez(other, w=np.ones(3))
    return pack(valid) + other.getvalue()


@row("8", "begins with b'# ..', not as an .npz file does$")
def prefix_before_the_archive(valid: Forge) -> bytes:
    """As in archives that unpack themselves."""
    return b"# .. " + pack(valid)


@row(
    "7",
    r"the end record is not what the manifest demands: byte \d+ should be 0x00, but is 0x05 \(length of the comment\)$",
)
def comment_of_the_archive(valid: Forge) -> bytes:
    return pack(valid, comment=b"hello")


@row("7", r"is \d+ bytes long, but its header describes \d+: 70 too many at the end$")
def comment_that_the_end_record_does_not_count(valid: Forge) -> bytes:
    return pack(valid) + b"x" * 70


# Members


@row(
    "12",
    r"the entry of 'portable_nn.npy' in the central directory .*: byte \d+ should be 0x01, but is 0x03 \(signature\)$",
)
def member_too_many(valid: Forge) -> bytes:
    return pack(valid, lambda found: [*found, member("c", npy("float32", [1], bytes(4)))])


@row("12", r"the entry of 'portable_nn.npy' in the central directory is not what the manifest demands")
def two_members_of_a_name(valid: Forge) -> bytes:
    return pack(valid, lambda found: [*found, found[A]])


@row("12", r"the end record .*: byte \d+ should be 0x05, but is 0x01 \(signature\)$")
def duplicate_in_the_central_directory(valid: Forge) -> bytes:
    """Two entries of one local header."""
    data = pack(valid)
    at, entry = data.index(b"PK\1\2"), data.rindex(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    table = data[at:end] + data[entry:end]
    return data[:at] + table + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 6, 6, len(table), at, 0)


@row(
    "25", r"is \d+ bytes long, but its header describes \d+: 64 too many|the entry of 'portable_nn.npy' in the central"
)
def hidden_bytes_before_the_central_directory(valid: Forge) -> bytes:
    return pack(valid, put(BIAS, after=bytes(64)))


@row(
    "25",
    r"the header of 'b.weight.npy' is not what .*: byte \d+ should be 0x50, but is 0x00 \(signature\)$",
)
def hole_between_members(valid: Forge) -> bytes:
    return pack(valid, put(B, before=bytes(64)))


@row(
    "25",
    r"the header of 'a.weight.npy' .*: byte \d+ should be 0x61, but is 0x62$",
)
def swapped_members(valid: Forge) -> bytes:
    """All that the archive says is right."""
    return pack(valid, lambda found: [*found[:A], found[B], found[A], *found[BIAS:]])


@row(
    "33",
    r"the header of 'b.bias.npy' is not what the manifest demands: byte \d+ should be 0x03, but is 0x01 \(signature\)$",
)
def member_missing(valid: Forge) -> bytes:
    return pack(valid, lambda found: found[:BIAS])


@row("22", r"the header of 'a.weight.npy' .*: byte \d+ should be 0x61, but is 0x2e$")
def name_that_leads_out_of_the_folder(valid: Forge) -> bytes:
    return pack(valid, put(A, name=b"../weigh.npy"))


@row("22", r"the header of 'a.weight.npy' .*: byte \d+ should be 0x2e, but is 0x00$")
def name_with_nul(valid: Forge) -> bytes:
    """Programs written in C see another name than all others."""
    return pack(valid, put(A, name=b"a.weight\0npy"))


@row("22", r"the header of 'a.weight.npy' .*: byte \d+ should be 0x61, but is 0x41$")
def name_that_differs_in_the_local_header_alone(valid: Forge) -> bytes:
    return pack(valid).replace(b"a.weight.npy", b"A.weight.npy", 1)


@row("22", r"the entry of 'a.weight.npy' in the central directory .*: byte \d+ should be 0x61, but is 0x41$")
def name_that_differs_in_the_central_directory_alone(valid: Forge) -> bytes:
    before, name, after = pack(valid).rpartition(b"a.weight.npy")
    return before + b"A" + name[1:] + after


# Fields of a member: each where the local header is read, and where only the central directory has it


FIELDS: dict[str, tuple[str, dict[str, int]]] = {
    "a data descriptor": ("flags", {"flags": 0x808}),
    "encryption": ("flags", {"flags": 0x801}),
    "a name that is not UTF-8": ("flags", {"flags": 0}),
    "deflate": ("compression method", {"method": 8}),
    "a version of the future": ("version needed", {"version": 63}),
    "a time": ("time", {"time": 0x6000}),
    "a date": ("date", {"date": 0x5A21}),
    "another size": ("size", {"size": 143}),
    "another compressed size": ("compressed size", {"packed": 143}),
    "sizes of 64 bits": ("compressed size", {"packed": 2**32 - 1, "size": 2**32 - 1}),
}


@pytest.mark.parametrize("where", ["local", "central", "both"])
@pytest.mark.parametrize("number", [A, B, BIAS])
@pytest.mark.parametrize("kind", FIELDS)
def test_fields_that_differ_are_named(tmp_path: Path, kind: str, number: int, where: str) -> None:
    field, fields = FIELDS[kind]
    alter = set_fields(number, local=where != "central", central=where != "local", **fields)
    name = members(Forge())[number]["name"].decode()
    record = f"the entry of '{name}' in the central directory" if where == "central" else f"the header of '{name}'"
    refused(tmp_path / "net.npz", pack(Forge(), alter), rf"{record} is not what .* 0x.. \({field}\)$")


@pytest.mark.parametrize("kind", [kind for kind in FIELDS if "size" not in kind])
def test_fields_of_the_manifest_that_differ_are_named(tmp_path: Path, kind: str) -> None:
    """As where another program has written the archive anew."""
    field, fields = FIELDS[kind]
    message = rf"another program has changed it: the first header is not what .* 0x.. \({field}\)$"
    refused(tmp_path / "net.npz", pack(Forge(), set_fields(0, **fields)), message)


def test_41_a_crc_that_is_wrong_in_both_places_is_refused(tmp_path: Path) -> None:
    """Nothing in the archive contradicts it but the numbers."""
    content = pack(Forge(), set_fields(B, crc=0x01234567))
    refused(tmp_path / "net.npz", content, r"tensor 'b.weight' has the CRC-32 [0-9a-f]{8}, but the file says 01234567$")


def test_41_a_crc_that_is_wrong_in_one_place_is_refused(tmp_path: Path) -> None:
    for where in ("local", "central"):
        content = pack(Forge(), set_fields(B, local=where == "local", central=where == "central", crc=0x01234567))
        (tmp_path / "net.npz").write_bytes(content)
        with pytest.raises(Exception, match=r"'b.weight.npy' in the central directory .*\(CRC-32\)$"):
            load(tmp_path / "net.npz", lazy=True)


@row("49", r"the header of 'a.weight.npy' .*: byte \d+ should be 0x00, but is 0x08 \(compression method\)$")
def deflated_member(valid: Forge) -> bytes:
    """Rightly so, as ``savez_compressed`` writes it."""

    def alter(found: Members) -> Members:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(found[A]["content"]) + packer.flush()
        found[A]["content"] = packed
        return set_fields(A, method=8, packed=len(packed))(found)

    return pack(valid, alter)


@row("53", r"the header of 'a.weight.npy' .* \(length of the extra field\)$")
def extra_field_of_64_bits(valid: Forge) -> bytes:
    """Right sizes, in a place for larger ones."""
    extra = struct.pack("<HHQQ", 1, 16, 144, 144) + struct.pack("<HHH", 0xD935, 2, 64)
    return pack(valid, put(A, extra=extra))


@row("53", r"the header of 'a.weight.npy' .*: byte \d+ should be 0x35, but is 0xfe$")
def extra_field_of_another_kind(valid: Forge) -> bytes:
    """As long as the one that aligns."""
    gap = -(64 + 128 + len(valid.text)) % 64
    assert gap >= 0
    data = pack(valid)
    at = data.index(b"a.weight.npy") + 12
    return data[:at] + b"\xfe\xca" + data[at + 2 :]


@row("53", r"the header of 'a.weight.npy' .*: byte \d+ should be 0x00, but is 0x78$")
def something_in_the_padding(valid: Forge) -> bytes:
    data = pack(valid)
    at = data.index(b"a.weight.npy") + 12 + 6
    return data[:at] + b"x" + data[at + 1 :]


@row("53", r"the entry of 'a.weight.npy' in the central directory .* \(length of the extra field\)$")
def extra_field_in_the_central_directory(valid: Forge) -> bytes:
    return pack(valid, put(A, **{"central extra": struct.pack("<HHB", 0x5455, 1, 0)}))


@row("53", r"the entry of 'a.weight.npy' in the central directory .* \(length of the comment\)$")
def comment_of_a_member(valid: Forge) -> bytes:
    return pack(valid, put(A, comment=b"hello"))


@row("54", r"the entry of 'a.weight.npy' in the central directory .* \(external attributes\)$")
def member_that_is_a_symbolic_link(valid: Forge) -> bytes:
    return pack(valid, put(A, attributes=0o120777 << 16))


@row("24", r"the entry of 'b.weight.npy' in the central directory .* \(offset of the local header\)$")
def two_members_at_one_place(valid: Forge) -> bytes:
    return pack(valid, put(B, start=pack(valid).index(b"PK\3\4", 192 + len(valid.text) + 64)))


@row("3", r"the end record .* \(offset of the central directory\)$")
def central_directory_elsewhere(valid: Forge) -> bytes:
    return pack(valid, start=64)


@row("3", r"the end record .* \(entries on this disk\)$")
def fewer_entries_than_there_are(valid: Forge) -> bytes:
    return pack(valid, count=2)


# Arrays


def with_array(header: str, data: bytes = DATA[:16]) -> Callable[[Forge], bytes]:
    def make(valid: Forge) -> bytes:
        text = header.ljust(117) + "\n"
        content = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + data
        return pack(valid, lambda found: [*found[:A], member("a.weight", content), *found[B:]])

    return make


for kind, described in {
    "big_endian": "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2), }",
    "fortran_order": "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }",
    "other_shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }",
    "other_order_of_keys": "{'shape': (2, 2), 'fortran_order': False, 'descr': '<f4', }",
    "code": "__import__('os').system('true')",
}.items():
    make = with_array(described)
    make.__name__ = f"array_{kind}"
    row(
        "30",
        r"the header of 'a.weight.npy' is not what the manifest demands: byte \d+ should be 0x.., but is 0x..$",
    )(make)


@row("34", r"the header of 'a.weight.npy' .*")
def array_of_another_size(valid: Forge) -> bytes:
    return with_array("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", bytes(24))(valid)


@row("42", "the manifest is damaged: its SHA-256 is [0-9a-f]{64}, but the header says 0{64}$")
def digest_of_another_manifest(valid: Forge) -> bytes:
    return pack(
        valid, lambda found: [found[0], member("portable_nn.sha256", npy("uint8", [64], b"0" * 64)), *found[2:]]
    )


@row("42", r"the header of 'portable_nn.sha256.npy' .*|the manifest is damaged")
def digest_in_capitals(valid: Forge) -> bytes:
    text = sha256(valid.text).upper().encode()
    return pack(valid, lambda found: [found[0], member("portable_nn.sha256", npy("uint8", [64], text)), *found[2:]])


@pytest.mark.parametrize(("make", "message"), ROWS)
def test_hostile_npz(tmp_path: Path, make: Callable[[Forge], bytes], message: str) -> None:
    refused(tmp_path / "net.npz", make(Forge()), message)


def test_what_a_cut_file_was_is_still_known(tmp_path: Path) -> None:
    """So that nobody takes it for an archive of plain arrays."""
    path = tmp_path / "net.npz"
    path.write_bytes(pack(Forge())[:-1])
    assert has_manifest(path)


def test_zipfile_and_numpy_read_what_is_packed_here(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    path.write_bytes(pack(Forge()))
    with zipfile.ZipFile(path) as made:
        assert made.testzip() is None
    with np.load(path) as found:
        assert found["a.weight"].tobytes() == DATA[:16]
