"""Signatures that model-signing made are verified by it, and nothing else passes for one."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from signing import sign, write_public_key

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.core.errors import FileError, FormatError, UsageError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(find_model("digits-mlp").weights, tmp_path / "mine.safetensors"))


def test_it_is_of_the_bytes_whose_sha256_inspect_shows(model: Path, tmp_path: Path) -> None:
    signature = sign(model, tmp_path / "mine.safetensors.sig")
    public = write_public_key(tmp_path / "key.pub")
    assert pnn.verify_signature(model, signature, public_key=public) == f"signed with the key of {public}"
    payload = json.loads(base64.b64decode(json.loads(signature.read_text())["dsseEnvelope"]["payload"]))
    [resource] = payload["predicate"]["resources"]
    found = pnn.inspect(model).file
    assert found is not None
    assert resource["digest"] == found.sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
    assert found.signature == str(signature)


def test_other_bytes_another_key_and_what_is_no_signature_are_refused(model: Path, tmp_path: Path) -> None:
    signature, public = sign(model, tmp_path / "its.sig"), write_public_key(tmp_path / "key.pub")
    other = write_public_key(tmp_path / "other.pub", 2)
    with pytest.raises(FormatError, match=r"its.sig: is no valid signature of .*mine.safetensors with the key of"):
        pnn.verify_signature(model, signature, public_key=other)
    for wrong in ("{}", "", "[1]", signature.read_text()[:-40], signature.read_text().replace('"sig":"M', '"sig":"N')):
        (tmp_path / "wrong.sig").write_text(wrong)
        with pytest.raises(FormatError, match=r"wrong.sig: is no valid signature"):
            pnn.verify_signature(model, tmp_path / "wrong.sig", public_key=public)
    pnn.load(model).save(model.with_suffix(".npz"))
    with pytest.raises(FormatError, match=r"its.sig: is no valid signature"):
        pnn.verify_signature(model.with_suffix(".npz"), signature, public_key=public)
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    with pytest.raises(FormatError, match=r"mine.safetensors"):
        pnn.verify_signature(model, signature, public_key=public)


def test_what_is_missing_is_named(model: Path, tmp_path: Path) -> None:
    signature, public = sign(model, tmp_path / "its.sig"), write_public_key(tmp_path / "key.pub")
    with pytest.raises(FileError, match=r"none.pub: does not exist"):
        pnn.verify_signature(model, signature, public_key=tmp_path / "none.pub")
    with pytest.raises(FileError, match=r"none.sig: does not exist"):
        pnn.verify_signature(model, tmp_path / "none.sig", public_key=public)
    with pytest.raises(FileError, match=r"mine.safetensors: cannot be used to verify a signature"):
        pnn.verify_signature(model, signature, public_key=model)
    with pytest.raises(UsageError, match="one of public_key, identity with issuer, and certificates"):
        pnn.verify_signature(model, signature)
    with pytest.raises(UsageError, match="identity and issuer belong together"):
        pnn.verify_signature(model, signature, identity="a@b.org")


def test_weights_in_other_files_are_not_covered(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.ones((400, 4), np.float32), "w")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [value("x", 1, ["N", 400])],
        [value("y", 1, ["N", 4])],
        [weights],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(made, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    signature, public = sign(tmp_path / "m.onnx", tmp_path / "m.sig"), write_public_key(tmp_path / "key.pub")
    with pytest.raises(FormatError, match=r"m.onnx: has weights in other files \(w.bin\)"):
        pnn.verify_signature(tmp_path / "m.onnx", signature, public_key=public)
