from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import idx, ink
from PIL import Image

from portable_nn.core.errors import DataError, DataWarning, UsageError
from portable_nn.data import sources
from portable_nn.data.batches import Bad, Batch, Taken
from portable_nn.data.given import Named
from portable_nn.data.images import read_image
from portable_nn.preprocessing.applying import apply, apply_arithmetic
from portable_nn.preprocessing.defaults import DIGIT, default_preprocessing
from portable_nn.preprocessing.steps import Preprocessing, ScaleStep

STEPS = default_preprocessing((784,))
ROWS = np.random.default_rng(0).integers(0, 256, (5, 784), dtype=np.uint8)
READY = ROWS / 255 * 0.99 + 0.01


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    path = tmp_path / "five.png"
    Image.fromarray(255 - ink()).save(path)
    return path


def iterate(inputs: Any, steps: Preprocessing, shape: tuple[int, ...], **options: Any) -> Iterator[Any]:
    """Batches for a model that takes examples of ``shape`` and has such steps."""
    return sources.iterate(inputs, Taken(shape, steps), **options)


def joined(batches: list[Batch]) -> np.ndarray:
    return np.concatenate([batch.x for batch in batches])


def csv_text(rows: np.ndarray) -> str:
    return "\n".join(",".join(map(str, row)) for row in rows)


# Pictures


def test_a_picture(digit: Path) -> None:
    notes: list[str] = []
    (batch,) = iterate([digit], STEPS, (784,), notes=notes)
    assert batch.names == [str(digit)]
    assert batch.labels is None
    assert batch.x.dtype == np.float32
    assert np.array_equal(batch.x, apply(STEPS, read_image(digit))[np.newaxis])
    assert notes[0] == "the model says how to prepare pictures:"
    assert len(notes) == len(STEPS) + 2
    assert notes[-1:] == [f"{digit}: the ink is taken to be dark, judged by the border of the picture"]


def test_polarity_can_be_forced(digit: Path) -> None:
    notes: list[str] = []
    (forced,) = iterate([digit], STEPS, (784,), polarity="dark", notes=notes)
    (guessed,) = iterate([digit], STEPS, (784,))
    assert notes[2].startswith("  2. invert ")
    assert not any("judged" in note for note in notes)
    assert np.array_equal(forced.x, guessed.x)
    (wrong,) = iterate([digit], STEPS, (784,), polarity="light")
    assert not np.allclose(wrong.x, guessed.x, atol=0.1)


def test_a_folder_by_name_without_what_is_no_picture(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.png", "a.JPG", "c.bmp", "._b.png", ".hidden.png", "notes.txt", "data.csv"):
        Image.fromarray(ink()).save(folder / name, "PNG")
    for name in ("__MACOSX", "sub.png"):
        (folder / name).mkdir()
    batches = list(iterate([folder], STEPS, (784,), batch_size=2))
    assert [batch.names for batch in batches] == [[f"{folder}/a.JPG", f"{folder}/b.png"], [f"{folder}/c.bmp"]]
    assert [batch.x.shape for batch in batches] == [(2, 784), (1, 784)]


def test_links_that_lead_nowhere_have_an_error_and_folders_in_a_folder_are_named(tmp_path: Path) -> None:
    for name in ("a.png", "inner/b.png"):
        Path(tmp_path, name).parent.mkdir(exist_ok=True)
        Image.fromarray(ink()).save(tmp_path / name)
    (tmp_path / "c.png").symlink_to("nowhere.png")
    with pytest.warns(DataWarning, match=r"pictures in folders in it, such as .*inner, are not read: give these"):
        found = list(iterate([tmp_path], STEPS, (784,), strict=False))
    assert [each.names if isinstance(each, Batch) else each.name for each in found] == [
        [str(tmp_path / "a.png")], str(tmp_path / "c.png")]  # fmt: skip


def test_arrays_by_name_some_of_which_are_empty(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for name, count in (("full.h5", 2), ("empty.h5", 0)):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = np.ones((count, 3), np.float32)
    paths, named = [tmp_path / "empty.h5", tmp_path / "full.h5"], Named(["x"])
    bad, good = iterate(paths, (), (3,), strict=False, named=named)
    assert isinstance(bad, Bad)
    assert bad.name == str(paths[0])
    assert "expected rows of numbers, found the shape (0, 3)" in bad.reason
    assert good.names == [f"{paths[1]}:0", f"{paths[1]}:1"]
    with pytest.raises(DataError, match="expected rows of numbers"):
        list(iterate(paths, (), (3,), named=named))
    with pytest.raises(DataError, match="expected rows of numbers"):  # Nothing is left where it is the only one.
        list(iterate(paths[:1], (), (3,), strict=False, named=named))


def test_one_array_of_zarr_and_parquet_needs_no_name(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    zarr = pytest.importorskip("zarr", reason="zarr is an extra")
    zarr.open_group(str(tmp_path / "one.zarr"), mode="w").create_array("x", data=x)
    (batch,) = iterate([tmp_path / "one.zarr"], (), (3,))
    assert np.array_equal(batch.x, x)
    pa = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0]}), tmp_path / "two.parquet")
    with pytest.raises(DataError, match=r"two\.parquet: holds 2 arrays, a, b: --inputs NAME \(dataset=\) says which"):
        list(iterate([tmp_path / "two.parquet"], (), (2,)))


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=f"^{re.escape(str(tmp_path))}: the folder has no images"):
        iterate([tmp_path], STEPS, (784,))


