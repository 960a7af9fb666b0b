"""Folders of pictures, and arrays of them, become networks that prepare pictures by themselves."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import DataError, DataWarning, FileError, UsageError
from portable_nn.data import folders, stored
from portable_nn.data.dataset import Dataset
from portable_nn.data.folders import labelled_pictures
from portable_nn.preprocessing.steps import ColourStep, GreyscaleStep, ResizeStep

COLOURS = {"blue": (40, 60, 220), "green": (30, 200, 60), "red": (220, 50, 40)}
QUICK: dict[str, Any] = {"progress": False, "optimizer": pnn.Adam(0.01)}


def draw(folder: Path, count: int = 10, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Path:
    """A folder for each colour, with noisy pictures of it."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(colour + rng.normal(0, 15, (*size, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return draw(tmp_path / "colours")


@pytest.mark.parametrize("layers", ["auto-8-auto", "192-3", "cnn", "192-cnn-3"])
def test_a_folder_is_learned(colours: Path, layers: str, tmp_path: Path) -> None:
    trained = pnn.train_pictures(layers, colours, epochs=12, validation=0.2, **QUICK)
    net = trained.network
    assert net.labels == ("blue", "green", "red")
    assert net.inputs[0].preprocessing == (ColourStep(), ResizeStep(8, 8))
    assert trained.history["val_accuracy"][-1] == 1.0
    fresh = tmp_path / "fresh.png"
    Image.new("RGB", (50, 20), COLOURS["green"]).save(fresh)
    assert pnn.predict(net, fresh)[0].label == "green"


@pytest.mark.long
def test_the_exported_network_says_the_same_of_pictures_prepared_by_pillow(colours: Path, tmp_path: Path) -> None:
    net = pnn.train_pictures("cnn", colours, epochs=3, **QUICK).network
    export_onnx(net, tmp_path / "net.onnx")
    files = sorted(colours.glob("*/*.png"))
    x = np.stack([np.asarray(Image.open(file).resize((8, 8), Image.Resampling.BILINEAR), np.float32) for file in files])
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    [logits] = session.run(None, {session.get_inputs()[0].name: x})
    told = [net.labels.index(each.label) for each in pnn.predict(net, files)]
    assert logits.argmax(axis=1).tolist() == told
    # Pillow rounds what it scales to whole numbers.
    exact = net.predict(np.stack(list(pnn.prepare(net, files))))
    np.testing.assert_allclose(logits, exact, atol=0.05 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("layers", "steps", "shape"),
    [
        ("auto-3", (ColourStep(), ResizeStep(8, 8)), (8, 8, 3)),
        ("75-3", (ColourStep(), ResizeStep(5, 5)), (5, 5, 3)),
        ("81-3", (GreyscaleStep(), ResizeStep(9, 9)), (1, 9, 9)),
    ],
)
def test_the_first_size_says_size_and_colours(colours: Path, layers: str, steps: Any, shape: tuple[int, ...]) -> None:
    net = pnn.train_pictures(layers, colours, epochs=1, **QUICK).network
    assert (net.inputs[0].preprocessing, net.graph.inputs[0].shape[1:]) == (steps, shape)


def test_the_size_that_is_found(tmp_path: Path) -> None:
    cases = {(100, 300): 64, (30, 31): 28, (4, 90): 8}
    for place, (size, side) in enumerate(cases.items()):
        for mode, shape in (("RGB", (side, side, 3)), ("L", (1, side, side))):
            folder = draw(tmp_path / f"{place}{mode}", 2, size, mode)
            net = pnn.train_pictures("auto-auto", folder, epochs=1, **QUICK).network
            assert net.graph.inputs[0].shape[1:] == shape


@pytest.mark.long
def test_blocks_of_convolutions_follow_the_size() -> None:
    large = [(16, 64), (32, 32), (64, 16), (128, 8), (128, 4)]
    for shape, maps in [((28, 28), [(16, 28), (32, 14), (64, 7)]), ((64, 64), large)]:
        x = np.random.default_rng(0).integers(0, 256, (20, *shape))
        net = pnn.train_pictures("cnn", Dataset(x, np.arange(20) % 2), epochs=1, **QUICK).network
        convolutions = [net.types[node.outputs[0]].shape for node in net.graph.nodes if node.operator == "Conv"]
        assert [each[1:3] for each in convolutions] == maps


