"""Networks whose first axis is time: no sequence is cut into batches, each of which would begin anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import DataWarning
from portable_nn.core.names import EngineKind
from portable_nn.operators import constant


def recurrent() -> pnn.Network:
    return pnn.Sequential(
        pnn.Input("batch", 3, batch="steps"), pnn.LSTM(4, batch_first=False), pnn.Dense(2), name="net", seed=0
    )


def attentive() -> pnn.Network:
    """Each step is a mean of all, weighted by its product with them."""
    x = pnn.Input("batch", 3, batch="steps")
    turned = pnn.emit("Transpose", x, perm=[1, 0, 2])
    shares = pnn.emit("Softmax", pnn.emit("MatMul", turned, pnn.emit("Transpose", x, perm=[1, 2, 0])), axis=-1)
    y = pnn.emit("Transpose", pnn.emit("MatMul", shares, turned), perm=[1, 0, 2])
    return pnn.Network(inputs=[x], outputs=[pnn.Dense(2)(y)], name="net", seed=0)


def summed() -> pnn.Network:
    """Each step is the sum of all until it."""
    x = pnn.Input("batch", 3, batch="steps")
    y = pnn.Dense(2)(pnn.emit("CumSum", x, constant(0, "int64")))
    return pnn.Network(inputs=[x], outputs=[y], name="net", seed=0)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("build", [recurrent, attentive, summed])
def test_long_sequences_are_computed_as_a_whole(build: Any, engine: EngineKind, tmp_path: Path) -> None:
    network = build()
    export_onnx(network, tmp_path / "net.onnx")
    x = np.random.default_rng(0).normal(size=(1200, 2, 3)).astype(np.float32)
    [whole] = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"input": x})
    for batch_size in (None, 100):
        np.testing.assert_allclose(network.predict(x, engine=engine, batch_size=batch_size), whole, atol=1e-5)
    np.testing.assert_allclose(network.session(engine=engine).predict(x), whole, atol=1e-5)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_allclose(network.predict(mapped, engine=engine), whole, atol=1e-5)


@pytest.mark.parametrize("build", [recurrent, attentive])
def test_training_cuts_sequences_and_says_so(build: Any) -> None:
    x = np.random.default_rng(0).normal(size=(8, 2, 3)).astype(np.float32)
    with pytest.warns(
        DataWarning, match=r"examples lie along the first axis of 'input' \(steps, batch, 3\).* the batch"
    ):
        build().fit(x, np.zeros((8, 2, 2)), loss="mean_squared_error", epochs=1, progress=False)


def test_examples_of_sequences_are_cut_into_batches() -> None:
    network = pnn.Sequential(pnn.Input("steps", 3), pnn.LSTM(4), pnn.Dense(2), seed=0)
    x = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    seen = list[int]()
    batching = network._execution.batching
    batching.predict(x, lambda feeds: (seen.append(len(feeds["input"])), {"y": feeds["input"]})[1], 2, None)
    assert seen == [2, 2, 1]
