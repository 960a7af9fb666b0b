"""Pages that are given too much, too little and the wrong things: they say what Python says of the same."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from pages.browsers import browse, runtime_folder
from pages.test_pages_preparation import digits, scene
from PIL import Image

import portable_nn as pnn

pytestmark = pytest.mark.long

SEQUENCE = 16


def forty() -> pnn.Network:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 40, 400)
    data = {
        "u": np.cos(kind / 6) + rng.normal(0, 0.05, 400),
        "v": np.sin(kind / 6),
        "kind": [f"kind {k}" for k in kind],
    }
    return pnn.train_table("auto-16-auto", data, epochs=3, progress=False).network


def wide() -> pnn.Network:
    rng = np.random.default_rng(1)
    data: dict[str, Any] = {f"c{place}": rng.normal(size=60) for place in range(200)}
    data["kind"] = np.where(data["c0"] > 0, "yes", "no")
    return pnn.train_table("auto-8-auto", data, epochs=2, progress=False).network


def lstm() -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(SEQUENCE, 3), pnn.LSTM(8), pnn.Flatten(), pnn.Dense(3), labels=["a", "b", "c"], seed=0
    )


def node(
    path: Path, operator: str, names: list[str], given: onnx.ValueInfoProto, shape: list[Any], **constants: Any
) -> None:
    """A model of one node, as another program writes it."""
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"])],
        "graph",
        [given],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, and the files that are chosen on them."""
    folder = tmp_path_factory.mktemp("uses")
    rng = np.random.default_rng(2)
    to_html = partial(pnn.to_html, runtime=runtime_folder())
    take = helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["N", 2])
    node(folder / "gather.onnx", "Gather", ["e", "ids"], take, ["N", 2, 3], e=rng.normal(size=(10, 3)).astype("f4"))
    numbers = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])
    node(folder / "log.onnx", "Log", ["x"], numbers, ["N", 3])
    for name in ("gather", "log"):
        to_html(folder / f"{name}.onnx", folder / f"{name}.html")
    for name, network in {"forty": forty(), "wide": wide(), "lstm": lstm(), "series": series()}.items():
        to_html(network, folder / f"{name}.html")
    to_html("altimetry-surface", folder / "surface.html")
    to_html("digits", folder / "digits.html")
    values = rng.normal(size=(2, 200)).round(3)
    header = ",".join(f"c{place}" for place in reversed(range(200)))
    np.savetxt(folder / "rows.csv", values[:, ::-1], "%g", delimiter=",", header=header, comments="")
    (folder / "short.csv").write_text("c0,c1\n1,2\n")
    rows = good_rows()
    np.save(folder / "good.npy", np.asfortranarray(rows.astype(">f8")))
    np.save(folder / "bad.npy", rows[:, 1:])
    rows[[1, 3], [5, 0]] = np.nan, 1e39
    np.save(folder / "holes.npy", rows)
    Image.fromarray(scene(digits(1, rng), rng)[..., :3]).save(folder / "seven.png")
    Image.fromarray(np.full((40, 40), 255, np.uint8)).save(folder / "blank.png")
    long = "a picture with a very long name that is wider than a telephone.png"
    Image.fromarray(scene(digits(2, rng), rng)[..., :3]).save(folder / long)
    (folder / "words.txt").write_text("no picture")
    return folder


def series() -> pnn.Network:
    return pnn.Sequential(pnn.Input(20), pnn.Dense(2), seed=1)


def good_rows() -> Any:
    return np.random.default_rng(3).normal(size=(4, 20))


@pytest.fixture(scope="module")
def found(folder: Path) -> Any:
    """What Chromium showed, on the screen of a phone, dark: no word on the console."""
    return browse("uses.cjs", folder)


def test_all_of_it_is_accessible_and_fits_on_a_phone(found: Any) -> None:
    assert found["axe"] == []


def test_of_many_classes_the_likeliest_are_drawn_and_the_answer_among_them(found: Any) -> None:
    page = found["forty"]
    assert page["legend"][-1] == "6 of 40 classes, the likeliest"
    assert page["strong"] == [page["answer"]]
    assert len(set(page["lines"].values())) == len(page["lines"]) == 6
    assert {name: page["bars"][name] for name in page["lines"]} == page["lines"]


