"""Commands with a weight file that another program has re-saved: they do the same, and say so."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from reframing import REFRAMES, by_copy, by_numpy, by_safetensors
from signing import sign, write_public_key

from portable_nn.catalog import find_model
from portable_nn.format.reframed import NOTE
from portable_nn.opening.convert import convert

PLAIN = {".safetensors": by_safetensors, ".h5": by_copy, ".npz": by_numpy}


@pytest.fixture(params=REFRAMES)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A re-saved copy of a shipped model; the canonical one is beside it, in ``canonical``."""
    path = tmp_path / f"model{request.param}"
    (tmp_path / "canonical").mkdir()
    convert(find_model("digits-mlp").weights, tmp_path / "canonical" / path.name)
    PLAIN[path.suffix](tmp_path / "canonical" / path.name, path, random.Random(0))
    return path


COMMANDS = {
    "predict": ["predict", "MODEL", "digits", "--out", "answers.csv"],
    "predict with numpy": ["predict", "MODEL", "digits", "--engine", "numpy", "--out", "answers.csv"],
    "evaluate": ["evaluate", "MODEL", "digits.csv", "--out", "answers.csv"],
    "export": ["export", "MODEL", "answers.onnx"],
    "tune": [
        "tune",
        "MODEL",
        "digits.csv",
        "--epochs",
        "1",
        "--out",
        "answers.npz",
        "--seed",
        "0",
        "--validation",
        "0",
    ],
    "size": ["size", "net", "MODEL", "--out", "answers.txt"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_computes_does_the_same_with_a_note(run, model, digits_csv, command) -> None:
    results = []
    for path in (Path("canonical", model.name), Path(model.name)):
        done = run(*[str(path) if word == "MODEL" else word for word in COMMANDS[command]])
        assert done.code == 0, done.err
        (answers,) = Path().glob("answers*")
        content = answers.read_bytes()
        answers.unlink()
        results.append((content, done.err))
    (expected, silent), (found, told) = results
    if command != "size":
        assert NOTE not in silent
        assert told.count(NOTE) == 1
    assert found == expected


def test_check_inspect_and_convert_say_so_in_json(run, model) -> None:
    for name, notes in ((f"canonical/{model.name}", []), (model.name, [NOTE])):
        checked = run("check", name, "--format", "json")
        assert checked.code == 0
        assert [each["message"] for each in checked.json["findings"] if "re-saved" in each["message"]] == notes
        assert run("inspect", name, "--format", "json").json.get("notes", []) == notes
        converted = run("convert", name, f"out{model.suffix}", "--format", "json", "--force")
        assert converted.json["notes"] == notes
        assert Path(f"out{model.suffix}").read_bytes() == Path("canonical", model.name).read_bytes()
    assert NOTE in run("inspect", model.name).out
    assert NOTE in run("convert", model.name, f"out{model.suffix}", "--force").err


def test_the_digest_and_the_manifest_are_the_same(run, model) -> None:
    manifest = run("inspect", model.name, "--manifest")
    assert manifest.out == run("inspect", "digits-mlp", "--manifest").out
    digest = run("inspect", model.name, "--format", "json").json["digest"]
    assert digest == run("inspect", "digits-mlp", "--format", "json").json["digest"]
    assert run("predict", model.name, "digits", "--digest", digest).code == 0
    assert run("predict", model.name, "digits", "--digest", "0" * 64).code == 3


def test_import_says_what_it_is(run, model) -> None:
    done = run("import", model.name, "out.npz")
    assert (done.code, done.err.rstrip()) == (
        2,
        f"error: {model.name}: is a weight file of portable-nn: portable-nn convert writes it in another format",
    )


def test_a_signature_is_one_of_the_bytes_and_not_of_the_network(run, model, tmp_path) -> None:
    sign(model, tmp_path / "model.sig")
    write_public_key(tmp_path / "key.pub")
    words = ["--verify-signature", "model.sig", "--signer", "key.pub"]
    found = run("inspect", model.name, *words)
    assert found.code == 0
    assert found.out.startswith("signature  signed with the key of key.pub\n")
    assert NOTE in found.out
    shutil.copy(tmp_path / "canonical" / model.name, model)
    assert run("inspect", model.name, *words).code == 3
