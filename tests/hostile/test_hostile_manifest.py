"""Rows 9 to 42 of the list of hostile files, where they are about the manifest and the tensors: in every carrier."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forge import DATA, Forge, node, parameter
from rows import CARRIERS, refused, register

from portable_nn.core.errors import FormatError
from portable_nn.format import load

ROWS: list[Any] = []
row = register(ROWS)


# JSON


@row("10", "is malformed: it cannot be read as JSON in UTF-8")
def invalid_utf8(valid: Forge) -> None:
    valid.rewrite(b"forge", b"for\xffge")


@row("10", "the manifest is malformed: it cannot be read as JSON in UTF-8")
def lone_surrogate(valid: Forge) -> None:
    valid.rewrite(b'"forge"', rb'"\ud800"')


@row("10", "the manifest is malformed: it cannot be read as JSON in UTF-8")
def byte_order_mark(valid: Forge) -> None:
    valid.text = b"\xef\xbb\xbf" + valid.text


@row("9", "the manifest is malformed: it cannot be read as JSON in UTF-8|the manifest is not canonical JSON")
def white_space(valid: Forge) -> None:
    valid.rewrite(b",", b", ")


@row("9", "the manifest is not canonical JSON: byte .* should begin nothing")
def white_space_at_the_end(valid: Forge) -> None:
    valid.text += b"\n"


@row("14", "the manifest is not canonical JSON")
def duplicate_key(valid: Forge) -> None:
    valid.rewrite(b'"opset":25', b'"opset":24,"opset":25')


@row("14", "the manifest is not canonical JSON")
def duplicate_key_in_the_metadata(valid: Forge) -> None:
    valid.rewrite(b'"metadata":{}', b'"metadata":{"a":"1","a":"2"}')


@row("14", "the manifest is not canonical JSON")
def another_order_of_keys(valid: Forge) -> None:
    valid.text = b'{"version":3,' + valid.text[1:].replace(b',"version":3}', b"}")


@row("16", "the manifest is malformed: it has the unknown field 'layers'")
def unknown_field(valid: Forge) -> None:
    valid.manifest["layers"] = []


@row("16", "the manifest is not canonical JSON")
def missing_field(valid: Forge) -> None:
    del valid.graph["nodes"][0]["domain"]


@row("16", r"the manifest is malformed: it has the unknown field '\\x1b\[2J' \(")
def unknown_field_that_drives_the_terminal(valid: Forge) -> None:
    valid.manifest["\x1b[2J"] = []


@row("16", "the manifest is not canonical JSON: byte 16777205 should begin 'training")
def fields_whose_absence_hides_the_length(valid: Forge) -> None:
    del valid.manifest["training"]
    valid.manifest["metadata"] = {"": ""}
    valid.manifest["metadata"] = {"": "x" * (2**24 - len(valid.text))}


@row("16", "20009 faults\n  the name '' of a value is empty\n.*\n  … and 19909 more$")
def more_faults_than_anybody_reads(valid: Forge) -> None:
    valid.graph["parameters"] = [parameter("", [])] * 20_000


@row("16", "the manifest's format is 'x{999}…, not 'portable-nn'$")
def longer_format_than_anybody_reads(valid: Forge) -> None:
    valid.manifest["format"] = "x" * 2**20


@row("17", "the manifest is malformed: metadata.a cannot be null")
def metadata_of_null(valid: Forge) -> None:
    valid.manifest["metadata"] = {"a": None}


@row("18", "the manifest is malformed: it is nested too deeply$")
def deep_nesting(valid: Forge) -> None:
    valid.rewrite(b'"training":null', b'"train":' + b"[" * 100_000 + b"]" * 100_000)


@row("19", "the manifest is malformed: it cannot be read as JSON in UTF-8")
def nan_token(valid: Forge) -> None:
    valid.graph["nodes"][2]["attributes"]["alpha"] = float("nan")


@row("19", "the manifest is malformed: it cannot be read as JSON in UTF-8")
def infinity_token(valid: Forge) -> None:
    valid.graph["nodes"][2]["attributes"]["alpha"] = float("inf")


@row("19", r"the manifest is malformed: graph.nodes\[2\].attributes.alpha cannot be 1e999")
def float_beyond_all(valid: Forge) -> None:
    valid.rewrite(b'"transB":1', b'"alpha":1e999,"transB":1')


@row("20", r"the manifest is malformed: graph.nodes\[2\].attributes.transB cannot be 9{60}… ")
def giant_integer(valid: Forge) -> None:
    valid.rewrite(b'"transB":1', b'"transB":' + b"9" * 100_000)


@row("20", r"'b' \(Gemm\): attribute 'transB' has the value 18446744073709551616, which int64 cannot hold")
def large_integer(valid: Forge) -> None:
    valid.graph["nodes"][2]["attributes"]["transB"] = 2**64


@row("21", r"the manifest is malformed: graph.parameters\[2\].shape\[0\] cannot be 2.0")
def size_with_a_point(valid: Forge) -> None:
    valid.rewrite(b'"shape":[2]', b'"shape":[2.0]')


@row("21", r"the manifest is malformed: graph.parameters\[2\].shape\[0\] cannot be true")
def size_that_is_true(valid: Forge) -> None:
    valid.rewrite(b'"shape":[2]', b'"shape":[true]')


@row("21", r"tensor 'b.bias' has shape \(-2,\); each size must be a whole number from 0")
def negative_size(valid: Forge) -> None:
    valid.graph["parameters"][2]["shape"] = [-2]


@pytest.mark.long
@pytest.mark.parametrize("suffix", CARRIERS)
def test_18_nesting_as_deep_as_python_can_just_not_follow(tmp_path: Path, suffix: str) -> None:
    """In version 1, whose unknown fields are looked at by hand: reading them takes less of the stack than writing."""
    path = tmp_path / f"net{suffix}"
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit(), 3):
        valid = Forge()
        valid.manifest.update(version=1, x=None)
        valid.rewrite(b'"x":null', b'"x":' + b"[" * depth + b"]" * depth)
        path.write_bytes(CARRIERS[suffix](valid))
        with pytest.raises(FormatError, match="the manifest is malformed: "):
            load(path)


# Names

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


@pytest.mark.parametrize("suffix", CARRIERS)
@pytest.mark.parametrize(("name", "message"), NAMES.items(), ids=map(ascii, NAMES))
def test_22_and_23_names(tmp_path: Path, suffix: str, name: str, message: str) -> None:
    path = tmp_path / f"net{suffix}"
    refused(path, CARRIERS[suffix](Forge().only(name, "float32", [1], bytes(4))), re.escape(message))


@row("22", "the name '__metadata__' of a value is reserved by the safetensors format")
def tensor_called_metadata(valid: Forge) -> None:
    valid.only("__metadata__", "float32", [1], bytes(4))


@row("22", r"the name 's\\x1b\[2J' of a node has a control or invisible character")
def node_that_drives_the_terminal(valid: Forge) -> None:
    valid.graph["nodes"][1]["name"] = "s\x1b[2J"


@row("23", r"the name 'a\.weight' is taken by the parameters")
def two_parameters_of_one_name(valid: Forge) -> None:
    valid.graph["parameters"].append(parameter("a.weight", [2]))


# Layout


@row("26", rf"tensor 'w' has shape \({2**32}, {2**32}\), more than {2**63 - 1} bytes")
def shape_that_overflows(valid: Forge) -> None:
    valid.only("w", "uint8", [2**32, 2**32], b"")


@row("26", rf"the tensors have {2**63} bytes together; at most {2**63 - 1} are possible")
def sum_that_overflows(valid: Forge) -> None:
    valid.only("v", "uint8", [2**62], b"").give("w", "uint8", [2**62], b"")


@row("27", rf"tensor 'w' has shape \(0, {2**63}\), more than {2**63 - 1} bytes")
def nothing_times_a_bomb(valid: Forge) -> None:
    valid.only("w", "float32", [0, 2**63], b"")


@row("28", "tensor 'w' has 1000 dimensions; at most 32 are allowed")
def a_thousand_dimensions(valid: Forge) -> None:
    valid.only("w", "float32", [], bytes(4))
    valid.graph["parameters"][0]["shape"] = [1] * 1000


@row("30", "tensor 'w' has dtype 'complex64'; a file can hold float64, int64, ")
def unknown_dtype(valid: Forge) -> None:
    valid.only("w", "complex64", [1], bytes(8))


@row("30", "tensor 'w' has dtype '>f4'; a file can hold float64, int64, ")
def big_endian(valid: Forge) -> None:
    valid.only("w", ">f4", [1], bytes(4))


@row("21", r"input 'x' has shape \(batch, -2\); each size must be a whole number from 0 or a name$")
def input_of_a_negative_size(valid: Forge) -> None:
    valid.graph["inputs"][0]["shape"] = ["batch", -2]


@row("27", rf"input 'x' has shape \(batch, 0, {2**63}\), more than {2**63 - 1} bytes$")
def input_that_overflows(valid: Forge) -> None:
    valid.graph["inputs"][0]["shape"] = ["batch", 0, 2**63]


@row("28", "input 'x' has 1000 dimensions; at most 32 are allowed$")
def input_of_many_dimensions(valid: Forge) -> None:
    valid.graph["inputs"][0]["shape"] = ["batch"] * 1000


@row("30", "input 'x' has dtype 'object'; a file can hold float64, int64, ")
def input_of_objects(valid: Forge) -> None:
    valid.graph["inputs"][0]["dtype"] = "object"


@row(
    "39", r"3 faults\n  input 'x' has a size named '': .*\n.*named '-1': .*\n.*named .*x1b.*: a name must be visible, "
)
def names_of_sizes_that_mislead(valid: Forge) -> None:
    valid.graph["inputs"][0]["shape"] = ["", "-1", "\x1b[2J", 4]


@row("31", "tensor 'w' is bool, but has bytes other than 0 and 1$")
def bool_of_7(valid: Forge) -> None:
    valid.only("w", "bool", [2], b"\1\7")


def packed(valid: Forge, shape: list[int], data: bytes, **fields: Any) -> None:
    """A network with one weight of at most a byte for each element."""
    valid.only("w", "uint8", [len(data)], data)
    valid.manifest["version"] = 4
    valid.graph["parameters"][0].update(
        {"dtype": "int8", "shape": shape, "trainable": False, "packed": "int4"} | fields
    )


@row("31", r"tensor 'w' has the last byte 0x13, but int4\(3,\) ends at bit 4 of its last byte: .* must be 0$")
def bits_after_the_last_element_of_4_bits(valid: Forge) -> None:
    packed(valid, [3], b"\x21\x13")


@row("31", r"tensor 'w' has the last byte 0x40, but uint2\(1, 3\) ends at bit 6 of its last byte: .* must be 0$")
def bits_after_the_last_element_of_2_bits(valid: Forge) -> None:
    packed(valid, [1, 3], b"\x40", dtype="uint8", packed="uint2")


TOO_MANY = (
    r"w'? has shape \(3,\) in the .*, but node 'node 0' \(Identity\) needs \(2,\)|truncated|many at the end|demands"
)


@row("34", TOO_MANY)
def more_bytes_than_elements_of_4_bits(valid: Forge) -> None:
    packed(valid, [3], b"\x21\x03\x00")


@row("34", TOO_MANY.replace("(3,", "(1,"))
def fewer_bytes_than_elements_of_4_bits(valid: Forge) -> None:
    packed(valid, [3], b"\x21")


@row("34", TOO_MANY.replace("(3,", "(4,"))
def bytes_that_are_not_packed(valid: Forge) -> None:
    packed(valid, [4], b"\1\2\3\4")


@row("34", TOO_MANY.replace("2,", "3,").replace("(3,", "(2,", 1))
def fewer_bytes_than_elements_of_8_bits(valid: Forge) -> None:
    packed(valid, [3], b"\x21\x03", dtype="float32", packed="float8e4m3fn")


@row("34", TOO_MANY.replace("2,", "1,"))
def more_bytes_than_elements_of_8_bits(valid: Forge) -> None:
    packed(valid, [1], b"\x21\x03\x00", dtype="float32", packed="float8e5m2")


@row("34", TOO_MANY.replace("2,", "3,").replace("(3,", "(12,", 1))
def floats_of_32_bits_that_are_packed_as_8(valid: Forge) -> None:
    packed(valid, [3], bytes(12), dtype="float32", packed="float8e5m2")


@row("34", "tensor 'w' is packed as float8e8m0, whose dtype is float32, but has dtype uint8$")
def packed_floats_of_8_bits_of_another_dtype(valid: Forge) -> None:
    packed(valid, [2], b"\x21\x03", dtype="uint8", packed="float8e8m0")


@row("30", "tensor 'w' is packed as 'bfloat16'; a file can pack ")
def packed_as_bfloat16(valid: Forge) -> None:
    packed(valid, [1], b"\x21\x03", dtype="float32", packed="bfloat16")


@row("30", "tensor 'w' is packed as 'int3'; a file can pack .*, int4, float4e2m1, float8e8m0, uint2, int2$")
def packed_as_what_is_no_type(valid: Forge) -> None:
    packed(valid, [3], b"\x21\x03", packed="int3")


@row("30", "tensor 'w' is packed as ''; a file can pack ")
def packed_as_nothing(valid: Forge) -> None:
    packed(valid, [3], b"\x21\x03", packed="")


@row("30", "the manifest is malformed: .*packed cannot be null")
def packed_as_null(valid: Forge) -> None:
    packed(valid, [3], b"\x21\x03", packed=None)


@row("34", "tensor 'w' is packed as int4, whose dtype is int8, but has dtype uint8$")
def packed_of_another_dtype(valid: Forge) -> None:
    packed(valid, [3], b"\x21\x03", dtype="uint8")


@row("34", "tensor 'w' is packed as float4e2m1, and must not be trainable: training gives numbers that are none of it$")
def packed_and_trained(valid: Forge) -> None:
    packed(valid, [3], b"\x21\x03", dtype="float32", packed="float4e2m1", trainable=True)


@row("36", "says that it has version 3 of the format, but what is in it has version 4$")
def packed_in_version_3(valid: Forge) -> None:
    packed(valid, [3], b"\x21\x03")
    valid.manifest["version"] = 3


@row("27", rf"tensor 'w' has shape \({2**62}, 4\), more than {2**63 - 1} bytes")
def packed_bomb(valid: Forge) -> None:
    packed(valid, [2**62, 4], b"\x21")


@row("32", "there are 20000 tensors; at most 16384 are allowed")
def many_tensors(valid: Forge) -> None:
    names = [f"t{i}" for i in range(20_000)]
    valid.only("t0", "uint8", [0], b"")
    valid.graph["parameters"] = [parameter(name, [0], "uint8") for name in names]
    for kind in ("digests", "checksums"):
        valid.manifest[kind] = dict.fromkeys(names, valid.manifest[kind]["t0"])


# Agreement


@row("34", r"'b' \(Gemm\): C is \(1, 1, 2\), which does not broadcast to \(batch, 2\)$")
def shape_that_the_graph_cannot_use(valid: Forge) -> None:
    valid.graph["parameters"][2]["shape"] = valid.stored["b.bias"].shape = [1, 1, 2]


@row("35", r"2 faults\n  tensor 'a.weight' is damaged or another network's: its XXH3-128 is .*\n  tensor 'b.weight' is")
def layers_swapped(valid: Forge) -> None:
    valid.data = DATA[16:32] + DATA[:16] + DATA[32:]


@row("36", "has version 5 of the format, .* up to version 4: pip install --upgrade portable-nn$")
def newer_version(valid: Forge) -> None:
    valid.manifest.update(version=5, layers=[], opset=30)


@row("36", rf"has version {2**70} of the format, .* up to version 4: pip install --upgrade portable-nn$")
def much_newer_version(valid: Forge) -> None:
    valid.manifest["version"] = 2**70


@row("36", "the format version must be a whole number from 1, not 0$")
def version_0(valid: Forge) -> None:
    valid.manifest["version"] = 0


@row("36", "the format version must be a whole number from 1, not True$")
def version_true(valid: Forge) -> None:
    valid.manifest["version"] = True


@row("36", "the manifest is malformed: in version 1, there is no field 'checksums'$")
def version_1_with_checksums(valid: Forge) -> None:
    valid.manifest["version"] = 1


@row("36", "the manifest is malformed: in version 1, the field 'training' must be null$")
def version_1_with_training(valid: Forge) -> None:
    valid.manifest.update(version=1, training={})
    del valid.manifest["checksums"]


@row("36", "the manifest is not canonical JSON")
def version_1_without_the_field_training(valid: Forge) -> None:
    valid.of_version(1)
    del valid.manifest["training"]


@row("36", "the manifest is malformed: it is not canonical JSON: byte 2 should begin ")
def version_1_with_a_duplicate_key(valid: Forge) -> None:
    valid.of_version(1)
    valid.text = b'{"version":1,' + valid.text[1:]


@row("36", "(tensor 'b.bias' is damaged or another network's: its SHA-256 is |says that it has version 1 of the )")
def version_1_with_other_data(valid: Forge) -> None:
    valid.of_version(1)
    valid.data = DATA[:-1] + b"\0"


@row("36", "the manifest is malformed: before version 3, an input or output has exactly the fields name, kind, pre")
def version_2_without_a_kind(valid: Forge) -> None:
    valid.of_version(2)
    del valid.manifest["inputs"][0]["kind"]


@row("36", "the manifest is malformed: before version 3, an input or output has exactly the fields name, kind, label")
def version_2_with_a_temperature(valid: Forge) -> None:
    valid.of_version(2)
    valid.manifest["outputs"][0]["temperature"] = 2.0


@row("36", "the manifest is malformed: inputs cannot be {}")
def version_2_without_a_list_of_inputs(valid: Forge) -> None:
    valid.of_version(2)
    valid.manifest["inputs"] = {}


@row("36", r"the manifest is not canonical JSON: byte \d+ should begin '")
def default_written_out(valid: Forge) -> None:
    valid.manifest["inputs"][0]["preprocessing"] = []


@row("36", "the manifest's format is 'keras', not 'portable-nn'$")
def another_format(valid: Forge) -> None:
    valid.manifest["format"] = "keras"


@row("36", "the graph uses opset 24, but the format always uses 25")
def older_opset(valid: Forge) -> None:
    valid.manifest["opset"] = 24


@row("37", r"'s' \(os\.system\): operator 'os\.system' is not supported$")
def operator_like_an_import(valid: Forge) -> None:
    valid.graph["nodes"][1]["operator"] = "os.system"


@row("37", r"'s' \(Update\): operator 'portable_nn\.Update' is internal and cannot be in a file")
def internal_operator(valid: Forge) -> None:
    valid.graph["nodes"][1].update(operator="Update", domain="portable_nn")


@row("36", "says that it has version 3 of the format, but what is in it has version 4$")
def version_3_with_a_node_of_version_4(valid: Forge) -> None:
    valid.graph["nodes"][1].update(operator="StopGradient", domain="portable_nn")


@row("36", "says that it has version 4 of the format, but what is in it has version 3$")
def version_4_for_nothing(valid: Forge) -> None:
    valid.manifest["version"] = 4


@row("36", "says that it has version 2 of the format, but what is in it has version 4$")
def version_2_with_a_node_of_version_4(valid: Forge) -> None:
    valid.of_version(2)
    valid.graph["nodes"][1].update(operator="StopGradient", domain="portable_nn")


@row("37", r"'s' \(StopGradient\): attribute 'code' is not one of StopGradient's \(none\)$")
def attribute_of_an_operator_of_this_package(valid: Forge) -> None:
    valid.graph["nodes"][1].update(operator="StopGradient", domain="portable_nn", attributes={"code": 1})
    valid.manifest["version"] = 4


@row("37", r"'s' \(Sigmoid\): attribute '__class__' is not one of Sigmoid's \(none\)$")
def attribute_like_an_import(valid: Forge) -> None:
    valid.graph["nodes"][1]["attributes"]["__class__"] = "os.system"


@row("37", r"the manifest is malformed: inputs\[0\].preprocessing\[0\] cannot be {\"code\":\"1\",\"step\":\"eval\"}")
def preprocessing_like_an_import(valid: Forge) -> None:
    valid.manifest["inputs"][0]["preprocessing"] = [{"step": "eval", "code": "1"}]


@row("37", "input 'x': preprocessing: steps for pictures must begin with ")
def preprocessing_out_of_order(valid: Forge) -> None:
    valid.manifest["inputs"][0]["preprocessing"] = [{"step": "centre_crop", "height": 2, "width": 1}]


@row(
    "38",
    rf"is \d+ bytes long, but its header describes \d+: {2**40} missing: it is truncated$|"
    rf"should have {2**40} bytes of data, but 0 follow the header|'/?w' is uint8 .* takes {2**40} bytes, but 0 ",
)
def a_tebibyte_that_is_not_there(valid: Forge) -> None:
    valid.only("w", "uint8", [2**40], b"").stored["w"].stop = 2**40


@row("39", r"output 'y' has 3 labels, but its shape is \(batch, 2\)$")
def label_too_many(valid: Forge) -> None:
    valid.manifest["outputs"][0]["labels"] = ["a", "b", "c"]


@row("39", r"output 'y': the label or unit 'yes\\x1b\[0m' has a control or invisible character$")
def label_that_drives_the_terminal(valid: Forge) -> None:
    valid.manifest["outputs"][0]["labels"] = ["no", "yes\x1b[0m"]


@row("39", r"output 'y' has 3 units, but its shape is \(batch, 2\)$")
def unit_too_many(valid: Forge) -> None:
    valid.manifest["outputs"][0]["units"] = ["m", "s", "kg"]


@row("39", "output 'y': the temperature must be above 0, not -1.0$")
def negative_temperature(valid: Forge) -> None:
    valid.manifest["outputs"][0]["temperature"] = -1.0


@row("39", "output 'y': the threshold must be from 0 to 1, not 1.5$")
def threshold_that_no_probability_has(valid: Forge) -> None:
    valid.manifest["outputs"][0]["threshold"] = 1.5


@row("39", r"input 'x' has 1 column, but its shape is \(batch, 2\)$")
def column_too_few(valid: Forge) -> None:
    valid.manifest["inputs"][0].update(kind="table", columns=[{"name": "a"}])


@row("39", r"2 faults\n  input 'x' has 2 columns named 'a'\n  input 'x': column 'a' has the category 'b' 2 times$")
def columns_and_categories_of_one_name(valid: Forge) -> None:
    columns = [{"name": "a"}, {"name": "a", "categories": ["b", "b"]}]
    valid.manifest["inputs"][0].update(kind="table", columns=columns)


@row("39", r"input 'x': the column, unit or category '\\x1b\[2J' has a control or invisible character$")
def column_that_drives_the_terminal(valid: Forge) -> None:
    valid.manifest["inputs"][0].update(kind="table", columns=[{"name": "a"}, {"name": "b", "categories": ["\x1b[2J"]}])


@row("39", "input 'x': column 'a': its statistics are those of no numbers$")
def mean_beyond_the_maximum(valid: Forge) -> None:
    statistics = {"minimum": 0.0, "maximum": 1.0, "mean": 1.001, "std": 0.5}
    columns = [{"name": "a", "statistics": statistics}, {"name": "b"}]
    valid.manifest["inputs"][0].update(kind="table", columns=columns)


@row("39", "input 'x': the range 1.0 to 0.0 is none$")
def range_that_ends_before_it_begins(valid: Forge) -> None:
    valid.manifest["inputs"][0]["range"] = [1.0, 0.0]


@row("39", "input 'x': column 'a': its statistics are those of no numbers$")
def minimum_just_above_the_maximum(valid: Forge) -> None:
    statistics = {"minimum": 1.0000005, "maximum": 1.0, "mean": 1.0, "std": 0.0}
    columns = [{"name": "a", "statistics": statistics}, {"name": "b"}]
    valid.manifest["inputs"][0].update(kind="table", columns=columns)


@row("39", "input 'x': column 'a': its statistics are those of no numbers$")
def deviation_below_zero(valid: Forge) -> None:
    statistics = {"minimum": 0.0, "maximum": 1.0, "mean": 0.5, "std": -0.5}
    columns = [{"name": "a", "statistics": statistics}, {"name": "b"}]
    valid.manifest["inputs"][0].update(kind="table", columns=columns)


@row("39", "input 'x': column 'a': its statistics are those of no numbers$")
def deviation_beyond_what_the_ends_allow(valid: Forge) -> None:
    statistics = {"minimum": 1.0, "maximum": 3.0, "mean": 2.0, "std": 2.001}
    columns = [{"name": "a", "statistics": statistics}, {"name": "b"}]
    valid.manifest["inputs"][0].update(kind="table", columns=columns)


@row("39", "input 'x' is the state 'z', which is no output of the graph$")
def state_that_nothing_computes(valid: Forge) -> None:
    valid.manifest["inputs"][0]["state"] = "z"


@row("39", "output 'y' stands 2 times$")
def one_output_twice(valid: Forge) -> None:
    valid.graph["outputs"] *= 2
    valid.manifest["outputs"] *= 2


@row("39", "the manifest describes the outputs z, but the graph's are y")
def output_of_another_name(valid: Forge) -> None:
    valid.manifest["outputs"][0]["name"] = "z"


@row("40", r"tensor 'w' holds NaN or infinite values$")
def nan_weight(valid: Forge) -> None:
    valid.only("w", "float32", [3], struct.pack("<3f", 1, float("nan"), 2))


@row("40", "tensor 'w' holds NaN or infinite values")
def infinite_half_weight(valid: Forge) -> None:
    valid.only("w", "float16", [2], struct.pack("<2e", 1, float("-inf")))


# Documentation


@row("39", "the manifest is malformed: documentation.nodes.a has the unknown field 'html'")
def documentation_of_another_form(valid: Forge) -> None:
    valid.manifest["documentation"] = {"nodes": {"a": {"html": "<script>"}}}


@row("39", "the manifest is malformed: documentation has the unknown field 'edges'")
def documentation_of_other_things(valid: Forge) -> None:
    valid.manifest["documentation"] = {"edges": {}}


@row("39", "the manifest is malformed: documentation cannot be null")
def documentation_of_null(valid: Forge) -> None:
    valid.manifest["documentation"] = None


@row("39", "the manifest is malformed: documentation.values.x.doc cannot be 7")
def documentation_of_another_type(valid: Forge) -> None:
    valid.manifest["documentation"] = {"values": {"x": {"doc": 7}}}


@row("39", "the manifest is malformed: documentation.origin.model_version cannot be 9223372036854775808")
def version_beyond_64_bits(valid: Forge) -> None:
    valid.manifest["documentation"] = {"origin": {"model_version": 2**63}}


@row("39", "the documentation is empty: it must be left out$")
def documentation_of_nothing(valid: Forge) -> None:
    valid.manifest["documentation"] = {}


@row("39", "the manifest is not canonical JSON: ")
def documentation_with_empty_fields(valid: Forge) -> None:
    valid.manifest["documentation"] = {"graph": {"doc": "d"}, "nodes": {}}


@row("39", "the documentation of the graph is empty: it must be left out$")
def empty_remark_on_the_graph(valid: Forge) -> None:
    valid.manifest["documentation"] = {"graph": {}}


@row("39", "the documentation of where the network comes from is empty: it must be left out$")
def empty_origin(valid: Forge) -> None:
    valid.manifest["documentation"] = {"origin": {}}


@row("39", "2 faults\n  the documentation of node 'a' is empty: .*\n  the documentation of value 'x' is empty: it must")
def empty_remarks(valid: Forge) -> None:
    valid.manifest["documentation"] = {"nodes": {"a": {}}, "values": {"x": {}}}


@row("39", "the documentation has a node 'c', which the graph does not have\n.* a value 'z', which the graph does not")
def documentation_of_what_is_not_there(valid: Forge) -> None:
    valid.manifest["documentation"] = {"nodes": {"c": {"doc": "?"}}, "values": {"z": {"doc": "?"}}}


@row("39", r"the documentation has a node 'a\\x1b\[2J', which the graph does not have$")
def documentation_that_drives_the_terminal(valid: Forge) -> None:
    valid.manifest["documentation"] = {"nodes": {"a\x1b[2J": {"doc": "?"}}}


@row("39", "the documentation calls 'y' an initializer, but no Constant node makes it$")
def initializer_that_is_computed(valid: Forge) -> None:
    valid.manifest["documentation"] = {"initializers": ["y"]}


@row("39", "the documentation calls 'k' an initializer, but no Constant node makes it$")
def initializer_of_an_operator_with_a_tensor(valid: Forge) -> None:
    tensor = {"dtype": "float32", "shape": [1], "data": [0.0]}
    valid.graph["nodes"].append(node("k", "ConstantOfShape", ["sizes"], ["k"], value=tensor))
    valid.graph["nodes"].insert(0, node("sizes", "Constant", [], ["sizes"], value_ints=[2]))
    valid.manifest["documentation"] = {"initializers": ["k"]}


@row("39", "the documentation calls 'k' an initializer 2 times$")
def initializer_twice(valid: Forge) -> None:
    tensor = {"dtype": "int64", "shape": [1], "data": [0]}
    valid.graph["nodes"].append(node("k", "Constant", [], ["k"], value=tensor))
    valid.manifest["documentation"] = {"initializers": ["k", "k"]}


@row("39", r"the documentation names the sizes of 'y' \(n,\), but its shape is \(batch, 2\)$")
def names_of_too_few_sizes(valid: Forge) -> None:
    valid.manifest["documentation"] = {"values": {"y": {"sizes": ["n"]}}}


@row("39", r"the documentation names the sizes of 'y' \(n, m\), but its shape is \(batch, 2\)$")
def name_of_a_number(valid: Forge) -> None:
    valid.manifest["documentation"] = {"values": {"y": {"sizes": ["n", "m"]}}}


@row("39", r"value 'y': the name of a size 'n\\x1b' has a control or invisible character$")
def size_that_drives_the_terminal(valid: Forge) -> None:
    valid.manifest["documentation"] = {"values": {"y": {"sizes": ["n\x1b", ""]}}}


@row("39", "manifest (is|of) 16778[0-9]{3} bytes( long)?; at most 16777216 are allowed$")
def documentation_that_fills_memory(valid: Forge) -> None:
    valid.manifest["documentation"] = {"graph": {"doc": "x" * 2**24}}


@row("36", "the manifest is malformed: in version 1, there is no field 'documentation'$")
def version_1_with_documentation(valid: Forge) -> None:
    valid.manifest.update(version=1, documentation={"graph": {"doc": "?"}})
    del valid.manifest["checksums"]


# Integrity


@row("41", "tensor 'b.bias' is damaged or another network's: its XXH3-128 is .*, but the manifest says ")
def flipped_weight_bit(valid: Forge) -> None:
    valid.data = DATA[:-1] + bytes([DATA[-1] ^ 1])


@row("42", "2 faults\n  tensor 'b.bias' has no SHA-256 in the manifest\n  tensor 'b.bias' has no XXH3-128 in the ")
def missing_hashes(valid: Forge) -> None:
    del valid.manifest["digests"]["b.bias"], valid.manifest["checksums"]["b.bias"]


@row("42", "tensor 'a.weight' has no XXH3-128 in the manifest\n.*tensor 'b.weight' has no XXH3-128 in the manifest$")
def checksums_of_nothing(valid: Forge) -> None:
    valid.manifest["checksums"] = {}


@row("42", "the manifest is not canonical JSON")
def no_checksums(valid: Forge) -> None:
    del valid.manifest["checksums"]


@row("42", "tensor 'b.bias' has the SHA-256 '[0-9a-f]{40}', not 64 hexadecimal digits$")
def weaker_digest(valid: Forge) -> None:
    valid.manifest["digests"]["b.bias"] = "0" * 40


@row("42", "tensor 'b.bias' has the XXH3-128 '[0-9a-f]{8}', not 32 hexadecimal digits$")
def weaker_checksum(valid: Forge) -> None:
    valid.manifest["checksums"]["b.bias"] = "0" * 8


@row("42", "tensor 'b.bias' has the XXH3-128 '[0-9A-F]{32}', not 32 hexadecimal digits$")
def checksum_in_capitals(valid: Forge) -> None:
    valid.manifest["checksums"]["b.bias"] = "ABCD" * 8


@row("42", "the manifest has the SHA-256 of 'c', which is not a tensor of the network$")
def digest_of_nothing(valid: Forge) -> None:
    valid.manifest["digests"]["c"] = "0" * 64


@row("42", "the manifest has the XXH3-128 of 'c', which is not a tensor of the network$")
def checksum_of_nothing(valid: Forge) -> None:
    valid.manifest["checksums"]["c"] = "0" * 32


@row("42", "tensor 'b.bias' is damaged or another network's: its XXH3-128 is .*, but the manifest says 0{32}$")
def wrong_checksum(valid: Forge) -> None:
    valid.manifest["checksums"]["b.bias"] = "0" * 32


@pytest.mark.parametrize("suffix", CARRIERS)
@pytest.mark.parametrize(("make", "message"), ROWS)
def test_hostile_manifest(tmp_path: Path, suffix: str, make: Callable[[Forge], None], message: str) -> None:
    valid = Forge()
    make(valid)
    refused(tmp_path / f"net{suffix}", CARRIERS[suffix](valid), message)


@pytest.mark.parametrize("suffix", CARRIERS)
def test_no_file_is_older_than_its_kind(tmp_path: Path, suffix: str) -> None:
    """HDF5 and npz came with version 2 of the format."""
    path, valid = tmp_path / f"net{suffix}", Forge()
    valid.of_version(1)
    if suffix == ".safetensors":
        path.write_bytes(CARRIERS[suffix](valid))
        assert load(path).manifest.version == 1
    else:
        refused(path, CARRIERS[suffix](valid), "says that it has version 1 of the format, but such files came with 2$")
