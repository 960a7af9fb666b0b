from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from weight_files import GRAPH, MANIFEST, TENSORS

import portable_nn
from portable_nn.core.errors import FormatError
from portable_nn.core.graph import Node, Parameter, Tensor
from portable_nn.core.tensors import ITEM_SIZES
from portable_nn.format import canonical, documentation, manifest, safetensors, training, validate
from portable_nn.format.manifest import Manifest, decode, encode
from portable_nn.format.meaning import Column, InputInfo, Statistics
from portable_nn.preprocessing import steps as preprocessing

ROOT = Path(__file__).parents[2]
TEXT = encode(MANIFEST)


def edited(**fields: Any) -> bytes:
    return canonical.dumps(json.loads(TEXT) | fields)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None], "é": "ü\u2028\x7f/"}, '{"a":[true,null],"b":1,"é":"ü\u2028\x7f/"}'),
        ({"\U0001f600": 1, "\uffee": 2}, '{"\uffee":2,"\U0001f600":1}'),
        ('"\\\x00\x08\t\n\x0c\r\x1f', r'"\"\\\u0000\b\t\n\f\r\u001f"'),
        ([0.01, 4.0, -0.0, 1e15, 1e16, 0.0001, 0.00001], "[0.01,4.0,-0.0,1000000000000000.0,1e+16,0.0001,1e-05]"),
        ([1.5e300, 5e-324, 0.1 + 0.2, 2**63], "[1.5e+300,5e-324,0.30000000000000004,9223372036854775808]"),
    ],
)
def test_canonical_json(value: object, text: str) -> None:
    assert canonical.dumps(value) == text.encode()


def test_decode_inverts_encode() -> None:
    assert decode(TEXT, "f") == MANIFEST
    assert json.loads(TEXT).keys() == {field.name for field in msgspec.structs.fields(Manifest)} - {"documentation"}


VERSION = "f: the format version must be a whole number from 1, not "
NEWER = (
    "f: the file has version 5 of the format, and this portable-nn reads up to version 4: "
    "pip install --upgrade portable-nn"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (edited(version=5), NEWER),
        (edited(version=5, layers=[], graph=None), NEWER),
        (edited(version=0), VERSION + "0"),
        (edited(version=-1), VERSION + "-1"),
        (edited(version=1.0), VERSION + "1.0"),
        (edited(version="1"), VERSION + "'1'"),
        (edited(version=True), VERSION + "True"),
        (edited(version=None), VERSION + "None"),
        (edited(format="other", version=2), "f: the manifest's format is 'other', not 'portable-nn'"),
        (edited(version=[1]), "f: the manifest is malformed: version cannot be [1] ("),
        (b"{}", "f: the manifest's format is None, not 'portable-nn'"),
        (b"[]", "f: the manifest is malformed: it cannot be [] ("),
        (b"", "f: the manifest is malformed: it cannot be read as JSON in UTF-8 ("),
        (TEXT[:-1], "f: the manifest is malformed: it cannot be read as JSON in UTF-8 ("),
        (b'"' * 2**25, "f: the manifest is 33554432 bytes long; at most 16777216 are allowed"),
        (edited(layers=[]), "f: the manifest is malformed: it has the unknown field 'layers' ("),
        (
            edited(training={}),
            "f: the manifest is malformed: training lacks the field 'tensors' (",
        ),
        (edited(opset=25.0), "f: the manifest is malformed: opset cannot be 25.0 ("),
        (
            TEXT.replace(b'"kind":"logits"', b'"kind":"maybe"'),
            'f: the manifest is malformed: outputs[0].kind cannot be "maybe" (',
        ),
        (
            TEXT.replace(b'"step":"scale"', b'"step":"exec"'),
            "f: the manifest is malformed: inputs[0].preprocessing[0] cannot be {",
        ),
        (
            TEXT.replace(b'"offset":0.01', b'"offset":1e999'),
            "f: the manifest is malformed: inputs[0].preprocessing[0].offset cannot be 1e999 (",
        ),
    ],
)
def test_what_decode_refuses(text: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=re.escape(message)):
        decode(text, "f")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"opset":25', b'"opset":24,"opset":25'),
        (b'"opset":25', b'"opset": 25'),
        (b'"factor":0.5', b'"factor":0.50'),
        (b'"factor":0.5', b'"factor":5e-1'),
        (b'"offset":0.01', b'"offset":1E-2'),
        (b'"alpha":0.01', b'"alpha":0.0100000000000000000001'),
        (b'"transB":1', b'"transB":-0'),
        ("größer".encode(), rb"gr\u00f6\u00dfer"),
        (b'"training":null,', b""),
        (b'"kind":"logits"', b'"kind":"logits" '),
        (b'"dtype":"float32","name":"x"', b'"name":"x","dtype":"float32"'),
    ],
)
def test_every_other_text_of_the_same_manifest_is_refused(old: bytes, new: bytes) -> None:
    assert TEXT.count(old) >= 1
    with pytest.raises(
        FormatError, match=r"f: the manifest is not canonical JSON: byte \d+ should begin '.*, but begins"
    ):
        decode(TEXT.replace(old, new, 1), "f")


