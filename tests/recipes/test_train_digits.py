"""A training on digits: what photographs of them become, and when the answer is ``"?"``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.core.errors import UsageError
from portable_nn.data.apart import split
from portable_nn.data.dataset import Dataset
from portable_nn.data.images import read_image
from portable_nn.data.no_digits import no_digits
from portable_nn.preprocessing.defaults import DIGIT, SHEET
from portable_nn.recipes.classifier import train_classifier
from portable_nn.recipes.digits import said
from portable_nn.recipes.pictures import train_pictures
from portable_nn.recipes.tuning import tune_classifier

RNG = np.random.default_rng(0)
SAMPLES = [read_image(path) for path in sorted(find_model("digits").samples.iterdir())]
DIGITS = np.stack([255 - each if each[0, 0] > 127 else each for each in SAMPLES])
"""A picture of MNIST for each digit, light on dark."""

Y = np.arange(600) % 10
X = (DIGITS[Y] * RNG.uniform(0.3, 1, (600, 1, 1))).round().reshape(600, 784)
FILLED = RNG.integers(0, 256, (600, 784))
OPTIONS: Mapping[str, Any] = {"epochs": 3, "validation": 0.2, "progress": False}


@pytest.mark.parametrize(
    ("x", "y", "preprocess", "steps"),
    [
        (X, Y, None, SHEET),
        (X, Y, "none", ()),
        (FILLED, Y, None, DIGIT),
        (FILLED, Y, "digits", SHEET),
        (X, Y % 9, None, DIGIT),
        (np.roll(X, 5, axis=1), Y, None, DIGIT),
        (X.reshape(-1, 28, 28).repeat(2, 1).repeat(2, 2)[:, 14:42, 14:42], Y, None, DIGIT),
    ],
    ids=["digits", "left out", "full of ink", "asked for", "nine classes", "beside the middle", "twice as large"],
)
def test_what_looks_like_digits_is_read_from_photographs(x, y, preprocess, steps) -> None:
    x = x / 255 if preprocess == "none" else x
    sizes = [784, int(y.max()) + 1]
    net, _ = train_classifier(sizes, Dataset(x, y), preprocess=preprocess, **{**OPTIONS, "epochs": 1})
    assert net.inputs[0].preprocessing == steps
    assert (net.outputs[0].threshold > 0) == (steps == SHEET)
    words = {SHEET: "predict finds digits in photographs", DIGIT: "as the pixels do not look like digits"}
    is_said = steps == SHEET or (steps == DIGIT and sizes[-1] == 10)
    assert (words.get(steps, "-") in said(net).get("prepared", "")) == is_said


def placed(digit: int, side: int, *, left: int, top: int, room: int, light: bool) -> Image.Image:
    """A digit of a width in a picture with room at its sides, light on dark or dark on light."""
    picture = Image.new("L", (side + room, side + room))
    picture.paste(Image.fromarray(DIGITS[digit]).resize((side, side), Image.Resampling.BICUBIC), (left, top))
    return picture if light else picture.point(lambda level: 235 - 0.8 * level)


def folder_of(path: Path, names: str | list[str]) -> Path:
    """Twelve pictures of each digit: large and small, anywhere, in either polarity."""
    rng = np.random.default_rng(1)
    for digit, name in enumerate(names):
        (path / name).mkdir(parents=True)
        for number in range(12):
            left, top = map(int, rng.integers(0, 60, 2))
            side = int(rng.integers(28, 90))
            picture = placed(digit, side, left=left, top=top, room=60, light=number % 2 == 0)
            picture.save(path / name / f"{number}.png")
    return path


WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("layers", "names", "preprocess"),
    [
        ("784-16-10", "0123456789", None),
        ("784-cnn-10", "0123456789", "digits"),
        ("cnn", "0123456789", None),
        ("auto-16-auto", "0123456789", None),
        ("auto-16-auto", WORDS, "digits"),
    ],
)
def test_a_folder_of_digits_gives_a_network_that_reads_photographs(
    tmp_path: Path, layers: str, names: str | list[str], preprocess: Any
) -> None:
    """Of each digit one, dark on paper that a lamp lights from the left; the folder has none so large."""
    folder = folder_of(tmp_path / "mine", names)
    options = {**OPTIONS, "epochs": 30 if "cnn" in layers else 60, "validation": 0.5, "preprocess": preprocess}
    net = train_pictures(layers, folder, **options).network
    assert net.inputs[0].preprocessing == SHEET
    assert "predict finds digits in photographs" in said(net)["prepared"]
    assert (net.outputs[0].threshold > 0) == ("unsure" in said(net)) == (names != WORDS)
    answers = []
    for digit in range(10):
        sheet = np.asarray(placed(digit, 200, left=240, top=100, room=400, light=False))
        photograph = Image.fromarray((sheet * np.linspace(1, 0.6, sheet.shape[1])).astype(np.uint8))
        answers += list(pnn.predict(net, [photograph]))
    assert sum(each.label == names[digit] for digit, each in enumerate(answers)) >= 9
    assert not {each.label for each in answers} - {*names, "?"}


@pytest.mark.parametrize(
    ("layers", "names", "preprocess"),
    [("784-10", "0123456789", "none"), ("784-10", "abcdefghij", None), ("1024-10", "0123456789", None)],
)
def test_other_pictures_of_a_folder_are_only_scaled(tmp_path: Path, layers: str, names: str, preprocess: Any) -> None:
    folder = folder_of(tmp_path / "mine", names)
    net, _, told = train_pictures(layers, folder, preprocess=preprocess, **{**OPTIONS, "epochs": 1})
    assert [type(step).__name__ for step in net.inputs[0].preprocessing] == ["GreyscaleStep", "ResizeStep"]
    assert net.outputs[0].threshold == 0
    assert ("--preprocess digits finds digits in photographs" in told.notes[1]) == (layers == "1024-10")


@pytest.mark.long
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_at_most_two_of_a_hundred_digits_are_unsure(loss: str) -> None:
    """Those that were held out, as predict answers; a higher threshold would leave out more."""
    net, _ = train_classifier([784, 20, 10], Dataset(X, Y), loss=loss, **{**OPTIONS, "epochs": 12})
    _, held_out = split(600, 0.2, 0)
    answers = list(pnn.predict(net, X[held_out].astype(np.float32), engine="numpy"))
    assert 1 <= sum(each.label == "?" for each in answers) <= 0.02 * len(held_out)
    threshold = net.outputs[0].threshold
    assert sum(each.probability < threshold + 0.0011 for each in answers) >= 0.02 * len(held_out) - 0.5
    drawn = np.stack(no_digits(np.random.default_rng(0), DIGITS, 240)).reshape(240, 784)
    unsure = [each.label for each in pnn.predict(net, drawn, engine="numpy")].count("?")
    assert net.metadata["unsure"].endswith(f" of 120 digits, {unsure / 2.4:.1f} % of 240 pictures of no digit")


@pytest.mark.parametrize("validation", [0, 0.05])
def test_a_few_digits_say_nothing_of_a_threshold(validation: float) -> None:
    net, _ = train_classifier([784, 10], Dataset(X, Y), **{**OPTIONS, "epochs": 1, "validation": validation})
    assert net.outputs[0].threshold == 0
    assert "unsure" not in net.metadata


def test_tuning_finds_the_threshold_anew() -> None:
    net, _ = train_classifier([784, 10], Dataset(X, Y), **{**OPTIONS, "epochs": 1})
    tuned, _ = tune_classifier(net, Dataset(X, Y), **{**OPTIONS, "epochs": 40})
    assert tuned.outputs[0].threshold > net.outputs[0].threshold
    plain = pnn.Sequential(pnn.Input(784), pnn.Rescaling(1 / 255), pnn.Dense(10), labels="0123456789")
    tuned, _ = tune_classifier(plain, Dataset(X, Y), preprocess="digits", **OPTIONS)
    assert tuned.inputs[0].preprocessing == SHEET
    assert tuned.outputs[0].threshold > 0


def test_digits_are_rows_of_784_pixels() -> None:
    data, message = Dataset(X[:, :4], Y), "preprocess digits is for rows of 784 pixels, not of 4 numbers"
    with pytest.raises(UsageError, match=message):
        train_classifier([4, 10], data, preprocess="digits", **OPTIONS)
    with pytest.raises(UsageError, match=message):
        tune_classifier(
            pnn.Sequential(pnn.Input(4), pnn.Dense(10), labels="0123456789"), data, preprocess="digits", **OPTIONS
        )


def test_a_books_network_is_calibrated_by_its_threshold_alone() -> None:
    """Its outputs are separate, so that they have no temperature; outputs stay as they were."""
    net, _ = train_classifier([784, 20, 10], Dataset(X, Y), loss="mean_squared_error", **{**OPTIONS, "validation": 0})
    before = net.predict(X)
    found = pnn.calibrate(net, X.astype(np.float32), Y)
    assert found.calibration is None
    np.testing.assert_array_equal(found.network.predict(X), before)
    answers = [each.label for each in pnn.predict(found.network, X.astype(np.float32))]
    assert 1 <= answers.count("?") <= 12
