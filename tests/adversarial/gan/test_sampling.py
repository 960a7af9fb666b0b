"""Drawing from a generator: the same draws for a seed, and a sheet that shows them in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.adversarial.gan import sample, save_samples
from portable_nn.adversarial.gan.sampling import GAP, as_pictures, contact_sheet
from portable_nn.core.errors import FileError, ShapeError, UsageError


def generator() -> pnn.Network:
    return pnn.Sequential(pnn.Input(3, name="z"), pnn.Dense(16, weight_initial="he_normal"), pnn.Sigmoid(), seed=1)


def test_samples_are_what_the_network_makes_of_normal_noise() -> None:
    network = generator()
    noise = np.random.default_rng(4).standard_normal((6, 3)).astype(np.float32)
    np.testing.assert_array_equal(sample(network, 6, seed=4), network.predict(noise))
    np.testing.assert_array_equal(sample(network, 2, seed=4), sample(network, 6, seed=4)[:2])
    assert not np.array_equal(sample(network, 2, seed=4), sample(network, 2, seed=5))
    np.testing.assert_allclose(sample(network, 6, 4, engine="onnxruntime"), network.predict(noise), rtol=1e-5)


def test_a_file_is_as_good_as_a_network(tmp_path: Path) -> None:
    generator().save(tmp_path / "g.safetensors")
    np.testing.assert_array_equal(sample(tmp_path / "g.safetensors", 3), sample(generator(), 3))
    np.testing.assert_array_equal(sample(str(tmp_path / "g.safetensors"), 3), sample(generator(), 3))


def test_the_sheet_shows_each_sample_at_its_place(tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v3")
    samples = save_samples(generator(), tmp_path / "sheet.png", 5, seed=2)
    np.testing.assert_array_equal(samples, sample(generator(), 5, seed=2))
    page = np.asarray(imageio.imread(tmp_path / "sheet.png"))
    assert page.shape == (2 * (4 + GAP) + GAP, 3 * (4 + GAP) + GAP)
    for place in range(5):
        top, left = GAP + place // 3 * (4 + GAP), GAP + place % 3 * (4 + GAP)
        np.testing.assert_array_equal(page[top : top + 4, left : left + 4], np.rint(samples[place].reshape(4, 4) * 255))


def test_pictures_of_every_form() -> None:
    grey = np.array([[[0.0, 0.5], [1.0, 2.0]], [[-1.0, 0.2], [0.4, 0.6]]])
    wanted = [[[0, 128], [255, 255]], [[0, 51], [102, 153]]]
    for form in (grey, grey.reshape(2, 1, 2, 2), grey.reshape(2, 4)):
        np.testing.assert_array_equal(as_pictures(form), wanted)
    assert contact_sheet(as_pictures(grey), columns=2).shape == (2 + 2 * GAP, 4 + 3 * GAP)


def test_what_cannot_be_sampled(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^count must be a whole number from 1, not 0$"):
        sample(generator(), 0)
    with pytest.raises(ShapeError, match=r"only a generator can be sampled, .*; 'image' takes pictures$"):
        sample("digits-cnn", 1)
    whole = pnn.Input(3, name="words", dtype="int64")
    indexed = pnn.Network(whole, whole + 1)
    with pytest.raises(ShapeError, match=r"'words' takes int64 \(batch, 3\)$"):
        sample(indexed, 1)
    one, two = pnn.Input(3, name="a"), pnn.Input(3, name="b")
    with pytest.raises(
        UsageError, match=r"with one input and one output can be sampled; this one takes a, b and gives"
    ):
        sample(pnn.Network([one, two], one + two), 1)
    with pytest.raises(FileError, match=r"nothing\.safetensors: "):
        sample(tmp_path / "nothing.safetensors", 1)
    with pytest.raises(ShapeError, match=r"grey pictures \(n, h, w\), \(n, 1, h, w\) or \(n, h·h\), not \(2, 3\)$"):
        as_pictures(np.zeros((2, 3)))
    with pytest.raises(UsageError, match=r"sheet\.txt: the name of a file of samples ends in \.png, .*, \.npy$"):
        save_samples(generator(), tmp_path / "sheet.txt")
    with pytest.raises(FileError, match=r"sheet\.png: the picture cannot be written: "):
        save_samples(generator(), tmp_path / "no folder" / "sheet.png")
