"""Rows 1 to 34 of the list of hostile files, as far as they are about HDF5: superblock, manifest, head and layout.

Checksums of the format are right, unless a row is about them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forge_safetensors
import h5py
import numpy as np
import pytest
from forge import DATA, Forge, Stored, sha256
from forge_hdf5 import SUPERBLOCK, lookup3, manifest_object, mend, pack, packed, superblock
from rows import READ, foreign, met, refused, register

from portable_nn.format import load, save

ROWS: list[Any] = foreign("html_page", "git_lfs_pointer", "pickle", "zip_archive")
row = register(ROWS)

NOT_OURS = "is an HDF5 file without a portable-nn manifest: it holds arrays, not a network$"


def edit(data: bytes, at: int, new: bytes) -> bytes:
    """``data`` with other bytes at a place, and right checksums."""
    return mend(data[:at] + new + data[at + len(new) :])


def with_header(valid: Forge, length: int, digest: str) -> bytes:
    """The valid file with other words about the manifest."""
    header = packed(manifest_object(length, digest))
    return pack(valid)[:SUPERBLOCK] + header + pack(valid)[SUPERBLOCK + len(header) :]


# Framing


@row("1", "is empty$")
def empty(_: Forge) -> bytes:
    return b""


@row("1", r"begins with b'\\x89HDF\\r\\n\\x1a', not as an HDF5 file does$")
def seven_bytes(valid: Forge) -> bytes:
    return pack(valid)[:7]


@row("1", "is only 8 bytes long: it is truncated$")
def signature_alone(valid: Forge) -> bytes:
    return pack(valid)[:8]


@row("2", "the manifest is malformed: ")
def no_manifest(valid: Forge) -> bytes:
    return with_header(valid, 0, sha256(b""))


@row("3", "should have a manifest of 5000 bytes, but ends before it: it is truncated$")
def manifest_longer_than_the_file(valid: Forge) -> bytes:
    return with_header(valid, 5000, sha256(valid.text))


@row("4", "should have a manifest of 4294967295 bytes; at most 16777216 are allowed$")
def manifest_length_of_all_ones(valid: Forge) -> bytes:
    return with_header(valid, 2**32 - 1, sha256(valid.text))


@row("4", "'/portable_nn' is no single text of a fixed length, as a manifest is$")
def two_lengths_of_the_manifest(valid: Forge) -> bytes:
    header = manifest_object(len(valid.text), sha256(valid.text))
    header[3] = manifest_object(len(valid.text) + 1, "")[3]
    return pack(valid, lambda path, messages: header if path == "/portable_nn" else messages)


@row("5", r"is a safetensors file: its name should end in \.safetensors$")
def safetensors_file(valid: Forge) -> bytes:
    return forge_safetensors.pack(valid)


@row("5", "begins with b'It was a', not as an HDF5 file does$")
def some_text(_: Forge) -> bytes:
    return b"It was a bright cold day in April"


@pytest.mark.parametrize("library", ["earliest", "v108", "latest"])
def test_5_hdf5_files_of_other_projects(tmp_path: Path, library: str) -> None:
    """``load`` says that they are plain; ``inspect`` and ``convert`` read them."""
    content = io.BytesIO()
    with h5py.File(content, "w", libver=(library, "latest")) as file:
        file["dense/kernel"] = np.ones((2, 3), np.float32)
        file.attrs["backend"] = "tensorflow"
    refused(tmp_path / "net.h5", content.getvalue(), NOT_OURS)


@row("6", r"is \d+ bytes long, but its header describes \d+: 1 missing: it is truncated$")
def truncated_by_one(valid: Forge) -> bytes:
    return pack(valid)[:-1]


@row("6", r"the header of '/' is not what the manifest demands: byte \d+ should be 0x4f, but is missing$")
def truncated_before_the_data(valid: Forge) -> bytes:
    return pack(valid)[: -len(DATA) - 1]


@row("6", r"the header of '/' is not what the manifest demands: byte \d+ should be 0x4f, but is missing$")
def truncated_after_the_manifest(valid: Forge) -> bytes:
    return pack(valid)[: pack(valid).index(valid.text) + len(valid.text)]


@row("6", r"should have a manifest of \d+ bytes, but ends before it: it is truncated$")
def truncated_in_the_manifest(valid: Forge) -> bytes:
    return pack(valid)[: pack(valid).index(valid.text) + 100]


@row("7", READ)
def trailing_byte(valid: Forge) -> bytes:
    return pack(valid) + b"\0"


@row("7", READ)
def appended_zip(valid: Forge) -> bytes:
    return pack(valid) + b"PK\x05\x06" + bytes(18)


@row("9", READ)
def padding_of_spaces(valid: Forge) -> bytes:
    return edit(pack(valid), len(pack(valid)) - len(DATA) - 1, b" ")


STRICT = h5py.version.hdf5_version_tuple >= (2,)
"""Whether HDF5 refuses by itself what it read before."""

SUPERBLOCK_FIELDS = {
    "version 0": (8, b"\0", "byte 8 should be 0x02, but is 0x00"),
    "version 3": (8, b"\3", READ),
    "offsets of 4 bytes": (9, b"\4", "byte 9 should be 0x08, but is 0x04"),
    "lengths of 4 bytes": (10, b"\4", "byte 10 should be 0x08, but is 0x04" if STRICT else "has shape"),
    "open for writing": (11, b"\1", READ),
    "base address": (12, b"\x40", "byte 12 should be 0x00, but is 0x40" if STRICT else READ),
    "extension": (20, struct.pack("<Q", SUPERBLOCK), "byte 20 should be 0xff, but is 0x30"),
    "end of file": (28, struct.pack("<Q", 0), "byte 28 should be 0x.., but is 0x00"),
    "root is the manifest": (36, struct.pack("<Q", SUPERBLOCK), "byte 36 should be 0x.., but is 0x30"),
}


@pytest.mark.parametrize(("at", "new", "message"), SUPERBLOCK_FIELDS.values(), ids=SUPERBLOCK_FIELDS)
def test_hostile_superblock(tmp_path: Path, at: int, new: bytes, message: str) -> None:
    whole = f"the superblock is not what the manifest demands: {message}$" if message.startswith("byte") else message
    met(tmp_path / "net.h5", lambda valid: edit(pack(valid), at, new), whole)


@row("6", "the superblock is not what the manifest demands: byte 44 should be 0x.., but is 0x..$")
def wrong_checksum_of_the_superblock(valid: Forge) -> bytes:
    return pack(valid)[:44] + bytes(4) + pack(valid)[48:]


@row("6", "the header of '/b/bias' is not what the manifest demands: byte .... should be 0x.., but is 0x..$")
def wrong_checksum_of_a_header(valid: Forge) -> bytes:
    header = pack(valid).rindex(b"OHDR")
    return pack(valid)[:header] + pack(valid)[header:].replace(lookup3(pack(valid)[header : header + 78]), bytes(4))


@row("14", "the manifest is damaged: its SHA-256 is ")
def second_attribute_of_the_manifest(valid: Forge) -> bytes:
    def alter(path: str, messages: Any) -> Any:
        return [*messages, messages[-1]] if path == "/portable_nn" else messages

    return pack(valid, alter)


# Layout and agreement: what a dataset or group says of itself


@row("24", "'/b/weight' lies in the same bytes as '/a/weight'$")
def overlap(valid: Forge) -> bytes:
    valid.stored["b.weight"] = Stored("float32", [2, 2], 12, 28)
    return pack(valid)


@row("25", READ)
def hole(valid: Forge) -> bytes:
    valid.stored["b.bias"] = Stored("float32", [2], 36, 44)
    valid.data = DATA[:32] + bytes(4) + DATA[32:]
    return pack(valid)


@row("25", READ)
def another_order(valid: Forge) -> bytes:
    a, b = valid.stored["a.weight"], valid.stored["b.weight"]
    a.start, a.stop, b.start, b.stop = 16, 32, 0, 16
    valid.data = DATA[16:32] + DATA[:16] + DATA[32:]
    return pack(valid)


@row("33", r"tensor 'b.bias' is missing in the HDF5 file: node 'b' \(Gemm\) needs float32 \(2,\)$")
def missing_tensor(valid: Forge) -> bytes:
    del valid.stored["b.bias"]
    valid.data = DATA[:32]
    return pack(valid)


@row("33", "tensor 'c' is in the HDF5 file, but not in the graph$")
def extra_tensor(valid: Forge) -> bytes:
    valid.stored["c"] = Stored("float32", [1], 40, 44)
    valid.data += bytes(4)
    return pack(valid)


@row("33", "tensor 'd' is in the HDF5 file, but not in the graph\n  tensor 'c' is missing")
def empty_tensor_of_another_name(valid: Forge) -> bytes:
    valid.only("c", "float32", [0], b"")
    valid.stored = {"d": valid.stored["c"]}
    return pack(valid)


@row("34", r"tensor 'a.weight' has shape \(4, 1\) in the HDF5 file, but node 'a' \(Gemm\) needs \(2, 2\)$")
def another_shape(valid: Forge) -> bytes:
    valid.stored["a.weight"].shape = [4, 1]
    return pack(valid)


@row("34", r"tensor 'b.bias' has dtype int32 in the HDF5 file, but node 'b' \(Gemm\) needs float32$")
def integers_for_floats(valid: Forge) -> bytes:
    valid.stored["b.bias"].dtype = "int32"
    return pack(valid)


@row("36", "has version 5 of the format, .* up to version 4: pip install --upgrade portable-nn$")
def newer_version_with_another_head(valid: Forge) -> bytes:
    valid.manifest["version"] = 5
    return pack(valid)[:-100]


@row("42", r"the manifest is damaged: its SHA-256 is [0-9a-f]{64}, but the header says 0{64}$")
def another_digest(valid: Forge) -> bytes:
    return with_header(valid, len(valid.text), "0" * 64)


@row("42", r"but the header says \\x1b\[2J0{60}$")
def digest_that_drives_the_terminal(valid: Forge) -> bytes:
    return with_header(valid, len(valid.text), "\x1b[2J" + "0" * 60)


@row("22", r"the name '1234567890a{22}…' has 65523 bytes; at most 65522 are possible in HDF5$")
def name_that_is_too_long_for_a_link(valid: Forge) -> bytes:
    name = "1234567890" + "a" * 65513
    content = pack(valid.only("w", "float32", [1], bytes(4)))
    valid = Forge().only(name, "float32", [1], bytes(4))
    at = content.index(b"OHDR") + len(packed(manifest_object(0, "0" * 64)))
    return content[:48] + packed(manifest_object(len(valid.text), sha256(valid.text))) + valid.text + content[at:]


@pytest.mark.parametrize(("make", "message"), ROWS)
def test_hostile_hdf5_file(tmp_path: Path, make: Callable[[Forge], bytes], message: str) -> None:
    met(tmp_path / "net.h5", make, message)


# Valid files


def test_what_is_packed_by_hand_is_what_the_package_writes(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    path.write_bytes(pack(Forge()))
    contents = load(path)
    assert contents.tensors["b.bias"].tolist() == [0.5, -0.5]
    save(path, contents.manifest, contents.tensors)
    assert path.read_bytes() == pack(Forge())


def test_what_is_packed_by_hand_is_what_h5py_reads() -> None:
    with h5py.File(io.BytesIO(pack(Forge()))) as file:
        assert {name: file[name][()].tolist() for name in ("a/weight", "b/weight", "b/bias")} == {
            "a/weight": [[1, 2], [3, 4]],
            "b/weight": [[5, 6], [7, 8]],
            "b/bias": [0.5, -0.5],
        }
        assert file["portable_nn"][()] == Forge().text
        assert file["portable_nn"].attrs["sha256"].decode() == sha256(Forge().text)


def test_the_superblock_is_that_of_the_specification() -> None:
    content = pack(Forge())
    assert content[:48] == superblock(len(content), content.index(b"OHDR", 60))


def test_lookup3() -> None:
    """An example of ``lookup3.c`` itself."""
    assert lookup3(b"Four score and seven years ago") == struct.pack("<I", 0x17770551)
