"""``predict`` with preparations, arrays and drawings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from foreign import FLOAT, convolutional, write
from onnx import helper
from PIL import Image

PIXELS = np.random.default_rng(2).integers(0, 256, (12, 15, 3), dtype=np.uint8)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("photo.png")
    convolutional(tmp_path / "m.onnx")
    kind = (FLOAT, ["n", 3, "h", "w"])
    write(tmp_path / "same.onnx", [helper.make_node("Identity", ["x"], ["y"])], {"x": kind}, {"y": kind})
    kinds = {name: (FLOAT, ["n", 2]) for name in "abcd"}
    nodes = [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Sub", ["a", "b"], ["d"])]
    write(tmp_path / "two.onnx", nodes, {n: kinds[n] for n in "ab"}, {n: kinds[n] for n in "cd"})
    np.save("a.npy", np.float32([[1, 2]]))
    np.save("b.npy", np.float32([[10, 20]]))


@pytest.mark.usefixtures("files")
def test_arrays_are_written(run):
    code, _, err = run(
        "predict", "same.onnx", "photo.png", "--mean", "127.5", "--std", "127.5", "--size", ":none", "--out", "y.npz"
    )
    assert code == 0
    assert "mean and std are above 1: they are for 0 to 255" in err
    assert "written to y.npz: y (1, 3, 12, 15)" in err
    expected = (PIXELS / 127.5 - 1).transpose(2, 0, 1)[np.newaxis]
    np.testing.assert_allclose(np.load("y.npz")["y"], expected, atol=1e-6)


@pytest.mark.long
@pytest.mark.usefixtures("files")
def test_several_inputs(run):
    both = ("--inputs", "a=a.npy", "--inputs", "b=b.npy")
    code, out, _ = run("predict", "two.onnx", *both)
    assert code == 0
    assert out.splitlines()[1].split() == ["c", "float32", "(1,", "2)", "11", "22"]
    assert run("predict", "two.onnx", *both, "--output", "d", "--out", "d.npy")[0] == 0
    assert np.load("d.npy").tolist() == [[-9, -18]]
    code, out, _ = run("predict", "two.onnx", *both, "--format", "json")
    assert json.loads(out)["outputs"][0] == {"output": "c", "dtype": "float32", "shape": [1, 2]}


@pytest.mark.usefixtures("files")
def test_a_copy_keeps_the_options(run):
    code, _, err = run("predict", "m.onnx", "--preprocess", "imagenet", "--size", "9", "--keep", "kept.onnx")
    assert code == 0
    assert "written to kept.onnx, which says how pictures are prepared: convert to red" in err
    with_options = run(
        "predict", "m.onnx", "photo.png", "--preprocess", "imagenet", "--size", "9", "--task", "classes", "--top", "5"
    )
    code, out, err = run("predict", "kept.onnx", "photo.png", "--task", "classes", "--top", "5")
    assert (code, out) == with_options[:2]
    assert err == ""


@pytest.mark.usefixtures("files")
def test_pictures_are_drawn(run):
    code, out, err = run("predict", "same.onnx", "photo.png", "--preprocess", "detection", "--draw", "found.png")
    assert code == 0
    counts = np.bincount(PIXELS.argmax(axis=2).ravel(), minlength=3) / PIXELS[..., 0].size
    shares = {line.split()[2]: float(line.split()[3]) for line in out.splitlines()[1:]}
    assert shares == pytest.approx({str(n): 100 * share for n, share in enumerate(counts)}, abs=0.06)
    assert "drawn in found.png" in err
    with Image.open("found.png") as drawn:
        assert drawn.size[0] >= 480


FAULTS = [
    (("same.onnx", "photo.png", "--size", "9by9"), "--size needs a number of pixels, or a height and a width"),
    (("same.onnx", "photo.png", "--mean", "a"), "--mean needs numbers with commas between them"),
    (("same.onnx", "photo.png", "--std", "0"), "--std must be one finite number above 0"),
    (("same.onnx", "photo.png", "--preprocess", "vgg"), "'vgg' is not one of 'imagenet'"),
    (("same.onnx", "photo.png", "--keep", "k.onnx"), "--keep writes a preparation in a copy of the model"),
    (("same.onnx", "photo.png", "--preprocess", "yolo", "--draw", "k.jpg"), "the name must end in .png"),
    (("two.onnx", "--inputs", "a="), "--inputs needs NAME=FILE"),
    (("two.onnx", "--inputs", "a=a.npy", "--inputs", "a=b.npy"), "--inputs: 'a' is given twice"),
    (("two.onnx", "--inputs", "a=a.npy"), "no array or picture for the input b"),
    (("two.onnx", "x.npy", "--inputs", "a=a.npy"), "give files either as INPUT"),
    (
        ("two.onnx", "--inputs", "a=a.npy", "--inputs", "b=b.npy", "--output", "z"),
        "has no output 'z': its outputs are c, d",
    ),
    (("two.onnx", "--inputs", "a=a.npy", "--inputs", "b=b.npy", "--out", "k.npy"), ".npy holds one array"),
    (("m.onnx", "photo.png", "--preprocess", "unit", "--output", "z"), "has no output 'z': its outputs are 'y'"),
]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("given", "reason"), FAULTS, ids=[reason for _, reason in FAULTS])
def test_faults_are_named(run, given, reason):
    code, _, err = run("predict", *given)
    assert code == 2
    assert reason in err
