"""``pnn.predict`` and ``pnn.prepare`` for what is in memory, and that all ways to an answer agree on raw data."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.converters.book import read_book
from portable_nn.core.errors import DataError, PortableNNError, UsageError
from portable_nn.data.dataset import Dataset, read_dataset
from portable_nn.format import InputInfo
from portable_nn.preprocessing.defaults import default_preprocessing
from portable_nn.recipes.classifier import train_classifier
from portable_nn.recipes.tuning import tune_classifier

onnxruntime = pytest.importorskip("onnxruntime")
Image = pytest.importorskip("PIL.Image")

from portable_nn.converters.onnx import export_onnx, import_onnx  # noqa: E402

SAMPLES = sorted(find_model("digits").samples.glob("*.png"))
RNG = np.random.default_rng(0)
CLASSES = np.arange(90) % 3
ROWS = RNG.normal([[50, -3, 1e4, 0.2]], [[9, 0.2, 2e3, 0.02]], (90, 4)) + CLASSES[:, None] * [20, 0.5, 5e3, 0.05]
PIXELS = RNG.integers(0, 256, (90, 784))


# -- all ways agree


def standardised(folder: Path) -> pnn.Network:
    options: dict[str, Any] = {"epochs": 20, "optimizer": pnn.Adam(0.03), "progress": False}
    return train_classifier([4, 8, 3], Dataset(ROWS, CLASSES), standardise=True, labels="abc", **options).network


def of_pixels(folder: Path) -> pnn.Network:
    return train_classifier([784, 8, 3], Dataset(PIXELS, CLASSES), labels="abc", epochs=2, progress=False).network


def tuned(folder: Path) -> pnn.Network:
    """An older file, whose steps are beside its graph, trained further."""
    net = pnn.Sequential(pnn.Input(784), pnn.Dense(8), pnn.Tanh(), pnn.Dense(3), labels="abc", seed=0)
    net.inputs = (InputInfo("input", "image", default_preprocessing((784,))),)
    return tune_classifier(net, Dataset(PIXELS, CLASSES), epochs=1, progress=False).network


def with_a_new_head(folder: Path) -> pnn.Network:
    options: dict[str, Any] = {"until": "activation", "freeze": ["*"], "epochs": 1, "progress": False}
    return tune_classifier(pnn.load_model("digits-mlp"), Dataset(PIXELS, CLASSES), **options).network


def of_the_book(folder: Path) -> pnn.Network:
    for name, shape in (("wih", (20, 784)), ("who", (10, 20))):
        np.save(folder / f"{name}.npy", RNG.normal(0, shape[1] ** -0.5, shape).astype(np.float32))
    return read_book(folder / "wih.npy", folder / "who.npy")


RECIPES: Mapping[str, tuple[Callable[[Path], pnn.Network], np.ndarray]] = {
    "standardised": (standardised, ROWS),
    "pixels": (of_pixels, PIXELS),
    "tuned": (tuned, PIXELS),
    "a new head": (with_a_new_head, PIXELS),
    "the book": (of_the_book, PIXELS),
    "digits-mlp": (lambda folder: pnn.load_model("digits-mlp"), PIXELS),
    "digits-cnn": (lambda folder: pnn.load_model("digits-cnn"), PIXELS.reshape(-1, 1, 28, 28)),
}


@pytest.mark.long
@pytest.mark.parametrize(("make", "raw"), RECIPES.values(), ids=RECIPES)
def test_every_way_to_an_answer_agrees_on_raw_data(make: Any, raw: np.ndarray, tmp_path: Path) -> None:
    """The network, its file, the exported file in onnxruntime, the imported one; by predict in memory and in files."""
    net, x = make(tmp_path), raw.astype(np.float32)
    net.save(tmp_path / "a.safetensors")
    export_onnx(net, tmp_path / "a.onnx")
    np.save(tmp_path / "rows.npy", x)
    expected = net.predict(x)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    imported = import_onnx(tmp_path / "a.onnx")
    imported.save(tmp_path / "b.h5")
    numbers = [
        pnn.load(tmp_path / "a.safetensors").predict(x),
        session.run(None, {given.name: x})[0],
        imported.predict(x),
        pnn.load(tmp_path / "b.h5").predict(x),
        net.predict(x, engine="onnxruntime"),
        net.predict(pnn.prepare(net, x)),
    ]
    for found in numbers:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    labels = [net.labels[place] for place in expected.argmax(axis=1)]
    models = [net, tmp_path / "a.safetensors", tmp_path / "a.onnx", tmp_path / "b.h5"]
    for model, inputs, engine in itertools.product(models, (x, tmp_path / "rows.npy"), ("numpy", "onnxruntime")):
        found = [each.guess or each.label for each in pnn.predict(model, inputs, engine=engine)]
        assert found == labels, (model, engine)
    if make is standardised:
        assert np.mean(expected.argmax(axis=1) == CLASSES) > 0.95


def test_an_older_file_runs_as_it_did(tmp_path: Path) -> None:
    """Its steps are beside its graph: predict applies them, the network takes what they make; its export has them."""
    net = pnn.Sequential(pnn.Input(784, name="x"), pnn.Dense(3), labels="abc", seed=0)
    net.inputs = (InputInfo("x", "image", default_preprocessing((784,))),)
    net.save(tmp_path / "a.npz")
    expected = (PIXELS / 255 * 0.99 + 0.01) @ net.parameters["dense_1.weight"].T + net.parameters["dense_1.bias"]
    labels = ["abc"[place] for place in expected.argmax(axis=1)]
    older = pnn.load(tmp_path / "a.npz")
    assert older.inputs == net.inputs
    np.testing.assert_allclose(older.predict(pnn.prepare(older, PIXELS)), expected, rtol=1e-4, atol=1e-5)
    assert [prediction.label for prediction in pnn.predict(tmp_path / "a.npz", PIXELS)] == labels
    export_onnx(older, tmp_path / "a.onnx")
    found = onnxruntime.InferenceSession(tmp_path / "a.onnx").run(None, {"x": PIXELS.astype(np.float32)})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# -- pictures


@pytest.mark.parametrize("name", ["digits-mlp", "digits"])
def test_pictures_in_memory_are_read_as_those_in_files(name: str) -> None:
    images = [Image.open(path) for path in SAMPLES]
    expected = [vars(prediction) for prediction in pnn.predict(name, SAMPLES)]
    assert [row["label"] for row in expected] == list("0123456789")
    assert [vars(prediction) for prediction in pnn.predict(name, images)] == expected
    mixed = [*SAMPLES[:3], *images[3:6], *map(str, SAMPLES[6:])]
    assert [vars(prediction) for prediction in pnn.predict(pnn.load_model(name), mixed)] == expected
    made = [Image.fromarray(np.asarray(image)) for image in images]  # These have no file.
    assert [prediction.input for prediction in pnn.predict(name, made)] == [f"x[{place}]" for place in range(10)]
    [alone] = pnn.predict(name, made[4])
    assert (alone.input, alone.label) == ("x", "4")


MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "F", "HSV", "YCbCr")


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_every_mode(mode: str, tmp_path: Path) -> None:
    """As the file that Pillow writes of them, where there is one."""
    from portable_nn.data.images import pixels_of, read_image

    levels = RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    rgb = Image.fromarray(levels)
    image = (
        Image.fromarray(levels[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else rgb.convert("P").convert("PA")
        if mode == "PA"
        else rgb.convert(mode)
    )
    found = pixels_of(image, "x")
    if mode in ("PA", "F", "CMYK", "HSV", "YCbCr"):
        assert found.shape[:2] == (9, 7)
        return
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(found, read_image(tmp_path / "a.png"))
    np.testing.assert_array_equal(pixels_of(Image.open(tmp_path / "a.png"), "x"), found)


def test_pictures_are_turned_as_they_say(tmp_path: Path) -> None:
    from portable_nn.data.images import pixels_of, read_image

    image = Image.fromarray(RNG.integers(0, 256, (9, 7), dtype=np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    found = pixels_of(Image.open(tmp_path / "a.png"), "x")
    np.testing.assert_array_equal(found, read_image(tmp_path / "a.png"))
    np.testing.assert_array_equal(found, np.rot90(np.asarray(image), -1))


def test_a_damaged_picture(tmp_path: Path) -> None:
    data = SAMPLES[0].read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(DataError, match=r"a\.png: the picture cannot be dec"):
        pnn.predict("digits", image)


# -- arrays and tables


class Frame(dict[str, Any]):
    """Works as a data frame does."""

    @property
    def columns(self) -> list[str]:
        return list(self)

    def to_numpy(self) -> Any:
        raise NotImplementedError


def table() -> pnn.Network:
    return standardised(Path())


def answers(net: pnn.Network, x: Any, **options: Any) -> list[str | None]:
    return [prediction.label for prediction in pnn.predict(net, x, **options)]


def test_tables_in_any_form() -> None:
    net = table()
    expected = ["abc"[place] for place in net.predict(ROWS).argmax(axis=1)]
    columns = {name: ROWS[:, place] for place, name in enumerate("wxyz")}
    for given in (
        ROWS,
        ROWS.tolist(),
        columns,
        Frame(columns),
        {name: column.astype(object) for name, column in columns.items()},
        {"rows": ROWS},
    ):
        assert answers(net, given, batch_size=7) == expected
    assert answers(net, ROWS[0]) == answers(net, ROWS[:1].astype(np.float16).astype(float)) == expected[:1]
    found = list(pnn.predict(net, ROWS[:2]))
    assert [prediction.input for prediction in found] == ["x[0]", "x[1]"]
    assert pnn.prepare(net, columns).dtype == np.float32


def test_a_data_frame_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    net = table()
    frame = pandas.DataFrame(ROWS, columns=list("wxyz"), index=range(7, 97))
    assert answers(net, frame) == answers(net, ROWS)
    with pytest.raises(UsageError, match=r"^column 'w' must be an array of numbers, but holds text such as 'tall': np"):
        pnn.predict(net, frame.assign(w="tall"))
    frame.loc[9, "x"] = None
    with pytest.raises(DataError, match=r"^x\[2\]: expected .* found 1 of 4 missing \(NaN\), the first at \[1\]$"):
        list(pnn.predict(net, frame))


def test_shapes_of_pictures_in_arrays() -> None:
    net = pnn.load_model("digits")
    expected = answers(net, PIXELS)
    for shape in ((90, 28, 28), (90, 1, 28, 28)):
        assert answers(net, PIXELS.reshape(shape)) == expected
    for shape in ((28, 28), (1, 28, 28), (1, 784)):
        assert answers(net, PIXELS[:1].reshape(shape)) == expected[:1]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([], UsageError, "no input: give pictures, folders, CSV"),
        (np.zeros((0, 4)), UsageError, "the array holds no examples: its shape is (0, 4)"),
        ({}, UsageError, "the table has no columns"),
        (7, UsageError, "inputs is one number, 7: give a path, a picture, a table, or an array of examples"),
        (None, UsageError, "inputs must be an array of numbers, not None of type NoneType"),
        ([[1, 2], [3]], UsageError, "inputs must be an array of numbers, with as many in each row, not [[1, 2], [3]]"),
        (np.zeros((3, 5)), DataError, "x: expected examples of shape (4,), found (5,); the model determines what is"),
        ({"a": [1, 2], "b": [3]}, DataError, "column 'b': expected 2 numbers, found shape (1,)"),
        ({"a": None}, UsageError, "column 'a' must be an array of numbers, not None of type NoneType"),
        ({"a": ["tall"]}, UsageError, "column 'a' must be an array of numbers, but holds text such as 'tall': np.uni"),
        ({"a": 1.5, "b": 2}, UsageError, "column 'a' is one number, 1.5: columns are lists, such as [1.5] for one row"),
        ({"a": Image.new("L", (4, 1))}, UsageError, "column 'a' must be an array of numbers, not a picture: pnn.prep"),
        (["a.png", 7], UsageError, "x[1] is of type int, among paths and pictures: give each kind by itself"),
        ("none.csv", DataError, "none.csv: expected a file or folder, found neither"),
        (np.full((2, 4), np.nan), DataError, "x[0]: expected finite float32 numbers, found 4 of 4 missing (NaN), the"),
        (SAMPLES, UsageError, "this model takes rows of numbers, and no pictures: give it rows, such as a CSV file"),
    ],
)
def test_messages(given: Any, error: type[PortableNNError], message: str) -> None:
    with pytest.raises(error) as found:
        list(pnn.predict(table(), given))
    assert str(found.value).startswith(message)


def test_what_is_no_model() -> None:
    with pytest.raises(UsageError, match=r"^model must be a network, a path or the name of a shipped model, not int$"):
        pnn.predict(7, ROWS)  # type: ignore[arg-type]


def test_options_of_files_are_no_options_of_networks() -> None:
    with pytest.raises(UsageError, match=r"^digest and edited are for a model in a file: this one is a network in mem"):
        pnn.predict(table(), ROWS, digest="0" * 64)


def test_numbers_that_miss_by_far_what_is_meant() -> None:
    net = table()
    scaled = (ROWS - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    for engine in ("numpy", "onnxruntime"):
        with pytest.warns(pnn.DataWarning, match=r"^the examples hold .* but the network is made for ") as found:
            list(pnn.predict(net, scaled, batch_size=10, engine=engine))
        assert [Path(each.filename) for each in found] == [Path(__file__)]
    with pytest.raises(DataError, match=r"^x\[0\]: expected pixels from 0 to 255, found none above 1; the network"):
        list(pnn.predict("digits", PIXELS / 255))


def test_a_table_of_rows_read_from_a_file(tmp_path: Path) -> None:
    """What train reads is what predict takes."""
    np.savetxt(tmp_path / "t.csv", np.c_[CLASSES, ROWS], delimiter=",")
    data = read_dataset(tmp_path / "t.csv", width=4)
    found = pnn.predict(table(), tmp_path / "t.csv")
    assert [prediction.label for prediction in found] == answers(table(), data.x)


# -- what predictions are


def test_notes_tell_the_steps_that_are_done() -> None:
    """Arrays are not drawn: the steps that find a digit are for pictures, and so are the notes on them."""
    net = pnn.load_model("digits")
    drawn = ["convert to grey", "divide by the brightness", "separate the drawings"]
    for given, expected in ((PIXELS, []), (str(SAMPLES[0]), drawn), (Image.open(SAMPLES[0]), drawn)):
        predictions = pnn.predict(net, given, engine="numpy")
        assert [step for step in drawn if step in "\n".join(predictions.notes)] == expected
    older = pnn.Sequential(pnn.Input(784, name="x"), pnn.Dense(3), labels="abc", seed=0)
    older.inputs = (InputInfo("x", "image", default_preprocessing((784,))),)
    [_, heading, *steps] = pnn.predict(older, PIXELS, engine="numpy").notes
    assert heading == "the model says how to prepare arrays:"
    assert [step.split()[1] for step in steps] == ["multiply", "reshape"]


@pytest.mark.parametrize("mode", ["I", "I;16", "F"])
def test_levels_of_8_bits_in_wider_pictures(mode: str) -> None:
    """Floats up to 255 are levels; whole numbers of 16 bits go to 65535, so that 255 would be nearly black."""
    levels = np.asarray(Image.open(SAMPLES[3]).convert("L"))
    image = Image.fromarray(levels.astype("u2")) if mode == "I;16" else Image.fromarray(levels).convert(mode)
    assert image.mode == mode
    if mode == "F":
        assert [prediction.label for prediction in pnn.predict("digits", image)] == ["3"]
        return
    with pytest.raises(
        DataError, match=r"^x: expected levels up to 65535, as its 16 bits have, found none above 2\d\d, as"
    ):
        list(pnn.predict("digits", image))
    assert [prediction.label for prediction in pnn.predict("digits", image.convert("L"))] == ["3"]


def test_messages_call_a_network_the_network() -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Rescaling(1 / 255), pnn.Dense(3), seed=0)
    named = pnn.Sequential(pnn.Input(4), pnn.Rescaling(1 / 255), pnn.Dense(3), seed=0, name="tulips")
    for network, words in ((net, "the network is made for"), (named, "the network 'tulips' is made for")):
        with pytest.warns(pnn.DataWarning, match=f"but {words} numbers from about 0 to 255"):
            list(pnn.predict(network, RNG.random((3, 4)), engine="numpy"))


def test_predictions_as_a_sequence() -> None:
    net = table()
    expected = list(pnn.predict(net, ROWS))
    found = pnn.predict(net, ROWS)
    assert (len(found), found[0], found[-1], found[3:5]) == (90, expected[0], expected[89], expected[3:5])
    assert list(found) == expected == list(found)
    assert (found.made, next(found)) == (90, expected[0])
    with pytest.raises(IndexError, match=r"^there are 90 predictions, from 0, and none has the number 90$"):
        found[90]
    with pytest.raises(UsageError, match=r"^predictions have a number from 0, or a slice, not 'label'$"):
        found["label"]


def test_predictions_one_after_the_other() -> None:
    """They are computed when they are asked for, and those that were given are not kept."""
    net = table()
    expected = list(pnn.predict(net, ROWS))
    found = pnn.predict(net, ROWS, batch_size=10)
    assert (bool(found), found.made) == (True, 0)
    assert (next(found), found.made) == (expected[0], 1)
    for ask in (len, lambda each: each[0]):
        with pytest.raises(UsageError, match=r"^1 prediction was given already, and not kept: begin with"):
            ask(found)
    assert list(found) == expected[1:]
    assert list(found) == []


def test_predictions_become_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(pnn.predict(table(), ROWS))
    assert frame["label"].tolist() == [prediction.label for prediction in pnn.predict(table(), ROWS)]


def test_columns_of_numbers_as_text() -> None:
    """As in a file of a table."""
    columns = {str(place): [f"{number:.9g}" for number in column] for place, column in enumerate(ROWS.T)}
    assert answers(table(), columns) == answers(table(), ROWS)


def test_predictions_are_no_array() -> None:
    net = table()
    for use in (np.asarray, np.sum, net.predict):
        with pytest.raises(UsageError, match=r"predictions are no array: network\.predict\(x\) gives the outputs"):
            use(pnn.predict(net, ROWS))


# -- labels that are none


def test_labels_in_the_last_column(tmp_path: Path) -> None:
    """The first of one column too many is the label; where it cannot be, nothing is said of the row."""
    np.savetxt(tmp_path / "last.csv", np.c_[ROWS, CLASSES], delimiter=",", fmt="%.5g")
    wanted = r"^\S+last\.csv:1: the label [\d.]+ is none of the classes a, b, c; in a table, labels are the"
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), labels="abc", seed=0)
    with pytest.raises(DataError, match=wanted):
        list(pnn.predict(net, tmp_path / "last.csv"))
    found = list(pnn.predict(net, tmp_path / "last.csv", strict=False, batch_size=90))
    assert [(each.label, each.error is None) for each in found] == [(None, False)] * 90


def test_pictures_in_folders_that_are_no_classes_are_predicted(tmp_path: Path) -> None:
    """As without the folders; those of classes are compared."""
    net = pnn.Sequential(pnn.Input(3, 8, 8), pnn.Flatten(), pnn.Dense(2), labels=["cat", "dog"], seed=0)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8)
    alone = pnn.predict(net, [Image.fromarray(each) for each in pixels])
    for place, each in enumerate(pixels):
        folder = tmp_path / ("cat", "fern", "7")[place // 3]
        folder.mkdir(exist_ok=True)
        Image.fromarray(each).save(folder / f"{place}.png")
    found = pnn.predict(net, [tmp_path / "fern", tmp_path / "7", tmp_path / "cat"])
    nested = pnn.predict(net, tmp_path, batch_size=2)
    by_name = {Path(each.input).stem: each for each in nested}
    assert [by_name[str(place)].probability for place in range(9)] == [each.probability for each in alone]
    assert [by_name[str(place)].expected for place in range(9)] == ["cat"] * 3 + [None] * 6
    assert (nested.judged, nested.bad, len(found)) == (3, 0, 9)
    assert [each for each in nested.warnings if "labels" in each] == [
        "labels that the model lacks are not compared: 7"  # The first that is met.
    ]


def test_values_have_no_labels(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(1), pnn.Dense(1), seed=0)
    (tmp_path / "two.csv").write_text("1,5\n2,6\n")
    with pytest.raises(DataError, match=r"two\.csv: row 1: expected 1 value, found 2 cells: the model gives values"):
        list(pnn.predict(net, tmp_path / "two.csv"))
