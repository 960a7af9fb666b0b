"""Consecutive rows whose answers depend on those around them: parts of any size give the answers of the whole."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import PortableNNError
from portable_nn.operators import emit

REACH = 2


@pytest.fixture(scope="module")
def network() -> pnn.Network:
    """A convolution along rows of three numbers: the answer for a row depends on two before and two after it."""
    x = pnn.Input("rows", 3, name="rows")
    y = pnn.Conv1d(2, 2 * REACH + 1, padding=REACH)(emit("Transpose", x, perm=[0, 2, 1]))
    found = pnn.Network(x, emit("Transpose", y, perm=[0, 2, 1]), seed=0)
    found.inputs = (replace(found.inputs[0], context=REACH),)
    found.outputs = (replace(found.outputs[0], labels=("a", "b")),)
    return found


def values(predictions: pnn.Predictions) -> np.ndarray:
    return np.array([each.values for each in predictions])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 256])
@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_parts_have_no_seams(network, count, batch_size):
    x = np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)
    found = pnn.predict(network, x, batch_size=batch_size)
    assert [each.input for each in found[:2]] == [f"x[{place}]" for place in range(min(count, 2))]
    np.testing.assert_allclose(values(found), network.predict(x[np.newaxis])[0], atol=1e-6)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("suffix", ["safetensors", "onnx"])
def test_files_are_sequences_of_their_own(network, tmp_path, suffix, engine):
    model = tmp_path / f"model.{suffix}"
    export_onnx(network, model) if suffix == "onnx" else network.save(model)
    rng = np.random.default_rng(1)
    parts = [rng.standard_normal((count, 3)).astype(np.float32) for count in (30, 1, 11)]
    paths = [tmp_path / f"part{place}.h5" for place in range(3)]
    for path, part in zip(paths, parts, strict=True):
        with h5py.File(path, "w") as store:
            store["echoes"] = part
    found = values(pnn.predict(model, paths, dataset="echoes", batch_size=8, engine=engine))
    wanted = np.concatenate([network.predict(part[np.newaxis])[0] for part in parts])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("made", range(8, 56, 8))
def test_what_goes_on_in_the_middle_gives_the_rest(network, tmp_path, made):
    """As ``predict --resume`` does; the file has pieces, of which those before are not read."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (60, 3), "f4", np.random.default_rng(4).standard_normal((60, 3)), chunks=(16, 3))
    options = {"dataset": "x", "batch_size": 8}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portable_nn.data.stored.PIECE", 1)
        whole, rest = (pnn.predict(network, tmp_path / "a.h5", **options) for _ in range(2))
        batches = whole.in_batches()
        before = [each for _ in range(made // 8) for each in next(batches)]
        rest.go_on(whole.state())
        assert [*before, *rest] == [*before, *(each for batch in batches for each in batch)]
        assert rest.made == whole.made == rest.total == 60


def test_a_bad_row_parts_those_around_it(network):
    x = np.random.default_rng(2).standard_normal((30, 3)).astype(np.float32)
    x[13, 1] = np.nan
    found = list(pnn.predict(network, x, strict=False, batch_size=4))
    assert [place for place, each in enumerate(found) if each.error] == [13]
    for part in (slice(0, 13), slice(14, None)):
        wanted = network.predict(x[np.newaxis, part])[0]
        np.testing.assert_allclose(np.array([each.values for each in found[part]]), wanted, atol=1e-6)


def test_evaluation_goes_along_too(network):
    x = np.random.default_rng(3).standard_normal((40, 3)).astype(np.float32)
    y = network.predict(x[np.newaxis])[0]
    found = pnn.evaluate(network, x, y, batch_size=7)
    assert found.loss < 1e-10


def test_what_has_a_context_has_open_rows(tmp_path):
    for rows, context, said in (("rows", -1, "must be 0 or more rows, not -1"), (5, 1, r"its shape is .*5, 3\)")):
        network = pnn.Sequential(pnn.Input(rows, 3), pnn.Dense(1), seed=0)
        network.inputs = (replace(network.inputs[0], context=context),)
        with pytest.raises(PortableNNError, match=said):
            network.save(tmp_path / "model.safetensors")


def test_rows_of_another_width_are_refused(network):
    with pytest.raises(PortableNNError, match="3"):
        list(pnn.predict(network, np.ones((4, 5), np.float32)))