@pytest.mark.parametrize("shape", [(784,), (28, 28), (1, 28, 28)])
def test_a_model_that_says_nothing_gets_what_is_likely(digit: Path, shape: tuple[int, ...]) -> None:
    assumed: list[str] = []
    (batch,) = iterate([digit], (), shape, assumed=assumed)
    assert np.array_equal(batch.x.reshape(1, 784), joined(list(iterate([digit], STEPS, (784,)))))
    [said] = assumed
    assert said.startswith("the model does not say how to prepare pictures; assumed: convert to grey")


def test_a_colour_model_that_says_nothing(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    (batch,) = iterate([tmp_path / "a.png"], (), (3, 6, 5))
    assert batch.x[0] == pytest.approx(picture.transpose(2, 0, 1) / 255, abs=1e-6)


def test_pictures_for_models_that_take_none(digit: Path) -> None:
    with pytest.raises(UsageError, match=r"examples of shape \(13,\) and does not say how pictures become that"):
        iterate([digit], (), (13,))
    with pytest.raises(UsageError, match="has no step that makes an array of a picture; give it arrays"):
        iterate([digit], (ScaleStep(1.0),), (784,))
    with pytest.raises(DataError, match=r"five.png: expected examples of shape \(100,\), found \(784,\); the model"):
        list(iterate([digit], STEPS, (100,)))


def test_a_blank_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "blank.png"
    Image.new("L", (40, 40), 255).save(path)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: no drawing found"):
        list(iterate([path], STEPS, (784,)))


# Arrays


@pytest.mark.parametrize("name", ["a.npy", "a-idx3-ubyte", "a.csv"])
@pytest.mark.parametrize("shape", [(784,), (1, 28, 28)])
def test_arrays_enter_after_the_picture_steps(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, ROWS)
    elif name == "a.csv":
        path.write_text(csv_text(ROWS))
    else:
        path.write_bytes(idx(8, (5, 28, 28), ROWS.tobytes()))
    batches = list(iterate([path], default_preprocessing(shape), shape, batch_size=2))
    places = range(1, 6) if name == "a.csv" else range(5)
    assert [name for batch in batches for name in batch.names] == [f"{path}:{place}" for place in places]
    assert [batch.x.shape for batch in batches] == [(2, *shape), (2, *shape), (1, *shape)]
    assert joined(batches).reshape(5, 784) == pytest.approx(READY, abs=1e-6)


def test_lines_of_a_csv_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("label,a,b\n\n7,1,2\n\n1,3,4\n")
    (batch,) = iterate([path], (), (2,))
    assert (batch.names, batch.labels) == ([f"{path}:3", f"{path}:5"], [7, 1])
    assert batch.x.tolist() == [[1, 2], [3, 4]]


LISTS = [[[1, 2], [3, 4]], [[5, 6], [7, 8.5]]]
IN_JSON = {
    "lists": json.dumps(LISTS),
    "an object": json.dumps({"instances": LISTS}),
    "over lines": json.dumps(LISTS, indent=1),
    "a line each": "\n\n".join(map(json.dumps, LISTS)),
    "objects": json.dumps([{"image": each} for each in LISTS]),
    "an object a line": "\r\n".join(json.dumps({"image": each}) for each in LISTS) + "\r\n",
}


@pytest.mark.parametrize("name", IN_JSON)
@pytest.mark.parametrize("place", ["x.json", "-"])
def test_lists_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str) -> None:
    (tmp_path / "x.json").write_bytes(data := IN_JSON[name].encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
    monkeypatch.chdir(tmp_path)
    (batch,) = iterate([place], (ScaleStep(2.0),), (2, 2))
    called = "stdin" if place == "-" else place
    assert (batch.names, batch.labels) == ([f"{called}[0]", f"{called}[1]"], None)
    assert batch.x.tolist() == (np.array(LISTS) * 2).tolist()


def test_labels_and_columns_in_json(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("[1, 2, 3]")
    (tmp_path / "x.json").write_text('{"y": [7, null], "x": [[1, 2, 3], [4, 5, 6]]}')
    (tmp_path / "rows.jsonl").write_text('{"a": 1, "b": 2, "c": 3}\n{"a": 4, "b": 5, "c": 6}\n')
    one, labelled, rows = iterate([tmp_path / "one.json", tmp_path / "x.json", tmp_path / "rows.jsonl"], (), (3,))
    assert one.x.tolist() == [[1, 2, 3]]
    assert labelled.x.tolist() == rows.x.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert (labelled.labels, rows.labels) == ([7, None], None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[1, 2], [3]]", r"x.json\[1\]: expected lists of numbers, as many in each as in the first"),
        ("[[1, 2], [3, null]]", r"x.json\[1\]: expected finite float32 numbers, found 1 of 2 missing"),
        ('[[1, 2], [3, "four"]]', "x.json: expected numbers, found text"),
        ('[[1, null], [3, "4"]]', r"x.json\[1, 1\]: expected a number, found '4'"),
        ('[{"a": 1, "b": "four"}]', "x.json: column 'b' must be an array of numbers, but holds text such as 'four'"),
        ("[{}]", "x.json: the table has no columns"),
        ('{"x": [], "y": []}', "x.json: x: the array is empty"),
        ('{"x": [[1, 2], [3]], "y": [0, 1]}', r"x.json: x\[1\]: expected lists of numbers, as many in each"),
        ('{"x": [[1, 2]], "y": ' + "9" * 400 + "}", "x.json: expected 1 labels"),
        ("[[1, " + "9" * 400 + "]]", r"x.json\[0\]: expected finite float32 numbers, found 1 of 2 infinite"),
        ("[[1, 2], [3, 4", "x.json: expected rows in JSON; it cannot be read as JSON"),
    ],
)
def test_faults_of_lists_in_json(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message):
        list(iterate([tmp_path / "x.json"], (), (2,)))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("1,2\n3,4\n"))
    (batch,) = iterate(["-"], (ScaleStep(2.0),), (2,))
    assert batch.names == ["stdin:1", "stdin:2"]
    assert batch.x.tolist() == [[2, 4], [6, 8]]