def test_the_rate_rises_and_falls_unless_an_optimizer_is_given(colours: Path) -> None:
    rates = pnn.train_pictures("cnn", colours, epochs=10, batch_size=27, progress=False).history["learning_rate"]
    np.testing.assert_allclose(rates, [0.005 * pnn.OneCycle()(epoch, 10) for epoch in range(10)])
    given = pnn.train_pictures("cnn", colours, epochs=2, **QUICK)
    assert given.history["learning_rate"] == [0.01, 0.01]


def shapes(folder: Path, count: int, seed: int, *, light: bool) -> Path:
    """Pictures of 32x32 of shapes of any colour, size, place and angle; on light grounds, or on plain and noisy ones of
    any colour."""
    rng = np.random.default_rng(seed)
    for name, corners in (("circle", 40), ("square", 4), ("triangle", 3), ("star", 10)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            ground, ink = rng.uniform(0, 255, (2, 3))
            while np.abs(ground - ink).sum() < 90:
                ground, ink = rng.uniform(0, 255, (2, 3))
            if light:
                ground, ink = np.full(3, 250), ink * 0.75
            radius = rng.uniform(6, 13)
            middle, turns = (
                rng.uniform(radius, 32 - radius, 2),
                rng.uniform(0, 7) + np.arange(corners) * 2 * np.pi / corners,
            )
            far = radius * np.where(np.arange(corners) % 2, 0.42 if name == "star" else 1, 1)
            points = (middle + far[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1)) * 4
            mask = Image.new("L", (128, 128))
            ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in points], fill=255)
            cover = np.asarray(mask.resize((32, 32), Image.Resampling.BOX), float)[..., None] / 255
            noise = 0 if light else rng.normal(0, 25 * rng.integers(2), (32, 32, 3))
            pixels = ground * (1 - cover) + ink * cover + noise
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.long
@pytest.mark.parametrize("light", [False, pytest.param(True, marks=pytest.mark.sweep)])
def test_shapes_are_learned_from_few_pictures_as_well_as_by_a_network_of_pytorch(tmp_path: Path, light: bool) -> None:
    """Against three blocks of convolution, normalisation and pool, and 30 epochs of Adam, on the same pictures."""
    torch = pytest.importorskip("torch")
    data, unseen = (shapes(tmp_path / str(seed), count, seed, light=light) for seed, count in ((1, 100), (2, 75)))
    trained = pnn.train_pictures("cnn", data, progress=False)
    held_out = {each.path for each in trained.pictures.held_out}

    def examples(folder: Path) -> tuple[Any, Any]:
        files = sorted(each for each in folder.glob("*/*.png") if each not in held_out)
        names = sorted({file.parent.name for file in files})
        x = np.stack([np.asarray(Image.open(file), np.float32) for file in files]) / 255
        return torch.tensor(np.moveaxis(x, 3, 1)), torch.tensor([names.index(file.parent.name) for file in files])

    torch.manual_seed(0)
    layers, channels = [], 3
    for filters in (16, 32, 64):
        layers += [torch.nn.Conv2d(channels, filters, 3, padding=1), torch.nn.BatchNorm2d(filters)]
        layers += [torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        channels = filters
    dense = [torch.nn.Flatten(), torch.nn.Linear(64 * 16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4)]
    peer = torch.nn.Sequential(*layers, *dense)
    (x, y), (tested, right) = examples(data), examples(unseen)
    optimizer = torch.optim.Adam(peer.parameters())
    for _ in range(30):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(peer(x[batch]), y[batch]).backward()
            optimizer.step()
    peer.eval()
    with torch.no_grad():
        theirs = float((peer(tested).argmax(1) == right).float().mean())
    assert pnn.evaluate(trained.network, unseen).accuracy >= theirs


@pytest.mark.long
def test_few_pictures_have_more_epochs(colours: Path) -> None:
    trained = pnn.train_pictures("192-3", colours, validation=0.2, batch_size=6, patience=0, **QUICK)
    assert len(trained.history.rows) == 1500 / (24 / 6)


@pytest.mark.quick("shape1")
@pytest.mark.parametrize("shape", [(12, 10), (1, 12, 10), (12, 10, 1), (12, 10, 3), (3, 12, 10), (144,)])
def test_arrays_of_pictures(shape: tuple[int, ...]) -> None:
    y = np.arange(60) % 3
    x = np.random.default_rng(0).integers(0, 40, (60, *shape)) + 100 * y.reshape(-1, *[1] * len(shape))
    data = Dataset(x, np.array(["a", "b", "c"])[y])
    trained = pnn.train_pictures("cnn", data, epochs=20, validation=0.2, progress=False, optimizer=pnn.Adam(0.003))
    assert trained.history["val_accuracy"][-1] > 0.9
    labels = [each.label for each in pnn.predict(trained.network, x.astype(np.float32))]
    assert np.mean(np.array(labels) == data.y) > 0.95  # Arrays go in as they were given.
    raw = pnn.train_pictures("cnn", Dataset(x / 255, y), preprocess="none", epochs=1, **QUICK).network
    assert raw.inputs[0].preprocessing == ()


@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_large_arrays_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type) -> None:
    """Each picture is either learned from or held out, with its own class, and each fault has its place in the file."""
    monkeypatch.setattr("portable_nn.recipes.pictures.IN_MEMORY", 0)
    monkeypatch.setattr("portable_nn.recipes.pictures.piece_of", lambda _: 7)
    y = np.arange(60) // 20  # Sorted by class.
    x = (np.random.default_rng(0).integers(0, 40, (60, 12, 10)) + 100 * y[:, None, None]).astype(kind)
    np.save(tmp_path / "x.npy", x)
    data = Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), y)
    trained = pnn.train_pictures("cnn", data, epochs=20, validation=0.2, progress=False, optimizer=pnn.Adam(0.003))
    assert trained.history["val_accuracy"][-1] > 0.9
    assert len(trained.pictures.measured) == 12
    assert len(set(trained.pictures.measured)) > 1
    assert pnn.evaluate(trained.network, x, y).accuracy > 0.95
    if kind is np.float64:
        x[33, 2, 2] = np.nan
        with pytest.raises(UsageError, match=r"example 33 \(from 0\) holds NaN"):
            pnn.train_pictures("cnn", Dataset(x, y), epochs=1, progress=False)


