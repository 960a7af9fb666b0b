"""The object that other engines predict with."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.core.errors import FormatError, UsageError
from portable_nn.scale import Predictor

SAMPLES = sorted((find_model("digits").weights.parent / "samples").glob("*.png"))
DIGITS = [path.stem[-1] for path in SAMPLES]


def test_it_is_small_however_large_the_model_is() -> None:
    predictor = Predictor("digits", column="image")
    predictor({"image": [str(SAMPLES[0])]})
    assert len(pickle.dumps(predictor)) < 500
    assert pickle.loads(pickle.dumps(predictor)) == predictor


def test_a_dict_of_arrays_as_ray_data_gives_it() -> None:
    batch = {"id": np.arange(10), "image": np.array([str(path) for path in SAMPLES])}
    found = Predictor("digits", column="image")(batch)
    assert list(found) == ["id", "image", "label", "probability", "error"]
    assert found["label"].tolist() == DIGITS
    assert found["probability"].dtype == float
    assert found["error"].tolist() == [None] * 10


def test_encoded_pictures_some_of_which_are_none(tmp_path: Path) -> None:
    values = [SAMPLES[3].read_bytes(), b"no picture", None, str(tmp_path / "missing.png"), SAMPLES[5].read_bytes()]
    found = Predictor("digits")(values)
    assert found["label"].tolist() == ["3", None, None, None, "5"]
    assert np.isnan(found["probability"]).tolist() == [False, True, True, True, False]
    assert [error and error.split(",")[0] for error in found["error"]] == [
        None, "expected a picture such as PNG or JPEG", "expected a path or bytes", "expected a picture", None,
    ]  # fmt: skip


def test_a_photograph_with_several_digits_has_one_row_all_the_same() -> None:
    from PIL import Image

    both = Image.new("L", (160, 100), 255)
    for place, path in enumerate((SAMPLES[1], SAMPLES[7])):
        both.paste(Image.open(path).convert("L").resize((60, 60)), (10 + 80 * place, 20))
    found = Predictor("digits")([SAMPLES[2].read_bytes(), _png(both), SAMPLES[4].read_bytes()])
    assert found["label"].tolist() == ["2", None, "4"]
    assert found["error"][1] == (
        "there are several drawings in this picture: portable-nn predict has a row for each"
    )  # fmt: skip


def _png(picture: Any) -> bytes:
    import io

    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("as_rows", [False, True])
def test_arrays_alone(as_rows: bool) -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    found = Predictor("digits")(list(x) if as_rows else x)
    wanted = list(pnn.predict("digits", x))
    assert found["label"].tolist() == [each.label for each in wanted]
    assert found["probability"].tolist() == [each.probability for each in wanted]


def test_quantities_have_their_names() -> None:
    x = np.load(next((find_model("altimetry-swh").weights.parent / "samples").glob("*.npy")))[:3]
    wanted = pnn.predict("altimetry-swh", x)
    found = Predictor("altimetry-swh")(x)
    assert list(found) == [*(wanted.quantities or ["value"]), "error"]
    assert np.array([found[name] for name in list(found)[:-1]]).T.tolist() == [list(each.values) for each in wanted]


def test_data_frames_and_iterators_of_them_as_spark_gives_them() -> None:
    pandas = pytest.importorskip("pandas", reason="a batch of Spark is a data frame of pandas")
    frame = pandas.DataFrame({"id": range(10), "image": [path.read_bytes() for path in SAMPLES]})
    found = list(Predictor("digits", column="image")(iter([frame[:6], frame[6:], frame[:0]])))
    assert [list(each["label"]) for each in found] == [DIGITS[:6], DIGITS[6:], []]
    assert list(found[0].columns) == ["id", "image", "label", "probability", "error"]


def test_a_table_itself(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="tables are data frames of pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"length": rng.normal(size=60), "width": rng.normal(size=60)})
    kinds = ["long" if length > width else "wide" for length, width in zip(frame.length, frame.width, strict=True)]
    network = pnn.Sequential(pnn.Input(2), pnn.Dense(2), labels=["long", "wide"], seed=0)
    network.fit(frame.to_numpy(np.float32), np.array([["long", "wide"].index(kind) for kind in kinds]), epochs=60)
    network.save(tmp_path / "kinds.safetensors")
    found = Predictor(str(tmp_path / "kinds.safetensors"))(frame)
    wanted = [each.label for each in pnn.predict(tmp_path / "kinds.safetensors", frame)]
    assert found["label"].tolist() == wanted
    assert list(found.columns)[:2] == ["length", "width"]


def test_wrong_models_columns_and_batches() -> None:
    with pytest.raises(FormatError, match="digest"):
        Predictor("digits", digest="0" * 64)([str(SAMPLES[0])])
    with pytest.raises(UsageError, match="the batch has no column 'image': its columns are picture"):
        Predictor("digits", column="image")({"picture": []})


def labels_of(predictor: Predictor, paths: list[str]) -> list[str]:
    return list(predictor(paths)["label"])


@pytest.mark.long
def test_other_processes_open_the_model_themselves() -> None:
    predictor = Predictor("digits")
    predictor([str(SAMPLES[0])])
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        parts = [[str(path) for path in SAMPLES[:5]], [str(path) for path in SAMPLES[5:]]]
        found = [each for part in pool.map(labels_of, [predictor] * 2, parts) for each in part]
    assert found == DIGITS


@pytest.mark.long
def test_daft() -> None:
    daft = pytest.importorskip("daft", reason="Daft is one of the engines that the object is for")
    kind = daft.DataType.struct({"label": daft.DataType.string(), "probability": daft.DataType.float64()})
    predictor = Predictor("digits")

    @daft.func.batch(return_dtype=kind)
    def predicted(paths: Any) -> list[dict[str, Any]]:
        found = predictor(paths)
        return [
            {"label": label, "probability": share}
            for label, share in zip(found["label"], found["probability"], strict=True)
        ]

    frame = daft.from_pydict({"path": [str(path) for path in SAMPLES]})
    rows = frame.with_column("found", predicted(frame["path"])).to_pydict()
    assert [each["label"] for each in rows["found"]] == DIGITS
