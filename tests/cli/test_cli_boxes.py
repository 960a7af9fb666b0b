"""Several digits in one picture: a row for each with its box, and the picture with all boxes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from portable_nn.catalog import find_model

SAMPLES = find_model("digits").samples
PLACES = {"4": (60, 80), "2": (330, 100), "7": (640, 60)}
"""Left and top of each digit on the sheet."""


def page(path: Path, places: dict[str, tuple[int, int]] = PLACES) -> dict[str, tuple[int, int, int, int]]:
    """A sheet with digits in dark ink, and the boxes of the ink."""
    sheet = np.full((360, 900), 235, np.uint8)
    boxes = {}
    for digit, (left, top) in places.items():
        picture = np.asarray(Image.open(SAMPLES / f"digit-{digit}.png"))
        ink = 255 - picture if int(digit) % 2 else picture
        large = np.asarray(Image.fromarray(ink).resize((224, 224), Image.Resampling.BICUBIC)) > 127
        part = sheet[top : top + 224, left : left + 224]
        part[large] = 30
        rows, columns = np.flatnonzero(large.any(axis=1)), np.flatnonzero(large.any(axis=0))
        boxes[digit] = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
    Image.fromarray(sheet).save(path)
    return boxes


def test_each_digit_has_a_row_and_its_box(run, tmp_path):
    boxes = page(tmp_path / "photo.png")
    found = run("predict", "digits", "photo.png", "--format", "json")
    assert (found.code, found.err) == (0, "")
    results = found.json["results"]
    assert [(each["input"], each["label"]) for each in results] == [
        ("photo.png#1", "4"),
        ("photo.png#2", "2"),
        ("photo.png#3", "7"),
    ]
    for each in results:
        assert each["box"] == pytest.approx(boxes[each["label"]], abs=4)


@pytest.mark.long
def test_rows_of_csv_and_of_lines(run, tmp_path):
    page(tmp_path / "photo.png")
    assert run("predict", "digits", "photo.png", "--out", "a.csv").code == 0
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["input"], row["label"], row["error"]) for row in rows] == [
        (f"photo.png#{number}", label, "") for number, label in enumerate("427", 1)
    ]
    assert run("predict", "digits", "photo.png", "--out", "a.jsonl").code == 0
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3


@pytest.mark.long
def test_one_digit_has_the_name_of_its_picture(run, tmp_path):
    page(tmp_path / "one.png", {"2": (300, 80)})
    [found] = run("predict", "digits", "one.png", "--format", "json").json["results"]
    assert (found["input"], found["label"]) == ("one.png", "2")


def test_boxes_are_drawn_around_the_ink(run, tmp_path):
    """Where the colour of the lines is: around each digit, and nowhere in it but for its label above."""
    boxes = page(tmp_path / "photo.png")
    code, _, err = run("predict", "digits", "photo.png", "--draw", "boxes.png")
    assert (code, err) == (0, "drawn boxes.png\n")
    before, after = (np.asarray(Image.open(tmp_path / name).convert("RGB"), int) for name in ("photo.png", "boxes.png"))
    assert after.shape == before.shape
    changed = (before != after).any(axis=2)
    for left, top, right, bottom in boxes.values():
        assert not changed[top + 4 : bottom - 4, left + 4 : right - 4].any()
        for edge in (changed[top - 8 : top + 4, left:right], changed[bottom - 4 : bottom + 8, left:right]):
            assert edge.any(axis=0).all()
        for edge in (changed[top:bottom, left - 8 : left + 4], changed[top:bottom, right - 4 : right + 8]):
            assert edge.any(axis=1).all()


@pytest.mark.long
def test_several_pictures_are_drawn_side_by_side(run, tmp_path):
    for name in ("a.png", "b.png"):
        page(tmp_path / name)
        assert run("predict", "digits", name, "--draw", f"boxes-{name}").code == 0
    assert run("predict", "digits", "a.png", "b.png", "--draw", "both.png").code == 0
    found = np.asarray(Image.open(tmp_path / "both.png"), int)
    for place, name in enumerate(("a.png", "b.png")):
        part = Image.open(tmp_path / f"boxes-{name}")
        part.thumbnail((520, 520), Image.Resampling.LANCZOS)
        left = 12 + place * 532
        np.testing.assert_array_equal(found[42 : 42 + part.height, left : left + part.width], np.asarray(part))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["photo.png", "--draw", "boxes.jpg"], 2, "--draw boxes.jpg: the name must end in .png"),
        (["photo.png", "rows.csv", "--draw", "boxes.png"], 2, "--draw is for files of pictures, and rows.csv is none"),
        (["blank.png", "--draw", "boxes.png"], 2, "boxes are drawn in picture files in which digits are found"),
        (["photo.png", "--draw", "photo.png"], 2, "photo.png"),
    ],
)
def test_boxes_that_cannot_be_drawn(run, tmp_path, arguments, code, message):
    page(tmp_path / "photo.png")
    (tmp_path / "rows.csv").write_text("1,2\n")
    Image.new("L", (300, 200), 240).save(tmp_path / "blank.png")
    found = run("predict", "digits", *arguments)
    assert found.code == code
    assert message in found.err
    assert not (tmp_path / "boxes.png").exists()
