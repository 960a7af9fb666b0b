"""``train`` and ``tune`` on folders of pictures, and ``train cnn`` on arrays of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from drawn import idx
from PIL import Image

import portable_nn as pnn
from portable_nn.evaluation import picture

CNN = ("train", "cnn", "photos", "--rate", "0.01", "--validation", "0.2")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Dark and light pictures, ten of each."""
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    for place, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 60, (9, 12), np.uint8) + 180 * np.uint8(place)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
def test_a_folder_is_trained_on_tuned_on_and_told(run, tmp_path: Path, photos: Path) -> None:
    code, out, err = run(*CNN, "--out", "m.safetensors", "--epochs", "20", "--plot", "sheet.png")
    assert code == 0
    assert "photos: 20 pictures of 2 classes, dark, light\nscale to 8x8 pixels (bilinear), in grey\n" in err
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        "epochs",
        "loss",
        "validation loss",
        "validation accuracy",
        "saved",
        "drawn",
    ]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 500
    assert run("evaluate", "m.safetensors", "photos", "--format", "json").json["accuracy"] == 1.0
    (photos / "light").rename(photos / "bright")
    code, _, err = run("tune", "m.safetensors", "photos", "--epochs", "40", "--rate", "0.01", "--out", "t.safetensors")
    assert code == 0
    assert "a new last layer tells them apart, as the model has no class bright: it has dark, light" in err
    assert pnn.load(tmp_path / "t.safetensors").labels == ("bright", "dark")
    assert run("evaluate", "t.safetensors", "photos", "--format", "json").json["accuracy"] == 1.0


@pytest.mark.long
def test_the_same_seed_and_a_resumed_run_give_the_same_bytes(run, tmp_path: Path, photos: Path) -> None:
    run(*CNN, "--out", "a.safetensors", "--epochs", "4", "--plot", "a.png")
    resumable = (*CNN, "--out", "b.safetensors", "--checkpoint", "run", "--plot", "b.png")
    run(*resumable, "--epochs", "2")
    assert run(*resumable, "--epochs", "4", "--resume").code == 0  # Also in place of its own pictures.
    assert digest(tmp_path / "a.safetensors") == digest(tmp_path / "b.safetensors")


@pytest.mark.long
def test_pictures_that_training_never_sees_are_tested_on(run, tmp_path: Path, photos: Path) -> None:
    found = run(*CNN, "--out", "m.safetensors", "--epochs", "20", "--test", "0.3", "--format", "json").json
    assert (found["test"]["examples"], found["test"]["accuracy"]) == (6, 1.0)
    assert [each["support"] for each in found["test"]["classes"]] == [3, 3]
    assert run(*CNN, "--out", "n.safetensors", "--test", "0.99").err.startswith("error: test of 0.99 leaves nothing")


@pytest.mark.long
@pytest.mark.parametrize("validation", ["0.25", "0"])
def test_the_pictures_that_are_drawn_are_those_of_the_test(run, monkeypatch, photos: Path, validation: str) -> None:
    drawn = []
    monkeypatch.setattr(
        picture, "sheet", lambda found, title, draw=picture.sheet: drawn.append(found) or draw(found, title)
    )
    options = ("--epochs", "1", "--validation", validation, "--test", "0.3", "--format", "json")
    for command in (("train", "cnn"), ("tune", "train.npz")):
        out = ("--out", f"{command[0]}.npz", "--plot", f"{command[0]}.png")
        found = run(*command, "photos", *out, *options).json["test"]
        assert found["examples"] == 6
        assert found["loss"] == pytest.approx(drawn.pop().as_json()["loss"], rel=1e-5)
    assert not drawn


