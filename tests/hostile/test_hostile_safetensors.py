"""Each row of the list of hostile files as a file, with the error that it must raise.

The numbers are those of the project's list (framing 1-11, JSON 12-23, layout 24-32, agreement 33-40, integrity 41-42,
operating system 59-61); what applies to HDF5 and ONNX alone is not here.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forge import DATA, ENTRIES, Forge, dumps, frame, node, parameter, sha256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portable_nn.errors import FileError, FormatError
from portable_nn.format import load, save
from portable_nn.format.files import open_regular, read_into

ROWS: list[Any] = []


def row(number: str, message: str) -> Callable[[Callable[[Forge], bytes]], Callable[[Forge], bytes]]:
    """Register a function that makes a hostile file of a valid one, and a pattern for what must be said of it."""

    def register(make: Callable[[Forge], bytes]) -> Callable[[Forge], bytes]:
        ROWS.append(pytest.param(make, message, id=f"{number}-{make.__name__}"))
        return make

    return register


def edit(valid: Forge, old: bytes, new: bytes) -> bytes:
    """The valid file with a change in the text of its header."""
    header = valid.header(dumps(valid.manifest))
    assert header.count(old) == 1
    return frame(header.replace(old, new), valid.data)


def with_manifest(valid: Forge, old: bytes, new: bytes) -> bytes:
    """The valid file with a change in the text of its manifest, whose digest is right."""
    text = dumps(valid.manifest)
    assert old in text
    return frame(valid.header(text.replace(old, new, 1)), valid.data)


# Framing


@row("1", "is empty$")
def empty(_: Forge) -> bytes:
    return b""


@row("1", "is only 7 bytes long: it does not even hold the 8 bytes of the header's length$")
def seven_bytes(valid: Forge) -> bytes:
    return valid.pack()[:7]


@row("2", "has a header of 0 bytes$")
def no_header(_: Forge) -> bytes:
    return bytes(8) + DATA


@row("3", r"should have a header of 5000 bytes, but only \d{4} follow: it is truncated$")
def header_longer_than_the_file(valid: Forge) -> bytes:
    return struct.pack("<Q", 5000) + valid.pack()[8:]


@row("4", "begins with a header length of 18446744073709551615 bytes; at most 33554432 are allowed$")
def header_length_of_all_ones(valid: Forge) -> bytes:
    return b"\xff" * 8 + valid.pack()[8:]


@row("5", "is an HTML page: the download gave a page about the file, not the file$")
def html_page(_: Forge) -> bytes:
    return b"\n<!DOCTYPE html>\n<html><head><title>Not found</title></head></html>"


@row("5", "is a Git LFS pointer, not the file itself: run 'git lfs pull'$")
def git_lfs_pointer(_: Forge) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@row("5", "is a zip archive, such as torch.save, Keras or numpy's savez write$")
def zip_archive(_: Forge) -> bytes:
    return b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl"


@row("5", "is a Python pickle: it can run any code when it is loaded, and is not read$")
def pickle(_: Forge) -> bytes:
    return b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."


@row("5", r"is an HDF5 file: its name should end in \.h5$")
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
    return frame(dumps(valid.entries), DATA, alignment=8)


@row("5", "is a safetensors file without a portable-nn manifest: it holds arrays, not a network$")
def plain_safetensors_with_metadata(valid: Forge) -> bytes:
    return frame(dumps(valid.entries | {"__metadata__": {"format": "pt"}}), DATA, alignment=8)


@row("6", r"is \d+ bytes long, but its header describes \d+: 1 missing: it is truncated$")
def truncated_by_one(valid: Forge) -> bytes:
    return valid.pack()[:-1]


@row("7", r"is \d+ bytes long, but its header describes \d+: 1 too many at the end$")
def trailing_byte(valid: Forge) -> bytes:
    return valid.pack() + b"\0"


@row("7", "22 too many at the end$")
def appended_zip(valid: Forge) -> bytes:
    return valid.pack() + b"PK\x05\x06" + bytes(18)


@row("8", r"has a header that begins with b' \{\"__met' instead of '\{'$")
def leading_space(valid: Forge) -> bytes:
    return frame(b" " + valid.header(dumps(valid.manifest)), DATA)


@row("8", r"has a header that begins with b'\\n\{\"__met' instead of '\{'$")
def leading_newline(valid: Forge) -> bytes:
    return frame(b"\n" + valid.header(dumps(valid.manifest)), DATA)


@row("9", r"the header is not canonical JSON: byte \d+ should begin ' +', but begins '(\\n)+'$")
def newline_padding(valid: Forge) -> bytes:
    return valid.pack(padding=b"\n")


@row("9", r"the header is not canonical JSON: byte \d+ should begin ' +', but begins '(\\t)+'$")
def tab_padding(valid: Forge) -> bytes:
    return valid.pack(padding=b"\t")


@row("9", r"the header is malformed: .*trailing characters")
def nul_padding(valid: Forge) -> bytes:
    return valid.pack(padding=b"\0")


@row("9", r"the header is not canonical JSON: byte \d+ should begin nothing \(the end\), but begins ' +'$")
def too_much_padding(valid: Forge) -> bytes:
    return frame(valid.header(dumps(valid.manifest)) + b" " * 64, DATA)


@row("10", r"has a header that begins with b'\\xef\\xbb\\xbf\{\"__m' instead of '\{'$")
def byte_order_mark(valid: Forge) -> bytes:
    return frame(b"\xef\xbb\xbf" + valid.header(dumps(valid.manifest)), DATA)


@row("10", "the header is malformed: 'utf-8' codec can't decode byte 0xff")
def invalid_utf8(valid: Forge) -> bytes:
    return edit(valid, b'"a.weight":{', b'"a.weig\xfft":{')


@row("10", "the header is malformed: ")
def lone_surrogate_in_the_header(valid: Forge) -> bytes:
    return edit(valid, b'"a.weight":{', rb'"\ud800":{')


@row("10", "the manifest is malformed: ")
def lone_surrogate_in_the_manifest(valid: Forge) -> bytes:
    return with_manifest(valid, b'"forge"', rb'"\ud800"')


@row("11", r"the header is not canonical JSON: byte \d+ should begin ' .*but begins nothing \(the end\)$")
def unaligned_header(valid: Forge) -> bytes:
    return valid.pack(alignment=1)


@row("11", r"the header is not canonical JSON: byte \d+ should begin ' .*but begins nothing \(the end\)$")
def header_aligned_to_8_only(valid: Forge) -> bytes:
    return valid.pack(alignment=8)


# JSON


@row("12", r"the header is not canonical JSON: byte \d+ should begin 'F32\".*, but begins 'I32\"")
def duplicate_tensor_of_another_dtype(valid: Forge) -> bytes:
    entry = b'"a.weight":{"data_offsets":[0,16],"dtype":"F32","shape":[2,2]},'
    return edit(valid, entry, entry.replace(b"F32", b"I32") + entry)


@row("13", "tensor 'a.weight' should lie at bytes 0 to 16 of the data, but the header puts it at 16 to 32$")
def duplicate_tensor_at_other_offsets(valid: Forge) -> bytes:
    entry = b'"a.weight":{"data_offsets":[0,16],"dtype":"F32","shape":[2,2]},'
    return edit(valid, entry, entry + entry.replace(b"0,16", b"16,32"))


@row("14", "the header is not canonical JSON")
def duplicate_key_in_metadata(valid: Forge) -> bytes:
    return edit(valid, b'{"portable_nn":', b'{"portable_nn":"{}","portable_nn":')


@row("14", "the header is not canonical JSON")
def extra_key_in_metadata(valid: Forge) -> bytes:
    return edit(valid, b'{"portable_nn":', b'{"format":"pt","portable_nn":')


@row("14", "the header is not canonical JSON")
def second_metadata(valid: Forge) -> bytes:
    return edit(valid, b'{"__metadata__":', b'{"__metadata__":{},"__metadata__":')


@row("14", "the manifest is not canonical JSON")
def duplicate_key_in_manifest(valid: Forge) -> bytes:
    return with_manifest(valid, b'"opset":25', b'"opset":24,"opset":25')


@row("15", r"the header is not canonical JSON: byte \d+ should begin 'F32")
def duplicate_field_in_a_tensor(valid: Forge) -> bytes:
    return edit(valid, b'[0,16],"dtype":"F32"', b'[0,16],"dtype":"I32","dtype":"F32"')


@row("16", "the header is malformed: Object contains unknown field `note`")
def unknown_field_in_a_tensor(valid: Forge) -> bytes:
    return edit(valid, b'[0,16],"dtype":"F32"', b'[0,16],"dtype":"F32","note":1')


@row("16", "the manifest is malformed: Object contains unknown field `layers`")
def unknown_field_in_the_manifest(valid: Forge) -> bytes:
    valid.manifest["layers"] = []
    return valid.pack()


@row("16", "the manifest is malformed: Object missing required field `domain`|the manifest is not canonical JSON")
def missing_field_in_the_manifest(valid: Forge) -> bytes:
    del valid.graph["nodes"][0]["domain"]
    return valid.pack()


@row("16", "the manifest is not canonical JSON: byte 16777205 should begin 'training")
def fields_whose_absence_hides_the_length(valid: Forge) -> bytes:
    del valid.manifest["training"]
    valid.manifest["metadata"] = {"": ""}
    valid.manifest["metadata"] = {"": "x" * (2**24 - len(dumps(valid.manifest)))}
    return valid.pack()


@row("16", r"the manifest is malformed: Object contains unknown field `\\x1b\[2J`$")
def unknown_field_that_drives_the_terminal(valid: Forge) -> bytes:
    valid.manifest["\x1b[2J"] = []
    return valid.pack()


@row("17", r"the header is malformed: Expected `object`, got `null` - at `\$.__metadata__`")
def metadata_is_null(valid: Forge) -> bytes:
    return frame(dumps(valid.entries | {"__metadata__": None}), DATA)


@row("17", r"the header is malformed: Expected `str`, got `int`")
def metadata_is_a_number(valid: Forge) -> bytes:
    return frame(dumps(valid.entries | {"__metadata__": {"portable_nn": 1}}), DATA)


@row("18", "the header is malformed: JSON is nested too deeply$")
def deep_nesting_in_the_header(valid: Forge) -> bytes:
    return edit(valid, b'"a.weight":', b'"0":' + b"[" * 100_000 + b"]" * 100_000 + b',"a.weight":')


@row("18", "the manifest is malformed: JSON is nested too deeply$")
def deep_nesting_in_the_manifest(valid: Forge) -> bytes:
    return with_manifest(valid, b'"training":null', b'"train":' + b"[" * 100_000 + b"]" * 100_000)


@row("19", "the manifest is malformed: JSON is malformed: invalid character")
def nan_token(valid: Forge) -> bytes:
    valid.graph["nodes"][2]["attributes"]["alpha"] = float("nan")
    return valid.pack()


@row("19", "the manifest is malformed: JSON is malformed: invalid character")
def infinity_token(valid: Forge) -> bytes:
    valid.graph["nodes"][2]["attributes"]["alpha"] = float("inf")
    return valid.pack()


@row("20", "the manifest is malformed: Integer value out of range")
def giant_integer(valid: Forge) -> bytes:
    return with_manifest(valid, b'"transB":1', b'"transB":' + b"9" * 100_000)


@row("20", r"'b' \(Gemm\): attribute 'transB' has the value 18446744073709551616, which int64 cannot hold")
def large_integer(valid: Forge) -> bytes:
    valid.graph["nodes"][2]["attributes"]["transB"] = 2**64
    return valid.pack()


@row("20", "the header is malformed: ")
def giant_offset(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[0," + b"9" * 100_000 + b"]")


@row("21", "the header is malformed: Expected `int`, got `float`")
def offset_with_a_point(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[0.0,16]")


@row("21", "the header is malformed: Expected `int`, got `float`")
def offset_with_an_exponent(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[0e0,16]")


@row("21", "the header is malformed: Expected `int`, got `bool`")
def offset_that_is_true(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[false,16]")


@row("21", "tensor 'a.weight' should lie at bytes 0 to 16 of the data, but the header puts it at -4 to 16$")
def negative_offset(valid: Forge) -> bytes:
    return edit(valid, b"[0,16]", b"[-4,16]")


def renamed(valid: Forge, name: str) -> bytes:
    text = valid.header(dumps(valid.manifest)).decode()
    manifest = json.loads(json.loads(text)["__metadata__"]["portable_nn"].replace('"a.weight"', json.dumps(name)))
    valid.manifest = manifest
    valid.entries[name] = valid.entries.pop("a.weight")
    return valid.pack()


NAMES = {
    "": "the name '' of a value is empty",
    "a\0b": r"the name 'a\x00b' of a value has a control or invisible character",
    "a\nb": r"the name 'a\nb' of a value has a control or invisible character",
    "a\x1b[2J": r"the name 'a\x1b[2J' of a value has a control or invisible character",
    "a\u202eb": r"the name 'a\u202eb' of a value has a control or invisible character",
    "../a": "the name '../a' of a value looks like a path",
    "a/../../b": "the name 'a/../../b' of a value looks like a path",
    "a/./b": "the name 'a/./b' of a value looks like a path",
    "..": "the name '..' of a value looks like a path",
    "..\\a": r"the name '..\\a' of a value looks like a path: backslashes and the parts '.' and '..' are not allowed",
    "e\u0301": "is not in Unicode's normal form NFC, so that another name can look the same",
    "\u212b": "is not in Unicode's normal form NFC",
}


@pytest.mark.parametrize(("name", "message"), NAMES.items(), ids=map(ascii, NAMES))
def test_22_and_23_names(tmp_path: Path, name: str, message: str) -> None:
    refused(tmp_path, renamed(Forge(), name), re.escape(message))


@row("22", "the name '__metadata__' of a value is reserved by the safetensors format")
def tensor_called_metadata(valid: Forge) -> bytes:
    valid.only("__metadata__", "float32", "F32", [1], bytes(4))
    return valid.pack()


@row("23", r"the name 'a\.weight' is taken by the parameters")
def two_parameters_of_one_name(valid: Forge) -> bytes:
    valid.graph["parameters"].append(parameter("a.weight", [2]))
    return valid.pack()


# Layout


@row("24", "tensor 'b.weight' should lie at bytes 16 to 32 of the data, but the header puts it at 12 to 28")
def overlap(valid: Forge) -> bytes:
    valid.entries["b.weight"]["data_offsets"] = [12, 28]
    return valid.pack()


@row("25", "tensor 'b.bias' should lie at bytes 32 to 40 of the data, but the header puts it at 36 to 44$")
def hole(valid: Forge) -> bytes:
    valid.entries["b.bias"]["data_offsets"] = [36, 44]
    valid.data = DATA[:32] + bytes(4) + DATA[32:]
    return valid.pack()


@row(
    "25",
    r"2 faults\n  tensor 'a.weight' should lie at bytes 0 to 16 .* at 16 to 32\n  tensor 'b.weight' .* at 0 to 16$",
)
def another_order(valid: Forge) -> bytes:
    valid.entries["a.weight"]["data_offsets"], valid.entries["b.weight"]["data_offsets"] = [16, 32], [0, 16]
    valid.data = DATA[16:32] + DATA[:16] + DATA[32:]
    return valid.pack()


@row("26", rf"tensor 'w' has shape \({2**32}, {2**32}\), more than {2**63 - 1} bytes")
def shape_that_overflows(valid: Forge) -> bytes:
    return valid.only("w", "uint8", "U8", [2**32, 2**32], b"").pack()


@row("27", rf"tensor 'w' has shape \(0, {2**63}\), more than {2**63 - 1} bytes")
def nothing_times_a_bomb(valid: Forge) -> bytes:
    return valid.only("w", "float32", "F32", [0, 2**63], b"").pack()


@row("28", "tensor 'w' has 1000 dimensions; at most 32 are allowed")
def a_thousand_dimensions(valid: Forge) -> bytes:
    return valid.only("w", "float32", "F32", [1] * 1000, bytes(4)).pack()


@row("29", "tensor 'b' should lie at bytes 0 to 4 of the data, but the header puts it at 1 to 5")
def misaligned(valid: Forge) -> bytes:
    valid.only("a", "uint8", "U8", [1], b"\1")
    valid.graph["parameters"].append(parameter("b", [1]))
    valid.graph["nodes"].append(node("m", "Identity", ["b"], ["z"]))
    valid.graph["outputs"].append("z")
    valid.manifest["outputs"].append({"name": "z", "kind": "values", "labels": [], "unit": ""})
    valid.manifest["digests"]["b"] = sha256(bytes(4))
    valid.entries["b"] = {"data_offsets": [1, 5], "dtype": "F32", "shape": [1]}
    valid.data = b"\1" + bytes(4)
    return valid.pack()


@row("30", "tensor 'w' has dtype 'complex64'; a file can hold float64, int64, ")
def unknown_dtype(valid: Forge) -> bytes:
    return valid.only("w", "complex64", "C64", [1], bytes(8)).pack()


@row("30", "tensor 'w' has dtype '>f4'; a file can hold float64, int64, ")
def big_endian(valid: Forge) -> bytes:
    return valid.only("w", ">f4", "F32", [1], bytes(4)).pack()


@row("30", r"tensor 'a.weight' has dtype BF16 in the safetensors header, but node 'a' \(Gemm\) needs float32$")
def another_dtype_in_the_header(valid: Forge) -> bytes:
    valid.entries["a.weight"]["dtype"] = "BF16"
    return valid.pack()


@row("31", "tensor 'w' is bool, but has bytes other than 0 and 1$")
def bool_of_7(valid: Forge) -> bytes:
    return valid.only("w", "bool", "BOOL", [2], b"\1\7").pack()


@row("32", "the graph has 20000 parameters; at most 16384 are allowed")
def many_tensors(valid: Forge) -> bytes:
    names = [f"t{i}" for i in range(20_000)]
    valid.only("t0", "uint8", "U8", [0], b"")
    valid.graph["parameters"] = [parameter(name, [0], "uint8") for name in names]
    valid.manifest["digests"] = dict.fromkeys(names, sha256(b""))
    return valid.pack()


# Agreement


@row("33", r"tensor 'b.bias' is missing in the safetensors header: node 'b' \(Gemm\) needs float32 \(2,\)$")
def missing_tensor(valid: Forge) -> bytes:
    del valid.entries["b.bias"]
    valid.data = DATA[:32]
    return valid.pack()


@row("33", "tensor 'c' is in the safetensors header, but not in the graph$")
def extra_tensor(valid: Forge) -> bytes:
    valid.entries["c"] = {"data_offsets": [40, 44], "dtype": "F32", "shape": [1]}
    valid.data += bytes(4)
    return valid.pack()


@row("34", r"tensor 'b.bias' has shape \(2, 1\) in the safetensors header, but node 'b' \(Gemm\) needs \(2,\)$")
def column_for_a_vector(valid: Forge) -> bytes:
    valid.entries["b.bias"]["shape"] = [2, 1]
    return valid.pack()


@row(
    "34", r"'b.bias' has dtype float16 in the safetensors header, but node 'b' \(Gemm\) needs float32\n.* shape \(4,\)"
)
def halves_for_singles(valid: Forge) -> bytes:
    valid.entries["b.bias"].update(dtype="F16", shape=[4])
    return valid.pack()


@row("34", r"'b' \(Gemm\): C is \(1, 1, 2\), which does not broadcast to \(batch, 2\)$")
def shape_that_the_graph_cannot_use(valid: Forge) -> bytes:
    valid.graph["parameters"][2]["shape"] = valid.entries["b.bias"]["shape"] = [1, 1, 2]
    return valid.pack()


@row("35", r"2 faults\n  tensor 'a.weight' is damaged or another network's: its SHA-256 is .*\n  tensor 'b.weight' is")
def layers_swapped(valid: Forge) -> bytes:
    valid.data = DATA[16:32] + DATA[:16] + DATA[32:]
    return valid.pack()


@row("36", "has version 2 of the format, .* up to version 1: pip install --upgrade portable-nn$")
def newer_version(valid: Forge) -> bytes:
    valid.manifest.update(version=2, layers=[], opset=30)
    return valid.pack()


@row("36", "the format version must be a whole number from 1, not 0$")
def version_0(valid: Forge) -> bytes:
    valid.manifest["version"] = 0
    return valid.pack()


@row("36", "the graph uses opset 24, but version 1 of the format always uses 25")
def older_opset(valid: Forge) -> bytes:
    valid.manifest["opset"] = 24
    return valid.pack()


@row("37", r"'s' \(os\.system\): operator 'os\.system' is not supported$")
def operator_like_an_import(valid: Forge) -> bytes:
    valid.graph["nodes"][1]["operator"] = "os.system"
    return valid.pack()


@row("37", r"'s' \(Update\): operator 'portable_nn\.Update' is internal and cannot stand in a file")
def internal_operator(valid: Forge) -> bytes:
    valid.graph["nodes"][1].update(operator="Update", domain="portable_nn")
    return valid.pack()


@row("37", r"'s' \(Sigmoid\): attribute '__class__' is not one of Sigmoid's \(none\)$")
def attribute_like_an_import(valid: Forge) -> bytes:
    valid.graph["nodes"][1]["attributes"]["__class__"] = "os.system"
    return valid.pack()


@row("37", "the manifest is malformed: Invalid value 'eval'")
def preprocessing_like_an_import(valid: Forge) -> bytes:
    valid.manifest["inputs"][0]["preprocessing"] = [{"step": "eval", "code": "1"}]
    return valid.pack()


@row("37", "input 'x': preprocessing: steps for pictures must begin with ")
def preprocessing_out_of_order(valid: Forge) -> bytes:
    valid.manifest["inputs"][0]["preprocessing"] = [{"step": "centre_crop", "height": 2, "width": 1}]
    return valid.pack()


@row("38", rf"is \d+ bytes long, but its header describes \d+: {2**40} missing: it is truncated$")
def a_tebibyte_that_is_not_there(valid: Forge) -> bytes:
    valid.only("w", "uint8", "U8", [2**40], b"")
    valid.entries["w"]["data_offsets"] = [0, 2**40]
    return valid.pack()


@row("39", r"output 'y' has 3 labels, but its shape is \(batch, 2\)$")
def label_too_many(valid: Forge) -> bytes:
    valid.manifest["outputs"][0]["labels"] = ["a", "b", "c"]
    return valid.pack()


@row("39", r"output 'y': the label or unit 'yes\\x1b\[0m' has a control or invisible character$")
def label_that_drives_the_terminal(valid: Forge) -> bytes:
    valid.manifest["outputs"][0]["labels"] = ["no", "yes\x1b[0m"]
    return valid.pack()


@row("39", "output 'y' stands 2 times$")
def one_output_twice(valid: Forge) -> bytes:
    valid.graph["outputs"] *= 2
    valid.manifest["outputs"] *= 2
    return valid.pack()


@row("39", "the manifest describes the outputs z, but the graph's are y")
def output_of_another_name(valid: Forge) -> bytes:
    valid.manifest["outputs"][0]["name"] = "z"
    return valid.pack()


@row("40", r"tensor 'w' holds NaN or infinite values \(allow_nonfinite=True permits them\)$")
def nan_weight(valid: Forge) -> bytes:
    return valid.only("w", "float32", "F32", [3], struct.pack("<3f", 1, float("nan"), 2)).pack()


@row("40", "tensor 'w' holds NaN or infinite values")
def infinite_half_weight(valid: Forge) -> bytes:
    return valid.only("w", "float16", "F16", [2], struct.pack("<2e", 1, float("-inf"))).pack()


# Integrity


@row("41", "tensor 'b.bias' is damaged or another network's: its SHA-256 is .*, but the manifest says ")
def flipped_weight_bit(valid: Forge) -> bytes:
    valid.data = DATA[:-1] + bytes([DATA[-1] ^ 1])
    return valid.pack()


@row("41", "the manifest is damaged: its SHA-256 is .*, but the header says ")
def changed_label(valid: Forge) -> bytes:
    return valid.pack().replace(b"yes", b"Yes")


@row("42", "tensor 'b.bias' has no digest in the manifest$")
def missing_digest(valid: Forge) -> bytes:
    del valid.manifest["digests"]["b.bias"]
    return valid.pack()


@row("42", "tensor 'b.bias' has the digest '[0-9a-f]{40}', not a SHA-256 of 64 hexadecimal digits$")
def weaker_digest(valid: Forge) -> bytes:
    valid.manifest["digests"]["b.bias"] = "0" * 40
    return valid.pack()


@row("42", "the manifest has a digest of 'c', which is not a tensor of the graph$")
def digest_of_nothing(valid: Forge) -> bytes:
    valid.manifest["digests"]["c"] = "0" * 64
    return valid.pack()


@row("42", "the manifest is damaged: its SHA-256 is [0-9a-f]{64}, but the header says None$")
def missing_manifest_digest(valid: Forge) -> bytes:
    return frame(dumps(ENTRIES | {"__metadata__": {"portable_nn": dumps(valid.manifest).decode()}}), DATA)


def refused(folder: Path, content: bytes, message: str) -> None:
    path = folder / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"(?s)^{re.escape(str(path))}: .*{message}"):
        load(path)


def test_what_is_packed_by_hand_is_what_the_package_writes(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(Forge().pack())
    contents = load(path)
    assert contents.tensors["b.bias"].tolist() == [0.5, -0.5]
    save(path, contents.manifest, contents.tensors)
    assert path.read_bytes() == Forge().pack()


@pytest.mark.parametrize(("make", "message"), ROWS)
def test_hostile_file(tmp_path: Path, make: Callable[[Forge], bytes], message: str) -> None:
    refused(tmp_path, make(Forge()), message)


def test_41_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    path, content = tmp_path / "net.safetensors", Forge().pack()
    path.write_bytes(content)
    accepted = []
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(content)):
            at, mask = divmod(bit, 8)
            os.pwrite(file.fileno(), bytes([content[at] ^ 1 << mask]), at)
            try:
                load(path)
            except FormatError:
                pass
            else:
                accepted.append(bit)
            os.pwrite(file.fileno(), content[at : at + 1], at)
    assert not accepted
    assert load(path)


def test_6_every_truncation_is_refused(tmp_path: Path) -> None:
    path, content = tmp_path / "net.safetensors", Forge().pack()
    path.write_bytes(content)
    for size in reversed(range(len(content))):
        os.truncate(path, size)
        with pytest.raises(FormatError):
            load(path)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every part of a tree of JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40) | st.sampled_from([2**31, 2**63, 2**64, -(2**63)]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "y", "h", "a", "a.weight", "b.bias", "Gemm", "Conv", "int64", "batch", "../x", "\0"]),
    st.text(max_size=3),
)
JSON = st.recursive(SCALARS, lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(), parts, max_size=2))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_forged_manifest_is_refused_or_means_what_it_says(tmp_path: Path, data: st.DataObject) -> None:
    """Changes that whoever can write the file can make: all digests of the manifest are right."""
    forged = Forge()
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from([place for place in places(forged.manifest) if place]))
        parent: Any = forged.manifest
        for key in path:
            parent = parent[key]
        if data.draw(st.booleans()):
            parent[last] = data.draw(JSON)
        else:
            del parent[last]
    file = tmp_path / "net.safetensors"
    file.write_bytes(forged.pack())
    try:
        contents = load(file)
    except FormatError:
        return
    save(file, contents.manifest, contents.tensors)
    assert file.read_bytes() == forged.pack()


@pytest.mark.parametrize("length", [2**64 - 1, 2**30, 2**20])
def test_a_large_file_is_refused_without_being_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", length))
    os.truncate(path, 2**31)  # a file of zeros that takes no space
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [a_tebibyte_that_is_not_there, shape_that_overflows, nothing_times_a_bomb])
def test_a_shape_takes_no_memory(tmp_path: Path, make: Callable[[Forge], bytes]) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(make(Forge()))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# Operating system


def test_59_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"/net\.safetensors: does not exist$"):
        load(tmp_path / "net.safetensors")


def test_59_a_folder(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").mkdir()
    with pytest.raises(FileError, match=r"/net\.safetensors: is a folder, not a regular file$"):
        load(tmp_path / "net.safetensors")


def test_59_a_fifo_without_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.safetensors")
    with pytest.raises(FileError, match=r"/net\.safetensors: is a FIFO, not a regular file$"):
        load(tmp_path / "net.safetensors")


def test_59_a_fifo_put_there_after_the_first_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    regular = Path(__file__).stat()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda _: regular)
    with pytest.raises(FileError, match=r"/net\.safetensors: is a FIFO, not a regular file$"):
        load(path)


def test_59_a_device(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").symlink_to("/dev/zero")
    with pytest.raises(FileError, match=r"/net\.safetensors: is a device, not a regular file$"):
        load(tmp_path / "net.safetensors")


def test_59_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").symlink_to("net.safetensors")
    with pytest.raises(FileError, match=r"/net\.safetensors: cannot be read: Too many levels of symbolic links$"):
        load(tmp_path / "net.safetensors")


def test_59_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"")

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)  # the mode alone does not stop root, who may run this
    with pytest.raises(FileError, match=r"/net\.safetensors: cannot be read: Permission denied$"):
        load(path)


def test_60_a_file_that_is_truncated_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net"
    path.write_bytes(bytes(10))
    with open_regular(path) as file, pytest.raises(FormatError, match=r"net: became shorter .*: 6 bytes are missing$"):
        read_into(file, np.empty(16, np.uint8), "net")


KILLED = """
import os, resource, signal, sys
from pathlib import Path
from portable_nn.format import load, save

