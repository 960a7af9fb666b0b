"""Drawing from a generator: the same draws for a seed, and a sheet that shows them in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.adversarial.gan import between, sample, save_between, save_sheet
from portable_nn.adversarial.gan.noise import source_of
from portable_nn.adversarial.gan.sheets import GAP, as_pictures, contact_sheet, enlarged
from portable_nn.core.errors import FileError, ShapeError, UsageError
from portable_nn.operators import constant, emit, integers


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
    samples = sample(generator(), 5, seed=2)
    save_sheet(samples, tmp_path / "sheet.png", scale=1)
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


@pytest.mark.parametrize(("count", "scale", "wanted"), [(5, 3, 3), (1, None, 10), (5, None, 10), (900, None, 5)])
def test_the_size_of_a_sheet_is_its_grid_times_the_scale(
    tmp_path: Path, count: int, scale: int | None, wanted: int
) -> None:
    """By default up to ten times, and up to 1,000 pixels: 900 pictures of 4 x 4 are 182 pixels wide."""
    imageio = pytest.importorskip("imageio.v3")
    samples = sample(generator(), count)
    save_sheet(samples, tmp_path / "sheet.png", scale)
    page, small = np.asarray(imageio.imread(tmp_path / "sheet.png")), contact_sheet(as_pictures(samples))
    assert page.shape == (small.shape[0] * wanted, small.shape[1] * wanted)
    assert enlarged([small[:100, :100]] * 1000)[0].shape[0] <= 316  # A thousand frames have 100,000,000 pixels at most.
    np.testing.assert_array_equal(page, np.kron(small, np.ones((wanted, wanted), np.uint8)))


def test_colours() -> None:
    coloured = np.random.default_rng(0).random((4, 3, 5, 6))
    page = contact_sheet(as_pictures(coloured))
    assert page.shape == (2 * (5 + GAP) + GAP, 2 * (6 + GAP) + GAP, 3)
    np.testing.assert_array_equal(page[GAP : GAP + 5, GAP : GAP + 6, 2], np.rint(coloured[0, 2] * 255))


def test_an_animation_begins_and_ends_with_the_samples_of_its_seeds(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    samples = save_between(generator(), tmp_path / "a.gif", (3, 8), 5, frames=12, scale=2)
    assert samples.shape == (12, 5, 16)
    for place, seed in ((0, 3), (-1, 8)):
        np.testing.assert_array_equal(samples[place], sample(generator(), 5, seed))
    with image.open(tmp_path / "a.gif") as found:
        assert found.n_frames == 12
        for place in range(12):
            found.seek(place)
            small = contact_sheet(as_pictures(samples[place]))
            shown = np.asarray(found.convert("L"))
            np.testing.assert_array_equal(shown, small.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.long
def test_the_way_of_the_noise_is_a_quarter_of_an_ellipse() -> None:
    """x at the first frame, y at the last; in between the variance is 1 as well, as cos² + sin² = 1."""
    source = source_of(pnn.Sequential(pnn.Input(20_000, name="z"), pnn.Dense(1)))
    first, last = (source.draw(1, seed)["z"] for seed in (0, 1))
    for share in (0, 1 / 3, 0.5, 1):
        mixed = source.mixed({"z": first}, {"z": last}, share)["z"]
        angle = share * np.pi / 2
        assert mixed.dtype == np.float32
        assert mixed == pytest.approx(np.cos(angle) * first + np.sin(angle) * last, abs=1e-6)
        assert mixed.std() == pytest.approx(1, abs=0.02)


def test_a_strip_has_a_row_for_each_sample(tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v3")
    samples = save_between(generator(), tmp_path / "strip.png", (0, 1), 2, frames=6, scale=1)
    page = np.asarray(imageio.imread(tmp_path / "strip.png"))
    assert page.shape == (2 * (4 + GAP) + GAP, 6 * (4 + GAP) + GAP)
    for row, column in ((0, 0), (1, 0), (0, 5), (1, 4)):
        top, left = GAP + row * (4 + GAP), GAP + column * (4 + GAP)
        wanted = np.rint(samples[column, row].reshape(4, 4) * 255)
        np.testing.assert_array_equal(page[top : top + 4, left : left + 4], wanted)
    np.testing.assert_array_equal(samples, between(generator(), (0, 1), 2, 6))


def choosing(numbers: int = 4) -> pnn.Network:
    """The largest of the first numbers of the noise, as a class, beside all numbers."""
    noise = pnn.Input(7, name="z")
    first = emit("Slice", noise, integers([0]), integers([numbers]), integers([1]))
    place = emit("ArgMax", first, axis=1, keepdims=0)
    one = emit("OneHot", place, constant(numbers, "int64"), constant([0.0, 1.0], "float32"))
    return pnn.Network(noise, pnn.concatenate(one, noise))


def test_a_class_that_is_chosen_in_the_noise() -> None:
    network = choosing()
    free, made = sample(network, 300, 5), sample(network, 300, 5, digit=2)
    assert (made[:, :4] == [0, 0, 1, 0]).all()
    assert (made[:, 4:8].argmax(axis=1) == 2).all()
    np.testing.assert_array_equal(np.sort(made[:, 4:], axis=1), np.sort(free[:, 4:], axis=1))
    np.testing.assert_array_equal(made[:, 8:], free[:, 8:])
    assert (between(network, (0, 1), 20, 9, digit=3)[..., 3] == 1).all()
    with pytest.raises(UsageError, match=r"^digit must be a whole number from 0 to 3, not 4$"):
        sample(network, 1, digit=4)


def test_a_class_that_is_given() -> None:
    noise, digit = pnn.Input(3, name="z"), pnn.Input(5, name="digit")
    network = pnn.Network([noise, digit], pnn.concatenate(noise, digit))
    made = sample(network, 40, 1, digit=4)
    np.testing.assert_array_equal(made[:, 3:], np.tile([0, 0, 0, 0, 1], (40, 1)))
    free = sample(network, 400, 1)
    np.testing.assert_array_equal(free[:40, :3], made[:, :3])
    assert (free[:, 3:].sum(axis=1) == 1).all()
    assert free[:, 3:].sum(axis=0).min() > 50  # All classes, about as often.
    np.testing.assert_allclose(between(network, (0, 1), 9, 3)[1, :, 3:].sum(axis=1), 1)


@pytest.mark.long
def test_a_digit_of_another_generator_must_be_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ShapeError, match=r"digit 7 is found by digits-cnn, .*28 x 28 pixels, and these .* \(16,\)$"):
        sample(generator(), 1, digit=7)
    blank = pnn.Sequential(pnn.Input(3, name="z"), pnn.Dense(784, weight_initial="zeros"), seed=0)
    monkeypatch.setattr("portable_nn.adversarial.gan.noise.MOST", 512)
    with pytest.raises(UsageError, match=r"^digits-cnn reads 0 of the first 512 samples as 7, and 2 are asked for"):
        sample(blank, 2, digit=7)


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
        UsageError, match=r"with one input, .*, and one output can be sampled; this one takes a, b and gives"
    ):
        sample(pnn.Network([one, two], one + two), 1)
    with pytest.raises(FileError, match=r"nothing\.safetensors: "):
        sample(tmp_path / "nothing.safetensors", 1)
    with pytest.raises(ShapeError, match=r"pictures \(n, h, w\), \(n, 1 or 3, h, w\) or \(n, h·h\), not \(2, 3\)$"):
        as_pictures(np.zeros((2, 3)))
    with pytest.raises(UsageError, match=r"sheet\.txt: the name of a picture of samples ends in \.png, .*, \.tiff$"):
        save_sheet(sample(generator(), 1), tmp_path / "sheet.txt")
    with pytest.raises(FileError, match=r"sheet\.png: cannot be written: there is no folder"):
        save_sheet(sample(generator(), 1), tmp_path / "no folder" / "sheet.png")
    for given, message in (((0, 0), "between needs two seeds that differ, not 0 twice"), ((0, 1), "frames must be ")):
        with pytest.raises(UsageError, match=message):
            between(generator(), given, frames=1 if given[1] else 5)
    for scale, message in ((0, "scale must be a whole number from 1, not 0"), (9999, "scale=9999 makes a picture of ")):
        with pytest.raises(UsageError, match=message):
            save_sheet(sample(generator(), 1), tmp_path / "sheet.png", scale)
    assert not list(tmp_path.glob("sheet*"))