@pytest.mark.parametrize("shape", [(), (5,), (12, 10, 4), (2, 12, 10), (2, 3, 12, 10)])
def test_arrays_that_are_no_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"expected pictures \(n, height, width\).*found examples of shape"):
        pnn.train_pictures("cnn", Dataset(np.ones((6, *shape)), np.arange(6) % 2))


@pytest.mark.long
def test_new_classes_get_a_new_head(colours: Path) -> None:
    before = pnn.train_pictures("cnn", colours, epochs=10, **QUICK).network
    kept = pnn.tune_pictures(before, colours, epochs=1, **QUICK)
    assert kept.network.labels == before.labels
    assert not any("new last layer" in note for note in kept.pictures.notes)
    shutil.move(colours / "red", colours / "crimson")
    frozen = pnn.tune_pictures(before, colours, freeze=["conv_*"], epochs=20, validation=0.2, **QUICK)
    assert frozen.network.labels == ("blue", "crimson", "green")
    assert frozen.history["val_accuracy"][-1] == 1.0
    assert frozen.network.inputs[0].preprocessing == before.inputs[0].preprocessing
    np.testing.assert_array_equal(frozen.network.parameters["conv_1.weight"], before.parameters["conv_1.weight"])
    [note] = [note for note in frozen.pictures.notes if "new last layer" in note]
    assert note.endswith("as the model has no class crimson: it has blue, green, red")


@pytest.mark.long
def test_some_of_the_classes_keep_their_places(colours: Path) -> None:
    before = pnn.train_pictures("cnn", colours, epochs=10, **QUICK).network
    shutil.rmtree(colours / "blue")
    after = pnn.tune_pictures(before, colours, epochs=1, **QUICK).network
    assert after.labels == ("blue", "green", "red")
    assert {each.label for each in pnn.predict(after, colours / "red")} == {"red"}


def test_a_model_that_says_nothing_of_pictures_is_given_the_usual_steps(colours: Path) -> None:
    bare = pnn.Sequential(pnn.Input(3, 8, 8), pnn.Flatten(), pnn.Dense(8), pnn.ReLU(), pnn.Dense(5), seed=0)
    tuned = pnn.tune_pictures(bare, colours, epochs=25, validation=0.2, **QUICK)
    assert (tuned.network.labels, tuned.history["val_accuracy"][-1]) == (("blue", "green", "red"), 1.0)
    assert any("assumed: " in note for note in tuned.pictures.notes)
    assert pnn.predict(tuned.network, colours / "red" / "1.png")[0].label == "red"
    assert bare.inputs[0].preprocessing == ()  # The network that was given is left alone.


