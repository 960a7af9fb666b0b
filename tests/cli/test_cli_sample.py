"""``portable-nn sample MODEL --out FILE``: samples of a generator, as a picture or an array."""

from __future__ import annotations

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.adversarial.gan import sample
from portable_nn.adversarial.gan.sheets import as_pictures, contact_sheet
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.text import size

imageio = pytest.importorskip("imageio.v3")


def test_a_sheet_of_digits(run, tmp_path):
    code, out, err = run("sample", "digits-gan", "--out", "sheet.png")
    written = size((tmp_path / "sheet.png").stat().st_size)
    assert (code, out, err) == (0, f"25 samples of digits-gan, seed 0\ndrawn  sheet.png ({written})\n", "")
    page = np.asarray(imageio.imread(tmp_path / "sheet.png"))
    wanted = np.kron(contact_sheet(as_pictures(sample("digits-gan", 25))), np.ones((6, 6), np.uint8))
    assert page.shape == wanted.shape == (912, 912)
    assert np.abs(page.astype(int) - wanted).max() <= 1  # It was made by the other engine.


def test_json_and_a_seed(run, tmp_path):
    options = ("--count", "1", "--engine", "numpy", "--format", "json", "--scale", "1")
    found = run("sample", "digits-gan", *options, "-o", "a.png", "--seed", "7").json
    assert found == {"schema": 1, "model": "digits-gan", "samples": 1, "seed": 7, "path": "a.png"}
    np.testing.assert_array_equal(
        imageio.imread(tmp_path / "a.png"), contact_sheet(as_pictures(sample("digits-gan", 1, 7)))
    )
    assert run("sample", "digits-gan", *options[:4], "-o", "b.png").out.startswith(
        "1 sample of digits-gan, seed 0\ndrawn  b.png ("
    )
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.onnx"])
def test_a_generator_of_ones_own(run, tmp_path, name):
    network = pnn.Sequential(pnn.Input(3, name="z"), pnn.Dense(16), pnn.Sigmoid(), seed=0)
    network.save(tmp_path / name) if name.endswith("safetensors") else export_onnx(network, tmp_path / name)
    assert run("sample", name, "-n", "4", "--scale", "1", "--out", "four.png").code == 0
    wanted = contact_sheet(as_pictures(sample(network, 4)))
    assert np.abs(np.asarray(imageio.imread(tmp_path / "four.png")).astype(int) - wanted).max() <= 1


def test_an_array(run, tmp_path):
    assert run("sample", "digits-gan", "-n", "3", "--engine", "numpy", "-o", "three.npy").code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "three.npy"), sample("digits-gan", 3))


def test_sevens(run, tmp_path):
    code, out, _ = run("sample", "digits-gan", "--digit", "7", "-n", "4", "--engine", "numpy", "-o", "sevens.npy")
    assert (code, out.split("\n")[0]) == (0, "4 samples of digits-gan, seed 0, digit 7 chosen by the noise")
    np.testing.assert_array_equal(np.load(tmp_path / "sevens.npy"), sample("digits-gan", 4, digit=7))


def test_the_way_between_two_seeds(run, tmp_path):
    image = pytest.importorskip("PIL.Image")
    options = ("--digit", "3", "--between", "1", "2", "--frames", "6", "--engine", "numpy", "--scale", "4")
    code, out, _ = run("sample", "digits-gan", *options, "-o", "way.gif")
    written = size((tmp_path / "way.gif").stat().st_size)
    assert (code, out) == (
        0,
        "1 sample of digits-gan, from seed 1 to seed 2 in 6 frames, digit 3 chosen by the noise\n"
        f"animated  way.gif ({written})\n",
    )
    with image.open(tmp_path / "way.gif") as found:
        assert (found.n_frames, found.size) == (6, (128, 128))
        for place, seed in ((0, 1), (5, 2)):
            found.seek(place)
            end = contact_sheet(as_pictures(sample("digits-gan", 1, seed, digit=3)))
            np.testing.assert_array_equal(found.convert("L"), np.kron(end, np.ones((4, 4), np.uint8)))
    data = run("sample", "digits-gan", *options, "--format", "json", "-o", "strip.png").json
    assert (data["between"], data["frames"], data["digit"], data["samples"]) == ([1, 2], 6, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("digits-gan",), 2, "missing option '--out' / '-o' (see portable-nn sample --help)"),
        (("digits-gan", "--count", "0", "-o", "x.png"), 2, "--count must be a whole number from 1, not 0"),
        (
            ("digits", "-o", "x.png"),
            3,
            "only a generator can be sampled, which takes noise (batch, n); 'image' takes pictures",
        ),
        (
            ("digits-gan", "-o", "x.doc"),
            2,
            "x.doc: the name of a file of samples ends in .png, .jpg, .jpeg, .bmp, .gif, .tif, .tiff, .npy",
        ),
        (("digits-gan", "-o", "x.png", "--digit", "10"), 2, "--digit must be a whole number from 0 to 9, not 10"),
        (("digits-gan", "-o", "x.png", "--scale", "0"), 2, "--scale must be a whole number from 1, not 0"),
        (
            ("digits-gan", "-o", "x.gif", "--frames", "3"),
            2,
            "--frames is for --between A B: give both, or leave it out",
        ),
        (
            ("digits-gan", "-o", "x.gif", "--between", "1", "2", "--seed", "3"),
            2,
            "--seed and --between contradict each other: leave --seed out",
        ),
        (
            ("digits-gan", "-o", "x.gif", "--between", "2", "2"),
            2,
            "--between needs two seeds that differ, not 2 twice",
        ),
        (("digits-gan", "-o", "x.gif", "--between", "-1", "2"), 2, "--between needs seeds of at least 0, not -1"),
        (
            ("digits-gan", "-o", "x.gif", "--between", "1", "2", "--frames", "1"),
            2,
            "--frames must be a whole number from 2 to 1,000, not 1",
        ),
        (("digits-gan", "-o", "old.png"), 2, "old.png exists already: --force replaces it"),
        (("digits-gan", "-o", "no/x.png"), 3, "no/x.png: cannot be written: there is no folder '{folder}/no'"),
    ],
)
def test_what_is_refused(run, tmp_path, arguments, code, message):
    (tmp_path / "old.png").write_text("precious")
    found = run("sample", *arguments)
    assert (found.code, found.out, found.err.count("\n")) == (code, "", 1)
    assert found.err.startswith(f"error: {message.format(folder=tmp_path)}")
    assert (tmp_path / "old.png").read_text() == "precious"
