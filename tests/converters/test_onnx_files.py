"""Files that are not what they should be, by whichever way they are opened."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from portable_nn.converters.onnx import read_onnx
from portable_nn.core.errors import FileError, FormatError
from portable_nn.onnx.session import Session
from portable_nn.onnx.storage.files import read_model
from portable_nn.onnx.storage.metadata import MAX_LENGTH, labels_of
from portable_nn.outputs.reports import check


def model() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"], name="add")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


GOOD = model().SerializeToString()
DAMAGED = "is not an ONNX model, or is damaged or cut off"
NOT_MODELS = {
    "nothing": (b"", "is empty"),
    "text": (b"x,y\n1,2\n", "is a text file, not an ONNX model"),
    "page": (b"<!DOCTYPE html><html>", "is an HTML page: the download gave a page about the file, not the file"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the file itself"),
    "zip": (b"PK\x03\x04\x14\0", "is a zip archive"),
    "pickle": (b"\x80\x04\x95\x10", "is a Python pickle: it can run any code"),
    "safetensors": (b'\x40\0\0\0\0\0\0\0{"__metadata__"', "is a safetensors file: load it with portable_nn.load"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0\0", "is an HDF5 file"),
    "noise": (bytes(range(256)), DAMAGED),
    "cut off": (GOOD[:-7], DAMAGED),
    "cut off early": (GOOD[:20], DAMAGED),
    "a message without a graph": (onnx.ModelProto(ir_version=8).SerializeToString(), DAMAGED),
}


@pytest.mark.parametrize("kind", NOT_MODELS)
def test_what_is_not_a_model_is_reported_by_importer_and_engine(tmp_path, kind):
    data, reason = NOT_MODELS[kind]
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    for opening in (read_onnx, Session):
        with pytest.raises(FormatError) as caught:
            opening(path)
        assert str(caught.value).startswith(f"{path}: {reason}")
    with pytest.raises(FormatError) as caught:
        Session(data, where="bytes")
    assert str(caught.value).startswith(f"bytes: {reason}")


@pytest.mark.parametrize("opening", [read_onnx, Session])
def test_what_cannot_be_read_is_reported(tmp_path, opening):
    with pytest.raises(FileError, match=r"none\.onnx: does not exist"):
        opening(tmp_path / "none.onnx")
    with pytest.raises(FileError, match="is a folder, not a regular file"):
        opening(tmp_path)


def test_every_byte_that_is_cut_off_is_noticed(tmp_path):
    path = tmp_path / "m.onnx"
    for length in range(len(GOOD)):
        path.write_bytes(GOOD[:length])
        with pytest.raises(FormatError, match=r"m\.onnx: "):
            read_onnx(path, verify=False)


# -- tensors in other files


def outside(location: str) -> onnx.ModelProto:
    made = model()
    [tensor] = made.graph.initializer
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return made


def test_tensors_in_the_models_folder_are_read(tmp_path):
    (tmp_path / "weights.bin").write_bytes(np.array([1, 2, 3], np.float32).tobytes())
    (tmp_path / "m.onnx").write_bytes(outside("weights.bin").SerializeToString())
    assert read_model(tmp_path / "m.onnx").SerializeToString() == GOOD
    found = read_onnx(tmp_path / "m.onnx")
    np.testing.assert_array_equal(found.network.parameters["w"], [1, 2, 3])
    assert Session(tmp_path / "m.onnx").run({"x": np.zeros((1, 3))})["y"].tolist() == [[1, 2, 3]]


def refused(folder: Path, made: onnx.ModelProto, message: str) -> None:
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(FormatError, match=f"^{re.escape(str(folder))}/m.onnx: tensor 'w' {message}"):
        read_onnx(folder / "m.onnx")


@pytest.mark.parametrize(
    "location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin", "", "..", "a\\..\\b", "w\0"]
)
def test_tensors_outside_the_models_folder_are_not_read(tmp_path, location):
    folder = tmp_path / "models"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "weights.bin").write_bytes(bytes(12))
    message = re.escape(f"names a file outside the model's folder: {location!r}")
    refused(folder, outside(location), message + "$")


@pytest.mark.parametrize("location", ["link/weights.bin", "link.bin"])
def test_links_are_not_followed(tmp_path, location):
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(12))
    (folder / "link").symlink_to(tmp_path)
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    refused(folder, outside(location), f"names a file outside the model's folder: '{location}' leads over a link$")


def test_another_name_of_the_file_is_no_fault(tmp_path):
    """Package managers store files by hard links; onnx.checker takes one for an attack."""
    (tmp_path / "store").write_bytes(np.array([1, 2, 3], np.float32).tobytes())
    (tmp_path / "weights.bin").hardlink_to(tmp_path / "store")
    (tmp_path / "m.onnx").write_bytes(outside("weights.bin").SerializeToString())
    np.testing.assert_array_equal(read_onnx(tmp_path / "m.onnx").network.parameters["w"], [1, 2, 3])
    assert not [finding for finding in check(tmp_path / "m.onnx").findings if finding.level == "error"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("__class__", "x", "has the unknown key '__class__' in its reference to the file$"),
        ("offset", "-4", "has the offset '-4', which is not a number of bytes$"),
        ("offset", "1e3", "has the offset '1e3', which is not a number of bytes$"),
        ("offset", "9" * 20, "has the offset '9+', which is not a number of bytes$"),
        ("length", "-1", "has the length '-1', which is not a number of bytes$"),
        ("length", str(2**60), r"has \d+ bytes in 'weights.bin', but its type and shape need 12$"),
        ("length", "11", "has 11 bytes in 'weights.bin', but its type and shape need 12$"),
        ("offset", "1", "cannot be read from 'weights.bin': it needs bytes 1 to 13, and the file has 12$"),
        ("offset", str(2**62), r"cannot be read from 'weights.bin': it needs bytes \d+ to \d+, and the file has 12$"),
    ],
)
def test_what_a_model_says_of_another_file_is_checked(tmp_path, key, value, message):
    (tmp_path / "weights.bin").write_bytes(bytes(12))
    made = outside("weights.bin")
    made.graph.initializer[0].external_data.add(key=key, value=value)
    refused(tmp_path, made, message)


def test_a_shape_takes_no_memory(tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(12))
    made = outside("weights.bin")
    made.graph.initializer[0].dims[:] = [2**40, 2**20]
    refused(tmp_path, made, r"cannot be read from 'weights.bin': it needs bytes 0 to \d+, and the file has 12$")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "it needs bytes 0 to 12, and the file has 0"),
        (b"short", "it needs bytes 0 to 12, and the file has 5"),
    ],
)
def test_tensors_that_are_missing_or_short_are_reported(tmp_path, content, message):
    if content is not None:
        (tmp_path / "weights.bin").write_bytes(content)
    refused(tmp_path, outside("weights.bin"), f"cannot be read from 'weights.bin': {message}$")


def test_a_folder_or_pipe_is_no_data_file(tmp_path):
    (tmp_path / "a").mkdir()
    refused(tmp_path, outside("a"), ".*")
    os.mkfifo(tmp_path / "weights.bin")
    refused(tmp_path, outside("weights.bin"), "cannot be read from 'weights.bin': is a FIFO, not a regular file$")


# -- labels


@pytest.mark.parametrize(
    ("metadata", "labels"),
    [
        ({}, ()),
        ({"labels": '["a", "b, c", "3"]'}, ("a", "b, c", "3")),
        ({"labels": "[1, 2]"}, ("1", "2")),
        ({"classes": "cat, dog ,bird"}, ("cat", "dog", "bird")),
        ({"class_names": "a, first\nb\n"}, ("a, first", "b")),
        ({"names": "{0: 'person', 1: \"bull's eye\"}"}, ("person", "bull's eye")),
        ({"names": "{1: 'b', 0: 'a'}"}, ("a", "b")),
        ({"names": "{1: 'b', 2: 'c'}"}, ()),
        ({"names": "{0: 'a', 'x': 'b'}"}, ()),
        ({"labels": "[", "names": "{0: 'a'}"}, ("a",)),
        ({"labels": '{"a": 1}'}, ()),
        ({"labels": "[[1], [2]]"}, ()),
        ({"labels": "[" * 100_000}, ()),
        ({"names": "{" * 10_000}, ()),
        ({"names": "{0: __import__('os')}"}, ()),
        ({"labels": "a," * MAX_LENGTH}, ()),
        ({"labels": " \n "}, ()),
    ],
)
def test_labels_are_found_in_the_ways_of_other_tools(metadata, labels):
    assert labels_of(metadata) == labels
