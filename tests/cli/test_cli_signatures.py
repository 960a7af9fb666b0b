"""``inspect --verify-signature``."""

import json
import shutil
from pathlib import Path

import pytest
from signing import sign, write_public_key

from portable_nn.catalog import find_model
from portable_nn.cli.inspect import _trusted
from portable_nn.core.errors import FileError, UsageError


def test_the_command_says_who_signed_and_shows_nothing_that_nobody_has(run, tmp_path) -> None:
    shutil.copy(find_model("digits-mlp").weights, tmp_path / "mine.safetensors")
    sign(tmp_path / "mine.safetensors", tmp_path / "mine.safetensors.sig")
    write_public_key(tmp_path / "key.pub")
    write_public_key(tmp_path / "other.pub", 2)
    assert "signature   mine.safetensors.sig (not verified)" in run("inspect", "mine.safetensors").out
    words = ["inspect", "mine.safetensors", "--verify-signature", "mine.safetensors.sig", "--signer"]
    found = run(*words, "key.pub")
    assert found.code == 0
    assert found.out.startswith("signature  signed with the key of key.pub\n")
    assert "not verified" not in found.out
    refused = run(*words, "other.pub")
    assert (refused.code, refused.out) == (3, "")
    alone = run("inspect", "mine.safetensors", "--signer", "key.pub")
    assert alone.code == 2
    assert "--signer needs --verify-signature" in alone.err


def test_the_command_names_unsigned_files_of_a_signed_folder(run, tmp_path) -> None:
    (tmp_path / "model").mkdir()
    shutil.copy(find_model("digits-mlp").weights, tmp_path / "model/mine.safetensors")
    sign(tmp_path / "model", tmp_path / "its.sig")
    (tmp_path / "model/more.txt").write_text("later")
    write_public_key(tmp_path / "key.pub")
    plain = run("inspect", "model/mine.safetensors").out
    words = ["inspect", "model/mine.safetensors", "--verify-signature", "its.sig", "--signer", "key.pub"]
    assert run(*words).out == f"signature  signed with the key of key.pub\nunsigned   more.txt\n{plain}"
    found = json.loads(run(*words, "--format", "json").out)
    assert (found["signed"], found["unsigned"]) == ("signed with the key of key.pub", ["more.txt"])
    assert found["file"]["path"] == "model/mine.safetensors"
    told = "signed with the key of key.pub; not signed: more.txt\n"
    manifest = run(*words, "--manifest")
    assert (manifest.out, manifest.err) == (run("inspect", "digits-mlp", "--manifest").out, told)
    against = run(*words, "--against", "digits-mlp")
    assert (against.code, against.err, against.out) == (0, told, run(*words[:2], "--against", "digits-mlp").out)


def test_a_signer_is_a_key_a_certificate_or_a_name_that_somebody_vouches_for(tmp_path) -> None:
    (tmp_path / "key.pub").write_text("-----BEGIN PUBLIC KEY-----\n")
    names = [str(tmp_path / name) for name in ("one.pem", "two=2.pem")]
    for name in names:
        Path(name).write_text("# chain\n-----BEGIN CERTIFICATE-----\n")
    key, who = str(tmp_path / "key.pub"), "me@example.com=https://a.example/?x=1"
    assert _trusted([key]) == {"public_key": key, "certificates": []}
    assert _trusted(names) == {"certificates": names}
    assert _trusted([who]) == {"identity": "me@example.com", "issuer": "https://a.example/?x=1", "certificates": []}
    for several in ([key, key], [who, who]):
        with pytest.raises(UsageError, match="there is one already"):
            _trusted(several)
    with pytest.raises(FileError, match=r"missing\.pub"):
        _trusted([str(tmp_path / "missing.pub")])
