"""``portable-nn predict MODEL --samples N``: samples of a generator, as a picture or as arrays."""

from __future__ import annotations

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.adversarial.gan import sample
from portable_nn.adversarial.gan.sheets import as_pictures, contact_sheet
from portable_nn.converters.onnx import export_onnx

imageio = pytest.importorskip("imageio.v3")


def test_a_sheet_of_digits(run, tmp_path):
    code, out, err = run("predict", "digits-gan", "--samples", "25", "--plot", "sheet.png")
    assert (code, err) == (0, "drawn sheet.png\n--out FILE.npz writes them\n")
    assert out.splitlines()[1].split()[:6] == ["image", "float32", "(25,", "1,", "28,", "28)"]
    page = np.asarray(imageio.imread(tmp_path / "sheet.png"))
    wanted = np.kron(contact_sheet(as_pictures(sample("digits-gan", 25))), np.ones((6, 6), np.uint8))
    assert page.shape == wanted.shape == (912, 912)
    assert np.abs(page.astype(int) - wanted).max() <= 1  # It was made by the other engine.


def test_json_and_a_seed(run, tmp_path):
    options = ("--samples", "1", "--engine", "numpy", "--format", "json")
    found = run("predict", "digits-gan", *options, "--plot", "a.png", "--seed", "7").json
    output = {"output": "image", "dtype": "float32", "shape": [1, 1, 28, 28]}
    assert found == {"schema": 1, "model": "digits-gan", "outputs": [output]}
    sheet = np.kron(contact_sheet(as_pictures(sample("digits-gan", 1, 7))), np.ones((10, 10), np.uint8))
    np.testing.assert_array_equal(imageio.imread(tmp_path / "a.png"), sheet)
    assert run("predict", "digits-gan", *options, "--plot", "b.png").code == 0
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.onnx"])
def test_a_generator_of_ones_own(run, tmp_path, name):
    network = pnn.Sequential(pnn.Input(3, name="z"), pnn.Dense(16), pnn.Sigmoid(), seed=0)
    network.save(tmp_path / name) if name.endswith("safetensors") else export_onnx(network, tmp_path / name)
    assert run("predict", name, "--samples", "4", "--out", "four.npz").code == 0
    with np.load(tmp_path / "four.npz") as found:
        np.testing.assert_allclose(found[network.graph.outputs[0]], sample(network, 4), atol=1e-6)


def test_sevens_as_an_array(run, tmp_path):
    code, out, err = run("predict", "digits-gan", "--samples", "4:7", "--engine", "numpy", "-o", "sevens.npy")
    assert (code, out) == (0, "")
    assert err.splitlines() == ["digit 7 chosen by the noise", "written to sevens.npy: image (4, 1, 28, 28)"]
    np.testing.assert_array_equal(np.load(tmp_path / "sevens.npy"), sample("digits-gan", 4, digit=7))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("digits-gan", "--samples", "0"), 2, "--samples must be a number from 1"),
        (("digits-gan", "--samples", "1", "--seed", "-1"), 2, "invalid value for '--seed': expected at least 0"),
        (
            ("digits", "--samples", "1"),
            3,
            "only a generator can be sampled, which takes noise (batch, n); 'image' takes pictures",
        ),
        (("digits-gan", "--samples", "1", "--plot", "x.doc"), 2, "x.doc: the name of a picture ends in .png"),
        (
            ("digits-gan", "--samples", "1", "--plot", "x.svg"),
            2,
            "x.svg: the name of a picture of samples ends in .png",
        ),
        (("digits-gan", "--samples", "1", "--out", "x.png"), 2, "--out x.png: the name must end in"),
        (("digits-gan", "--samples", "1:10"), 2, "digit must be a whole number from 0 to 9, not 10"),
        (("digits-gan", "x.png", "--seed", "3"), 2, "--seed is for --samples N"),
        (("digits-gan", "x.png", "--samples", "3"), 2, "--samples draws the inputs from noise: leave out INPUT"),
        (("digits-gan", "--workers", "2", "--samples", "3"), 2, "--samples draws the inputs from noise: leave out"),
        (("digits-gan", "--samples", "1", "--plot", "old.png"), 2, "old.png exists already: --force replaces it"),
        (
            ("digits-gan", "--samples", "1", "--plot", "no/x.png"),
            3,
            "no/x.png: cannot be written: there is no folder '{folder}/no'",
        ),
    ],
)
def test_what_is_refused(run, tmp_path, arguments, code, message):
    (tmp_path / "old.png").write_text("precious")
    found = run("predict", *arguments)
    assert (found.code, found.out, found.err.count("\n")) == (code, "", 1)
    assert found.err.startswith(f"error: {message.format(folder=tmp_path)}")
    assert (tmp_path / "old.png").read_text() == "precious"
