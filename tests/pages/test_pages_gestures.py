"""Pictures given to pages as hands do: by finger and pen, dropped and pasted; for a model of others, too."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from pages.browsers import browse, in_firefox, runtime_folder
from PIL import Image

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.operators.registry import Array

pytestmark = pytest.mark.long

SIDE = 48
LABELS = ["ant", "bee", "cat", "dog", "eel"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pages and what is given to them."""
    folder = tmp_path_factory.mktemp("gestures")
    conv = pnn.Conv2d(8, kernel=5, stride=3)
    network = pnn.Sequential(
        pnn.Input(3, SIDE, SIDE), conv, pnn.ReLU(), pnn.Flatten(), pnn.Dense(5), labels=LABELS, seed=2
    )
    export_onnx(network, folder / "photos.onnx")
    runtime = runtime_folder()
    preparation = pnn.Preparation("imagenet", size=SIDE, crop=SIDE)
    pnn.to_html(folder / "photos.onnx", folder / "photos.html", runtime=runtime, preprocess=preparation)
    pnn.to_html("digits", folder / "digits.html", runtime=runtime)
    rng = np.random.default_rng(3)
    for name in ("first", "second"):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(folder / f"{name}.png")
    (folder / "words.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Any:
    return browse("gestures.cjs", folder)


def logits(folder: Path, name: str) -> Array:
    """What onnxruntime makes of a picture of the right size, by the published means and deviations of ImageNet."""
    levels = np.asarray(Image.open(folder / f"{name}.png"), np.float64) / 255
    x = (levels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    session = onnxruntime.InferenceSession(folder / "photos.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x.transpose(2, 0, 1)[None].astype(np.float32)})
    return np.asarray(found[0])


def test_fingers_and_pens_draw(found: Any) -> None:
    for kind, pointer in (("finger", "touch"), ("pen", "pen")):
        assert found[kind]["answer"] == "7"
        assert found[kind]["met"] == [pointer]
        assert found[kind]["scrolled"] == 0


def test_a_hand_that_rests_on_the_sheet_draws_nothing(found: Any) -> None:
    assert found["resting"]["answer"] == "7"
    assert abs(found["resting"]["ink"] - found["finger"]["ink"]) <= 0.02 * found["finger"]["ink"]


def test_fingers_and_pens_draw_in_firefox(folder: Path) -> None:
    """Fingers by Firefox's own handling of input; a pen by events of a script, as it performs none."""
    shown = in_firefox("firefox_gestures.cjs", folder)
    for name, pointer, trusted in (("finger", "touch", True), ("resting", "touch", True), ("pen", "pen", False)):
        assert shown[name]["answer"] == "7"
        assert {tuple(event[1:]) for event in shown[name]["met"]} == {(pointer, trusted)}
    downs = [event[0] for event in shown["resting"]["met"]].count("pointerdown")
    assert downs == 2
    assert abs(shown["resting"]["ink"] - shown["finger"]["ink"]) <= 0.02 * shown["finger"]["ink"]


def test_a_model_of_others_reads_what_is_dropped_and_pasted(found: Any, folder: Path) -> None:
    given = found["given"]
    assert given["marked"] == 1
    expected = [logits(folder, name) for name in ("first", "second")]
    np.testing.assert_allclose(given["shares"], expected, rtol=0, atol=1e-5)
    best = [LABELS[int(each.argmax())] for each in expected]
    shares = [f"{100 * np.exp(each - np.logaddexp.reduce(each)).max():.1f} %" for each in expected]
    assert given["dropped"][0] == best[0]
    assert best[0] + shares[0] in given["dropped"]
    assert given["pasted"][0] == best[1]
    assert best[1] + shares[1] in given["pasted"]
    assert given["several"] == [
        ["first.png", best[0], shares[0]],
        ["second.png", best[1], shares[1]],
        ["words.txt", "expected a picture as a PNG, JPEG, WebP, GIF or BMP file"],
    ]


def test_the_licences_of_the_runtime_and_of_what_is_in_it_stand_in_the_page(found: Any) -> None:
    """Word for word as in the package onnxruntime, which is of the same sources."""
    words = files("onnxruntime").joinpath("LICENSE").read_text(encoding="utf-8").split()
    assert words[:6] == ["MIT", "License", "Copyright", "(c)", "Microsoft", "Corporation"]
    assert "".join(words) in "".join(found["given"]["licence"].split())
    notices = files("onnxruntime").joinpath("ThirdPartyNotices.txt").read_text(encoding="utf-8", errors="replace")
    assert {"protobuf", "Eigen", "XNNPACK"} <= {*re.findall(r"[A-Za-z]+", notices)}
    assert found["given"]["notices"].split() == notices.split()
