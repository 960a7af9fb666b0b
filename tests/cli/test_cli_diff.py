"""``portable-nn diff``: the case to send, and the JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, numpy_helper
from PIL import Image, ImageOps

import portable_nn as pnn


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelProto:
    """A network as another program's file; beside it, that of this package."""
    monkeypatch.chdir(tmp_path)
    net = pnn.Sequential(pnn.Input(3, 8, 8), pnn.Conv2d(4, kernel=3), pnn.BatchNorm2d(), pnn.MaxPool2d(2), seed=0)
    pnn.export_onnx(net, "a.onnx")
    found = onnx.load("a.onnx")
    del found.metadata_props[:]
    found.producer_name = "somebody"
    return found


def test_a_case_to_send_runs_by_itself(model, run):
    pool = next(each for each in model.graph.node if each.name == "max_pool_1")
    pool.op_type = "AveragePool"
    onnx.save(model, "b.onnx")
    code, out, _ = run("diff", "a.onnx", "b.onnx", "--repro", "case", "--html", "page.html")
    assert code == 1
    assert "max_pool_1" in out
    printed = subprocess.run([sys.executable, "case/run.py"], capture_output=True, text=True, check=True).stdout
    assert float(printed.rpartition(" ")[2]) > 0.1
    for side in "ab":
        [only] = onnx.load(f"case/{side}/model.onnx").graph.node
        assert only.name == "max_pool_1"
        session = onnxruntime.InferenceSession(f"case/{side}/model.onnx")
        x, y = (
            numpy_helper.to_array(onnx.load_tensor(f"case/{side}/test_data_set_0/{name}_0.pb"))
            for name in ("input", "output")
        )
        np.testing.assert_array_equal(session.run(None, {session.get_inputs()[0].name: x})[0], y)
    assert b"max_pool_1" in Path("page.html").read_bytes()
    code, _, err = run("diff", "a.onnx", "b.onnx", "--repro", "case")
    assert (code, "case" in err) == (2, True)


def test_json_has_what_the_table_has(model, run):
    norm = next(each for each in model.graph.node if each.name == "batch_norm_1")
    next(each for each in norm.attribute if each.name == "epsilon").f = 1e-3
    onnx.save(model, "b.onnx")
    found = json.loads(run("diff", "a.onnx", "b.onnx", "--format", "json").out)
    assert found["verdict"] == "parted"
    assert found["partings"][0]["nodes_b"] == ["batch_norm_1"]
    assert found["partings"][0]["why"] == "epsilon is 0.001 in B"


@pytest.fixture
def photo(tmp_path: Path) -> Image.Image:
    """Noise of a coarse grain, in a file as well."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    found = Image.fromarray(coarse).resize((130, 90), Image.Resampling.BICUBIC)
    found.save(tmp_path / "photo.png")
    return found


PREPARED = [
    ("nearest", lambda picture: np.asarray(picture.resize((8, 8), Image.Resampling.NEAREST)) / 255),
    ("blue, green, red", lambda picture: np.asarray(picture.resize((8, 8), 2))[..., ::-1] / 127.5 - 1),
    (
        "scaled to 6x8, put at 1, 0 of 8x8",
        lambda picture: np.asarray(ImageOps.pad(picture, (8, 8), 2, (114,) * 3)) / 255,
    ),
]


@pytest.mark.parametrize(("cause", "theirs"), PREPARED)
def test_the_options_prepare_a_picture_as_the_other_side_does(tmp_path, monkeypatch, run, photo, cause, theirs):
    monkeypatch.chdir(tmp_path)
    pnn.export_onnx(pnn.Sequential(pnn.Input(3, 8, 8), pnn.Flatten(), pnn.Dense(4), seed=0), "b.onnx")
    x = theirs(photo).astype(np.float32).transpose(2, 0, 1)[np.newaxis]
    np.savez("theirs.npz", images=x)
    found = json.loads(run("diff", "b.onnx", "photo.png", "--inputs-b", "theirs.npz", "--format", "json").out)
    assert (found["verdict"], found["same"], found["b"]) == ("prepared", False, "theirs.npz")
    assert cause in [gap["b"] for gap in found["preparation"]]
    assert run("predict", "b.onnx", "photo.png", *found["options"].split(), "--io", "io.npz").code == 0
    [ours] = (array for array in np.load("io.npz").values() if array.shape == x.shape)
    np.testing.assert_allclose(ours, x, rtol=0, atol=1 / 127)


def test_a_picture_and_the_models_may_be_given_together(model, run, photo):
    onnx.save(model, "b.onnx")
    assert run("diff", "a.onnx", "b.onnx", "photo.png").code == 0
    np.save("theirs.npy", np.asarray(photo.resize((8, 8), 2)).transpose(2, 0, 1) / 255)
    code, out, _ = run("diff", "a.onnx", "b.onnx", "photo.png", "--inputs-b", "theirs.npy")
    assert (code, "A makes these numbers" in out) == (0, True)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("a.onnx", "another model"),
        ("a.onnx --inputs-b theirs.npz", "a picture"),
        ("a.onnx photo.png --inputs-b theirs.npz --answers-b theirs.npz", "either --inputs-b or"),
        ("a.onnx photo.png --inputs-b none.npz", "none.npz"),
        ("a.onnx photo.png --inputs-b row.npy", "(5,)"),
        ("a.onnx photo.png --answers-b theirs.npz", "(5, 7)"),
        ("a.onnx photo.png --answers-b photo.png", "photo.png"),
        ("a.onnx theirs.npz --inputs-b theirs.npz", "picture"),
        ("a.onnx none.png --inputs-b theirs.npz", "none.png"),
    ],
)
def test_what_is_no_array_of_the_picture_is_named(model, run, photo, words, named):
    np.savez("theirs.npz", x=np.zeros((5, 7)))
    np.save("row.npy", np.arange(5))
    code, _, err = run("diff", *words.split())
    assert code in (2, 3)
    assert named in err


def test_given_inputs_are_read_from_a_file(model, run):
    onnx.save(model, "b.onnx")
    np.savez("x.npz", input=np.zeros((2, 3, 8, 8), np.float32))
    assert run("diff", "a.onnx", "b.onnx", "x.npz").code == 0


def test_a_weight_that_the_inputs_do_not_reach_is_named_and_an_array_alone_shows_it(tmp_path, monkeypatch, run):
    """Behind a bias of -100, one that is changed makes no difference to random inputs."""
    monkeypatch.chdir(tmp_path)
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), pnn.ReLU(), pnn.Dense(2), seed=0)
    net.parameters["dense_1.bias"][0] = -100
    net.save("a.safetensors")
    net.parameters["dense_2.weight"][:, 0] += 0.5
    net.save("b.safetensors")
    out = run("diff", "a.safetensors", "b.safetensors").out
    assert "dense_2.weight" in out
    assert "no output differs on these inputs: others may show it" in out
    x = 1000 * np.sign(net.parameters["dense_1.weight"][:1])
    np.save("x.npy", x.astype(np.float32))
    out = run("diff", "a.safetensors", "b.safetensors", "x.npy").out
    assert "no output differs" not in out
    differs = np.abs(pnn.load("a.safetensors").predict(x) - pnn.load("b.safetensors").predict(x)).max()
    assert f"{differs:.1e}" in out
