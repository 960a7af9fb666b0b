"""``portable-nn predict MODEL --sample N --plot FILE``: samples of a generator, as a picture."""

from __future__ import annotations

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.adversarial.gan import sample
from portable_nn.adversarial.gan.sampling import as_pictures, sheet
from portable_nn.converters.onnx import export_onnx

imageio = pytest.importorskip("imageio.v3")


def test_a_sheet_of_digits(run, tmp_path):
    code, out, err = run("predict", "digits-gan", "--sample", "25", "--plot", "sheet.png")
    assert (code, out, err) == (0, "25 samples of digits-gan, seed 0: sheet.png\n", "")
    page = np.asarray(imageio.imread(tmp_path / "sheet.png"))
    wanted = sheet(as_pictures(sample("digits-gan", 25)))
    assert page.shape == wanted.shape == (152, 152)
    assert np.abs(page.astype(int) - wanted).max() <= 1  # It was made by the other engine.


def test_json_and_a_seed(run, tmp_path):
    options = ("--sample", "1", "--engine", "numpy", "--format", "json")
    found = run("predict", "digits-gan", *options, "--plot", "a.png", "--seed", "7").json
    assert found == {"schema": 1, "model": "digits-gan", "samples": 1, "seed": 7, "plot": "a.png"}
    np.testing.assert_array_equal(imageio.imread(tmp_path / "a.png"), sheet(as_pictures(sample("digits-gan", 1, 7))))
    assert (
        run("predict", "digits-gan", *options[:4], "--plot", "b.png").out == "1 sample of digits-gan, seed 0: b.png\n"
    )
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.onnx"])
def test_a_generator_of_ones_own(run, tmp_path, name):
    network = pnn.Sequential(pnn.Input(3, name="z"), pnn.Dense(16), pnn.Sigmoid(), seed=0)
    network.save(tmp_path / name) if name.endswith("safetensors") else export_onnx(network, tmp_path / name)
    assert run("predict", name, "--sample", "4", "--plot", "four.png").code == 0
    wanted = sheet(as_pictures(sample(network, 4)))
    assert np.abs(np.asarray(imageio.imread(tmp_path / "four.png")).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("digits",), 2, "INPUT is missing: pictures, folders of them, or files of data; a generator takes --sample N"),
        (
            ("digits-gan", "--sample", "5"),
            2,
            "--sample needs --plot FILE: the picture that shows the samples, such as samples.png",
        ),
        (("digits-gan", "--plot", "x.png"), 2, "--plot shows samples of a generator: --sample N says how many"),
        (("digits-gan", "--sample", "0", "--plot", "x.png"), 2, "--sample must be at least 1, not 0"),
        (
            ("digits-gan", "a.png", "--sample", "2", "--plot", "x.png", "--top", "3"),
            2,
            "samples are made out of noise alone: leave out --top, INPUT",
        ),
        (("digits", "a.png", "--seed", "3"), 2, "--seed is about samples: --sample N draws some"),
        (
            ("digits", "--sample", "2", "--plot", "x.png"),
            3,
            "only a generator can be sampled, which takes noise (batch, n); 'image' takes pictures",
        ),
        (
            ("digits-gan", "--sample", "2", "--plot", "x.doc"),
            2,
            "x.doc: the name of a picture ends in .png, .jpg, .jpeg, .bmp, .gif, .tif, .tiff",
        ),
    ],
)
def test_what_is_refused(run, arguments, code, message):
    assert run("predict", *arguments) == (code, "", f"error: {message}\n")
