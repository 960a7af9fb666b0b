"""Rows 1 to 34 of the list of hostile files, as far as they are about safetensors: framing, header and layout."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forge import DATA, Forge, Stored, dumps
from forge_safetensors import entries, frame, header, pack
from rows import READ, foreign, met, register

from portable_nn.format import load, save

ROWS: list[Any] = foreign("html_page", "git_lfs_pointer", "pickle", "zip_archive")
row = register(ROWS)


def edit(valid: Forge, old: bytes, new: bytes) -> bytes:
    """The valid file with a change in the text of its header."""
    text = header(valid)
    assert text.count(old) == 1
    return frame(text.replace(old, new), valid.data)


# Framing


@row("1", "is empty$")
def empty(_: Forge) -> bytes:
    return b""


@row("1", "is only 7 bytes long: it does not even hold the 8 bytes of the header's length$")
def seven_bytes(valid: Forge) -> bytes:
    return pack(valid)[:7]


@row("2", "has a header of 0 bytes$")
def no_header(_: Forge) -> bytes:
    return bytes(8) + DATA


@row("3", r"should have a header of 5000 bytes, but only \d{4} follow: it is truncated$")
def header_longer_than_the_file(valid: Forge) -> bytes:
    return struct.pack("<Q", 5000) + pack(valid)[8:]


@row("4", "begins with a header length of 18446744073709551615 bytes; at most 33554432 are allowed$")
def header_length_of_all_ones(valid: Forge) -> bytes:
    return b"\xff" * 8 + pack(valid)[8:]


@row("5", r"is an HDF5 file: portable_nn\.load, predict and train read such files by names in \.h5$")
def hdf5(_: Forge) -> bytes:
    return b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00\x00\x08\x08\x00"


@row("5", "is an ONNX model: import it with import_onnx$")
def onnx_model(_: Forge) -> bytes:
    return b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\xfc\x01\n\x1c"


@row("5", r"is a numpy \.npy file$")
def numpy_array(_: Forge) -> bytes:
    return b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'"


@row("5", "is a GGUF file$")
def gguf(_: Forge) -> bytes:
    return b"GGUF\x03\x00\x00\x00\x00\x00\x00\x00"


@row("5", "begins with a header length of 6998720683381388361 bytes; at most 33554432 are allowed$")
def some_text(_: Forge) -> bytes:
    return b"It was a bright cold day in April"


@row("5", "is a safetensors file without a portable-nn manifest: it holds arrays, not a network$")
def plain_safetensors(valid: Forge) -> bytes:
    return frame(dumps(entries(valid)), DATA, alignment=8)


@row("5", "is a safetensors file without a portable-nn manifest: it holds arrays, not a network$")
def plain_safetensors_with_metadata(valid: Forge) -> bytes:
    return frame(dumps(entries(valid) | {"__metadata__": {"format": "pt"}}), DATA, alignment=8)


@row("6", "should have 40 bytes of data, but 39 follow the header: it is truncated$")
def truncated_by_one(valid: Forge) -> bytes:
    return pack(valid)[:-1]


@row("7", "should have 40 bytes of data, but 41 follow the header: 1 belong to no tensor$")
def trailing_byte(valid: Forge) -> bytes:
    return pack(valid) + b"\0"


@row("7", "but 62 follow the header: 22 belong to no tensor$")
def appended_zip(valid: Forge) -> bytes:
    return pack(valid) + b"PK\x05\x06" + bytes(18)


@row("8", r"has a header that begins with b' \{\"__met' instead of '\{'$")
def leading_space(valid: Forge) -> bytes:
    return frame(b" " + header(valid), DATA)


@row("8", r"has a header that begins with b'\\n\{\"__met' instead of '\{'$")
def leading_newline(valid: Forge) -> bytes:
    return frame(b"\n" + header(valid), DATA)


@row("9", READ)
def newline_padding(valid: Forge) -> bytes:
    return frame(header(valid), DATA, padding=b"\n")


@row("9", READ)
def tab_padding(valid: Forge) -> bytes:
    return frame(header(valid), DATA, padding=b"\t")


@row("9", "the header is malformed: it cannot be read as JSON in UTF-8")
def nul_padding(valid: Forge) -> bytes:
    return frame(header(valid), DATA, padding=b"\0")


@row("9", READ)
def too_much_padding(valid: Forge) -> bytes:
    return frame(header(valid) + b" " * 64, DATA)


@row("10", r"has a header that begins with b'\\xef\\xbb\\xbf\{\"__m' instead of '\{'$")
def byte_order_mark(valid: Forge) -> bytes:
    return frame(b"\xef\xbb\xbf" + header(valid), DATA)


@row("10", "the header is malformed: it cannot be read as JSON in UTF-8")
def invalid_utf8(valid: Forge) -> bytes:
    return edit(valid, b'"a.weight":{', b'"a.weig\xfft":{')


@row("10", "the header is malformed: it cannot be read as JSON in UTF-8")
def lone_surrogate(valid: Forge) -> bytes:
    return edit(valid, b'"a.weight":{', rb'"\ud800":{')


@row("11", READ)
def unaligned_header(valid: Forge) -> bytes:
    return frame(header(valid), DATA, alignment=1)


@row("11", READ)
def header_aligned_to_8_only(valid: Forge) -> bytes:
    while len(frame(header(valid), b"", alignment=8)) % 64 == 0:
        valid.manifest["producer"] += " " * 8
    return frame(header(valid), DATA, alignment=8)


# JSON

ENTRY = b'"a.weight":{"data_offsets":[0,16],"dtype":"F32","shape":[2,2]},'


@row("12", r"the header is not canonical JSON: byte \d+ should begin 'F32\".*, but begins 'I32\"")
def duplicate_tensor_of_another_dtype(valid: Forge) -> bytes:
    return edit(valid, ENTRY, ENTRY.replace(b"F32", b"I32") + ENTRY)


@row("13", "tensor 'a.weight' should lie at bytes 0 to 16 of the data, but the header puts it at 16 to 32$")
def duplicate_tensor_at_other_offsets(valid: Forge) -> bytes:
    return edit(valid, ENTRY, ENTRY + ENTRY.replace(b"0,16", b"16,32"))


@row("14", "the header is not canonical JSON")
def duplicate_key_in_metadata(valid: Forge) -> bytes:
    return edit(valid, b'{"portable_nn":', b'{"portable_nn":"{}","portable_nn":')


@row("14", READ)
def extra_key_in_metadata(valid: Forge) -> bytes:
    return edit(valid, b'{"portable_nn":', b'{"format":"pt","portable_nn":')


@row("14", "the header is not canonical JSON")
def second_metadata(valid: Forge) -> bytes:
    return edit(valid, b'{"__metadata__":', b'{"__metadata__":{},"__metadata__":')


@row("15", r"the header is not canonical JSON: byte \d+ should begin 'F32")
def duplicate_field_in_a_tensor(valid: Forge) -> bytes:
    return edit(valid, b'[0,16],"dtype":"F32"', b'[0,16],"dtype":"I32","dtype":"F32"')


@row("16", "the header is malformed: tensor 'a.weight' has the unknown field 'note'")
def unknown_field_in_a_tensor(valid: Forge) -> bytes:
    return edit(valid, b'[0,16],"dtype":"F32"', b'[0,16],"dtype":"F32","note":1')


@row("17", "the header is malformed: __metadata__ cannot be null")
def metadata_is_null(valid: Forge) -> bytes:
    return frame(dumps(entries(valid) | {"__metadata__": None}), DATA)


@row("17", "the header is malformed: __metadata__.portable_nn cannot be 1")
def metadata_is_a_number(valid: Forge) -> bytes:
    return frame(dumps(entries(valid) | {"__metadata__": {"portable_nn": 1}}), DATA)


@row("18", "the header is malformed: it is nested too deeply$")
def deep_nesting(valid: Forge) -> bytes:
    return edit(valid, b'"a.weight":', b'"0":' + b"[" * 100_000 + b"]" * 100_000 + b',"a.weight":')


@row("20", r"the header is malformed: tensor 'a.weight'.data_offsets\[1\] cannot be 9{60}…")
def giant_offset(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[0," + b"9" * 100_000 + b"]")


@row("21", r"the header is malformed: tensor 'a.weight'.data_offsets\[0\] cannot be 0.0")
def offset_with_a_point(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[0.0,16]")


@row("21", r"the header is malformed: tensor 'a.weight'.data_offsets\[0\] cannot be 0e0")
def offset_with_an_exponent(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[0e0,16]")


@row("21", r"the header is malformed: tensor 'a.weight'.data_offsets\[0\] cannot be false")
def offset_that_is_true(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[false,16]")


@row("21", "tensor 'a.weight' should lie at bytes 0 to 16 of the data, but the header puts it at -4 to 16$")
def negative_offset(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[-4,16]")


@row("22", r"tensor '\\x1b\[2J' is in the safetensors header, but not in the graph$")
def name_that_drives_the_terminal(valid: Forge) -> bytes:
    valid.stored["\x1b[2J"] = Stored("float32", [0], 40, 40)
    return pack(valid)


# Layout


@row("24", "tensor 'b.weight' begins at byte 12 of the data, where tensor 'a.weight' is, up to 16")
def overlap(valid: Forge) -> bytes:
    valid.stored["b.weight"] = Stored("float32", [2, 2], 12, 28)
    return pack(valid)


@row("25", "bytes 32 to 36 of the data, before tensor 'b.bias', belong to no tensor$")
def hole(valid: Forge) -> bytes:
    valid.stored["b.bias"] = Stored("float32", [2], 36, 44)
    valid.data = DATA[:32] + bytes(4) + DATA[32:]
    return pack(valid)


@row(
    "25",
    READ,
)
def another_order(valid: Forge) -> bytes:
    valid.stored["a.weight"], valid.stored["b.weight"] = valid.stored["b.weight"], valid.stored["a.weight"]
    valid.data = DATA[16:32] + DATA[:16] + DATA[32:]
    return pack(valid)


@row("29", READ)
def misaligned(valid: Forge) -> bytes:
    valid.only("a", "uint8", [1], b"\1").give("b", "float32", [1], bytes(4))
    return pack(valid)


@row("30", r"tensor 'a.weight' has 16 bytes of data, but BF16 \(2, 2\) takes 8$")
def another_dtype(valid: Forge) -> bytes:
    valid.stored["a.weight"].dtype = "BF16"
    return pack(valid)


# Agreement


@row("33", r"tensor 'b.bias' is missing in the safetensors header: node 'b' \(Gemm\) needs float32 \(2,\)$")
def missing_tensor(valid: Forge) -> bytes:
    del valid.stored["b.bias"]
    valid.data = DATA[:32]
    return pack(valid)


@row("33", "tensor 'c' is in the safetensors header, but not in the graph$")
def extra_tensor(valid: Forge) -> bytes:
    valid.stored["c"] = Stored("float32", [1], 40, 44)
    valid.data += bytes(4)
    return pack(valid)


@row("34", r"tensor 'b.bias' has shape \(2, 1\) in the safetensors header, but node 'b' \(Gemm\) needs \(2,\)$")
def column_for_a_vector(valid: Forge) -> bytes:
    valid.stored["b.bias"].shape = [2, 1]
    return pack(valid)


@row(
    "34", r"'b.bias' has dtype float16 in the safetensors header, but node 'b' \(Gemm\) needs float32\n.* shape \(4,\)"
)
def halves_for_singles(valid: Forge) -> bytes:
    valid.stored["b.bias"] = Stored("float16", [4], 32, 40)
    return pack(valid)


# Integrity


@row("42", "the manifest is damaged: its SHA-256 is [0-9a-f]{64}, but the header says None$")
def missing_digest_of_the_manifest(valid: Forge) -> bytes:
    metadata = {"portable_nn": valid.text.decode()}
    return frame(dumps(entries(valid) | {"__metadata__": metadata}), DATA)


@row("42", r"but the header says \\x1b\[2J0{60}$")
def digest_that_drives_the_terminal(valid: Forge) -> bytes:
    metadata = {"portable_nn": valid.text.decode(), "portable_nn.sha256": "\x1b[2J" + "0" * 1000}
    return frame(dumps(entries(valid) | {"__metadata__": metadata}), DATA)


@pytest.mark.parametrize(("make", "message"), ROWS)
def test_hostile_safetensors_file(tmp_path: Path, make: Callable[[Forge], bytes], message: str) -> None:
    met(tmp_path / "net.safetensors", make, message)


def test_what_is_packed_by_hand_is_what_the_package_writes(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(pack(Forge()))
    contents = load(path)
    assert contents.tensors["b.bias"].tolist() == [0.5, -0.5]
    save(path, contents.manifest, contents.tensors)
    assert path.read_bytes() == pack(Forge())
