"""``portable-nn export MODEL --html page.html``: options, and what is refused; tests/pages has the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from pages.test_pages_export import data_of, dist

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--html page.txt", "must end in .html"),
        ("page.html", "for a page, put --html before it: --html page.html"),
        ("out.onnx --html page.html", "leave OUT out"),
        ("--html page.html net.py", "leave OUT out"),
        ("--html page.html --opset 17", "--opset is for ONNX files and programs"),
        ("--runtime dist out.onnx", "--runtime is for a page: --html FILE.html"),
        ("--preprocess imagenet out.onnx", "--preprocess is for a page: --html FILE.html"),
        ("--labels names.txt out.onnx", "--labels is for a page: --html FILE.html"),
        ("--layout rgb out.onnx", "--layout is for a page: --html FILE.html"),
        ("--html page.html --preprocess photo", "photo"),
        ("--html page.html", "--runtime fetch gets it once"),
    ],
)
def test_options_that_do_not_fit_are_named(
    run: Any, words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = run("export", "digits-mlp", *words.split())
    assert found.code == 2
    assert message in found.err
    assert not any(tmp_path.glob("*.html"))


def test_pictures_for_a_model_of_others_are_prepared_as_is_said(run: Any, tmp_path: Path) -> None:
    """The published numbers of ImageNet, for an ONNX file that says nothing of pictures."""
    network = pnn.Sequential(pnn.Input(3, 64, 64), pnn.Flatten(), pnn.Dense(5), seed=0)
    export_onnx(network, tmp_path / "theirs.onnx")
    bare = onnx.load(tmp_path / "theirs.onnx")
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "theirs.onnx")
    dist(tmp_path / "dist")
    line = "export theirs.onnx --html page.html --runtime dist --format json --force"
    assert "does not say how to prepare pictures" in run(*line.split()).err
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    found = run(*line.split(), "--preprocess", "imagenet", "--size", "72", "--labels", "names.txt")
    assert found.code == 0, found.err
    assert "does not say how to prepare pictures" not in found.err
    assert json.loads(found.out)["kind"] == "picture"
    steps = {step["step"]: step for step in data_of(tmp_path / "page.html")["steps"]}
    assert data_of(tmp_path / "page.html")["answer"]["labels"] == ["a", "b", "c", "d", "e"]
    assert (steps["normalise"]["mean"], steps["normalise"]["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_a_preparation_for_what_takes_no_pictures_is_refused(run: Any, tmp_path: Path) -> None:
    dist(tmp_path / "dist")
    line = "export digits-gan --html page.html --runtime dist --preprocess imagenet"
    found = run(*line.split())
    assert found.code == 2
    assert "pictures need (batch, colours, height, width)" in found.err
    assert not (tmp_path / "page.html").exists()