def test_accuracy_has_its_number_of_pictures_and_a_guess_is_called_one(run, photos: Path) -> None:
    out, err = run(*CNN, "--out", "m.safetensors", "--epochs", "1")[1:]
    assert " of 4 held out\n" in out
    assert "this may be guessing: accuracy " in err  # Even 4 of 4 may be, by a coin.
    assert " by 4 pictures, 50.0 % by the most frequent class alone" in err
    for name, level in (("dark", 10), ("light", 240)):
        for number in range(10, 40):
            Image.new("L", (9, 12), level).save(photos / name / f"{number}.png")
    out, err = run(*CNN, "--out", "n.safetensors", "--epochs", "4")[1:]
    assert "100.0 % (75.9 % to 100.0 %) of 16 held out\n" in out
    assert "guessing" not in err


def test_a_damaged_picture_is_named_and_the_exit_code_is_3(run, tmp_path: Path, photos: Path) -> None:
    (photos / "dark" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = run(*CNN, "--out", "m.safetensors", "--epochs", "1", "--quiet")
    assert code == 3
    assert (tmp_path / "m.safetensors").exists()
    assert "saved" in out
    assert err.startswith("error: of 20 pictures, 1 cannot be used: photos/dark/3.png: expected a picture such as PNG")


@pytest.mark.parametrize("form", ["idx", "npz", "csv", "named", "named, some held out"])
def test_arrays_of_pictures(run, tmp_path: Path, form: str) -> None:
    y = np.arange(40) % 2
    x = np.random.default_rng(0).integers(0, 60, (40, 28, 28)) + 180 * y[:, np.newaxis, np.newaxis]
    for name, array in (("images-idx3", x), ("labels-idx1", y)):
        (tmp_path / f"train-{name}-ubyte").write_bytes(idx(8, array.shape, array.astype(np.uint8).tobytes()))
    np.savez(tmp_path / "d.npz", x=x, y=y)
    np.savez(tmp_path / "n.npz", pictures=x, kinds=y)
    np.savetxt(tmp_path / "d.csv", np.c_[y, x.reshape(40, -1)], fmt="%d", delimiter=",")
    data = {"idx": "train-images-idx3-ubyte", "npz": "d.npz", "csv": "d.csv"}.get(form, "n.npz")
    layers = {"npz": "784-cnn-2", "csv": "784-cnn-auto"}.get(form, "cnn")
    more = ["--inputs", "pictures", "--target", "kinds", "--test", "0.2" if "," in form else "0"]
    command = ["train", layers, data, "-o", "m.h5", "--epochs", "2", "--rate", "0.01", *more[: 6 * (data == "n.npz")]]
    assert run(*command).code == 0
    steps = [step.__class__.__name__ for step in pnn.load(tmp_path / "m.h5").inputs[0].preprocessing]
    assert steps == ["GreyscaleStep", "PolarityStep", "FitDigitStep"]  # 28x28 pixels are those of a digit.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "cnn", "nosuch"), "nosuch: expected a file or folder, found neither"),
        (("train", "cnn", "photos", "--standardise"), "--standardise is for rows of numbers, and these are pictures"),
        (("train", "cnn", "photos", "--target", "l.csv"), "--target is not for a folder of pictures"),
        (("tune", "digits", "photos", "--target", "l.csv"), "--target is not for a folder of pictures"),
        (("train", "64-2", "photos", "--preprocess", "digits"), "preprocess digits is for rows of 784 pixels"),
        (("train", "cnn", "photos", "--labels", "ab"), "--labels is not for a folder of pictures"),
        (("tune", "digits", "photos", "--preprocess", "none"), "--preprocess is not for a folder of pictures"),
        (("tune", "digits", "photos", "--labels", "ab"), "--labels is not for a folder of pictures"),
        (("tune", "digits", "photos", "--until", "nosuch"), "nosuch"),
    ],
)
def test_options_that_do_not_go_with_a_folder(run, photos: Path, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run(*arguments, "--out", "m.safetensors", "--epochs", "1")
    assert code in (2, 3)
    assert err.startswith("error: ")
    assert message in err