def test_each_class_gives_its_share_and_none_is_in_both(tmp_path: Path) -> None:
    folder = draw(tmp_path / "x", 20)
    for number in range(5, 20):
        (folder / "red" / f"{number}.png").unlink()
    trained = pnn.train_pictures("auto-auto", folder, epochs=1, validation=0.2, **QUICK)
    held_out = [each.label for each in trained.pictures.held_out]
    assert {name: held_out.count(name) for name in COLOURS} == {"blue": 4, "green": 4, "red": 1}
    assert len({each.path for each in trained.pictures.held_out}) == 9


@pytest.mark.long
def test_many_bright_numbers_do_not_stop_the_learning() -> None:
    """Numbers that are all positive turn off all hidden units in the first steps: pixels become -1 to 1."""
    y = np.arange(300) % 2
    x = np.random.default_rng(0).normal(80, 30, (300, 64, 64, 3)) + 80 * y[:, np.newaxis, np.newaxis, np.newaxis]
    history = pnn.train_pictures("auto-16-auto", Dataset(x.clip(0, 255), y), epochs=4, progress=False).history
    assert history["val_accuracy"][-1] == 1.0


def test_one_seed_gives_the_same_network_and_another_one_another(colours: Path) -> None:
    one, two, other = (pnn.train_pictures("cnn", colours, epochs=1, seed=s, **QUICK).network for s in (1, 1, 2))
    for name, array in one.parameters.items():
        assert array.tobytes() == two.parameters[name].tobytes()
    assert one.parameters["conv_1.weight"].tobytes() != other.parameters["conv_1.weight"].tobytes()


