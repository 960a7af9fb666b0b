"""Signatures that model-signing made are verified by it, and nothing else passes for one."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import onnx
import pytest
from signing import sign, write_public_key

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.cli import main
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


def with_weights_beside(folder: Path) -> Path:
    """An ONNX file whose weights are in ``w.bin``."""
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
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save_model(made, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    return folder / "m.onnx"


def test_weights_in_other_files_are_not_covered_by_the_signature_of_one(tmp_path: Path) -> None:
    model = with_weights_beside(tmp_path / "model")
    signature, public = sign(model, tmp_path / "m.sig"), write_public_key(tmp_path / "key.pub")
    with pytest.raises(FormatError, match=r"m.onnx: has weights in other files \(w.bin\).*sign the folder"):
        pnn.verify_signature(model, signature, public_key=public)


@pytest.mark.parametrize("place", ["", "onnx/float"])
def test_a_signature_of_a_folder_covers_what_it_lists(place: str, tmp_path: Path) -> None:
    folder, public = tmp_path / "model", write_public_key(tmp_path / "key.pub")
    model = with_weights_beside(folder / place)
    (folder / "card.md").write_text("about it")
    signature = sign(folder, tmp_path / "m.sig")
    assert pnn.verify_signature(model, signature, public_key=public) == f"signed with the key of {public}"
    shutil.copy(model, folder / place / "other.onnx")
    with pytest.raises(FormatError, match=r"m.sig: is no valid signature .* it lists 3 files, and other.onnx is none"):
        pnn.verify_signature(folder / place / "other.onnx", signature, public_key=public)
    for changed in (model.with_name("w.bin"), folder / "card.md"):
        before = changed.read_bytes()
        changed.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        with pytest.raises(FormatError, match=r"m.sig: is no valid signature"):
            pnn.verify_signature(model, signature, public_key=public)
        changed.write_bytes(before)
    weights = model.with_name("w.bin")
    moved = weights.rename(tmp_path / "w.bin")
    with pytest.raises(FormatError, match=r"m.sig: is no valid signature"):
        pnn.verify_signature(model, signature, public_key=public)
    alone = sign(folder, tmp_path / "alone.sig")
    moved.rename(weights)
    with pytest.raises(
        FormatError, match=r"m.onnx: has weights in other files \(w.bin\), which the signature does not"
    ):
        pnn.verify_signature(model, alone, public_key=public)


def test_files_in_a_signed_folder_that_nobody_has_signed_are_named(tmp_path: Path) -> None:
    folder, public = tmp_path / "model", write_public_key(tmp_path / "key.pub")
    model = with_weights_beside(folder / "onnx")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("is left out by model-signing")
    signature = sign(folder, tmp_path / "m.sig")
    signature = signature.rename(folder / "m.sig")  # Itself it is not signed, of course.
    for later in ("later.txt", "onnx/w2.bin", "other/a.bin", "other/b.bin"):
        (folder / later).parent.mkdir(exist_ok=True)
        (folder / later).write_text("this was signed by nobody, and is read by nobody")
    words = f"signed with the key of {public}; not signed: .git/, later.txt, onnx/w2.bin, other/"
    assert pnn.verify_signature(model, signature, public_key=public) == words
    with pnn.verified_copy(model, signature, public_key=public) as found:
        assert found.unsigned == (".git/", "later.txt", "onnx/w2.bin", "other/")
        assert sorted(each.name for each in found.path.parents[1].rglob("*.*")) == ["m.onnx", "w.bin"]


@pytest.mark.parametrize("location", ["w2.bin", "sub/m.onnx"])
def test_weights_in_an_unsigned_file_of_a_signed_folder_are_refused(location: str, tmp_path: Path) -> None:
    """Also where it has the name of the model."""
    folder, public = tmp_path / "model", write_public_key(tmp_path / "key.pub")
    model = with_weights_beside(folder)
    stored = onnx.load(model, load_external_data=False)
    stored.graph.initializer[0].external_data[0].value = location
    model.write_bytes(stored.SerializeToString())
    signature = sign(folder, tmp_path / "m.sig")
    (folder / location).parent.mkdir(exist_ok=True)
    shutil.copy(folder / "w.bin", folder / location)
    for verify in (pnn.verify_signature, lambda *words, **who: pnn.verified_copy(*words, **who).__enter__()):
        with pytest.raises(FormatError, match=rf"m.onnx: has weights in other files \({location}\), which"):
            verify(model, signature, public_key=public)


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_what_was_signed_in_shards(size: int, model: Path, tmp_path: Path) -> None:
    public = write_public_key(tmp_path / "key.pub")
    signature = sign(model, tmp_path / "m.sig", shard_size=size)
    with pnn.verified_copy(model, signature, public_key=public) as found:
        assert found.path.read_bytes() == model.read_bytes()
    of_folder = sign(model.parent, tmp_path.parent / "folder.sig", shard_size=size)
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"m.sig: is no valid signature"):
        pnn.verify_signature(model, signature, public_key=public)
    with pytest.raises(FormatError, match=r"it is of a folder in shards, .*: sign it by files"):
        pnn.verify_signature(model, of_folder, public_key=public)


@pytest.mark.parametrize("inner", [False, True])
def test_a_signature_with_fields_that_others_may_read_is_refused(inner: bool, model: Path, tmp_path: Path) -> None:
    """Two envelopes, of which one is verified and the other believed: protocol buffers know two spellings."""
    signature, public = sign(model, tmp_path / "its.sig"), write_public_key(tmp_path / "key.pub")
    bundle = json.loads(signature.read_text())
    if inner:
        bundle["dsseEnvelope"]["payload_type"] = bundle["dsseEnvelope"]["payloadType"]
    else:
        bundle["dsse_envelope"] = bundle["dsseEnvelope"]
    signature.write_text(json.dumps(bundle))
    with pytest.raises(FormatError, match=r"its.sig: is no valid signature .* it is not laid out as"):
        pnn.verify_signature(model, signature, public_key=public)


PARSERS = (
    "portable_nn.onnx",
    "portable_nn.plain",
    "portable_nn.format",
    "portable_nn.engines",
    "onnx.",
    "h5py",
    "numpy.lib",
)


def modules_called(call: Callable[[], object]) -> set[str]:
    """The modules of all functions of Python that run meanwhile."""
    found = set[str]()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            found.add(frame.f_globals.get("__name__", ""))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".npz", ".h5", ".pt", ".keras", ".npy"])
def test_a_hostile_model_with_a_bad_signature_never_reaches_a_parser(suffix: str, tmp_path: Path) -> None:
    model, public = tmp_path / f"m{suffix}", write_public_key(tmp_path / "key.pub")
    model.write_bytes(b"\x08\x08signed")
    signature = sign(model, tmp_path / "m.sig")
    model.write_bytes(b"\x08\x08hostile")

    def verify() -> None:
        with pytest.raises(FormatError, match=r"m.sig: is no valid signature"):
            pnn.verify_signature(model, signature, public_key=public)

    verify()  # What is imported, is so now.
    called = {name for name in modules_called(verify) if name.startswith(PARSERS)}
    assert called <= {"portable_nn.format.canonical"}, called


def test_a_signed_model_does_reach_it(tmp_path: Path) -> None:
    model, public = tmp_path / "m.onnx", write_public_key(tmp_path / "key.pub")
    model.write_bytes(b"no model")
    signature = sign(model, tmp_path / "m.sig")

    def verify() -> None:
        with pytest.raises(FormatError, match=r"m.onnx"):
            pnn.verify_signature(model, signature, public_key=public)

    assert "portable_nn.onnx.storage.files" in modules_called(verify)


def test_inspect_shows_nothing_of_it_either(tmp_path: Path) -> None:
    model, public = tmp_path / "m.onnx", write_public_key(tmp_path / "key.pub")
    model.write_bytes(b"signed")
    signature = sign(model, tmp_path / "m.sig")
    model.write_bytes(b"hostile")
    words = ["inspect", str(model), "--verify-signature", str(signature), "--signer", str(public)]
    codes = list[int]()
    main(words)
    called = modules_called(lambda: codes.append(main(words)))
    assert codes == [3]
    assert not [name for name in called if name.startswith("portable_nn.onnx.storage")]


def test_a_signature_that_leaves_the_model_out_is_of_no_model(model: Path, tmp_path: Path) -> None:
    public = write_public_key(tmp_path / "key.pub")
    (tmp_path / "other.txt").write_text("listed")
    for place, what in {"itself": model, "its folder": model.parent, "no file": tmp_path / "empty"}.items():
        (tmp_path / "empty").mkdir(exist_ok=True)
        signature = sign(what, tmp_path.parent / f"{place}.sig", ignored=[model])
        payload = json.loads(base64.b64decode(json.loads(signature.read_text())["dsseEnvelope"]["payload"]))
        assert model.name not in {each["name"] for each in payload["predicate"]["resources"]}
        with pytest.raises(FormatError, match=r"it lists \d+ files, and mine.safetensors is none of them"):
            pnn.verify_signature(model, signature, public_key=public)


HOSTILE = {
    "no envelope": "{}",
    "null": "null",
    "a list": "[]",
    "a number": "1",
    "deep": "[" * 100_000,
    "a deep payload": {"payload": base64.b64encode(b"[" * 100_000).decode(), "signatures": [{"sig": ""}]},
    "null in it": {"payload": None, "signatures": None},
    "a payload of null": {"payload": base64.b64encode(b"null").decode(), "signatures": []},
    "no resources": {"payload": base64.b64encode(b'{"predicate": {}}').decode(), "signatures": []},
    "resources of numbers": {"payload": base64.b64encode(b'{"predicate": {"resources": [1]}}').decode()},
    "no signature": {
        "payload": base64.b64encode(b'{"predicate": {"resources": [{"name": "."}]}}').decode(),
        "signatures": [],
    },
    "a method of a number": {
        "payload": base64.b64encode(b'{"predicate": {"resources": [], "serialization": 5}}').decode()
    },
}


@pytest.mark.parametrize("bundle", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_bundle_is_refused_in_words(bundle: str | dict[str, object], model: Path, tmp_path: Path) -> None:
    public = write_public_key(tmp_path / "key.pub")
    text = bundle if isinstance(bundle, str) else json.dumps({"mediaType": "x", "dsseEnvelope": bundle})
    (tmp_path / "hostile.sig").write_text(text)
    with pytest.raises(FormatError, match=r"hostile.sig: is no valid signature of .*: .*") as caught:
        pnn.verify_signature(model, tmp_path / "hostile.sig", public_key=public)
    for word in ("object", "index", "NoneType", "recursion", "KeyError", "Error", "argument", "'"):
        assert word not in caught.value.reason
