"""Whole architectures of timm and transformers as both exporters of PyTorch write them: each is imported and verified.

No weights are downloaded. Seed 0 is a network as its library initialises it, with residual branches and layer scales
that are zero or nearly so; other seeds make random parameters zero or equal to others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from architectures import EXPORTERS, NAMES, TRANSFORMERS, changed, export, inputs, module

from portable_nn.converters.onnx import read_onnx

torch = pytest.importorskip("torch")


@pytest.mark.sweep
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", NAMES)
def test_an_architecture_is_verified_as_it_was_exported(
    name: str, exporter: str, seed: int, tmp_path: Path, one_thread: None
) -> None:
    pytest.importorskip("transformers" if name in TRANSFORMERS else "timm")
    network, path = module(name), tmp_path / "model.onnx"
    if seed:
        changed(network, seed)
    try:
        export(network, inputs(name, 2), exporter, path)
    except Exception as error:  # The exporter raises whatever the network's code runs into.
        pytest.skip(f"PyTorch cannot export it: {type(error).__name__}")
    imported = read_onnx(path).network
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        given = inputs(name, batch, seed=batch)
        [expected] = session.run(None, given)
        found = imported.predict(given if len(given) > 1 else next(iter(given.values())))
        found = next(iter(found.values())) if isinstance(found, dict) else found
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * scale + 1e-6)