def test_labels_come_along(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS, y=[1, 2, 3, 4, 5])
    assert [batch.labels for batch in iterate([tmp_path / "a.npz"], STEPS, (784,), batch_size=3)] == [[1, 2, 3], [4, 5]]


def test_raw_arrays_are_left_alone(tmp_path: Path, digit: Path) -> None:
    np.save(tmp_path / "a.npy", READY)
    (batch,) = iterate([tmp_path / "a.npy"], STEPS, (784,), raw=True)
    assert np.array_equal(batch.x, READY.astype(np.float32))
    with pytest.raises(UsageError, match=r"raw is for arrays, and .*five.png is taken to be a picture"):
        iterate([digit], STEPS, (784,), raw=True)


@pytest.mark.parametrize("shape", [(784,), (28, 28)])
def test_an_array_may_be_one_example(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", ROWS[0].reshape(shape))
    (batch,) = iterate([tmp_path / "a.npy"], STEPS, (784,))
    assert batch.names == [f"{tmp_path}/a.npy:0"]
    assert batch.x == pytest.approx(READY[:1], abs=1e-6)


def test_everything_in_its_order(tmp_path: Path, digit: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    batches = list(iterate([digit, tmp_path / "a.npy", digit, digit], STEPS, (784,)))
    assert [len(batch.names) for batch in batches] == [1, 5, 2]
    assert np.array_equal(batches[1].x, apply_arithmetic(STEPS, ROWS))


FAULTS = [
    (ROWS[:, :783], r"a.npy: expected examples of shape \(28, 28\), found \(783,\)"),
    (np.where(ROWS[3, 5] == ROWS, np.nan, ROWS), r"a.npy:\d: expected finite float32 numbers, found \d+ of 784 mis"),
    (np.full((2, 784), 1e300), r"a.npy:0: .* found 784 of 784 infinite, the first at \[0\]"),
    (
        ROWS.astype(int) - 1,
        r"a.npy:\d: expected pixels from 0 to 255; if .* preprocessed already, pass them on unchanged: raw \(--raw\)",
    ),
    (READY, "a.npy:0: expected pixels from 0 to 255, found none above 1; .*--raw"),
]


@pytest.mark.parametrize(("array", "reason"), FAULTS)
def test_arrays_that_would_give_wrong_predictions(tmp_path: Path, array: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=reason):
        list(iterate([tmp_path / "a.npy"], STEPS, (784,)))


def test_the_model_determines_the_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4, 3)))
    with pytest.raises(DataError, match=r"a.npy: expected examples of shape \(3, 4, 4\), found \(4, 4, 3\); the model"):
        list(iterate([tmp_path / "a.npy"], (), (3, 4, 4)))