def test_a_class_has_one_colour_in_lines_and_bars_and_all_shares_are_100_percent(found: Any) -> None:
    page = found["surface"]
    assert {name: page["bars"][name] for name in page["lines"]} == page["lines"]
    assert sum(float(share.removesuffix(" %")) for share in page["shares"]) == pytest.approx(100, abs=0.3)


def test_two_hundred_columns_have_a_form_that_a_row_of_a_table_fills_in(found: Any, folder: Path) -> None:
    page = found["wide"]
    assert (page["fields"], page["found"]) == (200, 11)
    assert page["fault"].startswith("the table has no column 'c2', 'c3', ")
    with (folder / "rows.csv").open() as file:
        row = next(csv.DictReader(file))
    assert page["values"] == row["c7"]
    (expected, *_) = pnn.predict(wide(), {name: [float(value)] for name, value in row.items()}, top=2)
    assert page["shares"] == [f"{100 * share:.1f} %" for _, share in sorted(expected.top)]
    hint = "if these are numbers with decimal commas, say so: “decimal comma”, below the values"
    assert page["comma"].removeprefix("Answer") == f"column 'c7': expected a number, found '1,500'; {hint}"


def test_an_answer_of_infinity_is_none(found: Any) -> None:
    assert found["log"]["answer"].removeprefix("Answer") == "the model gives NaN or infinity"


def test_a_series_stays_with_its_name_where_the_next_file_is_bad(found: Any, folder: Path) -> None:
    page = found["series"]
    assert page["empty"] == {"buttons": ["Choose a file…"], "sliders": 0}
    words = "bad.npy: expected an array of the shape (rows, 20), found (4, 19). Below is still good.npy"
    assert page["bad"] == words
    assert page["kept"]["name"] == "good-answers.csv"
    kept, holes = (list(csv.reader(page[name]["text"].splitlines())) for name in ("kept", "holes"))
    assert kept[0] == ["input", "value 1", "value 2"]
    assert [row[0] for row in kept[1:]] == [f"good.npy:{place}" for place in range(4)]
    expected = series().predict(good_rows().astype("f4"))
    np.testing.assert_allclose(np.array([row[1:] for row in kept[1:]], float), expected, atol=1e-6)
    np.testing.assert_allclose(np.array([holes[k][1:3] for k in (1, 3)], float), expected[[0, 2]], atol=1e-6)
    theirs = [each.error for each in pnn.predict(series(), folder / "holes.npy", strict=False)]
    assert [row[3] or None for row in holes[1:]] == theirs
    assert f"2 without an answer, the first is row 1: {theirs[1]}" in page["about"]


def test_layers_show_the_first_example_along_whatever_axis_examples_lie(found: Any) -> None:
    page = found["lstm"]
    assert page["layer"].startswith(f"1 map of {SEQUENCE} \N{MULTIPLICATION SIGN} 8, ")
    assert page["answers"] == 1
    assert "Nothing in this model" not in page["inputs"]


def test_what_a_model_refuses_is_said_in_plain_words(found: Any) -> None:
    """Shapes and types are refused beforehand, and what the runtime says of the rest is for who asks."""
    page = found["gather"]
    assert page["found"][1] == "ids: expected int64, found 0.5"
    refused = "the model refuses ids of int64 (1, 2): a number or the shape does not fit what it computes"
    assert page["found"][2:] == [refused] * 2
    assert "OrtRun" in page["raw"]
    assert page["good"].startswith("[[[")


def test_the_answers_to_several_pictures_are_those_of_predict(found: Any, folder: Path) -> None:
    page = found["digits"]
    names = list(dict.fromkeys(row[0].split("#")[0] for row in page["rows"]))
    theirs = list(pnn.predict("digits", [folder / name for name in names[:3]], strict=False))
    rows = list(csv.DictReader(page["csv"].splitlines()))
    assert page["wide"] <= 0
    assert [row["input"] for row in rows[:-1]] == [Path(each.input).name for each in theirs]
    for row, each in zip(rows, theirs, strict=False):
        assert (row["label"] or None, row["guess"] or None, row["error"] or None) == (
            each.label,
            each.guess,
            each.error,
        )
    assert page["rows"][-1] == ["words.txt", "expected a picture as a PNG, JPEG, WebP, GIF or BMP file"]