def test_pieces_are_read_where_the_pictures_are_many(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pnn.train_pictures("cnn", colours, epochs=10, validation=0.2, **QUICK)
    monkeypatch.setattr(stored, "WHOLE", 1000)
    monkeypatch.setattr(folders, "TOGETHER", 4)
    read, largest = pnn.data.stored.Stored.__getitem__, list[int]()

    def counted(self: Any, part: slice) -> Any:
        found = read(self, part)
        largest.append(len(found))
        return found

    monkeypatch.setattr(stored.Stored, "__getitem__", counted)
    parts = pnn.train_pictures("cnn", colours, epochs=10, validation=0.2, **QUICK)
    assert largest
    assert [each.path for each in parts.pictures.held_out] == [each.path for each in whole.pictures.held_out]
    assert parts.history["val_accuracy"][-1] == 1.0


# -- what a folder may hold


def written(change: Callable[[Path], object], colours: Path) -> str:
    """The message about a folder that was changed."""
    change(colours)
    with pytest.raises(DataError) as caught:
        pnn.train_pictures("auto-auto", colours, epochs=1, **QUICK)
    return str(caught.value).removeprefix(f"{colours}: ")


def test_folders_that_are_refused(tmp_path: Path) -> None:
    changes: dict[str, Callable[[Path], object]] = {
        "but 0.png is in none of them": lambda f: shutil.copy(f / "red/0.png", f),
        "but empty has none": lambda f: (f / "empty").mkdir(),
        "but pictures are too deep, in red/dark": lambda f: shutil.copytree(f / "blue", f / "red/dark"),
        "but pictures are too deep, in train/blue: if train holds the classes, give it instead": (
            lambda f: shutil.copytree(f, f.parent / "t") and shutil.move(f.parent / "t", f / "train")
        ),
        r"but 'dark\nred' cannot be a label, with control": lambda f: (f / "red").rename(f / "dark\nred"),
        "but there are pictures of 1 class": lambda f: [shutil.rmtree(f / name) for name in ("red", "blue")],
        "but there are pictures of 0 classes": lambda f: [shutil.rmtree(each) for each in f.iterdir()],
        "red/0.png: expected a picture such as PNG or JPEG, found a GIF": (
            lambda f: [each.write_bytes(b"GIF89a?") for each in [*(f / "red").iterdir(), f / "blue/0.png"]]
        ),
    }
    for place, (message, change) in enumerate(changes.items()):
        assert message in written(change, draw(tmp_path / str(place), 3))


def test_what_is_no_picture_is_passed_over(colours: Path) -> None:
    before = labelled_pictures(colours)
    (colours / ".cache").mkdir()
    (colours / "red" / ".DS_Store").write_bytes(b"x")
    shutil.copy(colours / "red/0.png", colours / "red" / "._0.png")
    (colours / "red" / "notes.txt").write_text("red")
    (colours / "labels.csv").write_text("a,b")
    assert labelled_pictures(colours) == before


def test_damaged_pictures_are_left_out_and_named(colours: Path) -> None:
    whole = (colours / "red/3.png").read_bytes()
    (colours / "red/3.png").write_bytes(whole[:60])
    (colours / "red/4.png").write_bytes(b"")
    with pytest.warns(DataWarning, match=r"of 30 pictures, 2 cannot be used: .*3\.png: expected a picture") as warned:
        trained = pnn.train_pictures("cnn", colours, epochs=12, validation=0.2, **QUICK)
    assert warned[0].filename == __file__
    assert trained.pictures.left_out.startswith("of 30 pictures, 2 cannot be used: ")
    assert all(str(colours / "red" / name) in trained.pictures.left_out for name in ("3.png", "4.png"))
    assert trained.history["val_accuracy"][-1] == 1.0
    assert not pnn.train_pictures("cnn", draw(colours / ".." / "fine"), epochs=1, **QUICK).pictures.left_out


def test_pictures_of_every_kind_become_the_same_examples(tmp_path: Path) -> None:
    """A picture as RGBA, with a palette, turned by EXIF, or in 16 bits is the picture that one sees."""
    folder = tmp_path / "kinds"
    levels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    plain = Image.fromarray(levels)
    for name in ("plain", "other"):
        (folder / name).mkdir(parents=True)
    plain.save(folder / "plain/l.png")
    plain.convert("RGBA").save(folder / "plain/rgba.png")
    plain.convert("P").save(folder / "plain/palette.png")
    Image.fromarray(levels.astype(np.uint16) * 257).save(folder / "plain/deep.png")
    exif = Image.Exif()
    exif[274] = 6  # Turn by 90° to the right.
    plain.transpose(Image.Transpose.ROTATE_90).save(folder / "plain/turned.png", exif=exif)
    Image.new("L", (16, 16)).save(folder / "other/black.png")
    net = pnn.train_pictures("64-2", folder, epochs=1, validation=0, **QUICK).network
    examples = np.stack(list(pnn.prepare(net, sorted((folder / "plain").iterdir()))))
    assert len(examples) == 5
    for example in examples.reshape(-1, 8, 8):
        np.testing.assert_allclose(example, levels, atol=0.01)


def test_options_that_do_not_fit(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for options, message in [
        ({"layers": "cnn-3"}, "layers must be sizes with hyphens between them"),
        ({"layers": "785-3"}, "the first layer has 785 units, which is no square of 2 to 8192 pixels"),
        *[({"layers": f"{size}-3"}, "is no square of 2 to 8192 pixels a side") for size in (1, 3, 10**8)],
        ({"layers": "784-4"}, "the last layer has 4 units, but there are 3 classes: blue, green, red"),
        ({"layers": "64-3", "preprocess": "digits"}, "preprocess digits is for rows of 784 pixels, not of 64 numbers"),
        ({"layers": "9-cnn-3"}, "cnn needs pictures of at least 4x4 pixels"),
        ({"labels": "abc"}, "labels are for arrays: pictures of a folder have its names"),
        ({"validation": 0.99}, "validation of 0.99 leaves nothing on one side of 30 examples"),
        ({"activation": "swish"}, "activation must be one of"),
    ]:
        monkeypatch.setattr("portable_nn.recipes.pictures.examples_of", None)  # Refused before anything is decoded.
        with pytest.raises(UsageError, match=message):
            pnn.train_pictures(**{"layers": "cnn", "data": colours, **options})


def test_a_full_disk_is_named(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full-of/nothing")
    with pytest.raises(FileError, match=r"^/dev/full-of/nothing: prepared pictures cannot be kept there: .*TMPDIR"):
        pnn.train_pictures("cnn", colours, epochs=1, **QUICK)
