"""Pages of models without a browser: which page a model gets, where the runtime comes from, and what is refused."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from foreign import FLOAT, write
from onnx import helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import FileError, UnsupportedError, UsageError
from portable_nn.pages.describing import layers_of
from portable_nn.pages.runtime import KNOWN, MODULE, NOTICES, PROGRAM, VERSION, cache, fetch_runtime, find_runtime


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def dist(folder: Path, version: str = "0.0.1") -> Path:
    folder.mkdir(parents=True)
    (folder / MODULE).write_text(f"/*!\n * ONNX Runtime Web v{version}\n */")
    (folder / PROGRAM).write_bytes(b"\0asm")
    return folder


def data_of(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def dense(count: int, outputs: int = 2, **named: Any) -> pnn.Network:
    return pnn.Sequential(pnn.Input(count), pnn.Dense(outputs), **named)


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        (lambda: dense(784, 10), "picture"),
        (lambda: pnn.Sequential(pnn.Input(3, 20, 30), pnn.Flatten(), pnn.Dense(4)), "picture"),
        (lambda: dense(5, labels=["a", "b"]), "table"),
        (lambda: dense(40), "series"),
        (lambda: pnn.Sequential(pnn.Input(6), pnn.Dense(64), pnn.Reshape(1, 8, 8), pnn.Sigmoid()), "generator"),
        (lambda: pnn.Sequential(pnn.Input(4, 6), pnn.Conv1d(2, kernel=3)), "numbers"),
    ],
)
def test_the_page_follows_from_what_a_model_takes_and_gives(
    network: Callable[[], pnn.Network], kind: str, tmp_path: Path
) -> None:
    report = pnn.to_html(network(), tmp_path / "page.html", runtime=dist(tmp_path / "dist"))
    data = data_of(report.path)
    assert report.kind == data["kind"] == kind
    assert data["check"]["outputs"]
    assert any("0.0.1 is none of the versions that are tested" in note for note in report.notes)
    assert any("nothing says what the model's numbers mean" in note for note in report.notes) == (kind == "numbers")
    assert any("does not say how to prepare pictures" in note for note in report.notes) == (kind == "picture")


def undeclared(outputs: int, folder: Path) -> Path:
    """A model of another program, for pictures of 784 pixels, which says nothing of its numbers."""
    shape, weight = {"x": (FLOAT, ["n", 784])}, np.ones((784, outputs), np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return write(folder / "m.onnx", [node], shape, {"y": (FLOAT, ["n", outputs])}, {"w": weight})


@pytest.mark.parametrize(("outputs", "kind"), [(2, "values"), (10, "logits")])
def test_a_page_takes_numbers_that_nothing_describes_as_predict_does(outputs: int, kind: str, tmp_path: Path) -> None:
    report = pnn.to_html(undeclared(outputs, tmp_path), tmp_path / "page.html", runtime=dist(tmp_path / "dist"))
    data = data_of(report.path)
    assert data["answer"]["kind"] == kind
    assert "the model does not say what its numbers are" in data["assumed"][0]
    assert "for classes, --labels FILE says their names" in report.notes[1]


def test_a_page_has_the_samples_that_are_given(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    pnn.to_html(dense(40), tmp_path / "p.html", runtime=dist(tmp_path / "dist"), samples=[tmp_path / "rows.npy"])
    (sample,) = data_of(tmp_path / "p.html")["samples"]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "notes.txt").write_text("none of them")
    (tmp_path / "rows.npy").rename(tmp_path / "rows" / "rows.npy")
    pnn.to_html(dense(40), tmp_path / "f.html", runtime=tmp_path / "dist", samples=[tmp_path / "rows"])
    assert data_of(tmp_path / "f.html")["samples"] == [sample]
    assert sample["name"] == "rows"
    assert sample["rows"]["shape"] == [3, 40]
    with pytest.raises(UsageError, match=r"there is no file .*none\.npy"):
        pnn.to_html(dense(40), tmp_path / "q.html", runtime=tmp_path / "dist", samples=[tmp_path / "none.npy"])
    assert not (tmp_path / "q.html").exists()


def test_samples_that_a_page_does_not_show_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((3, 39), np.float32))
    np.save(tmp_path / "nan.npy", np.full((3, 40), np.nan, np.float32))
    (tmp_path / "scan.tif").write_bytes(b"II*")
    rows, nan, scan = tmp_path / "rows.npy", tmp_path / "nan.npy", tmp_path / "scan.tif"
    to_html = partial(pnn.to_html, path=tmp_path / "p.html", runtime=dist(tmp_path / "dist"))
    for model, samples, words in (
        (dense(40), [rows], r"rows\.npy holds no rows of 40 finite numbers"),
        (dense(40), [nan], r"nan\.npy holds no rows of 40 finite numbers"),
        (dense(40), [scan], r"this page takes \.npy files of rows, not .*scan\.tif"),
        (dense(3), [rows], r"this page takes none, not .*rows\.npy"),
        ("digits", [scan], r"this page takes pictures as PNG, JPEG, WebP, GIF or BMP, not .*scan\.tif"),
        ("digits", [rows] * 13, "a page holds 12 at most, and these are 13"),
    ):
        with pytest.raises(UsageError, match=words):
            to_html(model, samples=samples)
    assert not (tmp_path / "p.html").exists()


def test_labels_name_the_classes_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    folder, page = dist(tmp_path / "dist"), tmp_path / "p.html"

    report = pnn.to_html(undeclared(2, tmp_path), page, runtime=folder, labels=tmp_path / "names.txt")
    assert not any("--labels" in note for note in report.notes)
    answer = data_of(page)["answer"]
    assert (answer["kind"], answer["labels"]) == ("logits", ["cat", "dog"])
    pnn.to_html(undeclared(1, tmp_path), page, runtime=folder, labels=["ill"])
    assert data_of(page)["answer"]["kind"] == "binary_logits"
    pnn.to_html(dense(784, labels=["a", "b"]), page, runtime=folder, labels=["yes", "no"])
    assert data_of(page)["answer"]["labels"] == ["yes", "no"]
    pnn.to_html(dense(784), page, runtime=folder, labels=["yes", "no"])
    assert (data_of(page)["answer"]["kind"], data_of(page)["answer"]["labels"]) == ("logits", ["yes", "no"])
    assert "softmax makes probabilities of them" in data_of(page)["assumed"][0]
    other = tmp_path / "other.html"
    with pytest.raises(UsageError, match=r"given are 3 labels, but .* has 2 classes"):
        pnn.to_html(undeclared(2, tmp_path), other, runtime=folder, labels=["a", "b", "c"])
    with pytest.raises(UsageError, match=r"labels name classes, and .* predicts numbers"):
        pnn.to_html(dense(784), other, runtime=folder, labels=["a", "b", "c"])
    generator = pnn.Sequential(pnn.Input(6), pnn.Dense(64), pnn.Reshape(1, 8, 8), pnn.Sigmoid())
    with pytest.raises(UsageError, match="labels name classes, and this model gives none"):
        pnn.to_html(generator, other, runtime=folder, labels=["a"])
    assert not other.exists()


def test_a_network_of_doubles_gets_a_page_in_floats(tmp_path: Path) -> None:
    """onnxruntime has no convolution of doubles."""
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, ["n", 1, 4, 4]) for name in "xy")
    kernel = numpy_helper.from_array(np.full((1, 1, 1, 1), 0.1), "w")
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "doubles", [x], [y], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    network = pnn.import_onnx(model, verify=False)
    folder, page = dist(tmp_path / "dist"), tmp_path / "p.html"
    with pytest.raises(UnsupportedError, match=r'p.html: .* dtype="float32" \(--dtype float32\) writes it in float32'):
        pnn.to_html(network, page, runtime=folder)
    assert pnn.to_html(network, page, runtime=folder, dtype="float32").outputs
    assert {each["dtype"] for each in data_of(page)["inputs"]} == {"float32"}


def test_bytes_behind_a_model_make_values_on_the_way_outputs(tmp_path: Path) -> None:
    """Checked in onnxruntime, against numpy."""
    network = pnn.Sequential(pnn.Input(5), pnn.Dense(3), pnn.ReLU(), pnn.Dense(2), seed=1)
    content = export_onnx(network, tmp_path / "m.onnx").path.read_bytes()
    layers, more = layers_of(content, network)
    assert [layer["operator"] for layer in layers] == ["Gemm", "Relu"]
    assert [layer["batch"] for layer in layers] == [0, 0]
    session = onnxruntime.InferenceSession(content + more)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    (hidden,) = session.run([layers[0]["value"]], {session.get_inputs()[0].name: x})
    weight, bias = (network.parameters[f"dense_1.{name}"] for name in ("weight", "bias"))
    np.testing.assert_allclose(hidden, x @ weight.T + bias, rtol=1e-5, atol=1e-6)


# -- the runtime


def test_a_missing_runtime_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--runtime fetch gets it once from npm .*--runtime DIR"):
        find_runtime()
    with pytest.raises(UsageError, match="expected the folder dist of the npm package onnxruntime-web"):
        find_runtime(tmp_path)


@pytest.mark.parametrize("inner", ["", "dist", "onnxruntime-web/dist", "node_modules/onnxruntime-web/dist"])
def test_a_runtime_is_found_in_a_folder_of_npm(inner: str, tmp_path: Path) -> None:
    dist(tmp_path / "npm" / inner)
    found = find_runtime(tmp_path / "npm")
    assert (found.version, found.known, found.program) == ("0.0.1", False, b"\0asm")


def test_the_notices_are_those_beside_the_runtime_or_of_the_installed_one(tmp_path: Path) -> None:
    folder = dist(tmp_path / "dist")
    installed = Path(onnxruntime.__file__).parent / NOTICES
    assert find_runtime(folder).notices == installed.read_bytes()
    (folder / NOTICES).write_bytes(b"theirs")
    assert find_runtime(folder).notices == b"theirs"


def test_files_that_claim_a_known_version_are_compared(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=f"is not that of onnxruntime-web {VERSION}: its SHA-256 is"):
        find_runtime(dist(tmp_path / "dist", VERSION))


def npm(folder: Path, packed: Path) -> None:
    """A program called npm that packs what is in ``packed``."""
    folder.mkdir()
    (folder / "npm").write_text(f'#!/bin/sh\n[ "$1" = pack ] && cp "{packed}" "$5/onnxruntime-web.tgz"\n')
    (folder / "npm").chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="a script of the shell stands for npm")
def test_a_package_with_other_files_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, packed = dist(tmp_path / "package" / "dist"), tmp_path / "packed.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(source, "package/dist")
    npm(tmp_path / "bin", packed)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(FileError, match="its SHA-256 is"):
        fetch_runtime()
    assert not cache().exists()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="--runtime fetch needs npm"):
        fetch_runtime()


@pytest.mark.skipif(os.name == "nt", reason="a script of the shell stands for npm")
@pytest.mark.long
def test_the_known_package_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.browsers import runtime_folder

    packed = tmp_path / "packed.tgz"
    with tarfile.open(packed, "w") as archive:
        for name in KNOWN[VERSION]:
            archive.add(runtime_folder() / name, f"package/dist/{name}")
    npm(tmp_path / "bin", packed)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    folder = fetch_runtime()
    assert sorted(path.name for path in folder.iterdir()) == sorted([*KNOWN[VERSION], NOTICES])
    assert find_runtime().known
    packed.unlink()
    assert fetch_runtime() == folder


@pytest.mark.parametrize("sizes", [(0, 2), (3, 0)])
def test_a_model_whose_input_or_output_has_no_numbers_gets_no_page(tmp_path: Path, sizes: tuple[int, int]) -> None:
    weights = np.zeros(sizes, np.float32)
    path = write(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (FLOAT, ["n", sizes[0]])},
        {"y": (FLOAT, ["n", sizes[1]])},
        {"w": weights},
    )
    name = "x" if sizes[0] == 0 else "y"
    with pytest.raises(UsageError, match=rf"a page shows numbers, and '{name}' \(n, 0\) of this model has none"):
        pnn.to_html(path, tmp_path / "p.html", runtime=dist(tmp_path / "dist"))
    assert not (tmp_path / "p.html").exists()


def test_a_page_that_chrome_cannot_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dist(tmp_path / "dist")
    assert not any("Chrome" in each for each in pnn.to_html(dense(5), tmp_path / "p.html", runtime=folder).notes)
    monkeypatch.setattr("portable_nn.pages.model.LONGEST", 1000)
    [note] = [each for each in pnn.to_html(dense(5), tmp_path / "p.html", runtime=folder).notes if "Chrome" in each]
    assert re.match(r"the page has \d+ kB, and Chrome and Edge read no text of more than 537 MB", note)
