"""No examples and no steps: onnxruntime would end the process where a recurrent operator gets either."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import GraphError
from portable_nn.core.names import EngineKind

LAYERS = [pnn.LSTM(4, bidirectional=True), pnn.GRU(4), pnn.RNN(4)]


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_no_examples_give_no_answers_and_no_steps_are_refused(layer: Any, engine: EngineKind) -> None:
    network = pnn.Sequential(pnn.Input("steps", 3), layer, pnn.Dense(2), seed=0)
    for predict in (lambda x: network.predict(x, engine=engine), network.session(engine=engine).predict):
        found = predict(np.zeros((0, 5, 3), np.float32))
        assert (found.shape, found.dtype) == ((0, 5, 2), np.float32)
        with pytest.raises(GraphError, match=r"X must have 1 step or more, not \(0, 2, 3\)"):
            predict(np.zeros((2, 0, 3), np.float32))
