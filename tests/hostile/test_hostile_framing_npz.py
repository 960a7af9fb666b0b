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
from rows import READ, foreign, met, refused, register

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


@row("2", "'portable_nn' in the archive is damaged ")
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
    r"is an \.npz file without a portable-nn manifest: it holds arrays, not a network$",
)
def plain_npz(_: Forge) -> bytes:
    file = BytesIO()
    np.savez(file, w=np.ones(3))
    return file.getvalue()


@row("5", READ)
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


@row("7", "goes on after the end of the archive: other programs may take it for another one$")
def trailing_byte(valid: Forge) -> bytes:
    return pack(valid) + b"\0"


@row("7", "bytes that belong to no member, as where two archives are joined$")
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
    READ,
)
def comment_of_the_archive(valid: Forge) -> bytes:
    return pack(valid, comment=b"hello")


@row("7", "goes on after the end of the archive: ")
def comment_that_the_end_record_does_not_count(valid: Forge) -> bytes:
    return pack(valid) + b"x" * 70


# Members


@row(
    "12",
    "tensor 'c' is in the archive, but not in the graph$",
)
def member_too_many(valid: Forge) -> bytes:
    return pack(valid, lambda found: [*found, member("c", npy("float32", [1], bytes(4)))])


@row("12", "'a.weight' stands 2 times")
def two_members_of_a_name(valid: Forge) -> bytes:
    return pack(valid, lambda found: [*found, found[A]])


@row("12", "'b.bias' stands 2 times")
def duplicate_in_the_central_directory(valid: Forge) -> bytes:
    """Two entries of one local header."""
    data = pack(valid)
    at, entry = data.index(b"PK\1\2"), data.rindex(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    table = data[at:end] + data[entry:end]
    return data[:at] + table + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 6, 6, len(table), at, 0)


@row("25", READ)
def hidden_bytes_before_the_central_directory(valid: Forge) -> bytes:
    return pack(valid, put(BIAS, after=bytes(64)))


@row(
    "25",
    READ,
)
def hole_between_members(valid: Forge) -> bytes:
    return pack(valid, put(B, before=bytes(64)))


@row(
    "25",
    READ,
)
def swapped_members(valid: Forge) -> bytes:
    """All that the archive says is right."""
    return pack(valid, lambda found: [*found[:A], found[B], found[A], *found[BIAS:]])


@row(
    "33",
    r"tensor 'b.bias' is missing in the archive: node 'b' \(Gemm\) needs float32 \(2,\)$",
)
def member_missing(valid: Forge) -> bytes:
    return pack(valid, lambda found: found[:BIAS])


@row("22", "tensor '../weigh' is in the archive, but not in the graph")
def name_that_leads_out_of_the_folder(valid: Forge) -> bytes:
    return pack(valid, put(A, name=b"../weigh.npy"))


@row("22", "'a.weight' has a name that goes on after a NUL, where other programs end it$")
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


LIES: dict[str, dict[str, int]] = {
    "a data descriptor": {"flags": 0x808},
    "encryption": {"flags": 0x801},
    "deflate": {"method": 8},
    "another size": {"size": 143},
    "another compressed size": {"packed": 143},
    "sizes of 64 bits": {"packed": 2**32 - 1, "size": 2**32 - 1},
}
"""Fields that say where the data are, how many, and how they are read, and here are wrong."""

REMARKS: dict[str, dict[str, int]] = {
    "a name that is not UTF-8": {"flags": 0},
    "a version of the future": {"version": 63},
    "a time": {"time": 0x6000},
    "a date": {"date": 0x5A21},
}
"""Fields that may have any value."""


@pytest.mark.parametrize("where", ["local", "central", "both"])
@pytest.mark.parametrize("number", [A, B, BIAS])
@pytest.mark.parametrize("kind", LIES)
def test_fields_that_lie_are_refused(tmp_path: Path, kind: str, number: int, where: str) -> None:
    """In the name of the member."""
    alter = set_fields(number, local=where != "central", central=where != "local", **LIES[kind])
    name = members(Forge())[number]["name"].decode().removesuffix(".npy")
    refused(tmp_path / "net.npz", pack(Forge(), alter), rf"'{name}(\.npy)?'")


@pytest.mark.parametrize("where", ["local", "central", "both"])
@pytest.mark.parametrize("number", [0, A])
@pytest.mark.parametrize("kind", REMARKS)
def test_fields_that_may_be_any_are_read(tmp_path: Path, kind: str, number: int, where: str) -> None:
    alter = set_fields(number, local=where != "central", central=where != "local", **REMARKS[kind])
    met(tmp_path / "net.npz", lambda valid: pack(valid, alter), READ)