def test_values_that_are_no_pixels_are_free(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[-1.5, 1e6]]))
    (batch,) = iterate([tmp_path / "a.npy"], (ScaleStep(2.0),), (2,))
    assert batch.x.tolist() == [[-3, 2e6]]


# Wrong use


def test_wrong_arguments_are_reported_at_once(tmp_path: Path, digit: Path) -> None:
    with pytest.raises(UsageError, match="no input: give pictures, folders, CSV"):
        iterate([], STEPS, (784,))
    with pytest.raises(UsageError, match="batch_size must be a whole number from 1, not 0"):
        iterate([digit], STEPS, (784,), batch_size=0)
    with pytest.raises(UsageError, match="polarity must be one of auto, light, dark, not 'red'"):
        iterate([digit], STEPS, (784,), polarity="red")
    missing = tmp_path / "missing.png"
    with pytest.raises(DataError, match=f"^{re.escape(str(missing))}: expected a file or folder, found neither"):
        iterate([digit, missing], STEPS, (784,))


@pytest.mark.long
def test_heavy_packages_are_imported_when_they_are_needed() -> None:
    code = "import sys, portable_nn.data.sources; print({'PIL', 'imageio', 'h5py', 'onnx'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_pixels_over_255_are_to_be_multiplied_by_255() -> None:
    ready = np.random.default_rng(0).random((2, 28, 28))
    advice = "if they are pixels divided by 255, multiply them by 255"
    for steps, shape, has_raw in ((DIGIT, (28, 28), False), (STEPS, (784,), True)):
        with pytest.raises(DataError, match=advice) as error:
            list(iterate(ready, steps, shape))
        assert ("raw" in str(error.value)) == has_raw
        assert len(list(iterate(ready * 255, steps, shape))) == 1