folder, new = Path(sys.argv[1]), load(sys.argv[2])
path = folder / "net.safetensors"
old = path.read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def killed(arrange):
    # A child saves and dies where it was arranged; what is at the path then, and how many orphans?
    child = os.fork()
    if not child:
        arrange()
        save(path, new.manifest, new.tensors)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status), status
    return path.read_bytes() == old, len(list(folder.iterdir())) - 1


def after_writing(count):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))


size = Path(sys.argv[2]).stat().st_size
for count in range(0, size, 16):
    assert killed(after_writing(count)) == (True, 1), count
for name in ("fsync", "replace"):
    assert killed(lambda: setattr(os, name, die) if name == "fsync" else setattr(Path, name, die)) == (True, 1), name
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
save(path, new.manifest, new.tensors)
assert path.read_bytes() == Path(sys.argv[2]).read_bytes()
assert list(folder.iterdir()) == [path]
print("survived")
"""


def test_61_a_save_killed_at_any_byte_leaves_the_old_file_and_the_next_save_no_orphan(tmp_path: Path) -> None:
    new = tmp_path / "new.safetensors"
    new.write_bytes(Forge().pack())
    old = tmp_path / "folder" / "net.safetensors"
    old.parent.mkdir()
    old.write_bytes(Forge().only("w", "uint8", "U8", [3], b"old").pack())
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(old.parent), str(new)]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("survived\n", "")


def test_61_a_file_may_be_saved_over_while_its_tensors_are_in_use(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(Forge().pack())
    before = load(path)
    changed = {name: array + 1 for name, array in before.tensors.items()}
    save(path, before.manifest, changed)
    assert before.tensors["b.bias"].tolist() == [0.5, -0.5]
    assert load(path).tensors["b.bias"].tolist() == [1.5, 0.5]