def test_a_difference_is_shown() -> None:
    assert canonical.difference(b'{"a":1}', b'{"b":1}') == """byte 2 should begin 'a":1}', but begins 'b":1}'"""
    assert canonical.difference(b"[1]", b"[1] ") == "byte 3 should begin nothing (the end), but begins ' '"


def test_metadata_is_kept_to_the_letter() -> None:
    words = {"": "\x00\x1b", "e\u0301": "\u202e", "日本": "🙂\n"}
    assert decode(encode(replace(MANIFEST, metadata=words)), "f").metadata == words


def test_the_producer_is_this_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{project['name']} {portable_nn.__version__}" == manifest.PRODUCER


def test_the_specification_names_every_field_step_type_and_limit() -> None:
    text = (ROOT / "portable_nn/format/SPEC.md").read_text()
    structs = [
        Manifest,
        documentation.Documentation,
        documentation.Remark,
        documentation.ValueRemark,
        documentation.ModelOrigin,
        training.TrainingRecord,
        training.GeneratorState,
    ]
    structs += preprocessing.Step.__args__
    info = msgspec.inspect.multi_type_info(structs)
    names = {field.name for struct in info for field in struct.fields} | set(ITEM_SIZES)
    names |= {step.__struct_config__.tag for step in preprocessing.Step.__args__}
    assert sorted(name for name in names if f"`{name}`" not in text) == []
    limits = [manifest.MAX_BYTES, safetensors.MAX_HEADER, validate.MAX_TENSORS, validate.MAX_RANK]
    limits += [preprocessing.MAX_SIDE, preprocessing.MAX_ELEMENTS]
    assert [limit for limit in limits if str(limit) not in text] == []


def faults_of(found: Manifest) -> list[str]:
    """The faults but that nothing is hashed yet."""
    return [fault for fault in validate.manifest_faults(found) if not fault.endswith(" in the manifest")]


@pytest.mark.parametrize(
    "statistics",
    [
        Statistics(0.0, 0.0, 0.0, 0.0),
        Statistics(2.0, 2.0, 1.9999990, 0.0),
        Statistics(2.0, 2.0, 2.0000010, 0.0),
        Statistics(-1.0, 3.0, -1.0, 4.0),
        Statistics(-1.0, 3.0, 3.0, 0.0),
    ],
    ids=["of 0 alone", "mean rounded down", "mean rounded up", "at the minimum", "at the maximum"],
)
def test_statistics_of_some_numbers(statistics: Statistics) -> None:
    """Also where float32 has rounded the mean."""
    columns = (Column("a", statistics=statistics), Column("b"))
    assert faults_of(replace(MANIFEST, inputs=(InputInfo("x", "table", columns=columns),))) == []


def test_a_range_may_be_one_number_and_must_end() -> None:
    ranged = [replace(MANIFEST, inputs=(InputInfo("x", range=ends),)) for ends in [(2.0, 2.0), (0.0, math.inf)]]
    assert [faults_of(each) for each in ranged] == [[], ["input 'x': the range 0.0 to inf is none"]]


def of_tensors(count: int, rank: int) -> Manifest:
    names = [f"t{number}" for number in range(count)]
    parameters = tuple(Parameter(name, "float32", (1,) * rank) for name in names)
    hashes = {kind: dict.fromkeys(names, "0" * digits) for kind, digits in (("digests", 64), ("checksums", 32))}
    graph = replace(GRAPH, parameters=(*GRAPH.parameters, *parameters))
    every = {kind: {**dict.fromkeys(TENSORS, next(iter(each.values()))), **each} for kind, each in hashes.items()}
    return replace(MANIFEST, graph=graph, **every)


@pytest.mark.parametrize(
    ("count", "rank", "message"),
    [
        (2**14 - 4, 32, []),
        (2**14 - 3, 1, ["there are 16385 tensors; at most 16384 are allowed"]),
        (1, 33, ["tensor 't0' has 33 dimensions; at most 32 are allowed"]),
    ],
    ids=["as many as may be", "one more tensor", "one more dimension"],
)
def test_the_numbers_of_tensors_and_dimensions(count: int, rank: int, message: list[str]) -> None:
    found = validate.manifest_faults(of_tensors(count, rank))
    assert [fault for fault in found if "allowed" in fault] == message


@pytest.mark.parametrize(("number", "is_one"), [(0, True), (1, True), (2, False), (-1, False)])
def test_truth_values_of_a_tensor(number: int, is_one: bool) -> None:
    node = Node("k", "Constant", (), ("k",), {"value": Tensor("bool", (1,), (number,))})
    found = validate.manifest_faults(replace(MANIFEST, graph=replace(GRAPH, nodes=(*GRAPH.nodes, node))))
    fault = f"'k' (Constant): attribute 'value' has the value {number}, which bool cannot hold"
    assert ([each for each in found if "bool" in each] == [fault]) is not is_one


def test_a_constant_without_an_output_is_a_fault_and_no_crash() -> None:
    node = Node("k", "Constant", (), (), {"value": Tensor("int64", (1,), (0,))})
    notes = documentation.Documentation(initializers=("k",))
    graph = replace(GRAPH, nodes=(*GRAPH.nodes, node))
    expected = "the documentation calls 'k' an initializer, but no Constant node makes it"
    assert expected in validate.manifest_faults(replace(MANIFEST, graph=graph, documentation=notes))
