"""Pages of models in real browsers, from the disk, with the network off: what people see is what Python computes."""

from __future__ import annotations

import csv
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages.browsers import browse, in_firefox, runtime_folder
from pages.test_pages_preparation import digits, scene
from PIL import Image

import portable_nn as pnn
from portable_nn.catalog import find_model

pytestmark = pytest.mark.long

PICTURES = 200


def table() -> pnn.Network:
    rng = np.random.default_rng(0)
    width, colour = rng.uniform(1, 4, 120), rng.choice(["blue", "green", "red"], 120)
    kind = np.where((width > 2) == (colour == "green"), "A", "B")
    data = {"width": width, "colour": colour, "kind": kind}
    return pnn.train_table("auto-16-auto", data, units={"width": "mm"}, epochs=3, progress=False).network


def two_inputs() -> pnn.Network:
    a, b = pnn.Input(3, name="a"), pnn.Input(3, 2, name="b")
    return pnn.Network(inputs=[a, b], outputs=pnn.ReLU()(a) + pnn.Dense(3)(pnn.Flatten()(b)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, and the pictures that go through one of them."""
    folder = tmp_path_factory.mktemp("pages")
    to_html = partial(pnn.to_html, runtime=runtime_folder())
    kinds = {
        "digits": to_html("digits", folder / "digits.html").kind,
        "table": to_html(table(), folder / "table.html").kind,
        "generator": to_html("digits-gan", folder / "generator.html").kind,
        "series": to_html("altimetry-track", folder / "series.html").kind,
        "numbers": to_html(two_inputs(), folder / "numbers.html").kind,
    }
    assert kinds == {"digits": "picture", **{name: name for name in kinds if name != "digits"}}
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(5)
    for place in range(PICTURES):
        picture = digits(1, rng)[0] if place % 2 else scene(digits(int(rng.integers(1, 4)), rng), rng)[..., :3]
        Image.fromarray(picture).save(folder / "pictures" / f"{place:03}.png")
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Any:
    """What Chromium showed, after somebody drew, typed and chose: no word on the console, nothing loaded."""
    shown = browse("models.cjs", folder)
    print(f"first answer {shown['first']} ms after opening began")
    return shown


def test_every_page_is_accessible_and_checks_its_own_numbers(found: Any) -> None:
    assert found["axe"] == []
    assert len(found["checked"]) == 5
    assert all(text.startswith("Checked when this page was opened: the same") for text in found["checked"])


def test_drawings_were_recognised_and_a_layer_shown(found: Any) -> None:
    """The script waits for each answer; here is what it saw last."""
    assert found["first"] > 0
    assert re.match(r"[0-9]+ maps of 28 . 28, from -?[0-9.]+ to [0-9.]+", found["layer"])


def test_probabilities_of_pictures_are_those_of_python(found: Any, folder: Path) -> None:
    check_pictures(found, folder)


def test_firefox_reads_drawings_and_pictures_likewise(folder: Path) -> None:
    shown = in_firefox("firefox_models.cjs", folder)
    assert shown["checked"].startswith("Checked when this page was opened: the same")
    assert shown["drawn"] == "7"
    check_pictures(shown, folder)


def check_pictures(found: Any, folder: Path) -> None:
    """Labels, drawings and probabilities of all pictures are those of ``predict``."""
    assert len(found["names"]) == PICTURES
    good = 0
    for name, theirs in zip(found["names"], found["pictures"], strict=True):
        ours = list(pnn.predict("digits", folder / "pictures" / name, strict=False, top=10))
        if isinstance(theirs, str):
            assert [each.error for each in ours] == [theirs]
            continue
        assert [each.label for each in ours] == [each["label"] for each in theirs], name
        for mine, other in zip(ours, theirs, strict=True):
            shares = [share for _, share in sorted(mine.top)]
            np.testing.assert_allclose(other["probabilities"], shares, rtol=0, atol=1e-5, err_msg=name)
        good += 1
    assert good >= 0.9 * PICTURES


def test_a_form_gives_what_predict_gives(found: Any) -> None:
    (expected,) = pnn.predict(table(), {"width": [2.5], "colour": ["green"]}, top=2)
    assert found["table"]["answer"] == expected.label
    shares = [f"{100 * share:.1f} %" for _, share in sorted(expected.top)]
    assert found["table"]["shares"] == shares
    assert found["table"]["fault"] == "column 'width': expected a number, found 'wide'"
    assert found["table"]["respelled"] == "2.5"


def test_a_generator_makes_the_picture_of_its_noise(found: Any) -> None:
    page = found["generator"]
    noise = np.array([page["noise"]], np.float32)
    assert noise[0, :10].argmax() == 7
    made = pnn.load_model("digits-gan").predict(noise)[0, 0]
    # Its sliders stand at steps of 0.05 and end at 3.
    assert np.corrcoef(made.ravel(), page["first"])[0, 1] > 0.98
    assert page["again"] == page["first"] != page["between"]


def test_a_series_has_the_answers_of_predict(found: Any) -> None:
    page = found["series"]
    samples = Path(find_model("altimetry-track").samples) / "echoes.npy"
    expected = [each.values for each in pnn.predict("altimetry-track", np.load(samples))]
    rows = list(csv.reader(page["csv"].splitlines()))
    assert [row[0] for row in rows[1:3]] == ["echoes:0", "echoes:1"]
    assert rows[0] == ["input", "height", "epoch", "std of height", "std of epoch", "unsure"]
    assert [row[-1] == "?" for row in rows[1:]] == [values[2] > 1 for values in expected]
    given = np.array([[cell or "nan" for cell in row[1:-1]] for row in rows[1:]], float)
    np.testing.assert_allclose(given, np.array(expected), atol=1e-4)
    assert page["height"] == f"{expected[7][0]:.3f} m"
    assert all(re.match(r"1 map of [0-9]+ . 104, from ", words) for words in page["layers"])
    assert [label.split(",")[0] for label in page["charts"][:2]] == ["height [m] of 300 rows", "epoch [m] of 300 rows"]


def test_other_models_take_arrays_and_give_them(found: Any) -> None:
    assert np.array(found["numbers"]).shape[1:] == (3,)