def test_41_a_crc_that_is_wrong_in_both_places_is_refused(tmp_path: Path) -> None:
    """Nothing in the archive contradicts it but the numbers."""
    content = pack(Forge(), set_fields(B, crc=0x01234567))
    refused(tmp_path / "net.npz", content, r"tensor 'b.weight' has the CRC-32 [0-9a-f]{8}, but the file says 01234567$")


def test_41_a_crc_that_is_wrong_in_one_place_is_refused(tmp_path: Path) -> None:
    for where in ("local", "central"):
        content = pack(Forge(), set_fields(B, local=where == "local", central=where == "central", crc=0x01234567))
        (tmp_path / "net.npz").write_bytes(content)
        with pytest.raises(Exception, match=r"'b.weight' has the CRC-32 \d+ beside its data, and \d+ in the "):
            load(tmp_path / "net.npz", lazy=True)


@row("49", READ)
def deflated_member(valid: Forge) -> bytes:
    """Rightly so, as ``savez_compressed`` writes it."""

    def alter(found: Members) -> Members:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(found[A]["content"]) + packer.flush()
        found[A]["content"] = packed
        return set_fields(A, method=8, packed=len(packed))(found)

    return pack(valid, alter)


@row("53", READ)
def extra_field_of_64_bits(valid: Forge) -> bytes:
    """Right sizes, in a place for larger ones."""
    extra = struct.pack("<HHQQ", 1, 16, 144, 144) + struct.pack("<HHH", 0xD935, 2, 64)
    return pack(valid, put(A, extra=extra))


@row("53", READ)
def extra_field_of_another_kind(valid: Forge) -> bytes:
    """As long as the one that aligns."""
    gap = -(64 + 128 + len(valid.text)) % 64
    assert gap >= 0
    data = pack(valid)
    at = data.index(b"a.weight.npy") + 12
    return data[:at] + b"\xfe\xca" + data[at + 2 :]


@row("53", READ)
def something_in_the_padding(valid: Forge) -> bytes:
    data = pack(valid)
    at = data.index(b"a.weight.npy") + 12 + 6
    return data[:at] + b"x" + data[at + 1 :]


@row("53", READ)
def extra_field_in_the_central_directory(valid: Forge) -> bytes:
    return pack(valid, put(A, **{"central extra": struct.pack("<HHB", 0x5455, 1, 0)}))


@row("53", READ)
def comment_of_a_member(valid: Forge) -> bytes:
    return pack(valid, put(A, comment=b"hello"))


@row("54", "'a.weight' is a symbolic link, not a regular file$")
def member_that_is_a_symbolic_link(valid: Forge) -> bytes:
    return pack(valid, put(A, attributes=0o120777 << 16))


@row("24", "'b.weight' lies in the same bytes as 'a.weight'$")
def two_members_at_one_place(valid: Forge) -> bytes:
    return pack(valid, put(B, start=pack(valid).index(b"PK\3\4", 192 + len(valid.text) + 64)))


@row("3", "begins with .* bytes that belong to no member")
def central_directory_elsewhere(valid: Forge) -> bytes:
    return pack(valid, start=64)


@row("3", "holds 5 members, but its end record says 2$")
def fewer_entries_than_there_are(valid: Forge) -> bytes:
    return pack(valid, count=2)


# Arrays


DAMAGED = "tensor 'a.weight' is damaged or another network's: its XXH3-128 is"


def with_array(header: str, data: bytes = DATA[:16]) -> Callable[[Forge], bytes]:
    def make(valid: Forge) -> bytes:
        text = header.ljust(117) + "\n"
        content = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + data
        return pack(valid, lambda found: [*found[:A], member("a.weight", content), *found[B:]])

    return make


for kind, (described, said) in {
    "big_endian": ("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2), }", DAMAGED),
    "fortran_order": ("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", DAMAGED),
    "other_shape": (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }",
        r"has shape \(4,\) in the archive",
    ),
    "objects": (
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }",
        r"holds Python objects \(a pickle\)",
    ),
    "other_order_of_keys": ("{'shape': (2, 2), 'fortran_order': False, 'descr': '<f4', }", READ),
    "code": ("__import__('os').system('true')", "'a.weight' is not an array of numpy: it is no tensor of the network"),
}.items():
    make = with_array(described)
    make.__name__ = f"array_{kind}"
    row("30", said)(make)


@row("34", r"tensor 'a.weight' has shape \(2, 3\) in the archive, but node 'a' \(Gemm\) needs \(2, 2\)$")
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
    met(tmp_path / "net.npz", make, message)


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
